//! Measures what looking up and storing cost, and the memory that an entry takes, for entries of 4 kB:
//!
//!     cargo run --release -p vcache-core --example arena
//!
//! The largest arena needs 4.5 GB of memory.
#![allow(clippy::expect_used, reason = "a program to measure with: where it is wrong it is to stop")]

use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::RwLock;
use std::time::Instant;
use vcache_core::arena::{Arena, Lookup, NewEntry, Region, partitions};
use vcache_core::key::CacheKey;

const BYTES: usize = 4096;
const MAX_ENTRY: usize = 256 << 10;
const TURNS: u64 = 1_000_000;

/// Keys in an order that no prefetcher guesses: SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
fn key(number: u64) -> CacheKey {
    let mix = |number: u64| {
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed ^ mixed >> 31)
    };
    CacheKey(mix(2 * number + 1) << 64 | mix(2 * number + 2))
}

fn entry(number: u64, bytes: &[u8]) -> NewEntry<'_> {
    NewEntry { key: key(number), bytes, owner: 1, stored_at: 0, expires_at: 1, only_if_absent: false }
}

/// Nanoseconds of a turn, in the quickest tenth of them.
fn time(mut turn: impl FnMut(u64)) -> f64 {
    let tenth = TURNS / 10;
    let tenths = (0..10).map(|nth| {
        let begun = Instant::now();
        (nth * tenth..(nth + 1) * tenth).for_each(&mut turn);
        begun.elapsed().as_nanos() as f64 / tenth as f64
    });
    tenths.fold(f64::INFINITY, f64::min)
}

fn measure(entries: u64, region_bytes: usize) {
    let mut memory = vec![0u64; region_bytes / 8];
    let start = NonNull::from(memory.as_mut_slice()).cast();
    #[expect(unsafe_code, reason = "memory as the caller of the arena has it")]
    // SAFETY: the memory is the vector's, which lives as long as the arena and is used by nothing else.
    let region = unsafe { Region::new(start, region_bytes) }.expect("words are aligned");
    let locks: Vec<_> = (0..partitions(region_bytes, MAX_ENTRY)).map(|_| RwLock::new(())).collect();
    let count = locks.len();
    let arena = Arena::create(region, MAX_ENTRY, locks).expect("an arena");
    let (mut buffer, bytes) = (vec![0; BYTES], vec![7; BYTES]);
    for number in 0..entries {
        arena.put(&entry(number, &bytes), 0, |_| {});
    }
    let fill = arena.fill();
    let hit = time(|turn| {
        let number = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries;
        black_box(arena.get(key(number), 0, &mut buffer));
    });
    let miss = time(|turn| {
        black_box(arena.get(key(entries + turn % entries), 0, &mut buffer));
    });
    let replace = time(|turn| {
        arena.put(&entry(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries, &bytes), 0, |_| {});
    });
    // So many that every partition is full, and each makes room.
    let number = entries + fill.capacity / BYTES as u64 * 6 / 5;
    for number in entries..number {
        arena.put(&entry(number, &bytes), 0, |_| {});
    }
    assert!(arena.fill().evictions > 0);
    let full = arena.fill();
    let beside = (region_bytes as u64 - full.bytes) as f64 / full.entries as f64;
    let evict = time(|turn| {
        arena.put(&entry(number + turn, &bytes), 0, |_| {});
    });
    assert!(matches!(arena.get(key(number + TURNS - 1), 0, &mut buffer), Lookup::Hit(_)));
    println!(
        "{:>9} entries in {:>5} MB, {count:>3} partitions: hit {hit:.0} ns, miss {miss:.0} ns, replace {replace:.0} ns, \
         put that evicts {evict:.0} ns; full at {} entries, {beside:.1} bytes beside those of an entry",
        fill.entries,
        region_bytes >> 20,
        full.entries,
    );
}

fn main() {
    for (entries, megabytes) in [(1_000, 5), (1_000, 64), (10_000, 64), (1_000, 4500), (1_000_000, 4500)] {
        measure(entries, megabytes << 20);
    }
    // What the bytes cost alone.
    let (from, mut to) = (vec![7u8; BYTES], vec![0u8; BYTES]);
    println!(
        "copying {BYTES} bytes that are in the processor's cache: {:.0} ns",
        time(|_| black_box(&mut to).copy_from_slice(black_box(&from)))
    );
}
