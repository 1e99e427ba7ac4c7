//! Owns where entries lie in a ring: one behind the other, new ones at the head, and room is made at the tail.
//!
//! An entry lies in one piece. One that does not fit behind the head begins at the ring's start, and `wrap` says where the ones
//! before it end. What was removed from the middle takes its room until the tail has passed.

use super::Damaged;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words of a ring's state.
pub(super) const STATE: usize = 5;

/// The state of a ring, out of the shared memory for as long as the partition is locked exclusively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring {
    start: usize,
    end: usize,
    /// Where the newest entry ends.
    head: usize,
    /// Where the oldest begins.
    tail: usize,
    /// Where the entries end that lie behind the head, or the ring.
    wrap: usize,
    /// Entries between tail and head, with those that have been removed.
    slots: usize,
    /// Those that have not.
    live: usize,
}

impl Ring {
    /// A ring of these words without entries.
    pub fn empty(words: &Range<usize>) -> Self {
        let &Range { start, end } = words;
        Self { start, end, head: start, tail: start, wrap: end, slots: 0, live: 0 }
    }

    /// The ring of these words, as it was stored.
    pub fn load(words: &Range<usize>, state: &[AtomicU64; STATE]) -> Result<Self, Damaged> {
        let [head, tail, wrap, slots, live] = state.each_ref().map(|word| word.load(Relaxed) as usize);
        let &Range { start, end } = words;
        let within = |at: usize| start <= at && at <= end;
        let sound = within(head)
            && within(tail)
            && within(wrap)
            && live <= slots
            && (live == 0) == (slots == 0)
            && slots <= words.len();
        // Entries lie from tail to head, or from tail to wrap and from start to head.
        let placed = if slots == 0 || tail < head { wrap == end } else { head <= tail && tail < wrap };
        if sound && placed { Ok(Self { start, end, head, tail, wrap, slots, live }) } else { Err(Damaged) }
    }

    /// Keeps it for whoever locks the partition next.
    pub fn store(&self, state: &[AtomicU64; STATE]) {
        for (word, value) in state.iter().zip([self.head, self.tail, self.wrap, self.slots, self.live]) {
            word.store(value as u64, Relaxed);
        }
    }

    /// Whether a word is one of the ring's.
    pub fn holds(&self, at: usize) -> bool {
        self.start <= at && at < self.end
    }

    /// The oldest entry, removed or not.
    pub fn oldest(&self) -> Option<usize> {
        (self.slots > 0).then_some(self.tail)
    }

    /// Entries that have not been removed.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Where the entries begin, oldest first, given where each ends.
    pub fn walk(&self, end: impl Fn(usize) -> Result<usize, Damaged>) -> impl Iterator<Item = Result<usize, Damaged>> {
        let (mut next, start, wrap) = (Some(self.tail), self.start, self.wrap);
        (0..self.slots).map(move |_| {
            let at = next.take().ok_or(Damaged)?;
            let end = end(at)?;
            next = Some(if end == wrap { start } else { end });
            Ok(at)
        })
    }

    /// Where the newest ends.
    pub fn head(&self) -> usize {
        self.head
    }

    /// Where the next entry would begin; `None` while there is no room for so many words in one piece.
    pub fn room(&self, extent: usize) -> Option<usize> {
        let fits = |from: usize, to: usize| (to.saturating_sub(from) >= extent).then_some(from);
        if self.slots == 0 {
            fits(self.start, self.end)
        } else if self.tail < self.head {
            fits(self.head, self.end).or_else(|| fits(self.start, self.tail))
        } else {
            fits(self.head, self.tail)
        }
    }

    /// Takes the room for an entry, at its head; `None` while there is none.
    pub fn push(&mut self, extent: usize) -> Option<usize> {
        let at = self.room(extent)?;
        if self.slots == 0 {
            *self = self.emptied();
        } else if at != self.head {
            self.wrap = self.head;
        }
        self.head = at + extent;
        self.slots += 1;
        self.live += 1;
        Some(at)
    }

    /// Gives the room of the oldest entry back, which is so large; `live`: it had not been removed before.
    pub fn pop(&mut self, extent: usize, live: bool) -> Result<(), Damaged> {
        let wrapped = self.head <= self.tail;
        let limit = if wrapped { self.wrap } else { self.head };
        let next = self.tail.saturating_add(extent);
        if self.slots == 0 || extent == 0 || next > limit {
            return Err(Damaged);
        }
        if live {
            self.live = self.live.checked_sub(1).ok_or(Damaged)?;
        }
        self.slots -= 1;
        if self.live == 0 {
            *self = self.emptied();
        } else if next < limit {
            self.tail = next;
        } else if wrapped {
            (self.tail, self.wrap) = (self.start, self.end);
        } else {
            return Err(Damaged);
        }
        Ok(())
    }

    /// One of its entries has been removed. When it was the last, all room is free.
    pub fn remove(&mut self) -> Result<(), Damaged> {
        self.live = self.live.checked_sub(1).ok_or(Damaged)?;
        if self.live == 0 {
            *self = self.emptied();
        }
        Ok(())
    }

    fn emptied(&self) -> Self {
        Self::empty(&(self.start..self.end))
    }
}
