//! Owns where things lie in the memory: first a few words that say how it is divided, then partitions that are alike.
//!
//! | of a partition | words |
//! | --- | --- |
//! | head: counters and the state of the rings | 32 |
//! | sketch: how often keys have been asked for | one for 128 of the rings |
//! | buckets of the index, two in a word | one for 256 of the rings |
//! | window: the ring that entries come into | the largest entry, or a hundredth of the rings |
//! | main: the ring that they stay in | the rest |
//!
//! Offsets count words of 8 bytes from the partition's beginning and have 32 bits, so that a partition may have 32 GB. 0 is none.

use crate::key::CacheKey;
use crate::sketch::BLOCK;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();
/// Words at the head of an entry.
pub(super) const ENTRY_HEAD: usize = 7;
/// Words at the head of a partition.
const PARTITION_HEAD: usize = 32;
/// Words at the head of the region.
const REGION_HEAD: usize = 8;
/// "vcache" and the version of the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"vcache\0\x01");
/// Words of the rings for one of the sketch: eight counters for an entry of 512 bytes. With half as many Zipf(0.8) loses 3 points.
const RINGS_PER_SKETCH: usize = 128;
/// Words of the rings for one of the index, which is two buckets.
const RINGS_PER_INDEX: usize = 256;
/// A window is at least this part of the rings.
const WINDOW_PART: usize = 100;
/// And at most this one: the largest entry is smaller where the memory is small.
const LARGEST_WINDOW_PART: usize = 3;
/// A partition has room for this many of the largest entries, so that its window is a small part of it.
const LARGEST_PER_PARTITION: usize = 60;
/// Lengths have 31 bits.
const LARGEST_ENTRY: usize = i32::MAX as usize;
/// More locks than this are of no use.
const MOST_PARTITIONS: usize = 128;

/// Words that an entry of so many bytes takes.
pub(super) fn extent(bytes: usize) -> usize {
    ENTRY_HEAD + bytes.div_ceil(WORD)
}

/// How a region is divided. It follows from its length and the largest entry alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub partitions: usize,
    pub partition_words: usize,
    pub sketch: Range<usize>,
    pub index: Range<usize>,
    pub window: Range<usize>,
    pub main: Range<usize>,
    /// Bytes of the largest entry that is stored.
    pub max_entry: usize,
}

impl Layout {
    /// For a region of so many words; `None` if that is too few for anything.
    pub fn new(words: usize, max_entry: usize) -> Option<Self> {
        let words = words.checked_sub(REGION_HEAD)?;
        let wanted = extent(max_entry.min(words * WORD));
        let partitions = (words / (wanted * LARGEST_PER_PARTITION)).clamp(1, MOST_PARTITIONS);
        // The power of two that is not above.
        let partitions = 1 << partitions.ilog2();
        let partition_words = (words / partitions).min(u32::MAX as usize) / BLOCK * BLOCK;
        let room = partition_words.checked_sub(PARTITION_HEAD)?;
        // Of 256 words of the rings, two are beside them in the sketch, and one in the index.
        let index = (room / (RINGS_PER_INDEX + RINGS_PER_INDEX / RINGS_PER_SKETCH + 1) + 1).next_multiple_of(BLOCK);
        let sketch = index * (RINGS_PER_INDEX / RINGS_PER_SKETCH);
        let rings = room.checked_sub(sketch + index)?;
        let window = wanted.min(rings / LARGEST_WINDOW_PART).max(rings / WINDOW_PART);
        let max_entry = max_entry.min(window.checked_sub(ENTRY_HEAD)? * WORD).min(LARGEST_ENTRY);
        let sketch = PARTITION_HEAD..PARTITION_HEAD + sketch;
        let index = sketch.end..sketch.end + index;
        let window = index.end..index.end + window;
        let main = window.end..partition_words;
        (max_entry > 0).then_some(Self { partitions, partition_words, sketch, index, window, main, max_entry })
    }

    /// How the region says that it is divided; `None` if it does not, or for another length.
    pub fn read(words: &[AtomicU64]) -> Option<Self> {
        let [magic, length, max_entry, ..] = words else { return None };
        let is_this = magic.load(Relaxed) == MAGIC && length.load(Relaxed) == words.len() as u64;
        if is_this { Self::new(words.len(), usize::try_from(max_entry.load(Relaxed)).ok()?) } else { None }
    }

    /// Says in the region how it is divided.
    pub fn write(words: &[AtomicU64], max_entry: usize) {
        if let [magic, length, largest, ..] = words {
            length.store(words.len() as u64, Relaxed);
            largest.store(max_entry as u64, Relaxed);
            magic.store(MAGIC, Relaxed);
        }
    }

    /// The partition of a key.
    pub fn partition_of(&self, key: CacheKey) -> usize {
        (key.0 >> 120) as usize & (self.partitions - 1)
    }

    /// The words of a partition.
    pub fn words<'a>(&self, region: &'a [AtomicU64], partition: usize) -> &'a [AtomicU64] {
        let start = REGION_HEAD + partition * self.partition_words;
        region.get(start..start + self.partition_words).unwrap_or_default()
    }

    /// Buckets of a partition's index.
    pub fn buckets(&self) -> usize {
        self.index.len() * 2
    }

    /// The bucket of a key.
    pub fn bucket_of(&self, key: CacheKey) -> usize {
        ((u64::from(key.0 as u32) * self.buckets() as u64) >> 32) as usize
    }

    /// Bytes of all rings.
    pub fn capacity(&self) -> usize {
        self.partitions * (self.window.len() + self.main.len()) * WORD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MB: usize = 1 << 20;

    #[test]
    fn sizes_in_use() {
        let of = |bytes: usize| Layout::new(bytes / WORD, 256 * 1024).unwrap();
        for (bytes, partitions) in [(MB, 1), (16 * MB, 1), (64 * MB, 4), (1024 * MB, 64), (256 << 30, 128)] {
            let layout = of(bytes);
            assert_eq!((layout.partitions, layout.max_entry), (partitions, 256 * 1024), "{bytes}");
            assert!(layout.capacity() as f64 > 0.98 * bytes as f64, "{bytes}: {layout:?}");
        }
        // Beyond 32 GB a partition the rest lies idle.
        assert_eq!(of(5 << 40).partition_words, u32::MAX as usize / BLOCK * BLOCK);
    }

    proptest! {
        #[test]
        fn parts_lie_one_behind_the_other(words in 0usize..1 << 40, max_entry in 0usize..1 << 40, shift in 0u32..40) {
            let (words, max_entry) = (words >> shift, max_entry >> shift.min(39));
            let Some(layout) = Layout::new(words, max_entry) else {
                prop_assert!(words < 200 || max_entry == 0);
                return Ok(());
            };
            prop_assert!(layout.partitions.is_power_of_two() && layout.partitions <= MOST_PARTITIONS);
            prop_assert!(REGION_HEAD + layout.partitions * layout.partition_words <= words);
            prop_assert_eq!(layout.sketch.start, PARTITION_HEAD);
            prop_assert_eq!(layout.sketch.end, layout.index.start);
            prop_assert_eq!(layout.index.end, layout.window.start);
            prop_assert_eq!(layout.window.end, layout.main.start);
            prop_assert_eq!(layout.main.end, layout.partition_words);
            prop_assert!(layout.sketch.start % BLOCK == 0 && layout.sketch.len() % BLOCK == 0 && !layout.index.is_empty());
            prop_assert!(layout.max_entry <= max_entry && extent(layout.max_entry) <= layout.window.len());
            prop_assert!(layout.main.len() >= layout.window.len());
            // Unless the memory is small, the largest entry is as large as it was to be.
            prop_assert!(layout.max_entry == max_entry.min(LARGEST_ENTRY) || words < 4 * extent(max_entry) + 200);
        }
    }
}
