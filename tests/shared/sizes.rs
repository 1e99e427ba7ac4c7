//! Entries of all sizes, up to the largest that is stored, come back as they were; larger answers are given and not stored.

use harness::{Database, Session, Stand};

use crate::scene::{told, without_redis};

/// A table with one row, whose payload is as long as one likes, and a namespace over it whose entries are of that row alone.
fn prepared(database: &Database) -> Session {
    let mut session = database.session();
    let source = harness::Source::docs(&mut session, 1, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}', fetch_k => 1, freshness => 'ttl'");
    session
}

/// The entry of a payload of so many characters, which a search finds twice: its size, if it is stored.
fn stored(session: &mut Session, length: usize) -> Option<i64> {
    session.run(&format!(
        "UPDATE docs SET title = left(repeat(md5('{length}'), {length} / 32 + 1), {length}); SELECT vcache_invalidate()"
    ));
    let title = session.value("SELECT title FROM docs");
    for _ in 0..2 {
        let found = session.search("docs", "[1,2,3]", 1);
        assert_eq!(found.len(), 1);
        let expected = format!("{{\"title\": \"{title}\"}}");
        assert!(found[0].payload.as_ref() == Some(&expected), "the payload of {length} characters");
    }
    // What stands there may be an earlier one.
    let is_hit = told(session, "[1,2,3]") == "hit: shared";
    is_hit.then(|| session.number("SELECT bytes FROM vcache_entries"))
}

#[test]
fn every_size_up_to_the_largest() {
    const LARGEST: i64 = 64 * 1024;
    let server = without_redis().set("vcache.max_entry_size", "64kB").start();
    let database = server.database();
    let mut session = prepared(&database);
    for power in 0..16 {
        for length in (1usize << power).saturating_sub(5)..(1 << power) + 5 {
            let size = stored(&mut session, length).expect("an entry");
            assert!(size > length as i64 && size < length as i64 + 300, "{length}: {size}");
        }
    }
    // One byte more than the largest is one too many.
    let overhead = stored(&mut session, 60_000).expect("an entry") - 60_000;
    let most = (LARGEST - overhead) as usize;
    assert_eq!(stored(&mut session, most - 1), Some(LARGEST - 1));
    assert_eq!(stored(&mut session, most), Some(LARGEST));
    for length in [most + 1, most + 2, most + 8, 2 * most, 10 * most] {
        assert_eq!(stored(&mut session, length), None, "{length}");
    }
    // Between large ones, small ones.
    for length in [most, 1, most, 100, most, 10_000] {
        assert!(stored(&mut session, length).is_some(), "{length}");
    }
    let stats = database.stats("docs");
    assert_eq!(stats.stores + 10, stats.misses, "{stats:?}");
}

#[test]
fn in_a_memory_that_is_small_the_largest_is_smaller() {
    let server = without_redis().set("vcache.shared_memory_size", "64kB").start();
    let database = server.database();
    let mut session = prepared(&database);
    for length in [0, 1, 100, 1000, 10_000, 16_000] {
        assert!(stored(&mut session, length).is_some(), "{length}");
    }
    for length in [40_000, 64_000, 100_000] {
        assert!(stored(&mut session, length).is_none(), "{length}");
    }
    assert!(stored(&mut session, 10).is_some());
}

#[test]
fn where_all_rows_are_too_large_those_asked_for_may_fit() {
    let setups = [
        // The memory has no room for larger ones.
        (without_redis().set("vcache.shared_memory_size", "64kB"), "repeat('x', 1500)"),
        // What stands there is larger than its text.
        (without_redis().set("vcache.max_entry_size", "64kB"), "array_to_json(array_fill(1, ARRAY[1500]))"),
    ];
    for (setup, payload) in setups {
        let server = setup.start();
        let database = server.database();
        let mut session = database.session();
        let source = harness::Source::docs(&mut session, 30, 3);
        session.run(&format!("ALTER TABLE docs ADD j json; UPDATE docs SET j = to_json({payload})"));
        source.register(&mut session, "docs", "payload_columns => '{j}'");
        for top_k in [2, 1] {
            source.assert_search(&mut session, "docs", "[1,2,3]", top_k);
            let outcome = session.value(&format!("SELECT outcome FROM vcache_explain('docs', '[1,2,3]', {top_k})"));
            assert_eq!(outcome, "hit", "{payload}");
        }
        source.assert_search(&mut session, "docs", "[1,2,3]", 20);
        assert_eq!(database.stats("docs").outcomes(), (1, 2, 0));
    }
}

#[test]
fn what_is_too_large_for_shared_memory_goes_to_redis() {
    let stand = Stand::start_with(|setup| setup.set("vcache.shared_memory_size", "64kB"));
    let database = stand.database();
    let mut session = prepared(&database);
    session.run("UPDATE docs SET title = repeat('x', 100000)");
    for (hits, misses) in [(0, 1), (1, 1), (2, 1)] {
        session.search("docs", "[1,2,3]", 1);
        let stats = database.stats("docs");
        assert_eq!((stats.outcomes(), stats.shared_hits), ((hits, misses, 0), 0));
    }
    assert_eq!(told(&mut session, "[1,2,3]"), "hit: redis");
    assert_eq!(stand.redis.keys().len(), 1);
}
