//! Owns what a backend remembers of where the rows of clocks stand, so that reading a clock again needs no index: with a transaction left
//! open, the index has many entries for each row.
//!
//! Whoever makes an entry in the index counts it in shared memory afterwards, and before he commits. A reader takes the count before he reads
//! the index. While it stays the same, every entry whose row a later snapshot of his may see is one that he has read: who made another
//! has not counted it yet, so has not committed when that snapshot was taken. A standby counts nothing, and remembers nothing.

use super::scan::Table;
use super::shmem::{self, Region};
use super::{catalog, transaction};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

shmem::shared_struct! {
    /// The entries made for the scopes that share it.
    pub struct Count {
        entries: AtomicU64,
    }
}

static COUNTS: Region<Count> = Region::new(c"vcache clock entries");
/// A power of two. Scopes that share a count have each other read the index, and no more.
const SHARED: usize = 4096;

/// Asks for the counts, at server start.
pub fn request() {
    COUNTS.request(SHARED);
}

fn count_of(scope: i64) -> Option<&'static AtomicU64> {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (scope as u64 ^ u64::from(catalog::database().to_u32()) << 32).wrapping_mul(MIX);
    let slots = COUNTS.slots()?;
    slots.get((mixed >> 40) as usize % SHARED).map(|count| &count.entries)
}

/// Counts an entry that this transaction has made.
pub fn count(scope: i64) {
    if let Some(entries) = count_of(scope) {
        entries.fetch_add(1, Ordering::Release);
    }
}

/// One entry of the index.
pub struct Entry {
    pub id: i64,
    pub at: pg_sys::ItemPointerData,
    /// Whether the row may have older entries, which have not been read.
    pub may_have_older: bool,
    /// The buffer that its page was in when it was read last.
    buffer: Cell<pg_sys::Buffer>,
}

impl Entry {
    pub fn new(id: i64, at: pg_sys::ItemPointerData, may_have_older: bool) -> Self {
        Self { id, at, may_have_older, buffer: Cell::new(pg_sys::InvalidBuffer as pg_sys::Buffer) }
    }

    /// The number of its page.
    fn page(&self) -> pg_sys::BlockNumber {
        page_of(self.at)
    }
}

fn page_of(at: pg_sys::ItemPointerData) -> pg_sys::BlockNumber {
    u32::from(at.ip_blkid.bi_hi) << 16 | u32::from(at.ip_blkid.bi_lo)
}

/// Whether the table has so many pages: VACUUM (TRUNCATE) takes them away, though plain VACUUM is told not to. It does not while the
/// table is open.
fn has_page(table: &Table, number: pg_sys::BlockNumber) -> bool {
    // SAFETY: the relation is open.
    unsafe { number < pg_sys::RelationGetNumberOfBlocksInFork(table.relation(), pg_sys::ForkNumber::MAIN_FORKNUM) }
}

/// What was read of a scope's entries, and when.
pub struct Places {
    pub entries: Vec<Entry>,
    reading: Reading,
}

/// A reading of the index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    count: u64,
    /// The table's file: rewritten, its rows stand elsewhere.
    file: u32,
}

impl Reading {
    /// One that begins now; `None` where nothing is counted.
    pub fn begin(table: &Table, scope: i64) -> Option<Self> {
        if transaction::is_in_recovery() {
            return None;
        }
        let count = count_of(scope)?.load(Ordering::Acquire);
        Some(Self { count, file: file(table) })
    }
}

fn file(table: &Table) -> u32 {
    // SAFETY: the relation is open.
    unsafe { (*table.relation()).rd_node.relNode.to_u32() }
}

thread_local! {
    static KNOWN: RefCell<HashMap<i64, Rc<Places>>> = RefCell::default();
    /// Where the version stands that this backend has written last of a scope, and in which file.
    static WRITTEN: RefCell<HashMap<i64, (pg_sys::ItemPointerData, u32)>> = RefCell::default();
}

/// More than a backend works with.
const MOST: usize = 1000;

/// Remembers what a reading has found.
pub fn remember(scope: i64, reading: Reading, entries: Vec<Entry>) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(scope, Rc::new(Places { entries, reading }));
    });
}

/// What is remembered, if a reading now would find the same.
pub fn known(scope: i64, reading: Reading) -> Option<Rc<Places>> {
    KNOWN.with_borrow(|known| known.get(&scope).filter(|places| places.reading == reading).cloned())
}

/// Remembers where this backend has written a version: each writer comes back to his own row, and gets in nobody's way.
pub fn wrote(table: &Table, scope: i64, at: pg_sys::ItemPointerData) {
    WRITTEN.with_borrow_mut(|written| {
        if written.len() >= MOST {
            written.clear();
        }
        written.insert(scope, (at, file(table)));
    });
}

/// Where that was.
pub fn last_written(table: &Table, scope: i64) -> Option<pg_sys::ItemPointerData> {
    let (at, of) = WRITTEN.with_borrow(|written| written.get(&scope).copied())?;
    (of == file(table) && has_page(table, page_of(at))).then_some(at)
}

/// A page of the table, pinned and locked for reading.
pub struct Page {
    buffer: pg_sys::Buffer,
    number: pg_sys::BlockNumber,
}

impl Page {
    /// That of an entry; `None` when it is gone.
    pub fn of(entry: &Entry, table: &Table) -> Option<Self> {
        let (number, relation) = (entry.page(), table.relation());
        // SAFETY: the relation is open. A buffer that holds another page by now is noticed.
        unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            let last = entry.buffer.get();
            let is_still_there = last != pg_sys::InvalidBuffer as pg_sys::Buffer
                && pg_sys::ReadRecentBuffer((*relation).rd_node, main, number, last);
            if !is_still_there && !has_page(table, number) {
                return None;
            }
            let buffer = if is_still_there { last } else { pg_sys::ReadBuffer(relation, number) };
            entry.buffer.set(buffer);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            Some(Self { buffer, number })
        }
    }

    /// Whether an entry leads to this page.
    pub fn is_of(&self, entry: &Entry) -> bool {
        self.number == entry.page()
    }

    /// Hands the version that the snapshot sees of an entry's row to `read`.
    pub fn version<T>(
        &self,
        table: &Table,
        entry: &Entry,
        snapshot: pg_sys::Snapshot,
        read: impl FnOnce(pg_sys::HeapTupleHeader) -> T,
    ) -> Option<T> {
        let (mut at, mut tuple, none) = (entry.at, pg_sys::HeapTupleData::default(), std::ptr::null_mut());
        // SAFETY: the page is pinned and locked, and the tuple is read before that ends.
        unsafe {
            pg_sys::heap_hot_search_buffer(&mut at, table.relation(), self.buffer, snapshot, &mut tuple, none, true)
                .then(|| read(tuple.t_data))
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pinned and locked by `read`.
            unsafe { pg_sys::UnlockReleaseBuffer(self.buffer) };
        }
    }
}
