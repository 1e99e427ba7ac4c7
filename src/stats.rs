//! Owns the statistics: counters in shared memory, a slot for each namespace of each database.
//!
//! Slots form a table with open addressing. A slot is claimed once, under the region's lock, and keeps its name for the life of
//! the server, so a backend that has found it counts without any lock. The first slot counts for every namespace that found
//! the table full. Without preload there is no table, and counting does nothing.

use crate::access;
use crate::error::Error;
use crate::namespace::{MAX_NAME_BYTES, Registry};
use crate::outcome::Outcome;
use crate::pg::function::{Call, sql_function};
use crate::pg::scan::View;
use crate::pg::{catalog, result, shmem, time, varlena};
use crate::settings;
use crate::tier::Failure;
use pgrx::pg_sys::Datum;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

sql_function!(vcache_stats_rows_0_5, pg_finfo_vcache_stats_rows_0_5, rows);
// What versions 0.1.0, 0.2.0 and 0.3.0, and 0.4.0, of the SQL objects call, until ALTER EXTENSION vcache UPDATE.
sql_function!(vcache_stats_rows_0_4, pg_finfo_vcache_stats_rows_0_4, rows_0_4);
sql_function!(vcache_stats_rows_0_2, pg_finfo_vcache_stats_rows_0_2, rows_0_2);
sql_function!(vcache_stats_rows, pg_finfo_vcache_stats_rows, rows_0_1);
sql_function!(vcache_stats_reset, pg_finfo_vcache_stats_reset, reset);

/// What is counted, in the order of the columns of `vcache_stats_rows()`. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    SharedHits,
    RedisHits,
    MissesCold,
    MissesExpired,
    MissesStale,
    MissesShort,
    MissesUnreachable,
    BypassesDisabled,
    BypassesTtl,
    BypassesRowSecurity,
    BypassesWritten,
    BypassesSerializable,
    BypassesReplica,
    BypassesTriggers,
    BypassesClock,
    Stores,
    Evictions,
    RedisErrors,
    RedisTimeouts,
    EngineErrors,
    HitTime,
    MissTime,
    BypassTime,
}

/// The first of the counters that hold times.
const FIRST_TIME: usize = Counter::HitTime as usize;
const COUNTERS: usize = Counter::BypassTime as usize + 1;

shmem::shared_struct! {
    /// One namespace's counters. 408 bytes: the text of `vcache.stats_max` says so.
    pub struct Slot {
        /// 0: free. 1: claimed, and the fields up to `name` never change again.
        claimed: AtomicU32,
        database: AtomicU32,
        length: AtomicU32,
        name: [AtomicU8; MAX_NAME_BYTES],
        reset_at: AtomicI64,
        counters: [AtomicU64; COUNTERS],
    }
}

const _: () = assert!(size_of::<Slot>() == 408);

impl Slot {
    fn is_free(&self) -> bool {
        self.claimed.load(Ordering::Acquire) == 0
    }

    fn is_of(&self, database: u32, name: &[u8]) -> bool {
        self.database.load(Ordering::Relaxed) == database
            && self.length.load(Ordering::Relaxed) as usize == name.len()
            && self.name.iter().zip(name).all(|(a, b)| a.load(Ordering::Relaxed) == *b)
    }

    fn claim(&self, database: u32, name: &[u8], now: i64) {
        self.database.store(database, Ordering::Relaxed);
        self.length.store(name.len() as u32, Ordering::Relaxed);
        for (to, from) in self.name.iter().zip(name) {
            to.store(*from, Ordering::Relaxed);
        }
        self.reset_at.store(now, Ordering::Relaxed);
        self.claimed.store(1, Ordering::Release);
    }

    fn name(&self) -> String {
        let length = self.length.load(Ordering::Relaxed) as usize;
        let bytes: Vec<u8> = self.name.iter().take(length).map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn add(&self, counter: Counter, number: u64) {
        if let Some(counter) = self.counters.get(counter as usize) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    fn reset(&self, now: i64) {
        self.counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
        self.reset_at.store(now, Ordering::Relaxed);
    }
}

static TABLE: shmem::Region<Slot> = shmem::Region::new(c"vcache statistics");

/// Asks for the table, at server start.
pub fn request() {
    TABLE.request(settings::stats_max() + 1);
}

/// How many slots are claimed, and how many there are; `None` without preload.
pub fn fill() -> Option<(usize, usize)> {
    let (_, slots) = table()?;
    Some((slots.iter().filter(|slot| !slot.is_free()).count(), slots.len()))
}

/// Whether there are statistics: the library was preloaded.
pub fn are_kept() -> bool {
    table().is_some()
}

fn table() -> Option<(&'static Slot, &'static [Slot])> {
    TABLE.slots()?.split_first()
}

/// The counters of one namespace, and the number of their slot.
#[derive(Clone, Copy)]
pub struct Counters(Option<(u32, &'static Slot)>);

impl Counters {
    /// Those that count nothing.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn count(self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts how a search ended and, where time is kept, how long it took.
    pub fn count_outcome(self, outcome: Outcome, elapsed: Option<Duration>) {
        let (count, time) = outcome.counters();
        self.add(count, 1);
        if let Some(elapsed) = elapsed {
            self.add(time, u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub fn count_failure(self, failure: Failure) {
        self.count(match failure {
            Failure::TimedOut => Counter::RedisTimeouts,
            Failure::Broken => Counter::RedisErrors,
        });
    }

    fn add(self, counter: Counter, number: u64) {
        if let Some((_, slot)) = self.0 {
            slot.add(counter, number);
        }
    }

    /// The number of their slot; 0 for none, and for those of all others.
    pub fn number(self) -> u32 {
        self.0.map_or(0, |(number, _)| number)
    }
}

/// Counts an entry that has made room for others, for the namespace with that number.
pub fn count_eviction(number: u32) {
    if let Some(slot) = TABLE.slots().and_then(|slots| slots.get(number as usize)) {
        slot.add(Counter::Evictions, 1);
    }
}

thread_local! {
    /// The slots that this backend has found; those of other databases than its own never stand here.
    static FOUND: RefCell<HashMap<String, (u32, &'static Slot)>> = RefCell::new(HashMap::new());
}

/// More than a backend works with; beyond it, slots are looked up anew.
const FOUND_MOST: usize = 10_000;

/// The counters of the namespace that is searched under this name.
pub fn of(namespace: &str) -> Counters {
    let Some((others, slots)) = table() else {
        return Counters(None);
    };
    if let Some(found) = FOUND.with_borrow(|found| found.get(namespace).copied()) {
        return Counters(Some(found));
    }
    let database = catalog::database().to_u32();
    let slot = find(slots, database, namespace).or_else(|| {
        let now = time::now();
        shmem::exclusively(|| claim(slots, database, namespace.as_bytes(), now))
    });
    // No slot is ever given back, so a name that found the table full will not find room later.
    let slot = slot.unwrap_or(others);
    let start = TABLE.slots().map_or(0, |all| all.as_ptr().addr());
    let number = (std::ptr::from_ref(slot).addr() - start) / size_of::<Slot>();
    let found = (number as u32, slot);
    FOUND.with_borrow_mut(|all| {
        if all.len() >= FOUND_MOST {
            all.clear();
        }
        all.insert(namespace.to_owned(), found);
    });
    Counters(Some(found))
}

/// The slots in the order in which a name looks for its own.
fn probe(slots: &'static [Slot], database: u32, name: &[u8]) -> impl Iterator<Item = &'static Slot> {
    let hash = name.iter().fold(u64::from(database), |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5)
    });
    let start = (hash % slots.len().max(1) as u64) as usize;
    let (before, from) = slots.split_at_checked(start).unwrap_or((&[], slots));
    from.iter().chain(before)
}

fn find(slots: &'static [Slot], database: u32, name: &str) -> Option<&'static Slot> {
    let mut taken = probe(slots, database, name.as_bytes()).take_while(|slot| !slot.is_free());
    taken.find(|slot| slot.is_of(database, name.as_bytes()))
}

/// Runs under the region's lock: another backend may have claimed a slot for the same name meanwhile.
fn claim(slots: &'static [Slot], database: u32, name: &[u8], now: i64) -> Option<&'static Slot> {
    let slot = probe(slots, database, name).find(|slot| slot.is_free() || slot.is_of(database, name))?;
    if slot.is_free() {
        slot.claim(database, name, now);
    }
    Some(slot)
}

fn kept() -> (&'static Slot, &'static [Slot]) {
    table().unwrap_or_else(|| Error::StatisticsNeedPreload.raise())
}

/// The rows of this database that the current role may see: the namespace's name, its counters, and when they were reset. NULL names the
/// others, which are the whole server's.
fn rows(call: &Call) -> Datum {
    give(call, |counters| counters.iter().enumerate().map(|(i, value)| shown(i, *value)).collect())
}

/// Times are shown in milliseconds, as float8.
fn shown(counter: usize, value: u64) -> u64 {
    if counter >= FIRST_TIME { (value as f64 / 1e6).to_bits() } else { value }
}

/// What version 0.5.0 has brought: a second tier in shared memory. Its hits were hits of Redis' to those before.
const SINCE_0_5: [usize; 2] = [Counter::SharedHits as usize, Counter::Evictions as usize];
/// What version 0.4.0 has brought: the outcomes of exact freshness.
const SINCE_0_4: [usize; 5] = [
    Counter::MissesStale as usize,
    Counter::BypassesSerializable as usize,
    Counter::BypassesReplica as usize,
    Counter::BypassesTriggers as usize,
    Counter::BypassesClock as usize,
];

/// The same as version 0.4.0 has it.
fn rows_0_4(call: &Call) -> Datum {
    give(call, |counters| before(counters, &SINCE_0_5))
}

/// The same as versions 0.2.0 and 0.3.0 have it.
fn rows_0_2(call: &Call) -> Datum {
    give(call, |counters| before(counters, &[&SINCE_0_5[..], &SINCE_0_4].concat()))
}

/// The counters without those that are newer.
fn before(counters: &[u64], newer: &[usize]) -> Vec<u64> {
    let shared_hits = counters.get(Counter::SharedHits as usize).copied().unwrap_or(0);
    let old = counters.iter().enumerate().filter(|(i, _)| !newer.contains(i));
    old.map(|(i, value)| shown(i, if i == Counter::RedisHits as usize { value + shared_hits } else { *value }))
        .collect()
}

/// The same as version 0.1.0 has it: misses and bypasses without their reasons.
fn rows_0_1(call: &Call) -> Datum {
    give(call, |counters| {
        let sum =
            |from: Counter, to: Counter| counters.get(from as usize..=to as usize).unwrap_or_default().iter().sum();
        let rest = counters.get(Counter::RedisErrors as usize..=Counter::EngineErrors as usize).unwrap_or_default();
        let mut values = vec![
            sum(Counter::SharedHits, Counter::RedisHits),
            sum(Counter::MissesCold, Counter::MissesUnreachable),
            sum(Counter::BypassesDisabled, Counter::BypassesClock),
            sum(Counter::Stores, Counter::Stores),
        ];
        values.extend(rest);
        values
    })
}

fn give(call: &Call, shown: impl Fn(&[u64]) -> Vec<u64>) -> Datum {
    let (others, slots) = kept();
    let database = catalog::database().to_u32();
    let registered = Registry::open(call.schema()).map(|registry| registry.all(View::Caller)).unwrap_or_default();
    let seen = access::Statistics::of(&registered);
    let mine = |slot: &&Slot| !slot.is_free() && slot.database.load(Ordering::Relaxed) == database;
    let row = |name: Option<String>, slot: &Slot| {
        let name = name.map_or(result::NULL, |name| (varlena::text_datum(&name), false));
        let counters: Vec<u64> = slot.counters.iter().map(|counter| counter.load(Ordering::Relaxed)).collect();
        let counters = shown(&counters).into_iter().map(|value| (Datum::from(value), false));
        let reset_at = (Datum::from(time::to_postgres(slot.reset_at.load(Ordering::Relaxed))), false);
        std::iter::once(name).chain(counters).chain([reset_at]).collect::<Vec<_>>()
    };
    let named = slots.iter().filter(mine).map(|slot| (slot.name(), slot)).filter(|(name, _)| seen.show(name));
    let mut rows: Vec<_> = named.map(|(name, slot)| row(Some(name), slot)).collect();
    if seen.are_all() && others.counters.iter().any(|counter| counter.load(Ordering::Relaxed) > 0) {
        rows.push(row(None, others));
    }
    result::give(call, &rows)
}

/// Resets one namespace's counters, or all of this database and those of the others.
fn reset(call: &Call) -> Datum {
    let (others, slots) = kept();
    let (database, now) = (catalog::database().to_u32(), time::now());
    match call.text(0) {
        Some("(others)") => others.reset(now),
        Some(name) => match find(slots, database, name) {
            Some(slot) => slot.reset(now),
            None => pgrx::notice!("there are no statistics of namespace \"{name}\""),
        },
        None => {
            let mine = slots.iter().filter(|slot| slot.database.load(Ordering::Relaxed) == database);
            mine.chain([others]).for_each(|slot| slot.reset(now));
        }
    }
    call.void()
}
