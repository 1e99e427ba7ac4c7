//! What Redis has is copied to shared memory as it is found, and lives there no longer than its ttl.

use harness::{Stand, Stop};

use crate::scene::{prepared, told};

#[test]
fn after_a_restart_the_first_hit_is_from_redis_and_the_next_from_shared_memory() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "payload_columns => '{title}'");
    let first = source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    for mode in [Stop::Fast, Stop::Immediate] {
        stand.server.restart(mode);
        database.until_redis_is_used();
        let mut session = database.session();
        assert_eq!(session.number("SELECT count(*) FROM vcache_entries"), 0);
        for (ends, expected) in [("hit: redis", (1, 0)), ("hit: shared", (2, 1)), ("hit: shared", (3, 2))] {
            // Telling of it copies nothing.
            assert_eq!(told(&mut session, "[1,2,3]"), ends);
            assert_eq!(told(&mut session, "[1,2,3]"), ends);
            assert_eq!(source.assert_search(&mut session, "docs", "[1,2,3]", 5), first);
            let stats = database.stats("docs");
            assert_eq!((stats.hits, stats.shared_hits), expected);
        }
        assert_eq!((database.stats("docs").misses, database.stats("docs").stores), (0, 0));
    }
}

#[test]
fn a_copy_expires_when_the_entry_does() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "ttl => '1 hour'");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    stand.server.restart(Stop::Fast);
    database.until_redis_is_used();
    let mut session = database.session();
    session.run("SELECT pg_sleep(0.1)");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    let left = "SELECT extract(epoch FROM expires_in) * 1000 <= 3600000 - 100, age < '1 minute' FROM vcache_entries";
    assert_eq!(session.rows(left), [["t", "t"].map(|value| Some(value.to_owned()))]);
    // Older than this call takes it, wherever it stands.
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5, ttl => '50 ms')"), "miss");
}

#[test]
fn what_stands_there_stays_when_redis_loses_it_and_the_other_way_round() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    stand.redis.flush();
    assert_eq!(told(&mut session, "[1,2,3]"), "hit: shared");
    // It is not put back there.
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert!(stand.redis.keys().is_empty());
    // A miss fills both.
    source.assert_search(&mut session, "docs", "[3,2,1]", 5);
    assert_eq!(stand.redis.keys().len(), 1);
    assert_eq!(session.number("SELECT count(*) FROM vcache_entries"), 2);
    assert_eq!(session.number("SELECT vcache_flush()"), 3);
    assert_eq!((told(&mut session, "[1,2,3]"), stand.redis.keys().len()), ("miss".to_owned(), 0));
}
