//! Owns entries in shared memory: a cache of fixed size, laid out in place in a piece of memory that several processes have mapped.
//!
//! | file | owns |
//! | --- | --- |
//! | `mod.rs` | what can be done, and under which lock |
//! | `region.rs` | from memory to words, the only unsafe code |
//! | `layout.rs` | where things lie |
//! | `ring.rs` | where entries lie in a ring |
//! | `partition.rs` | the index, the entries, and looking one up |
//! | `writer.rs` | storing and removing, and what makes room for what |
//! | `audit.rs` | what holds of every arena that is not damaged |
//!
//! # Locks
//!
//! The memory is divided into partitions, by key. Each has a lock, which the caller brings ([`Locks`]).
//!
//! - A partition is read under its lock, shared or exclusive, and changed under it exclusively. Nothing is kept of it between two locks.
//! - Nobody holds the locks of two partitions, and nobody takes another lock while holding one: there is no order to keep.
//! - Looking up takes the lock shared, and writes only what may get lost: counters and marks, by relaxed atomics.
//! - Under a lock nothing allocates, waits, panics, or calls what the caller brought but [`Evicted`]'s receiver and the owner's judge
//!   of [`Arena::retain`], of which the same is asked. How long a lock is held is bounded by the largest entry, not by what the cache holds.
//!   ([`Arena::clear`] holds it for as long as it takes to clear an index.)
//! - [`Arena::fill`] takes no lock: its numbers are each right, and of slightly different moments.
//!
//! # Damage
//!
//! Every offset is checked before it is followed. A partition in which one is wrong, or whose last writer has not come to its end, is damaged: looking up
//! finds nothing there, and who next changes it resets it first.

mod audit;
mod layout;
mod partition;
mod region;
mod ring;
mod writer;

pub use region::Region;

use crate::key::CacheKey;
use layout::Layout;
use partition::{BYTES, ENTRIES, EVICTIONS, EXPIRIES, Partition};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

/// A lock for each partition.
pub trait Locks {
    /// Does something while others may do so as well, but nobody exclusively.
    fn shared<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R;

    /// Does something while nobody else does anything.
    fn exclusive<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R;
}

/// Locks for the threads of a process.
impl Locks for Vec<RwLock<()>> {
    #[expect(clippy::indexing_slicing, reason = "without a lock nothing may be done")]
    fn shared<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R {
        let _held = self[partition].read().unwrap_or_else(PoisonError::into_inner);
        action()
    }

    #[expect(clippy::indexing_slicing, reason = "without a lock nothing may be done")]
    fn exclusive<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R {
        let _held = self[partition].write().unwrap_or_else(PoisonError::into_inner);
        action()
    }
}

/// Something in the memory is not as it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damaged;

/// What is known of an entry beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryInfo {
    /// What it was stored under.
    pub key: CacheKey,
    /// Whose it is; the caller's to interpret.
    pub owner: u64,
    /// When it was stored, by the caller's clock.
    pub stored_at: i64,
    /// From when on it is not found any more, by the same clock.
    pub expires_at: i64,
    /// Its length.
    pub bytes: usize,
    /// How often it had been found before.
    pub hits: u32,
}

/// What looking up has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// An entry, whose bytes are at the beginning of the buffer.
    Hit(EntryInfo),
    /// An entry that is longer than the buffer: get one for so many bytes, and look up again.
    Grow(usize),
    /// An entry whose time is over.
    Expired,
    /// No entry.
    Absent,
    /// Nothing, for the partition is damaged.
    Damaged,
}

/// An entry to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// What to store it under: bits that are distributed uniformly.
    pub key: CacheKey,
    /// The entry itself.
    pub bytes: &'a [u8],
    /// Whose it is.
    pub owner: u64,
    /// What [`EntryInfo::stored_at`] is to be.
    pub stored_at: i64,
    /// From when on it is not to be found any more.
    pub expires_at: i64,
    /// Leaves an entry alone that has the key and has not expired.
    pub only_if_absent: bool,
}

/// What has become of an entry that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, where there was none.
    New,
    /// It is stored, in place of another.
    Replaced,
    /// There is one already, which stands.
    Stands,
    /// It is longer than [`Arena::max_entry`].
    TooLarge,
    /// It is not stored: the partition was damaged, and has been reset.
    Damaged,
}

/// An entry that has made room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// Whose it was.
    pub owner: u64,
    /// Whether its time was over anyway.
    pub expired: bool,
}

/// How full the memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// Entries, with those that have expired and not been met since.
    pub entries: u64,
    /// Bytes of these entries.
    pub bytes: u64,
    /// Bytes for entries and their heads.
    pub capacity: u64,
    /// Entries that have made room for others before their time.
    pub evictions: u64,
    /// Entries that have made room after it.
    pub expiries: u64,
}

/// How far a walk over all entries has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    partition: usize,
    bucket: usize,
    after: Option<CacheKey>,
}

/// Buckets that are looked through under one lock.
const BUCKETS_AT_ONCE: usize = 256;

/// A cache in shared memory.
#[derive(Debug)]
pub struct Arena<'a, L> {
    words: &'a [AtomicU64],
    layout: Layout,
    locks: L,
}

/// How many locks an arena needs in a region of so many bytes, for entries of up to so many; 0 if there is no room for an arena.
pub fn partitions(bytes: usize, max_entry: usize) -> usize {
    Layout::new(bytes / layout::WORD, max_entry).map_or(0, |layout| layout.partitions)
}

impl<'a, L: Locks> Arena<'a, L> {
    /// Makes a new arena in a region that nobody uses yet; `None` if it is too small. Entries have up to `max_entry` bytes, or
    /// less if the region has not four times as many. The locks are those of [`partitions`].
    pub fn create(region: Region<'a>, max_entry: usize, locks: L) -> Option<Self> {
        let layout = Layout::new(region.words.len(), max_entry)?;
        let arena = Self { words: region.words, layout, locks };
        for partition in 0..arena.layout.partitions {
            arena.partition(partition).reset();
        }
        Layout::write(region.words, max_entry);
        Some(arena)
    }

    /// The arena that another has made in the region; `None` if there is none.
    pub fn attach(region: Region<'a>, locks: L) -> Option<Self> {
        let layout = Layout::read(region.words)?;
        Some(Self { words: region.words, layout, locks })
    }

    /// Bytes of the largest entry that is stored.
    pub fn max_entry(&self) -> usize {
        self.layout.max_entry
    }

    /// Looks an entry up and copies its bytes to the buffer. That is a use of the key, whatever the outcome, but for [`Lookup::Grow`].
    pub fn get(&self, key: CacheKey, now: i64, buffer: &mut [u8]) -> Lookup {
        self.look_up(key, now, buffer, true)
    }

    /// The same, without leaving a trace.
    pub fn peek(&self, key: CacheKey, now: i64, buffer: &mut [u8]) -> Lookup {
        self.look_up(key, now, buffer, false)
    }

    fn look_up(&self, key: CacheKey, now: i64, buffer: &mut [u8], counted: bool) -> Lookup {
        let partition = self.layout.partition_of(key);
        let look_up = || self.partition(partition).get(key, now, buffer, counted);
        self.locks.shared(partition, look_up).unwrap_or(Lookup::Damaged)
    }

    /// Stores an entry. `evicted` is told of each that makes room for it, under the lock. Storing is not a use of the key.
    pub fn put(&self, entry: &NewEntry<'_>, now: i64, evicted: impl FnMut(Evicted)) -> Stored {
        if entry.bytes.len() > self.layout.max_entry {
            return Stored::TooLarge;
        }
        let partition = self.layout.partition_of(entry.key);
        let put = || writer::change(self.partition(partition), evicted, |writer| writer.put(entry, now));
        self.locks.exclusive(partition, put).unwrap_or(Stored::Damaged)
    }

    /// Removes the entry of a key. Whether there was one.
    pub fn remove(&self, key: CacheKey) -> bool {
        let partition = self.layout.partition_of(key);
        let remove = || writer::change(self.partition(partition), |_| {}, |writer| writer.remove(key));
        self.locks.exclusive(partition, remove).unwrap_or(false)
    }

    /// Removes the entries of all owners but those that are to keep theirs; how many. What is stored meanwhile may stay or not.
    /// Damaged partitions are reset.
    pub fn retain(&self, keep: impl Fn(u64) -> bool) -> usize {
        let mut removed = 0;
        for partition in 0..self.layout.partitions {
            for buckets in self.batches(0) {
                removed += self.locks.exclusive(partition, || {
                    let all = |writer: &mut writer::Writer<'_, _>| {
                        buckets.clone().try_fold(0, |sum, bucket| Ok(sum + writer.retain(bucket, &keep)?))
                    };
                    writer::change(self.partition(partition), |_| {}, all).unwrap_or(0)
                });
            }
        }
        removed
    }

    /// Forgets everything, counters included.
    pub fn clear(&self) {
        for partition in 0..self.layout.partitions {
            self.locks.exclusive(partition, || self.partition(partition).reset());
        }
    }

    /// The next entry of a walk over all. An entry that is there from beginning to end is met once, expired or not; damaged partitions are left out.
    pub fn next_entry(&self, cursor: &mut Cursor) -> Option<EntryInfo> {
        while cursor.partition < self.layout.partitions {
            for buckets in self.batches(cursor.bucket) {
                let next = self.locks.shared(cursor.partition, || {
                    let partition = self.partition(cursor.partition);
                    partition.sound()?;
                    for bucket in buckets {
                        if bucket != cursor.bucket {
                            (cursor.bucket, cursor.after) = (bucket, None);
                        }
                        if let Some(head) = partition.next_in(bucket, cursor.after)? {
                            cursor.after = Some(head.key);
                            return Ok(Some(head.info()));
                        }
                    }
                    Ok::<_, Damaged>(None)
                });
                match next {
                    Ok(Some(entry)) => return Some(entry),
                    Ok(None) => {}
                    Err(Damaged) => break,
                }
            }
            *cursor = Cursor { partition: cursor.partition + 1, ..Cursor::default() };
        }
        None
    }

    /// How full the memory is.
    pub fn fill(&self) -> Fill {
        let mut fill = Fill { capacity: self.layout.capacity() as u64, ..Fill::default() };
        for partition in 0..self.layout.partitions {
            let partition = self.partition(partition);
            let value = |at| partition.word(at).map_or(0, |word| word.load(Relaxed));
            fill.entries = fill.entries.saturating_add(value(ENTRIES));
            fill.bytes = fill.bytes.saturating_add(value(BYTES));
            fill.evictions = fill.evictions.saturating_add(value(EVICTIONS));
            fill.expiries = fill.expiries.saturating_add(value(EXPIRIES));
        }
        fill
    }

    fn partition(&self, partition: usize) -> Partition<'_> {
        Partition::new(self.layout.words(self.words, partition), &self.layout)
    }

    /// The buckets of a partition from one on, as many at a time as are looked through under one lock.
    fn batches(&self, from: usize) -> impl Iterator<Item = Range<usize>> + use<L> {
        let buckets = self.layout.buckets();
        let starts = (from..buckets).step_by(BUCKETS_AT_ONCE);
        starts.map(move |start| start..(start + BUCKETS_AT_ONCE).min(buckets))
    }
}
