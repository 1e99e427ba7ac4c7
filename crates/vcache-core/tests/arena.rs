//! The arena against a model of it, against damage, and between threads.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: clippy knows only the functions marked so"
)]

#[path = "../fuzz/checks/arena.rs"]
mod arena;

use arena::{check, check_damage, key};
use proptest::prelude::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use vcache_core::arena::{Arena, Cursor, Lookup, NewEntry, Stored};
use vcache_core::key::CacheKey;

fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

/// Bytes of operations; Miri is some hundred times slower.
const LONGEST: usize = if cfg!(miri) { 400 } else { 2000 };

proptest! {
    /// The sizes stay within what makes for many evictions and several partitions.
    #[test]
    fn it_is_a_map_that_forgets(
        size: u8, largest in prop_oneof![Just(0u8), 0u8..20, any::<u8>()],
        operations in prop::collection::vec(any::<u8>(), 0..LONGEST),
    ) {
        check(&[&[size, largest], operations.as_slice()].concat());
    }

    #[test]
    fn damage_is_survived(operations in prop::collection::vec(any::<u8>(), 0..LONGEST)) {
        check_damage(&operations);
    }
}

fn entry(number: u8, bytes: &[u8]) -> NewEntry<'_> {
    NewEntry { key: key(number), bytes, owner: 0, stored_at: 0, expires_at: 1, only_if_absent: false }
}

#[test]
fn another_process_attaches_at_another_address() {
    let first = words(20_000);
    let arena = arena::arena(&first, 100).unwrap();
    assert_eq!(arena.put(&entry(7, b"seven"), 0, |_| {}), Stored::New);
    // The same memory elsewhere: a copy.
    let second: Vec<AtomicU64> = first.iter().map(|word| AtomicU64::new(word.load(Relaxed))).collect();
    let locks = (0..128).map(|_| Default::default()).collect::<Vec<std::sync::RwLock<()>>>();
    let attached = Arena::attach(second.as_slice().into(), locks).unwrap();
    assert_eq!(attached.max_entry(), arena.max_entry());
    let mut buffer = [0; 100];
    assert!(matches!(attached.get(key(7), 0, &mut buffer), Lookup::Hit(info) if &buffer[..info.bytes] == b"seven"));
    attached.audit().unwrap();
}

#[test]
fn memory_without_an_arena_is_not_attached_to() {
    let other: Vec<AtomicU64> = (0..1000).map(|word| AtomicU64::new(word * word)).collect();
    assert!(Arena::attach(other.as_slice().into(), Vec::new()).is_none());
    assert!(arena::arena(&other, 100).is_some());
    assert!(Arena::attach(other.as_slice().into(), Vec::new()).is_some());
    assert!(Arena::attach(other[..999].into(), Vec::new()).is_none(), "it has another length");
}

#[test]
fn the_largest_entry_fits_and_no_larger_one() {
    // Miri would take minutes for a megabyte.
    let kilobyte = if cfg!(miri) { 32 } else { 1024 };
    let memory = words(1024 * kilobyte);
    let arena = arena::arena(&memory, 256 * kilobyte).unwrap();
    assert_eq!(arena.max_entry(), 256 * kilobyte);
    let bytes = vec![7; arena.max_entry() + 1];
    for number in 0..20 {
        assert_eq!(arena.put(&entry(number, &bytes[1..]), 0, |_| {}), Stored::New);
        assert_eq!(arena.put(&entry(99, &bytes), 0, |_| {}), Stored::TooLarge);
    }
    arena.audit().unwrap();
    assert!(arena.fill().entries >= 2);
}

/// What is looked up often stays, however much else passes through.
#[test]
#[cfg_attr(miri, ignore = "it is about numbers")]
fn a_scan_leaves_what_is_used() {
    let memory = words(1 << 18);
    let arena = arena::arena(&memory, 256).unwrap();
    let mut buffer = [0; 256];
    let mut evicted = 0;
    let turns = 2000;
    for turn in 0..turns {
        for number in 0..20 {
            if matches!(arena.get(key(number), 0, &mut buffer), Lookup::Absent) {
                assert!(turn == 0, "{number} was evicted in turn {turn}");
                arena.put(&entry(number, &[number; 200]), 0, |_| {});
            }
        }
        let once = u128::from(turn + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let once = NewEntry { key: CacheKey(once), owner: 1, ..entry(0, &[0; 200]) };
        assert_eq!(arena.get(once.key, 0, &mut buffer), Lookup::Absent);
        arena.put(&once, 0, |gone| {
            assert_eq!(gone.owner, 1);
            evicted += 1;
        });
    }
    assert!(evicted > turns / 10 && arena.fill().evictions == evicted, "{evicted}");
}

/// What is asked for often gets in, though what it goes for was there first, and goes when nobody has asked for it for long.
#[test]
#[cfg_attr(miri, ignore = "it is about numbers")]
fn what_is_asked_for_often_gets_in_and_out() {
    let memory = words(1 << 18);
    let arena = arena::arena(&memory, 256).unwrap();
    let (mut random, mut evicted) = (1u128, 0);
    let mut others = |evictions: u64, uses: usize| {
        while evicted < evictions {
            random = random.wrapping_mul(0xda94_2042_e4dd_58b5_ffff_0001).rotate_left(64);
            let other = NewEntry { key: CacheKey(random), ..entry(0, &[0; 200]) };
            for _ in 0..uses {
                assert_eq!(arena.get(other.key, 0, &mut []), Lookup::Absent);
            }
            arena.put(&other, 0, |_| evicted += 1);
        }
        evicted
    };
    let before = others(200, 1);
    let often = |number: u8| key(number * 4);
    for number in 0..10 {
        for _ in 0..12 {
            assert_eq!(arena.get(often(number), 0, &mut []), Lookup::Absent);
        }
        arena.put(&NewEntry { key: often(number), ..entry(0, &[number; 200]) }, 0, |_| {});
    }
    let before = others(before + 200, 1);
    let stay = || (0..10).filter(|number| arena.peek(often(*number), 0, &mut []) != Lookup::Absent).count();
    assert_eq!(stay(), 10);
    others(before + 20_000, 3);
    assert_eq!(stay(), 0);
}

#[test]
fn a_writer_that_did_not_end_leaves_damage_that_the_next_one_resets() {
    let memory = words(10_000);
    let arena = arena::arena(&memory, 256).unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for number in 0..200 {
            arena.put(&entry(number, &[number; 200]), 0, |_| panic!("in the middle"));
        }
    }));
    ended.unwrap_err();
    let mut buffer = [0; 256];
    let damaged =
        (0..200).filter(|number| arena.peek(key(*number), 0, &mut buffer) == Lookup::Damaged).collect::<Vec<_>>();
    let first = *damaged.first().expect("a damaged partition");
    assert!(arena.audit().is_err());
    assert_eq!(arena.put(&entry(first, b"new"), 0, |_| {}), Stored::Damaged);
    assert_eq!(arena.put(&entry(first, b"new"), 0, |_| {}), Stored::New);
    arena.audit().unwrap();
    for number in damaged {
        let expected = if number == first { Lookup::Grow(3) } else { Lookup::Absent };
        assert_eq!(arena.peek(key(number), 0, &mut []), expected);
    }
}

#[test]
fn a_bucket_that_leads_back_to_itself_is_damage() {
    let memory = words(7000);
    let arena = arena::arena(&memory, 256).unwrap();
    arena.put(&entry(4, b"four"), 0, |_| {});
    // The third word of an entry's head says which is next in its bucket, counted from the partition's beginning.
    let at = memory.iter().position(|word| word.load(Relaxed) == key(4).0 as u64).unwrap();
    let place = &memory[at + 2];
    assert_eq!(place.load(Relaxed) as u32, 0);
    place.fetch_or(at as u64 - 8, Relaxed);
    let mut buffer = [0; 256];
    assert!(matches!(arena.get(key(4), 0, &mut buffer), Lookup::Hit(_)));
    assert_eq!(arena.get(key(5), 0, &mut buffer), Lookup::Damaged);
    assert_eq!(arena.next_entry(&mut Cursor::default()), None);
    assert!(!arena.remove(key(5)));
    assert_eq!(arena.get(key(4), 0, &mut buffer), Lookup::Absent, "removing has reset it");
    arena.audit().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "it is about much memory")]
fn an_entry_takes_little_beside_its_bytes() {
    let bytes = 64 << 20;
    let memory = words(bytes);
    let arena = arena::arena(&memory, 256 << 10).unwrap();
    for number in 0..20_000u64 {
        let random = |seed: u64| u128::from((number + 1).wrapping_mul(seed).rotate_left(32).wrapping_mul(seed));
        let key = CacheKey(random(0x9e37_79b9_7f4a_7c15) << 64 | random(0xd1b5_4a32_d192_ed03));
        arena.put(&NewEntry { key, ..entry(0, &[7; 4096]) }, 0, |_| {});
    }
    let fill = arena.fill();
    let beside = (bytes as u64 - fill.bytes) / fill.entries;
    assert!(fill.evictions > 0 && beside <= 128, "{beside} bytes: {fill:?}");
}

/// Tells readers to end, in a test that fails as well.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn readers_and_writers_beside_each_other() {
    let (turns, readers, bytes) = if cfg!(miri) { (30, 1, 6000) } else { (20_000, 4, 16_000) };
    let memory = words(bytes);
    let arena = arena::arena(&memory, 300).unwrap();
    let (done, barrier) = (AtomicBool::new(false), Barrier::new(readers + 3));
    // Every byte of an entry is its key's number, and the owner says how many there are.
    let put = |number: u8, length: usize| {
        let bytes = vec![number; length];
        let stored = arena.put(&NewEntry { owner: length as u64, ..entry(number, &bytes) }, 0, |_| {});
        assert!(matches!(stored, Stored::New | Stored::Replaced));
    };
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for reader in 0..readers {
            let (arena, done, barrier) = (&arena, &done, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let mut buffer = Vec::new();
                let mut number = reader as u8;
                while !done.load(Relaxed) {
                    number = (number + 1) % 60;
                    match arena.get(key(number), 0, &mut buffer) {
                        Lookup::Hit(info) => {
                            assert_eq!(info.bytes as u64, info.owner);
                            assert!(buffer[..info.bytes].iter().all(|byte| *byte == number));
                        }
                        Lookup::Grow(bytes) => buffer.resize(bytes, 0),
                        Lookup::Absent => {}
                        other => panic!("{other:?}"),
                    }
                    std::thread::yield_now();
                }
            });
        }
        let writers = [0, 30].map(|first| {
            let (put, barrier, arena) = (&put, &barrier, &arena);
            scope.spawn(move || {
                barrier.wait();
                for turn in 0..turns {
                    let number = first + (turn * 7 % 30) as u8;
                    put(number, turn * 13 % 300);
                    if turn % 5 == 0 {
                        arena.remove(key(number));
                    }
                }
            })
        });
        barrier.wait();
        let mut walks = 0;
        while writers.iter().any(|writer| !writer.is_finished()) || walks < 3 {
            let (mut cursor, mut before) = (Cursor::default(), 0);
            while arena.next_entry(&mut cursor).is_some() {
                before += 1;
                assert!(before <= 60, "each key is met once");
            }
            arena.retain(|owner| owner != walks % 300);
            walks += 1;
            std::thread::yield_now();
        }
    });
    arena.audit().unwrap();
}
