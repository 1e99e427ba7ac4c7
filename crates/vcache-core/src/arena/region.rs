//! Owns the step from a piece of memory to words that are safe to use: the only unsafe code of this crate.
//!
//! All that lies in the memory is read and written as relaxed atomic words of 64 bits. On the processors in question these are ordinary
//! loads and stores, so that a broken lock, or memory that something else has written to, makes wrong values and never undefined behaviour.
#![allow(unsafe_code, reason = "the one step from memory to words")]

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Memory that several processes have mapped, each possibly at another address.
#[derive(Clone, Copy)]
pub struct Region<'a> {
    pub(super) words: &'a [AtomicU64],
}

impl<'a> Region<'a> {
    /// The memory of `bytes` bytes at `start`; `None` if `start` is not a multiple of 8. What is in it does not matter.
    ///
    /// # Safety
    /// The memory is initialised, readable and writable throughout `'a`, and whoever uses it meanwhile does so through a `Region`.
    pub unsafe fn new(start: NonNull<u8>, bytes: usize) -> Option<Self> {
        let start = start.cast::<AtomicU64>();
        if !start.is_aligned() || bytes > isize::MAX as usize {
            return None;
        }
        // SAFETY: the caller vouches for the memory, its alignment and length were checked, and any bits are an AtomicU64.
        let words = unsafe { NonNull::slice_from_raw_parts(start, bytes / size_of::<AtomicU64>()).as_ref() };
        Some(Self { words })
    }
}

impl<'a> From<&'a [AtomicU64]> for Region<'a> {
    fn from(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }
}
