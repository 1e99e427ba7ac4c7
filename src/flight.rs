//! Owns that one session at a time computes what many ask for, while the others wait for its entry.
//!
//! Who computes holds a lock for the key and the version of the source. Nobody waits in that lock: a waiter who holds what the other one needs would
//! be in a circle, and PostgreSQL would end one of them. A waiter looks again and again whether the entry is there or the lock is free, for as long as
//! `vcache.flight_wait`, and then asks the engine himself. Whoever fails gives the lock back with his transaction, and the next one has it
//! within milliseconds.
//!
//! Where an answer turned out to be none that is stored, too large say, those who ask for it do not wait for each other.

use crate::pg::lock::Computation;
use crate::pg::shmem::{self, Region};
use crate::pg::wait;
use crate::settings;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vcache_core::codec::Version;
use vcache_core::digest::digest;
use vcache_core::key::CacheKey;

shmem::shared_struct! {
    /// The last computation, of those that share the slot, whose answer was not stored.
    pub struct Unstored {
        number: AtomicU64,
    }
}

static UNSTORED: Region<Unstored> = Region::new(c"vcache unstored");
const SLOTS: usize = 1024;

/// Asks for what backends tell each other of, at server start.
pub fn request() {
    UNSTORED.request(SLOTS);
}

/// How soon a waiter looks again, at first and in the end.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(5);

/// Who computes.
pub enum Flight<T> {
    /// Another has: this is what was found of it.
    Landed(T),
    /// This session does.
    Own(Own),
}

/// A computation. With the lock, others wait for it.
pub struct Own {
    number: u64,
    lock: Option<Computation>,
}

impl Own {
    /// Ends it, and tells whether others will find its entry.
    pub fn end(self, is_stored: bool) {
        if let Some(slot) = slot(self.number) {
            if is_stored && slot.load(Ordering::Relaxed) == self.number {
                slot.store(0, Ordering::Relaxed);
            } else if !is_stored && self.lock.is_some() {
                slot.store(self.number, Ordering::Relaxed);
            }
        }
    }
}

/// Takes the computation over, or waits for another's. `glance` looks for an entry where that costs next to nothing, `look` everywhere.
pub fn join<T>(
    key: CacheKey,
    version: Version,
    glance: impl Fn() -> Option<T>,
    look: impl FnOnce() -> Option<T>,
) -> Flight<T> {
    let (number, wait) = (number(key, version), settings::flight_wait());
    let alone = Flight::Own(Own { number, lock: None });
    if wait.is_zero() || is_unstored(number) {
        return alone;
    }
    let own = |lock| Flight::Own(Own { number, lock: Some(lock) });
    if let Some(lock) = Computation::try_begin(number) {
        // Another may have come to its end since this session looked.
        return glance().map_or_else(|| own(lock), Flight::Landed);
    }
    let (begun, mut pause) = (Instant::now(), SOON);
    while let Some(left) = wait.checked_sub(begun.elapsed()).filter(|_| !is_unstored(number)) {
        wait::pause(pause.min(left));
        pause = (pause * 5 / 4).min(LATER);
        if let Some(found) = glance() {
            return Flight::Landed(found);
        }
        if let Some(lock) = Computation::try_begin(number) {
            return look().map_or_else(|| own(lock), Flight::Landed);
        }
    }
    alone
}

fn number(key: CacheKey, version: Version) -> u64 {
    let parts = [key.to_bytes(), version.clock.to_le_bytes(), version.shape.to_le_bytes()];
    // 0 is no number.
    digest(&parts.concat()) as u64 | 1
}

fn slot(number: u64) -> Option<&'static AtomicU64> {
    let slots = UNSTORED.slots()?;
    slots.get((number >> 1) as usize % SLOTS).map(|slot| &slot.number)
}

fn is_unstored(number: u64) -> bool {
    slot(number).is_some_and(|slot| slot.load(Ordering::Relaxed) == number)
}
