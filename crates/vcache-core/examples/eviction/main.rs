//! Measures what part of all requests each policy of eviction answers (docs/decisions/0008-eviction.md):
//!
//!     cargo run --release -p vcache-core --example eviction
//!
//! The candidates are simulated; the arena is the real one, with the real bytes.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a program to measure with: where it is wrong it is to stop"
)]

mod policies;
mod traces;

use policies::{Kind, Listed, Main, Optimum, Policy, S3Fifo, Shape, TinyLfu, Worth, key};
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use traces::{Sizes, Trace};
use vcache_core::arena::{Arena, Lookup, NewEntry, Region, partitions};

/// The cache, as it is by default.
const BYTES: usize = 64 << 20;
const MAX_ENTRY: usize = 256 << 10;
/// What an object takes beside its bytes in the rings, in the simulations as well.
const HEAD: u64 = 56;

struct Real<'a> {
    arena: Arena<'a, Vec<RwLock<()>>>,
    buffer: Vec<u8>,
    bytes: Vec<u8>,
}

fn real(words: &[AtomicU64], max_entry: usize) -> Real<'_> {
    let locks = (0..partitions(size_of_val(words), max_entry)).map(|_| RwLock::new(())).collect();
    let arena = Arena::create(Region::from(words), max_entry, locks).expect("an arena");
    Real { arena, buffer: vec![0; 64 << 10], bytes: vec![7; 64 << 10] }
}

impl Policy for Real<'_> {
    fn request(&mut self, object: u32, bytes: u64, _next: usize) -> bool {
        let key = key(object);
        match self.arena.get(key, 0, &mut self.buffer) {
            Lookup::Hit(_) => true,
            Lookup::Absent => {
                let bytes = &self.bytes[..(bytes - HEAD) as usize];
                let entry = NewEntry { key, bytes, owner: 0, stored_at: 0, expires_at: 1, only_if_absent: false };
                self.arena.put(&entry, 0, |_| {});
                false
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Hits in percent of all requests.
fn measure(policy: &mut dyn Policy, trace: &Trace, next: &[usize]) -> f64 {
    let mut hits = 0;
    for (&object, &next) in trace.requests.iter().zip(next) {
        let bytes = u64::from(trace.sizes[object as usize]).next_multiple_of(8) + HEAD;
        hits += u32::from(policy.request(object, bytes, next));
    }
    100.0 * f64::from(hits) / trace.requests.len() as f64
}

/// When the object of each request is asked for again.
fn next_uses(trace: &Trace) -> Vec<usize> {
    let mut last = vec![usize::MAX; trace.sizes.len()];
    let mut next = vec![0; trace.requests.len()];
    for (at, object) in trace.requests.iter().enumerate().rev() {
        next[at] = last[*object as usize];
        last[*object as usize] = at;
    }
    next
}

type Candidate<'a> = (String, Box<dyn Policy + 'a>);

fn candidates<'a>(
    words: &'a [AtomicU64],
    others: &'a [AtomicU64],
    capacity: u64,
    objects: usize,
) -> Vec<Candidate<'a>> {
    let listed = |kind| Box::new(Listed::new(kind, capacity, objects)) as Box<dyn Policy>;
    let mut rows: Vec<Candidate<'a>> = vec![
        ("optimum".into(), Box::new(Optimum::new(capacity, objects))),
        ("LRU".into(), listed(Kind::Lru)),
        ("FIFO".into(), listed(Kind::Fifo)),
        ("CLOCK".into(), listed(Kind::Clock)),
        ("SIEVE".into(), listed(Kind::Sieve)),
        ("S3-FIFO".into(), Box::new(S3Fifo::new(capacity, objects))),
    ];
    let mut tiny = |name: &str, window, main, worth| {
        let shape = Shape { window, main, worth };
        rows.push((name.into(), Box::new(TinyLfu::new(shape, capacity, objects))));
    };
    tiny("W-TinyLFU as in Caffeine, window 1 %", 0.01, Main::Lists, Worth::Each);
    tiny("in rings", 0.01, Main::Ring, Worth::Each);
    tiny("in rings, against the sum, staying at the tail", 0.01, Main::RingThatStays, Worth::Sum);
    tiny("in rings, against the sum", 0.01, Main::Ring, Worth::Sum);
    tiny("in rings, against the sum, with a lead", 0.01, Main::Ring, Worth::SumAndLead);
    tiny("the same, window 5 %", 0.05, Main::Ring, Worth::SumAndLead);
    rows.push(("**the arena**".into(), Box::new(real(words, MAX_ENTRY))));
    rows.push(("the arena, of 16 partitions".into(), Box::new(real(others, 64 << 10))));
    rows
}

fn main() {
    let words = || (0..BYTES / 8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let (words, others) = (words(), words());
    let capacity = real(&words, MAX_ENTRY).arena.fill().capacity;
    for sizes in [Sizes::Equal, Sizes::Mixed, Sizes::Small] {
        let held = (capacity as f64 / (sizes.mean() + HEAD as f64)) as usize;
        let mut table: Vec<(String, Vec<f64>)> = Vec::new();
        let traces = traces::all(held, sizes);
        for (column, trace) in traces.iter().enumerate() {
            let next = next_uses(trace);
            for (row, (name, mut policy)) in
                candidates(&words, &others, capacity, trace.sizes.len()).into_iter().enumerate()
            {
                if column == 0 {
                    table.push((name, Vec::new()));
                }
                table[row].1.push(measure(&mut *policy, trace, &next));
            }
        }
        println!(
            "| {} sizes | {} |",
            sizes.name(),
            traces.iter().map(|trace| &*trace.name).collect::<Vec<_>>().join(" | ")
        );
        println!("| ---{} |", " | ---:".repeat(traces.len()));
        for (name, ratios) in table {
            println!(
                "| {name} | {} |",
                ratios.iter().map(|ratio| format!("{ratio:.1}")).collect::<Vec<_>>().join(" | ")
            );
        }
        println!();
    }
}
