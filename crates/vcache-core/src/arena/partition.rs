//! Owns what a partition holds, as whoever has locked it sees it: the index, the entries, and looking one up.

use super::layout::{ENTRY_HEAD, Layout, WORD, extent};
use super::ring::{Ring, STATE};
use super::{Damaged, EntryInfo, Lookup};
use crate::key::CacheKey;
use crate::sketch::Sketch;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// Words at the head of a partition. What is written under a shared lock has a line of the processor's cache of its own.
/// Whether a writer is at work, or ended in the middle of it.
pub(super) const WRITING: usize = 0;
pub(super) const ENTRIES: usize = 1;
pub(super) const BYTES: usize = 2;
pub(super) const EVICTIONS: usize = 3;
pub(super) const EXPIRIES: usize = 4;
pub(super) const WINDOW: usize = 8;
pub(super) const MAIN: usize = 16;
/// Uses that the sketch has counted since it was halved.
pub(super) const SAMPLES: usize = 24;

/// Where hits end: far enough below 2³² for all that count at the same time.
const MOST_HITS: u32 = 1 << 31;
/// Set beside the length of an entry that has been removed.
pub(super) const DEAD: u32 = 1 << 31;

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub key: CacheKey,
    /// The next of the same bucket, or 0.
    pub link: u32,
    /// Words that it takes in the ring.
    pub extent: usize,
    /// Bytes that were stored.
    pub length: usize,
    pub dead: bool,
    pub hits: u32,
    pub owner: u64,
    pub stored_at: i64,
    pub expires_at: i64,
}

impl Head {
    fn read(words: &[AtomicU64; ENTRY_HEAD]) -> Self {
        let [low, high, place, uses, owner, stored_at, expires_at] = words.each_ref().map(|word| word.load(Relaxed));
        let (length, hits) = ((uses >> 32) as u32, uses as u32);
        Self {
            key: CacheKey(u128::from(high) << 64 | u128::from(low)),
            link: place as u32,
            extent: (place >> 32) as usize,
            length: (length & !DEAD) as usize,
            dead: length & DEAD != 0,
            hits,
            owner,
            stored_at: stored_at as i64,
            expires_at: expires_at as i64,
        }
    }

    fn write(&self, words: &[AtomicU64; ENTRY_HEAD]) {
        let length = self.length as u32 | if self.dead { DEAD } else { 0 };
        let values = [
            self.key.0 as u64,
            (self.key.0 >> 64) as u64,
            (self.extent as u64) << 32 | u64::from(self.link),
            u64::from(length) << 32 | u64::from(self.hits),
            self.owner,
            self.stored_at as u64,
            self.expires_at as u64,
        ];
        for (word, value) in words.iter().zip(values) {
            word.store(value, Relaxed);
        }
    }

    /// What the caller is told of it.
    pub fn info(&self) -> EntryInfo {
        let &Self { key, owner, stored_at, expires_at, length, hits, .. } = self;
        EntryInfo { key, owner, stored_at, expires_at, bytes: length, hits }
    }
}

/// What points to an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Link {
    Bucket(usize),
    Entry(usize),
}

/// An entry and what points to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub at: usize,
    pub from: Link,
}

/// A partition that is locked.
#[derive(Clone, Copy)]
pub(super) struct Partition<'a> {
    words: &'a [AtomicU64],
    layout: &'a Layout,
}

impl<'a> Partition<'a> {
    pub fn new(words: &'a [AtomicU64], layout: &'a Layout) -> Self {
        Self { words, layout }
    }

    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    pub fn word(&self, at: usize) -> Result<&'a AtomicU64, Damaged> {
        self.words.get(at).ok_or(Damaged)
    }

    pub fn ring_state(&self, at: usize) -> Result<&'a [AtomicU64; STATE], Damaged> {
        self.words.get(at..).and_then(<[_]>::first_chunk).ok_or(Damaged)
    }

    pub fn sketch(&self) -> Sketch<'a> {
        Sketch::new(self.words.get(self.layout.sketch.clone()).unwrap_or_default())
    }

    /// An error while a writer that ended in the middle has left it in some state.
    pub fn sound(&self) -> Result<(), Damaged> {
        if self.word(WRITING)?.load(Relaxed) == 0 { Ok(()) } else { Err(Damaged) }
    }

    /// Forgets everything, whatever state it is in.
    pub fn reset(&self) {
        let Layout { index, window, main, .. } = self.layout;
        for word in self.words.get(..index.end).unwrap_or_default() {
            word.store(0, Relaxed);
        }
        for (range, state) in [(window, WINDOW), (main, MAIN)] {
            if let Ok(state) = self.ring_state(state) {
                Ring::empty(range).store(state);
            }
        }
    }

    fn head_words(&self, at: usize) -> Result<&'a [AtomicU64; ENTRY_HEAD], Damaged> {
        let within = at >= self.layout.window.start;
        self.words.get(at..).filter(|_| within).and_then(<[_]>::first_chunk).ok_or(Damaged)
    }

    /// The head of the entry that begins there.
    pub fn head(&self, at: usize) -> Result<Head, Damaged> {
        let head = Head::read(self.head_words(at)?);
        if extent(head.length) <= head.extent && head.extent <= self.words.len() - at { Ok(head) } else { Err(Damaged) }
    }

    pub fn set_head(&self, at: usize, head: &Head) -> Result<(), Damaged> {
        head.write(self.head_words(at)?);
        Ok(())
    }

    fn body(&self, at: usize, bytes: usize) -> Result<&'a [AtomicU64], Damaged> {
        self.words.get(at + ENTRY_HEAD..at + extent(bytes)).ok_or(Damaged)
    }

    /// Copies the bytes of an entry out, as many as the buffer has.
    fn read(&self, at: usize, buffer: &mut [u8]) -> Result<(), Damaged> {
        let body = self.body(at, buffer.len())?;
        let (whole, rest) = buffer.as_chunks_mut::<WORD>();
        for (bytes, word) in whole.iter_mut().zip(body) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
        if let Some(last) = body.last() {
            for (byte, kept) in rest.iter_mut().zip(last.load(Relaxed).to_ne_bytes()) {
                *byte = kept;
            }
        }
        Ok(())
    }

    /// Puts the bytes of an entry in its place.
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<(), Damaged> {
        let body = self.body(at, bytes.len())?;
        let (whole, rest) = bytes.as_chunks::<WORD>();
        for (word, bytes) in body.iter().zip(whole) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        if let (Some(last), [_, ..]) = (body.last(), rest) {
            let mut padded = [0; WORD];
            for (place, byte) in padded.iter_mut().zip(rest) {
                *place = *byte;
            }
            last.store(u64::from_ne_bytes(padded), Relaxed);
        }
        Ok(())
    }

    /// Copies the bytes of an entry to another place, which may overlap if it lies before the one they are in.
    pub fn copy(&self, from: usize, to: usize, bytes: usize) -> Result<(), Damaged> {
        for (source, target) in self.body(from, bytes)?.iter().zip(self.body(to, bytes)?) {
            target.store(source.load(Relaxed), Relaxed);
        }
        Ok(())
    }

    /// What this points to; `None` at the end of the bucket.
    pub fn follow(&self, link: Link) -> Result<Option<usize>, Damaged> {
        let offset = match link {
            Link::Bucket(bucket) => {
                let pair = self.word(self.layout.index.start + bucket / 2)?.load(Relaxed);
                (pair >> (32 * (bucket % 2))) as u32
            }
            Link::Entry(at) => {
                let [_, _, place, ..] = self.head_words(at)?;
                place.load(Relaxed) as u32
            }
        };
        Ok((offset != 0).then_some(offset as usize))
    }

    /// Lets this point there.
    pub fn point(&self, link: Link, offset: u32) -> Result<(), Damaged> {
        let (word, shift) = match link {
            Link::Bucket(bucket) => (self.word(self.layout.index.start + bucket / 2)?, 32 * (bucket % 2)),
            Link::Entry(at) => {
                let [_, _, place, ..] = self.head_words(at)?;
                (place, 0)
            }
        };
        let others = word.load(Relaxed) & !(u64::from(u32::MAX) << shift);
        word.store(others | u64::from(offset) << shift, Relaxed);
        Ok(())
    }

    /// The entries of a bucket, each with what points to it.
    pub fn bucket(&self, bucket: usize) -> Chain<'a> {
        // A bucket cannot have more entries than the partition: one that has would never end.
        let most = self.word(ENTRIES).map_or(0, |entries| entries.load(Relaxed));
        Chain { partition: *self, from: Some(Link::Bucket(bucket)), left: most.saturating_add(1) }
    }

    /// The entry of a key.
    pub fn find(&self, key: CacheKey) -> Result<Option<Found>, Damaged> {
        for found in self.bucket(self.layout.bucket_of(key)) {
            let found = found?;
            let [low, high, ..] = self.head_words(found.at)?;
            if low.load(Relaxed) == key.0 as u64 && high.load(Relaxed) == (key.0 >> 64) as u64 {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Looks an entry up. `counted`: as a use of it.
    pub fn get(&self, key: CacheKey, now: i64, buffer: &mut [u8], counted: bool) -> Result<Lookup, Damaged> {
        self.sound()?;
        let found = self.find(key)?;
        let lookup = if let Some(Found { at, .. }) = found {
            let head = self.head(at)?;
            if head.dead {
                return Err(Damaged);
            } else if head.expires_at <= now {
                Lookup::Expired
            } else if let Some(buffer) = buffer.get_mut(..head.length) {
                self.read(at, buffer)?;
                if counted {
                    self.count_hit(at)?;
                }
                Lookup::Hit(head.info())
            } else {
                // It is looked up again, and counted then.
                return Ok(Lookup::Grow(head.length));
            }
        } else {
            Lookup::Absent
        };
        if counted && self.sketch().count(key) {
            // A sample that is lost between two that count at the same time is one of thousands.
            let samples = self.word(SAMPLES)?;
            samples.store(samples.load(Relaxed).wrapping_add(1), Relaxed);
        }
        Ok(lookup)
    }

    fn count_hit(&self, at: usize) -> Result<(), Damaged> {
        let [_, _, _, uses, ..] = self.head_words(at)?;
        if (uses.load(Relaxed) as u32) < MOST_HITS {
            uses.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// The entry with the next larger key of the same bucket.
    pub fn next_in(&self, bucket: usize, after: Option<CacheKey>) -> Result<Option<Head>, Damaged> {
        let mut next: Option<Head> = None;
        for found in self.bucket(bucket) {
            let head = self.head(found?.at)?;
            if after.is_none_or(|after| head.key > after) && next.is_none_or(|next| head.key < next.key) {
                next = Some(head);
            }
        }
        Ok(next)
    }
}

/// Walks through a bucket.
pub(super) struct Chain<'a> {
    partition: Partition<'a>,
    from: Option<Link>,
    left: u64,
}

impl Iterator for Chain<'_> {
    type Item = Result<Found, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from.take()?;
        let at = match self.partition.follow(from) {
            Ok(at) => at?,
            Err(damaged) => return Some(Err(damaged)),
        };
        let Some(left) = self.left.checked_sub(1) else { return Some(Err(Damaged)) };
        (self.from, self.left) = (Some(Link::Entry(at)), left);
        Some(Ok(Found { at, from }))
    }
}
