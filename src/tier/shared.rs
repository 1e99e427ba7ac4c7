//! Owns tier 1: entries in the server's shared memory (vcache_core::arena). Without preload, or with `vcache.shared_memory_size = 0`, there is none.
//!
//! What stands here was put here by a backend of this server, and is checked like what comes from Redis all the same.

use super::{Existing, Store};
use crate::pg::shmem::Memory;
use crate::pg::{catalog, time};
use crate::settings;
use crate::stats::{self, Counters};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use vcache_core::arena::{self, Arena, Cursor, EntryInfo, Evicted, Fill, NewEntry, Stored};
use vcache_core::key::CacheKey;

type Entries = Arena<'static, &'static Memory>;

static MEMORY: Memory = Memory::new(c"vcache entries", make);

/// Bytes of the largest entry, as they were at server start: the number of locks follows from it, which a crash does not change.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Asks for the memory, at server start.
pub fn request() {
    let (bytes, most) = (settings::shared_memory_size(), settings::max_entry_size());
    LARGEST.store(most, Ordering::Relaxed);
    let locks = arena::partitions(bytes, most);
    if locks > 0 {
        MEMORY.request(bytes, locks);
    }
}

fn make() {
    if let Some(region) = MEMORY.region() {
        Arena::create(region, LARGEST.load(Ordering::Relaxed), &MEMORY);
    }
}

thread_local! {
    static ENTRIES: Option<Entries> = MEMORY.region().and_then(|region| Arena::attach(region, &MEMORY));
    /// Where entries are copied to.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A larger buffer is not kept.
const KEPT: usize = 1 << 20;

fn with<T>(use_entries: impl FnOnce(&Entries) -> T) -> Option<T> {
    ENTRIES.with(|entries| entries.as_ref().map(use_entries))
}

/// Whether there is such a tier.
pub fn is_on() -> bool {
    with(|_| ()).is_some()
}

/// Bytes of the largest entry that it takes; `None` where there is no such tier.
pub fn largest() -> Option<usize> {
    with(Entries::max_entry)
}

/// What the tier said when it was asked for an entry.
pub enum Lookup<T> {
    /// What was read in the bytes of one.
    Found(T),
    /// One whose time is over.
    Expired,
    /// None; or there is no such tier.
    Absent,
}

/// Whether looking up counts as a use of the entry, which keeps it from making room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Counted,
    Uncounted,
}

/// Has `read` read the bytes under a key.
pub fn get<T>(key: CacheKey, kind: Use, read: impl FnOnce(&[u8]) -> T) -> Lookup<T> {
    let look_up = |entries: &Entries| {
        let mut buffer = BUFFER.take();
        let now = time::now();
        let found = loop {
            let found = match kind {
                Use::Counted => entries.get(key, now, &mut buffer),
                Use::Uncounted => entries.peek(key, now, &mut buffer),
            };
            match found {
                arena::Lookup::Grow(bytes) => buffer.resize(bytes.next_power_of_two(), 0),
                arena::Lookup::Hit(info) => break Lookup::Found(read(buffer.get(..info.bytes).unwrap_or_default())),
                arena::Lookup::Expired => break Lookup::Expired,
                arena::Lookup::Absent | arena::Lookup::Damaged => break Lookup::Absent,
            }
        };
        if buffer.len() <= KEPT {
            BUFFER.set(buffer);
        }
        found
    };
    with(look_up).unwrap_or(Lookup::Absent)
}

/// Keeps bytes under a key until a time, in microseconds since the Unix epoch; `counters` are their namespace's.
pub fn put(key: CacheKey, bytes: &[u8], expires_at: i64, existing: Existing, counters: Counters) -> Store {
    let now = time::now();
    let entry = NewEntry {
        key,
        bytes,
        owner: u64::from(catalog::database().to_u32()) << 32 | u64::from(counters.number()),
        stored_at: now,
        expires_at,
        only_if_absent: existing == Existing::Keep,
    };
    let evicted = |evicted: Evicted| {
        if !evicted.expired {
            stats::count_eviction(evicted.owner as u32);
        }
    };
    match with(|entries| entries.put(&entry, now, evicted)) {
        None | Some(Stored::TooLarge) => Store::Off,
        Some(Stored::New | Stored::Replaced) => Store::Stored,
        Some(Stored::Stands | Stored::Damaged) => Store::Kept,
    }
}

/// Frees all entries, those of other databases included; how many there were.
pub fn flush() -> u64 {
    with(|entries| entries.retain(|_| false)).unwrap_or(0) as u64
}

/// How full it is.
pub fn fill() -> Option<Fill> {
    with(Entries::fill)
}

/// The entries of this database, one after the other.
pub fn entries() -> impl Iterator<Item = EntryInfo> {
    let (database, mut cursor) = (catalog::database().to_u32(), Cursor::default());
    std::iter::from_fn(move || with(|entries| entries.next_entry(&mut cursor)).flatten())
        .filter(move |entry| (entry.owner >> 32) as u32 == database)
}
