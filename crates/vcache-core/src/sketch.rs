//! Owns the estimate of how often keys have been asked for lately: counters of four bits, four for each key, of which the smallest is the
//! estimate. (G. Einziger, R. Friedman, B. Manes: TinyLFU, ACM Transactions on Storage 13(4), 2017.)
//!
//! The four counters of a key lie in one block of 64 bytes, as in Caffeine: counting touches one line of the processor's cache.
//! Many may count at the same time without a lock. A count can get lost between them; it is an estimate all the same.

use crate::key::CacheKey;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words of a block.
pub const BLOCK: usize = 8;

/// The largest estimate.
pub const MOST: u32 = 15;

/// A sketch in words that others may share, a whole number of blocks of them.
#[derive(Clone, Copy)]
pub struct Sketch<'a> {
    blocks: &'a [[AtomicU64; BLOCK]],
}

impl<'a> Sketch<'a> {
    /// The sketch in these words; words behind the last whole block are left alone. All zero is an empty sketch.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self { blocks: words.as_chunks().0 }
    }

    /// Counts one use. Whether that changed anything: the most frequent keys are at the end of their counters, and cost no write.
    pub fn count(&self, key: CacheKey) -> bool {
        let Some(counters) = self.counters(key) else { return false };
        let values = counters.map(|(word, shift)| (word.load(Relaxed) >> shift) as u32 & MOST);
        let least = values.into_iter().min().unwrap_or(MOST);
        if least == MOST {
            return false;
        }
        // Counters above the least belong to others as well, and say nothing more about this key.
        for ((word, shift), value) in counters.into_iter().zip(values) {
            if value == least {
                word.store(word.load(Relaxed).wrapping_add(1 << shift), Relaxed);
            }
        }
        true
    }

    /// How often the key has been counted, rather too high than too low, and at most [`MOST`].
    pub fn estimate(&self, key: CacheKey) -> u32 {
        let counters = self.counters(key);
        let values = counters.into_iter().flatten().map(|(word, shift)| (word.load(Relaxed) >> shift) as u32 & MOST);
        values.min().unwrap_or(0)
    }

    /// Halves all counters, so that what was asked for long ago is forgotten.
    pub fn halve(&self) {
        for word in self.blocks.as_flattened() {
            word.store((word.load(Relaxed) >> 1) & 0x7777_7777_7777_7777, Relaxed);
        }
    }

    /// The counters of a key: a word and the place of four bits in it, each in another pair of words.
    fn counters(&self, key: CacheKey) -> Option<[(&'a AtomicU64, u32); 4]> {
        let (block, choice) = ((key.0 >> 32) as u32, (key.0 >> 64) as u32);
        let block = (u64::from(block) * self.blocks.len() as u64) >> 32;
        let [a, b, c, d, e, f, g, h] = self.blocks.get(block as usize)?;
        // Of the key's bits five choose a counter: one the word, four the place.
        let of_pair = |nth: u32, pair: [&'a AtomicU64; 2]| {
            let choice = choice >> (5 * nth);
            let [even, odd] = pair;
            (if choice & 16 == 0 { even } else { odd }, (choice & 15) * 4)
        };
        Some([of_pair(0, [a, b]), of_pair(1, [c, d]), of_pair(2, [e, f]), of_pair(3, [g, h])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn words(blocks: usize) -> Vec<AtomicU64> {
        (0..blocks * BLOCK).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn counts_end_and_are_halved() {
        let words = words(3);
        let sketch = Sketch::new(&words);
        for turn in 1..=20 {
            assert_eq!(sketch.count(CacheKey(7)), turn <= MOST);
            assert_eq!(sketch.estimate(CacheKey(7)), turn.min(MOST));
        }
        for left in [7, 3, 1, 0] {
            sketch.halve();
            assert_eq!(sketch.estimate(CacheKey(7)), left);
        }
    }

    #[test]
    fn without_words_it_knows_nothing() {
        let sketch = Sketch::new(&[]);
        assert!(!sketch.count(CacheKey(7)));
        assert_eq!(sketch.estimate(CacheKey(7)), 0);
    }

    proptest! {
        /// No estimate is below the truth, as far as it counts, and one far above it is rare.
        #[test]
        fn it_errs_upwards_and_seldom(keys in prop::collection::vec(any::<u128>(), 1..200), uses in prop::collection::vec(any::<prop::sample::Index>(), 0..600)) {
            let words = words(32);
            let sketch = Sketch::new(&words);
            let mut truth = HashMap::new();
            for used in uses {
                let key = *used.get(&keys);
                sketch.count(CacheKey(key));
                *truth.entry(key).or_insert(0u32) += 1;
            }
            let mut above = 0;
            for key in &keys {
                let (counted, estimate) = (truth.get(key).copied().unwrap_or(0), sketch.estimate(CacheKey(*key)));
                prop_assert!(estimate >= counted.min(MOST));
                above += usize::from(estimate > counted + 3);
            }
            prop_assert!(above <= 2 + keys.len() / 10, "{above} of {}", keys.len());
        }
    }
}
