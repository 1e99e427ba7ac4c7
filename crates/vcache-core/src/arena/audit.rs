//! Owns what holds of every arena that is not damaged, for tests to see.

use super::layout::Layout;
use super::partition::{BYTES, ENTRIES, MAIN, Partition, WINDOW};
use super::ring::Ring;
use super::{Arena, Damaged, Locks};
use std::sync::atomic::Ordering::Relaxed;

impl<L: Locks> Arena<'_, L> {
    /// Whether what the index reaches and what lies in the rings are the same, and the counters theirs. For tests: it looks at everything, a partition
    /// at a time, under its lock.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        for number in 0..self.layout.partitions {
            let found = self.locks.exclusive(number, || self.audit_partition(number, &self.partition(number)));
            found.unwrap_or(Err("damaged")).map_err(|wrong| format!("partition {number}: {wrong}"))?;
        }
        Ok(())
    }

    fn audit_partition(&self, number: usize, partition: &Partition<'_>) -> Result<Result<(), &'static str>, Damaged> {
        partition.sound()?;
        let Layout { window, main, .. } = &self.layout;
        let mut live = 0;
        for (words, state) in [(window, WINDOW), (main, MAIN)] {
            let ring = Ring::load(words, partition.ring_state(state)?)?;
            let (mut live_here, mut end) = (0, ring.head());
            for at in ring.walk(|at| partition.head(at).map(|head| at + head.extent)) {
                let at = at?;
                let head = partition.head(at)?;
                end = at + head.extent;
                if !ring.holds(at) || end > words.end {
                    return Ok(Err("an entry lies outside of its ring"));
                }
                let found = partition.find(head.key)?.map(|found| found.at);
                if (found == Some(at)) == head.dead {
                    return Ok(Err("an entry is removed and found, or neither"));
                }
                live_here += usize::from(!head.dead);
            }
            if end != ring.head() || live_here != ring.live() {
                return Ok(Err("a ring does not end where it ends, or miscounts"));
            }
            live += live_here as u64;
        }
        let (mut entries, mut bytes) = (0, 0);
        for bucket in 0..self.layout.buckets() {
            for found in partition.bucket(bucket) {
                let head = partition.head(found?.at)?;
                if self.layout.bucket_of(head.key) != bucket || self.layout.partition_of(head.key) != number {
                    return Ok(Err("an entry is in another's bucket"));
                }
                entries += 1;
                bytes += head.length as u64;
            }
        }
        let counted = [partition.word(ENTRIES)?, partition.word(BYTES)?].map(|word| word.load(Relaxed));
        let alike = [entries, bytes] == counted && entries == live;
        Ok(if alike { Ok(()) } else { Err("the counters are not those of the entries") })
    }
}
