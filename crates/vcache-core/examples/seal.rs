//! Measures what a tag costs: making and reading entries with a sum alone, and with a tag besides; and what of a key's time is its seal.
//!
//!     cargo run --release -p vcache-core --example seal
#![allow(clippy::expect_used, reason = "a program to measure with: where it is wrong it is to stop")]

use std::hint::black_box;
use std::time::Instant;
use vcache_core::codec::{Answer, Entry, Header, Row, Seal, Version, encode};
use vcache_core::key::{CacheKey, KeyBuilder, SECRET_BYTES, Secret};

const ROWS: usize = 20;

/// Nanoseconds of a turn, in the quickest of twenty rounds.
fn time(mut turn: impl FnMut()) -> f64 {
    let turns = 5_000;
    let rounds = (0..20).map(|_| {
        let begun = Instant::now();
        (0..turns).for_each(|_| turn());
        begun.elapsed().as_nanos() as f64 / f64::from(turns)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn answer(payload: usize) -> Answer {
    let mut answer = Answer::default();
    for row in 0..ROWS {
        let (id, text) = ((1_000_000 + row).to_string(), "x".repeat(payload));
        answer.push(Row { id: Some(&id), distance: row as f64, payload: (payload > 0).then_some(&*text) });
    }
    answer
}

fn main() {
    let secret = Secret::new(&std::array::from_fn::<u8, SECRET_BYTES, _>(|i| i as u8)).expect("a secret");
    let version = Version::default();
    let header = Header { key: CacheKey(1), namespace: "documents", computed_at: 5, expires_at: 9, asked: 20, version };
    println!("{:>8} {:>12} {:>12} {:>6} {:>12} {:>12} {:>6}", "bytes", "make, sum", "tag", "", "read, sum", "tag", "");
    for payload in [0, 200, 1000, 10_000] {
        let answer = answer(payload);
        let make = |seal| encode(&header, &answer, &secret, seal, usize::MAX).expect("an entry");
        let making = [Seal::Sum, Seal::Tag].map(|seal| time(|| _ = black_box(make(seal))));
        let reading = [Seal::Sum, Seal::Tag].map(|seal| {
            let bytes = make(seal);
            time(|| {
                let entry = Entry::decode(black_box(&bytes), &secret, seal).expect("an entry");
                entry.rows(10).for_each(|row| _ = black_box(row));
            })
        });
        let shown = |[sum, tag]: [f64; 2]| format!("{sum:>9.0} ns {tag:>9.0} ns {:>5.1}x", tag / sum);
        println!("{:>8} {} {}", make(Seal::Sum).len(), shown(making), shown(reading));
    }
    // The tag of 16 bytes is what a key's seal is, but for its secret.
    let seal = time(|| _ = black_box(secret.tag(black_box(&[1; 16]))));
    for dimensions in [64, 384, 1536] {
        let vector = vec![0.25f32; dimensions];
        let mut builder = KeyBuilder::default();
        let key = time(|| _ = black_box(builder.clear().floats(1, black_box(&vector)).finish(&secret)));
        let bytes = vec![1; dimensions * 4];
        let instead = time(|| _ = black_box(secret.tag(black_box(&bytes))));
        println!(
            "a key of {dimensions} dimensions: {key:.0} ns, of which {seal:.0} ns are its seal; BLAKE3 alone: {instead:.0} ns"
        );
    }
}
