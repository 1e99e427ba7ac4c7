//! Replays what the fuzz targets start from, and what they have found, on stable Rust.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: clippy knows only the functions marked so"
)]

#[path = "../fuzz/checks/arena.rs"]
mod arena;
#[path = "../fuzz/checks/codec.rs"]
mod codec;
#[path = "../fuzz/checks/filter.rs"]
mod filter;
#[path = "../fuzz/checks/reply.rs"]
mod reply;

use std::fs;
use std::path::Path;

/// Checks every file, and what it is with so many of its bytes cut or changed; how many there are, and how many were what the target is about.
fn replay(target: &str, near: usize, check: fn(&[u8]) -> bool) -> (usize, usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut found = (0, 0);
    for file in fs::read_dir(&corpus).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        found.0 += 1;
        found.1 += usize::from(check(&bytes));
        // A corpus is a place to start from: its near surroundings belong to it.
        for cut in 0..bytes.len().min(near) {
            check(&bytes[..cut]);
            let mut turned = bytes.clone();
            turned[cut] ^= 1 << (cut % 8);
            check(&turned);
        }
    }
    found
}

#[test]
#[cfg_attr(miri, ignore = "tests/arena.rs tries the same, with fewer operations")]
fn the_arena_holds() {
    let check = |bytes: &[u8]| {
        arena::check_damage(bytes);
        arena::check(bytes)
    };
    let (files, arenas) = replay("arena", 60, check);
    assert!(files >= 8 && arenas >= 6, "{arenas} arenas in {files} files");
}

#[test]
fn the_codec_holds() {
    let (files, entries) = replay("codec", 300, codec::check);
    assert!(files >= 8 && entries >= 4, "{entries} entries in {files} files");
}

#[test]
fn filters_hold() {
    let (files, filters) = replay("filter", 300, filter::check);
    assert!(files >= 8 && filters >= 5, "{filters} filters in {files} files");
}

#[test]
fn replies_hold() {
    let (files, replies) = replay("reply", 300, reply::check);
    assert!(files >= 12 && replies >= 6, "{replies} replies in {files} files");
}
