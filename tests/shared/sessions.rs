//! What one session has stored, all others of the server find: with Redis and without it; and what is left without tier 1.

use harness::{Redis, Session, Source, Stand};

use crate::scene::{prepared, stand, told, without_redis};

const HELD: &str = "SELECT count(*) FROM vcache_entries";

/// Searches for vectors of these seeds and asserts every answer.
fn assert_searches(session: &mut Session, source: &Source, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        source.assert_search(session, "docs", &source.query(seed), 5);
    }
}

#[test]
fn every_session_finds_what_one_has_stored() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "payload_columns => '{title}'");
    assert_searches(&mut session, &source, 0..20);
    let asked = stand.redis.calls("get");
    for _ in 0..3 {
        assert_searches(&mut database.session(), &source, 0..20);
    }
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.shared_hits, stats.stores), ((60, 20, 0), 60, 20));
    assert_eq!(stand.redis.calls("get"), asked, "Redis was asked");
    assert_eq!(session.number(HELD), 20);
    assert_eq!(told(&mut session, &source.query(3)), "hit: shared");
}

#[test]
fn without_redis_it_is_a_cache_of_its_own() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 50, "");
    for _ in 0..3 {
        assert_searches(&mut database.session(), &source, 0..10);
    }
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.shared_hits, stats.stores), ((20, 10, 0), 20, 10));
    assert_eq!((stats.redis_errors, stats.redis_timeouts), (0, 0));
    assert_eq!(database.engine_executions("docs"), 10);
    assert_eq!(session.number("SELECT vcache_flush()"), 10);
    assert_eq!(session.number(HELD), 0);
}

#[test]
fn while_redis_is_away_tier_1_and_the_engine_answer() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "");
    assert_searches(&mut session, &source, 0..5);
    stand.redis.stop();
    // What was there is a hit, what was not is stored where there is room.
    for _ in 0..3 {
        assert_searches(&mut database.session(), &source, 0..10);
    }
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.shared_hits, stats.stores), ((25, 10, 0), 25, 10));
    assert_eq!(session.number("SELECT misses_unreachable FROM vcache_stats WHERE namespace = 'docs'"), 5);
    stand.redis.start_again();
    database.until_redis_is_used();
    assert_searches(&mut session, &source, 0..12);
    assert_eq!(database.stats("docs").outcomes(), (35, 12, 0));
    assert_eq!(stand.redis.keys().len(), 2);
}

#[test]
fn with_a_size_of_0_there_is_none() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database, 50, "");
    for _ in 0..2 {
        assert_searches(&mut session, &source, 0..5);
    }
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.shared_hits), ((5, 5, 0), 0));
    assert_eq!(told(&mut session, &source.query(1)), "hit: redis");
    assert_eq!((session.number(HELD), session.number("SELECT vcache_flush()")), (0, 5));
    // And with nothing at all, every search is the engine's.
    let server = Stand::setup("").start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 50, "");
    assert_searches(&mut session, &source, [1, 1, 1]);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores), ((0, 3, 0), 0));
    assert_eq!(
        session.value("SELECT reason FROM vcache_explain('docs', '[1,2,3]')"),
        "there is no tier: vcache.redis_url is empty, and there is no shared memory"
    );
}

#[test]
fn a_size_that_has_no_room_for_an_entry_holds_none() {
    let server = Stand::setup("").set("vcache.shared_memory_size", "1kB").start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 50, "");
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(database.stats("docs").outcomes(), (0, 2, 0));
    assert_eq!(session.number(HELD), 0);
    let detail = session.value("SELECT detail FROM vcache_health() WHERE component = 'shared memory'");
    assert!(detail.starts_with("0 entries take 0 % of 1kB"), "{detail}");
}

#[test]
fn without_preload_there_is_none_and_a_warning_says_so() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 50, "");
    assert_searches(&mut session, &source, [1, 1, 1]);
    let warned = session.notices();
    assert_eq!(
        warned.iter().filter(|notice| notice.message.contains("shared_preload_libraries")).count(),
        1,
        "{warned:?}"
    );
    assert_eq!(told(&mut session, &source.query(1)), "hit: redis");
    assert_eq!(session.number(HELD), 0);
    assert_eq!(database.engine_executions("docs"), 1);
}

#[test]
fn databases_share_the_memory_and_no_entry() {
    let (one, two) = (stand().database(), stand().database());
    let (mut session, source) = prepared(&one, 30, "");
    let (mut other, larger) = prepared(&two, 40, "");
    for _ in 0..2 {
        assert_searches(&mut session, &source, 0..5);
        assert_searches(&mut other, &larger, 3..6);
    }
    assert_eq!((session.number(HELD), other.number(HELD)), (5, 3));
    for (database, hits) in [(&one, 5), (&two, 3)] {
        assert_eq!(database.stats("docs").outcomes(), (hits, hits, 0));
    }
    // A copy has the same secret, and is another.
    let copy = format!("copy_of_{}", one.name());
    drop(session);
    stand().server.connect("postgres", "postgres").run(&format!("CREATE DATABASE {copy} TEMPLATE {}", one.name()));
    let mut session = stand().server.connect("postgres", &copy);
    assert_eq!(session.number(HELD), 0);
    assert_eq!(told(&mut session, &source.query(1)), "miss");
}
