//! What a session takes does not grow with what it has searched.

use std::fs;

use crate::scene::{prepared, stand};

/// Memory of a process that is nobody else's, in kilobytes.
fn own_memory(pid: i64) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// `VCACHE_CALLS` says how many calls; a million may take 1 MB.
#[test]
fn a_session_does_not_grow_with_its_calls() {
    let calls = std::env::var("VCACHE_CALLS").map_or(100_000, |text| text.parse().expect("VCACHE_CALLS"));
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "payload_columns => '{title}'");
    let pid = session.pid();
    let vectors: Vec<String> = (0..100).map(|seed| source.query(seed)).collect();
    let statement = session
        .client()
        .prepare("SELECT id, distance, payload::text FROM vcache_search('docs', $1, 5, ttl => $2::text::interval)")
        .expect("a statement");
    let mut search = |times: usize| {
        for number in 0..times {
            // Hits, and now and then what is stored anew, or not stored at all.
            let ttl = match number % 100 {
                0 => "1 microsecond",
                50 => "0",
                _ => "1 hour",
            };
            let found = session.client().query(&statement, &[&vectors[number % 97], &ttl]).expect("an answer");
            assert_eq!(found.len(), 5);
        }
    };
    // What is kept for good: plans, catalogs, buffers.
    search(2000);
    let before = own_memory(pid);
    search(calls);
    let grown = own_memory(pid) - before;
    assert!(grown < 1024 * calls as i64 / 1_000_000, "{grown} kB in {calls} calls");
    let stats = database.stats("docs");
    assert!(stats.shared_hits * 10 > stats.lookups * 9, "{stats:?}");
}
