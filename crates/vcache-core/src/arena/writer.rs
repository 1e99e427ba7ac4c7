//! Owns what is done under an exclusive lock: storing, removing, and the choice of what makes room for what.
//!
//! An entry comes into the window, a small ring. When the window needs its room, it may move to the main ring: for nothing while
//! there is room, and else if it has been asked for more often lately than those at the main ring's tail together that would have to go.
//! An entry at that tail that stays is moved to the head, so that the next one is measured against another: each entry that leaves the window moves
//! the tail on, and what has been removed or has expired there gives its room back. (docs/decisions/0008-eviction.md)

use super::layout::{Layout, extent};
use super::partition::{
    BYTES, ENTRIES, EVICTIONS, EXPIRIES, Found, Head, Link, MAIN, Partition, SAMPLES, WINDOW, WRITING,
};
use super::ring::Ring;
use super::{Damaged, Evicted, NewEntry, Stored};
use crate::key::CacheKey;
use std::sync::atomic::Ordering::Relaxed;

/// The sketch is halved when it has counted this many uses for each entry.
const SAMPLES_PER_ENTRY: u64 = 10;
/// For fewer entries than this, as for this many.
const FEWEST_ENTRIES: u64 = 100;

/// A partition that is locked exclusively, while it changes.
pub(super) struct Writer<'a, F> {
    partition: Partition<'a>,
    window: Ring,
    main: Ring,
    entries: u64,
    bytes: u64,
    evictions: u64,
    expiries: u64,
    evicted: F,
}

/// Changes a partition that is locked exclusively. One that is damaged is reset, and the change has not been made.
pub(super) fn change<'a, F: FnMut(Evicted), R>(
    partition: Partition<'a>,
    evicted: F,
    change: impl FnOnce(&mut Writer<'a, F>) -> Result<R, Damaged>,
) -> Result<R, Damaged> {
    let changed = Writer::begin(partition, evicted).and_then(|mut writer| {
        let changed = change(&mut writer)?;
        writer.finish()?;
        Ok(changed)
    });
    if changed.is_err() {
        partition.reset();
    }
    changed
}

impl<'a, F: FnMut(Evicted)> Writer<'a, F> {
    fn begin(partition: Partition<'a>, evicted: F) -> Result<Self, Damaged> {
        partition.sound()?;
        let value = |at| partition.word(at).map(|word| word.load(Relaxed));
        let Layout { window, main, .. } = partition.layout();
        let writer = Self {
            window: Ring::load(window, partition.ring_state(WINDOW)?)?,
            main: Ring::load(main, partition.ring_state(MAIN)?)?,
            entries: value(ENTRIES)?,
            bytes: value(BYTES)?,
            evictions: value(EVICTIONS)?,
            expiries: value(EXPIRIES)?,
            evicted,
            partition,
        };
        partition.word(WRITING)?.store(1, Relaxed);
        Ok(writer)
    }

    fn finish(self) -> Result<(), Damaged> {
        let set = |at, value| self.partition.word(at).map(|word| word.store(value, Relaxed));
        self.window.store(self.partition.ring_state(WINDOW)?);
        self.main.store(self.partition.ring_state(MAIN)?);
        set(ENTRIES, self.entries)?;
        set(BYTES, self.bytes)?;
        set(EVICTIONS, self.evictions)?;
        set(EXPIRIES, self.expiries)?;
        set(WRITING, 0)
    }

    /// Stores an entry, in the place of an older one of its key if it fits there.
    pub fn put(&mut self, entry: &NewEntry<'_>, now: i64) -> Result<Stored, Damaged> {
        let needed = extent(entry.bytes.len());
        let mut head = Head {
            key: entry.key,
            link: 0,
            extent: needed,
            length: entry.bytes.len(),
            dead: false,
            hits: 0,
            owner: entry.owner,
            stored_at: entry.stored_at,
            expires_at: entry.expires_at,
        };
        let mut stored = Stored::New;
        if let Some(found) = self.partition.find(entry.key)? {
            let old = self.partition.head(found.at)?;
            let stands = old.expires_at > now;
            if stands && entry.only_if_absent {
                return Ok(Stored::Stands);
            }
            if stands {
                stored = Stored::Replaced;
            }
            if needed <= old.extent {
                (head.link, head.extent) = (old.link, old.extent);
                self.bytes = self.bytes.wrapping_add(entry.bytes.len() as u64).wrapping_sub(old.length as u64);
                self.partition.set_head(found.at, &head)?;
                self.partition.write(found.at, entry.bytes)?;
                return Ok(stored);
            }
            self.remove_found(found)?;
        }
        let at = loop {
            match self.window.push(needed) {
                Some(at) => break at,
                None => self.make_room(now)?,
            }
        };
        let bucket = Link::Bucket(self.partition.layout().bucket_of(entry.key));
        head.link = self.partition.follow(bucket)?.unwrap_or(0) as u32;
        self.partition.set_head(at, &head)?;
        self.partition.write(at, entry.bytes)?;
        self.partition.point(bucket, at as u32)?;
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.bytes.len() as u64);
        self.age()?;
        Ok(stored)
    }

    /// Removes the entry of a key. Whether there was one.
    pub fn remove(&mut self, key: CacheKey) -> Result<bool, Damaged> {
        let found = self.partition.find(key)?;
        found.map(|found| self.remove_found(found)).transpose().map(|removed| removed.is_some())
    }

    /// Removes the entries of a bucket whose owners are not to keep theirs; how many.
    pub fn retain(&mut self, bucket: usize, keep: impl Fn(u64) -> bool) -> Result<usize, Damaged> {
        let (mut removed, mut link) = (0, Link::Bucket(bucket));
        let mut left = self.entries;
        while let Some(at) = self.partition.follow(link)? {
            if keep(self.partition.head(at)?.owner) {
                left = left.checked_sub(1).ok_or(Damaged)?;
                link = Link::Entry(at);
            } else {
                self.remove_found(Found { at, from: link })?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Makes some room in the window.
    fn make_room(&mut self, now: i64) -> Result<(), Damaged> {
        let at = self.window.oldest().ok_or(Damaged)?;
        let head = self.partition.head(at)?;
        if head.dead {
            self.window.pop(head.extent, false)
        } else if head.expires_at > now && self.admit(at, &head, now)? {
            Ok(())
        } else {
            self.window.pop(head.extent, true)?;
            self.evict(at, now)
        }
    }

    /// Moves the window's oldest entry to the main ring if it is worth it.
    fn admit(&mut self, at: usize, head: &Head, now: i64) -> Result<bool, Damaged> {
        let sketch = self.partition.sketch();
        let needed = extent(head.length);
        let worth = sketch.estimate(head.key);
        let mut cost = 0;
        while self.main.room(needed).is_none() {
            let victim_at = self.main.oldest().ok_or(Damaged)?;
            let victim = self.partition.head(victim_at)?;
            if victim.dead {
                self.main.pop(victim.extent, false)?;
                continue;
            }
            self.main.pop(victim.extent, true)?;
            if victim.expires_at > now {
                let size = extent(victim.length);
                cost += sketch.estimate(victim.key);
                // A lead of one is the request that has just stored the entry: then the smaller one stays.
                if worth <= cost + u32::from(size <= needed) {
                    let stays = self.main.push(size).ok_or(Damaged)?;
                    self.relocate(victim_at, stays)?;
                    return Ok(false);
                }
            }
            self.evict(victim_at, now)?;
        }
        self.window.pop(head.extent, true)?;
        let to = self.main.push(needed).ok_or(Damaged)?;
        self.relocate(at, to)?;
        Ok(true)
    }

    /// Copies an entry to a place that has been taken for it, with no more room than it needs.
    fn relocate(&mut self, at: usize, to: usize) -> Result<(), Damaged> {
        let head = self.partition.head(at)?;
        let from = self.from(at, head.key)?;
        self.partition.point(from, to as u32)?;
        // The new place may begin before the old one and overlap it: nothing is written that has not been read.
        self.partition.set_head(to, &Head { extent: extent(head.length), ..head })?;
        self.partition.copy(at, to, head.length)
    }

    /// What points to an entry.
    fn from(&self, at: usize, key: CacheKey) -> Result<Link, Damaged> {
        for found in self.partition.bucket(self.partition.layout().bucket_of(key)) {
            let found = found?;
            if found.at == at {
                return Ok(found.from);
            }
        }
        Err(Damaged)
    }

    /// Forgets an entry whose room has been given back, and nothing put there yet.
    fn evict(&mut self, at: usize, now: i64) -> Result<(), Damaged> {
        // Read anew: what was next in its bucket may have been evicted since.
        let head = self.partition.head(at)?;
        self.unlink(&head, self.from(at, head.key)?)?;
        let expired = head.expires_at <= now;
        if expired {
            self.expiries = self.expiries.wrapping_add(1);
        } else {
            self.evictions = self.evictions.wrapping_add(1);
        }
        (self.evicted)(Evicted { owner: head.owner, expired });
        Ok(())
    }

    fn remove_found(&mut self, found: Found) -> Result<(), Damaged> {
        let head = self.partition.head(found.at)?;
        if head.dead {
            return Err(Damaged);
        }
        self.unlink(&head, found.from)?;
        self.partition.set_head(found.at, &Head { dead: true, ..head })?;
        if self.window.holds(found.at) { self.window.remove() } else { self.main.remove() }
    }

    fn unlink(&mut self, head: &Head, from: Link) -> Result<(), Damaged> {
        self.partition.point(from, head.link)?;
        self.entries = self.entries.checked_sub(1).ok_or(Damaged)?;
        self.bytes = self.bytes.checked_sub(head.length as u64).ok_or(Damaged)?;
        Ok(())
    }

    /// Lets the sketch forget half of what it has counted, when that is much.
    fn age(&self) -> Result<(), Damaged> {
        let samples = self.partition.word(SAMPLES)?;
        let counted = samples.load(Relaxed);
        if counted >= SAMPLES_PER_ENTRY.saturating_mul(self.entries.max(FEWEST_ENTRIES)) {
            self.partition.sketch().halve();
            samples.store(counted / 2, Relaxed);
        }
        Ok(())
    }
}
