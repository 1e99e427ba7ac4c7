//! Owns a number that is drawn whenever shared memory is laid out: at server start, and after a backend has crashed, which empties
//! unlogged tables and leaves no other trace.

use super::random;
use super::shmem::{self, Region};
use std::sync::atomic::{AtomicU64, Ordering};

shmem::shared_struct! {
    /// The number; 0 until it is drawn.
    pub struct Slot {
        number: AtomicU64,
    }
}

static SLOT: Region<Slot> = Region::new(c"vcache nonce");

/// Asks for the number's place, at server start.
pub fn request() {
    SLOT.request(1);
}

/// The number; `None` without preload.
pub fn get() -> Option<u64> {
    let number = &SLOT.slots()?.first()?.number;
    let drawn = random::bits() as u64 | 1;
    let first = number.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed);
    Some(first.map_or_else(|before| before, |_| drawn))
}
