//! Owns the rows of `vcache_source_clock` (sql/catalog.sql): reading and writing them without the executor, and without ever
//! waiting for another transaction.
//!
//! A row is replaced by `heap_update` told not to wait: what another transaction has just replaced, or is replacing, is left to
//! it. That works in every isolation level, as the row is found by what is committed now and not by the transaction's
//! snapshot, and PostgreSQL checks no snapshot here. It keeps no books of who has read a materialized view, but it would of who has
//! read its index: the index is read under SnapshotAny, which it passes over. So serializable transactions learn nothing of each
//! other through the clock.
//!
//! Versions of a row whose `epoch` is the same form chains within a page, which PostgreSQL prunes without VACUUM and which cost
//! the index nothing. Every [`CHAIN`] changes the epoch goes up, and with it a new entry comes into the index, before the older
//! ones: so a reader finds the newest version first, and walks over a bounded number of others, even while a long transaction
//! keeps all of them. Where it found them it remembers (clock_places.rs).

use super::clock_places::{self, Entry, Page, Reading};
use super::scan::Table;
use pgrx::pg_sys::{self, Datum};
use std::ops::RangeInclusive;

/// Changes of a row between two entries in the index.
const CHAIN: i64 = 16;
/// Entries of the index that a reader passes over, once it has a row, before it looks for the next row from the top.
const PASSED: u32 = 8;
const COLUMNS: usize = 7;

/// The columns of a row, in the table's order; none is ever NULL, and each has eight bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What the clock is of.
    pub scope: i64,
    /// Tells rows of one scope apart.
    pub id: i64,
    pub epoch: i64,
    /// Random, and new with every change.
    pub token: i64,
    /// How often the row has changed.
    pub changes: i64,
    /// When: microseconds since the Unix epoch.
    pub changed_at: i64,
    /// Changes in the last minute, faded.
    pub rate: f64,
}

/// One column of the index, as it stands in an entry behind the header.
#[repr(C)]
struct IndexEntry {
    header: pg_sys::IndexTupleData,
    scope: i64,
    id: i64,
    epoch: i64,
}

impl Row {
    /// The row with a new token, as of `now`.
    pub fn changed(self, token: i64, now: i64) -> Self {
        let changes = self.changes + 1;
        Self { token, changes, epoch: changes / CHAIN, changed_at: now, rate: self.rate_at(now) + 1.0, ..self }
    }

    /// Changes in the last minute, as of `now`.
    pub fn rate_at(&self, now: i64) -> f64 {
        const MINUTE: f64 = 60e6;
        self.rate * (-(now.saturating_sub(self.changed_at).max(0) as f64) / MINUTE).exp()
    }

    fn values(&self) -> [Datum; COLUMNS] {
        let Self { scope, id, epoch, token, changes, changed_at, rate } = *self;
        [scope, id, epoch, token, changes, changed_at, rate.to_bits() as i64].map(Datum::from)
    }
}

/// The open table, with whose lock its user came.
pub struct ClockTable(Table);

/// Under what rows are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The active snapshot.
    ByCaller,
    /// What is committed now.
    Latest,
}

impl ClockTable {
    pub fn open(oid: pg_sys::Oid) -> Option<Self> {
        Table::try_open(oid).map(Self)
    }

    /// The table, to write to.
    pub fn open_to_write(oid: pg_sys::Oid) -> Option<Self> {
        if oid == pg_sys::InvalidOid {
            return None;
        }
        // SAFETY: waits for a lock that no other writer holds in a conflicting mode.
        unsafe { pg_sys::LockRelationOid(oid, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE) };
        Self::open(oid)
    }

    /// Reads clocks, as many as one likes.
    pub fn reader(&self, seen: Seen) -> Reader<'_> {
        // SAFETY: the table is open; the snapshot outlives the reader.
        let snapshot = unsafe {
            match seen {
                Seen::ByCaller => pg_sys::GetActiveSnapshot(),
                Seen::Latest => pg_sys::GetCatalogSnapshot(self.0.oid()),
            }
        };
        Reader { table: &self.0, snapshot, scan: None }
    }

    /// Hands every row as it is now, of all these scopes, to `take`, until that is content.
    pub fn each(&self, scopes: RangeInclusive<i64>, mut take: impl FnMut(Row, Place) -> bool) {
        let Some(mut scan) = Scan::begin(&self.0, &raw mut pg_sys::SnapshotSelfData) else { return };
        scan.seek_any(scopes);
        while scan.next_entry().is_some() {
            if let Some((row, place)) = scan.row()
                && !take(row, place)
            {
                break;
            }
        }
    }

    /// The row that this backend has written last of a scope, as it is now: `None` when another has replaced it since, or is replacing it.
    pub fn last_written(&self, scope: i64) -> Option<(Row, Place)> {
        let at = clock_places::last_written(&self.0, scope)?;
        let mut tuple = pg_sys::HeapTupleData { t_self: at, ..Default::default() };
        let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
        // SAFETY: the table is open; what is found is pinned until it has been read.
        unsafe {
            let now = &raw mut pg_sys::SnapshotSelfData;
            if !pg_sys::heap_fetch(self.0.relation(), now, &mut tuple, &mut buffer, false) {
                return None;
            }
            let found = read(tuple.t_data);
            pg_sys::ReleaseBuffer(buffer);
            // Another row may have come to stand there.
            Some((found.0, Place { at, writer: found.1 })).filter(|(row, _)| row.scope == scope)
        }
    }

    /// Puts `row` in the place of the one that stands at `place`; `false` when another transaction has changed that one.
    pub fn replace(&self, place: Place, row: &Row) -> bool {
        let relation = self.0.relation();
        let mut nulls = [false; COLUMNS];
        // SAFETY: the values fit the table's columns; the place is that of a row of this table, made by another command.
        unsafe {
            let mut values = row.values();
            let tuple = pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
            let (mut failure, mut lock) = (pg_sys::TM_FailureData::default(), 0);
            let mut at = place.at;
            let result = pg_sys::heap_update(
                relation,
                &mut at,
                tuple,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                false,
                &mut failure,
                &mut lock,
            );
            let done = result == pg_sys::TM_Result::TM_Ok;
            // A version in the chain of the one before is found by way of that one's entry.
            if done && (*(*tuple).t_data).t_infomask2 & pg_sys::HEAP_ONLY_TUPLE as u16 == 0 {
                self.index(row, &mut (*tuple).t_self);
            }
            if done {
                clock_places::wrote(&self.0, row.scope, (*tuple).t_self);
            }
            pg_sys::heap_freetuple(tuple);
            done
        }
    }

    /// Adds a row.
    pub fn add(&self, row: &Row) {
        let relation = self.0.relation();
        let mut nulls = [false; COLUMNS];
        // SAFETY: as in `replace`.
        unsafe {
            let mut values = row.values();
            let tuple = pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::heap_insert(relation, tuple, pg_sys::GetCurrentCommandId(true), 0, std::ptr::null_mut());
            self.index(row, &mut (*tuple).t_self);
            pg_sys::heap_freetuple(tuple);
        }
    }

    /// Takes a row away; nothing happens when another transaction has changed it.
    pub fn remove(&self, place: Place) {
        let (mut at, mut failure) = (place.at, pg_sys::TM_FailureData::default());
        // SAFETY: as in `replace`.
        unsafe {
            let command = pg_sys::GetCurrentCommandId(true);
            let crosscheck = std::ptr::null_mut();
            pg_sys::heap_delete(self.0.relation(), &mut at, command, crosscheck, false, &mut failure, false);
        }
    }

    /// Enters a row into every index that takes entries: during REINDEX CONCURRENTLY there are two.
    ///
    /// # Safety
    /// `at` is where the row stands.
    unsafe fn index(&self, row: &Row, at: pg_sys::ItemPointer) {
        let (relation, mut nulls) = (self.0.relation(), [false; 3]);
        let mut values = [row.scope, row.id, row.epoch].map(Datum::from);
        // SAFETY: each index is open while it is written to.
        unsafe {
            for oid in indexes(&self.0) {
                let index = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32);
                if (*(*index).rd_index).indisready {
                    let info = pg_sys::BuildIndexInfo(index);
                    let unique = pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO;
                    pg_sys::index_insert(
                        index,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                        at,
                        relation,
                        unique,
                        false,
                        info,
                    );
                }
                pg_sys::index_close(index, pg_sys::RowExclusiveLock as i32);
            }
        }
        clock_places::count(row.scope);
    }
}

/// What a snapshot sees of clocks.
pub struct Reader<'t> {
    table: &'t Table,
    snapshot: pg_sys::Snapshot,
    /// Begun when it is needed.
    scan: Option<Scan>,
}

impl Reader<'_> {
    /// Adds the token of each row of `scope` that is seen to `tokens`, in the order of their ids. `false` when there is more to read than
    /// `most` versions.
    pub fn tokens(&mut self, scope: i64, most: u32, tokens: &mut Vec<u8>) -> bool {
        let reading = Reading::begin(self.table, scope);
        let before = tokens.len();
        if let Some(places) = reading.and_then(|reading| clock_places::known(scope, reading)) {
            if self.tokens_at(&places.entries, scope, tokens) {
                return true;
            }
            tokens.truncate(before);
        }
        let Some(entries) = self.tokens_by_index(scope, most, tokens) else { return false };
        if let Some(reading) = reading {
            clock_places::remember(scope, reading, entries);
        }
        true
    }

    /// `false` where older entries would have to be read.
    fn tokens_at(&self, entries: &[Entry], scope: i64, tokens: &mut Vec<u8>) -> bool {
        let mut answered = None;
        let mut page: Option<Page> = None;
        for entry in entries {
            if answered == Some(entry.id) {
                continue;
            }
            if page.as_ref().is_none_or(|page| !page.is_of(entry)) {
                // Not two at a time.
                drop(page.take());
                page = Page::of(entry, self.table);
            }
            // SAFETY: the version stays while it is read.
            let row = |tuple| unsafe { read(tuple).0 };
            let row = page.as_ref().and_then(|page| page.version(self.table, entry, self.snapshot, row));
            match row.filter(|row| row.scope == scope && row.id == entry.id) {
                Some(row) => {
                    tokens.extend(row.token.to_le_bytes());
                    answered = Some(entry.id);
                }
                None if entry.may_have_older => return false,
                None => {}
            }
        }
        true
    }

    /// Gives the entries that were read.
    fn tokens_by_index(&mut self, scope: i64, most: u32, tokens: &mut Vec<u8>) -> Option<Vec<Entry>> {
        if self.scan.is_none() {
            self.scan = Some(Scan::begin(self.table, self.snapshot)?);
        }
        let scan = self.scan.as_mut()?;
        scan.seek(scope, None);
        let mut entries = Vec::with_capacity(8);
        let (mut answered, mut passed, mut left) = (None, 0, most);
        while let Some((id, at)) = scan.next_entry() {
            if answered == Some(id) {
                passed += 1;
                if passed > PASSED {
                    scan.seek(scope, Some(id));
                    passed = 0;
                }
                continue;
            }
            if left == 0 {
                return None;
            }
            left -= 1;
            let row = scan.row();
            entries.push(Entry::new(id, at, row.is_some()));
            if let Some((row, _)) = row {
                tokens.extend(row.token.to_le_bytes());
                (answered, passed) = (Some(id), 0);
            }
        }
        Some(entries)
    }
}

/// Where a version of a row stands, and which transaction wrote it.
#[derive(Clone, Copy)]
pub struct Place {
    at: pg_sys::ItemPointerData,
    writer: pg_sys::TransactionId,
}

impl Place {
    /// Whether this transaction wrote it: one that still stands, as rolled back ones are not seen.
    pub fn is_own(&self) -> bool {
        // SAFETY: looks at this backend's list of its transactions.
        unsafe { pg_sys::TransactionIdIsCurrentTransactionId(self.writer) }
    }
}

fn indexes(table: &Table) -> Vec<pg_sys::Oid> {
    // SAFETY: a list of OIDs in the current memory context.
    unsafe {
        let list = pg_sys::RelationGetIndexList(table.relation());
        if list.is_null() {
            return Vec::new();
        }
        (0..(*list).length).map(|i| (*(*list).elements.add(i as usize)).oid_value).collect()
    }
}

/// A scan of the index.
struct Scan {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    /// What rows are seen under; entries are seen under none.
    under: pg_sys::Snapshot,
    /// The same if it is registered, which it is unless it is no snapshot of transactions.
    snapshot: Option<pg_sys::Snapshot>,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Scan {
    /// `None` when there is no index to use.
    fn begin(table: &Table, snapshot: pg_sys::Snapshot) -> Option<Self> {
        // SAFETY: relation and index are open during the scan, and the snapshot is registered. An index that is being built, or dropped,
        // is passed over.
        unsafe {
            for oid in indexes(table) {
                let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
                if (*(*index).rd_index).indisvalid {
                    let counts = (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC;
                    let registered = counts.then(|| pg_sys::RegisterSnapshot(snapshot));
                    let under = registered.unwrap_or(snapshot);
                    let any = &raw mut pg_sys::SnapshotAnyData;
                    let scan = pg_sys::index_beginscan(table.relation(), index, any, 2, 0);
                    (*scan).xs_want_itup = true;
                    let slot = pg_sys::table_slot_create(table.relation(), std::ptr::null_mut());
                    return Some(Self { index, scan, under, snapshot: registered, slot });
                }
                pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
            }
        }
        None
    }

    /// Begins with the first entry of a scope, or the first behind those of a row.
    fn seek(&mut self, scope: i64, behind: Option<i64>) {
        let mut keys = [key(1, pg_sys::BTEqualStrategyNumber, pg_sys::F_INT8EQ, scope); 2];
        let mut count = 1;
        if let Some(id) = behind {
            keys[1] = key(2, pg_sys::BTGreaterStrategyNumber, pg_sys::F_INT8GT, id);
            count = 2;
        }
        self.rescan(keys.get_mut(..count).unwrap_or_default());
    }

    /// Begins with the first entry of any of these scopes.
    fn seek_any(&mut self, scopes: RangeInclusive<i64>) {
        self.rescan(&mut [
            key(1, pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE, *scopes.start()),
            key(1, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT8LE, *scopes.end()),
        ]);
    }

    fn rescan(&mut self, keys: &mut [pg_sys::ScanKeyData]) {
        // SAFETY: the scan was begun for two keys at most, and copies them.
        unsafe {
            (*self.scan).numberOfKeys = keys.len() as i32;
            pg_sys::index_rescan(self.scan, keys.as_mut_ptr(), keys.len() as i32, std::ptr::null_mut(), 0);
        }
    }

    /// Goes to the next entry and gives the id in it, and where it leads to.
    fn next_entry(&mut self) -> Option<(i64, pg_sys::ItemPointerData)> {
        // SAFETY: the entry is valid until the next one is asked for; its columns are never NULL and stand behind its header.
        unsafe {
            let at = pg_sys::index_getnext_tid(self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            if at.is_null() {
                return None;
            }
            Some(((*(*self.scan).xs_itup.cast::<IndexEntry>()).id, *at))
        }
    }

    /// The version that the current entry leads to and that is seen.
    fn row(&mut self) -> Option<(Row, Place)> {
        // SAFETY: the tuple is read before the scan moves on.
        unsafe {
            (*self.scan).xs_snapshot = self.under;
            let is_seen = pg_sys::index_fetch_heap(self.scan, self.slot);
            (*self.scan).xs_snapshot = &raw mut pg_sys::SnapshotAnyData;
            if !is_seen {
                return None;
            }
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, std::ptr::null_mut());
            let (row, writer) = read((*tuple).t_data);
            Some((row, Place { at: (*tuple).t_self, writer }))
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made by `begin`, and ended once.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::index_endscan(self.scan);
                pg_sys::index_close(self.index, pg_sys::AccessShareLock as i32);
                self.snapshot.iter().for_each(|snapshot| pg_sys::UnregisterSnapshot(*snapshot));
            }
        }
    }
}

/// The columns of a version, and who wrote it.
///
/// # Safety
/// `tuple` is one of the table's, which stays while it is read.
unsafe fn read(tuple: pg_sys::HeapTupleHeader) -> (Row, pg_sys::TransactionId) {
    // SAFETY: the columns are never NULL, and each is aligned to eight bytes.
    unsafe { (*tuple.cast::<u8>().add((*tuple).t_hoff.into()).cast::<Row>(), (*tuple).t_choice.t_heap.t_xmin) }
}

fn key(column: u16, strategy: u32, function: u32, argument: i64) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: fills `key`; the function compares two numbers of eight bytes.
    unsafe {
        pg_sys::ScanKeyInit(&mut key, column as i16, strategy as u16, function.into(), Datum::from(argument));
    }
    key
}
