//! What must hold of the arena for any sequence of operations: what is found is what was stored last, nothing that was removed is found, the
//! counters are right, and index and rings hold the same. Shared by the fuzz target, by `tests/corpus.rs`, which replays its corpus, and by
//! the property test in `tests/arena.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcache_core::arena::{Arena, Cursor, EntryInfo, Lookup, NewEntry, Region, Stored, partitions};
use vcache_core::key::CacheKey;

/// Keys that sequences choose from: more than a small arena holds.
const KEYS: u8 = 200;
const OWNERS: u64 = 3;

/// What is known of the entry that was stored last under a key.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    bytes: Vec<u8>,
    owner: u64,
    stored_at: i64,
    expires_at: i64,
}

/// The key of a number: its bits look random, and each four share bucket and partition, and pairs of them half of their bits.
pub fn key(number: u8) -> CacheKey {
    let mix = |seed: u64| {
        let mixed = (u64::from(number / 4) + 1).wrapping_mul(seed);
        u128::from(mixed ^ mixed >> 29)
    };
    let key = mix(0x9e37_79b9_7f4a_7c15) << 64 | mix(0xd1b5_4a32_d192_ed03);
    CacheKey(key ^ u128::from(number & 1) << 40 ^ u128::from(number & 2) << 100)
}

/// A small arena in words of its own.
pub fn arena(words: &[AtomicU64], max_entry: usize) -> Option<Arena<'_, Vec<RwLock<()>>>> {
    let locks = (0..partitions(size_of_val(words), max_entry)).map(|_| RwLock::new(())).collect();
    Arena::create(Region::from(words), max_entry, locks)
}

/// Takes the first bytes for the arena's size and the others for operations on it. Whether there was room for an arena.
pub fn check(bytes: &[u8]) -> bool {
    let Some((&[size, largest], mut rest)) = bytes.split_first_chunk::<2>() else { return false };
    // What is in the memory before does not matter.
    let words: Vec<AtomicU64> = (0..40 + usize::from(size) * 16).map(|word| AtomicU64::new(word as u64 * 77)).collect();
    let max_entry = usize::from(largest) * 8 + 1;
    let Some(arena) = arena(&words, max_entry) else { return false };
    let mut model = Model { arena, kept: HashMap::new(), now: 0, evictions: 0, expiries: 0 };
    while let Some((&[operation, number, value, more], tail)) = rest.split_first_chunk::<4>() {
        rest = tail;
        model.apply(operation, number % KEYS, value, more);
    }
    model.arena.audit().expect("a sound arena");
    model.check_counters();
    true
}

struct Model<'a> {
    arena: Arena<'a, Vec<RwLock<()>>>,
    /// What was stored and not removed. What is evicted stays here until somebody looks.
    kept: HashMap<u8, Kept>,
    now: i64,
    evictions: u64,
    expiries: u64,
}

impl Model<'_> {
    fn apply(&mut self, operation: u8, number: u8, value: u8, more: u8) {
        match operation {
            0..=109 => self.put(number, value, more, false),
            110..=129 => self.put(number, value, more, true),
            130..=199 => self.get(number),
            200..=219 => {
                let had = self.arena.remove(key(number));
                assert!(!had || self.kept.remove(&number).is_some(), "{number} was not there");
                assert_eq!(self.look(number, 1000), Lookup::Absent);
            }
            220..=239 => self.now += i64::from(value),
            240..=245 => self.check_walk(),
            246..=250 => {
                let lost = u64::from(value) % OWNERS;
                self.arena.retain(|owner| owner != lost);
                self.kept.retain(|_, kept| kept.owner != lost);
                self.check_walk();
            }
            251 => {
                self.arena.clear();
                self.kept.clear();
                (self.evictions, self.expiries) = (0, 0);
                assert_eq!(self.arena.fill().entries, 0);
            }
            _ => self.arena.audit().expect("a sound arena"),
        }
    }

    fn put(&mut self, number: u8, value: u8, more: u8, only_if_absent: bool) {
        // Most are small against the largest, some larger.
        let largest = self.arena.max_entry();
        let length = usize::from(more) * (largest + 2) / 255 / if value.is_multiple_of(4) { 1 } else { 8 };
        let kept = Kept {
            bytes: (0..length).map(|at| (at as u8).wrapping_mul(value | 1).wrapping_add(number)).collect(),
            owner: u64::from(value) % OWNERS,
            stored_at: self.now - 5,
            expires_at: self.now + i64::from(value) * 4,
        };
        let entry = NewEntry {
            key: key(number),
            bytes: &kept.bytes,
            owner: kept.owner,
            stored_at: kept.stored_at,
            expires_at: kept.expires_at,
            only_if_absent,
        };
        let before = self.look(number, usize::MAX);
        let (evictions, expiries) = (&mut self.evictions, &mut self.expiries);
        let stored = self.arena.put(&entry, self.now, |evicted| {
            *(if evicted.expired { &mut *expiries } else { &mut *evictions }) += 1;
            assert!(evicted.owner < OWNERS);
        });
        let stood = matches!(before, Lookup::Hit(_));
        let expected = match stored {
            Stored::TooLarge => length > largest,
            Stored::Stands => only_if_absent && stood && length <= largest,
            Stored::Replaced => !only_if_absent && stood && length <= largest,
            Stored::New => !stood && length <= largest,
            Stored::Damaged => false,
        };
        assert!(expected, "{stored:?} after {before:?}");
        if matches!(stored, Stored::New | Stored::Replaced) {
            self.kept.insert(number, kept);
            if self.kept[&number].expires_at > self.now {
                assert!(matches!(self.look(number, usize::MAX), Lookup::Hit(_)), "what was just stored is there");
            }
        }
    }

    fn get(&mut self, number: u8) {
        let Lookup::Hit(first) = self.look(number, usize::MAX) else { return };
        assert_eq!(self.look(number, first.bytes), Lookup::Hit(first), "looking without trace leaves none");
        if first.bytes > 0 {
            assert_eq!(self.look(number, first.bytes - 1), Lookup::Grow(first.bytes));
        }
        let mut buffer = vec![0; first.bytes];
        for hits in first.hits..first.hits + 3 {
            let found = self.arena.get(key(number), self.now, &mut buffer);
            assert_eq!(found, Lookup::Hit(EntryInfo { hits, ..first }));
            assert_eq!(buffer, self.kept[&number].bytes);
        }
    }

    /// Looks up without counting; what is found is what was stored last.
    fn look(&self, number: u8, room: usize) -> Lookup {
        let mut buffer = vec![0; room.min(self.arena.max_entry())];
        let found = self.arena.peek(key(number), self.now, &mut buffer);
        let kept = self.kept.get(&number);
        match found {
            Lookup::Hit(info) => {
                let kept = kept.expect("an entry that was stored");
                self.assert_same(number, &info, kept);
                assert_eq!(&buffer[..info.bytes], kept.bytes);
                assert!(kept.expires_at > self.now);
            }
            Lookup::Grow(bytes) => assert_eq!(bytes, kept.expect("an entry that was stored").bytes.len()),
            Lookup::Expired => assert!(kept.expect("an entry that was stored").expires_at <= self.now),
            Lookup::Absent => {}
            Lookup::Damaged => panic!("damaged"),
        }
        found
    }

    fn assert_same(&self, number: u8, info: &EntryInfo, kept: &Kept) {
        assert_eq!((info.key, info.bytes, info.owner), (key(number), kept.bytes.len(), kept.owner));
        assert_eq!((info.stored_at, info.expires_at), (kept.stored_at, kept.expires_at));
    }

    /// A walk meets each entry once, and nothing else.
    fn check_walk(&self) {
        let numbers: HashMap<CacheKey, u8> = self.kept.keys().map(|number| (key(*number), *number)).collect();
        let (mut met, mut cursor, mut bytes) = (HashSet::new(), Cursor::default(), 0);
        while let Some(info) = self.arena.next_entry(&mut cursor) {
            let number = *numbers.get(&info.key).expect("an entry that was stored");
            assert!(met.insert(number), "{number} is met twice");
            self.assert_same(number, &info, &self.kept[&number]);
            bytes += info.bytes as u64;
        }
        for &number in self.kept.keys() {
            assert_eq!(self.look(number, usize::MAX) != Lookup::Absent, met.contains(&number));
        }
        let fill = self.arena.fill();
        assert_eq!((fill.entries, fill.bytes), (met.len() as u64, bytes));
        assert!(bytes <= fill.capacity);
    }

    fn check_counters(&self) {
        self.check_walk();
        let fill = self.arena.fill();
        assert_eq!((fill.evictions, fill.expiries), (self.evictions, self.expiries));
    }
}

/// Reads, changes and walks an arena in which single words have been overwritten: whatever comes of it, it ends, and a partition that says that it is
/// damaged works again once something has been stored there.
pub fn check_damage(bytes: &[u8]) {
    let words: Vec<AtomicU64> = (0..1500).map(|_| AtomicU64::new(0)).collect();
    let Some(arena) = arena(&words, 256) else { return };
    let mut rest = bytes;
    let mut buffer = [0; 256];
    while let Some((&[operation, number, high, low, value], tail)) = rest.split_first_chunk::<5>() {
        rest = tail;
        let entry = NewEntry {
            key: key(number),
            bytes: &[number; 200][..usize::from(value) * 200 / 255],
            owner: 1,
            stored_at: 0,
            expires_at: i64::from(high),
            only_if_absent: false,
        };
        match operation {
            0..=99 => {
                if arena.put(&entry, 0, |_| {}) == Stored::Damaged {
                    assert_eq!(arena.put(&entry, 0, |_| {}), Stored::New);
                }
            }
            100..=159 => drop(arena.get(key(number), 0, &mut buffer)),
            160..=179 => drop(arena.remove(key(number))),
            180..=189 => drop(arena.retain(|owner| owner == u64::from(value))),
            190..=199 => {
                // Each step makes some way, but a chain that was bent may show the same key in several buckets.
                let mut cursor = Cursor::default();
                for _ in 0..1000 {
                    if arena.next_entry(&mut cursor).is_none() {
                        break;
                    }
                }
            }
            _ => {
                // Not the head of the region: that is read once, when a process attaches.
                let at = 8 + usize::from(u16::from_be_bytes([high, low])) % (words.len() - 8);
                let bits = u64::from(value) << (number % 64);
                let word = if operation.is_multiple_of(2) { bits } else { words[at].load(Relaxed) ^ bits };
                words[at].store(word, Relaxed);
            }
        }
    }
    // A writer finds what is wrong, or nothing is.
    arena.clear();
    arena.audit().expect("a sound arena");
    assert_eq!(arena.fill().entries, 0);
}
