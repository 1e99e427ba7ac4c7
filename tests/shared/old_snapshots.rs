//! A snapshot that is older than an entry neither gets it nor puts its own in the place of it; a standby has entries of its own.

use harness::until;

use crate::scene::{prepared, stand, told, without_redis};

const NEAREST: &str = "INSERT INTO docs VALUES (1000, 'nearest', 0, '[1,2,3]')";

#[test]
fn an_older_snapshot_neither_gets_nor_replaces_a_newer_entry() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 30, "");
    let mut old = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM docs");
    session.run(NEAREST);
    assert_eq!(source.assert_search(&mut session, "docs", "[1,2,3]", 5)[0].id, "1000");
    for _ in 0..3 {
        assert_ne!(source.assert_search(&mut old, "docs", "[1,2,3]", 5)[0].id, "1000");
        assert_eq!(told(&mut session, "[1,2,3]"), "hit: shared");
    }
    // More rows are no reason either.
    source.assert_search(&mut old, "docs", "[1,2,3]", 25);
    assert_eq!(told(&mut session, "[1,2,3]"), "hit: shared");
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores), ((0, 5, 0), 1));
    assert_eq!(session.number("SELECT misses_stale FROM vcache_stats WHERE namespace = 'docs'"), 4);
    // Where nothing stands, it stores, and finds that; a newer answer takes its place.
    source.assert_search(&mut old, "docs", "[3,2,1]", 5);
    source.assert_search(&mut old, "docs", "[3,2,1]", 5);
    assert_eq!(database.stats("docs").shared_hits, 1);
    assert_eq!(told(&mut session, "[3,2,1]"), "miss");
    source.assert_search(&mut session, "docs", "[3,2,1]", 5);
    assert_eq!(
        (told(&mut session, "[3,2,1]"), told(&mut old, "[3,2,1]")),
        ("hit: shared".to_owned(), "miss".to_owned())
    );
    old.run("COMMIT");
    assert_eq!(told(&mut old, "[3,2,1]"), "hit: shared");
}

#[test]
fn an_older_snapshot_copies_nothing_from_redis_over_a_newer_entry() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    let mut old = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    source.assert_search(&mut old, "docs", "[1,2,3]", 5);
    assert_eq!(told(&mut old, "[1,2,3]"), "hit: shared");
    session.run(NEAREST);
    assert_eq!(source.assert_search(&mut session, "docs", "[1,2,3]", 5)[0].id, "1000");
    assert_ne!(source.assert_search(&mut old, "docs", "[1,2,3]", 5)[0].id, "1000");
    assert_eq!(told(&mut session, "[1,2,3]"), "hit: shared");
}

#[test]
fn a_serializable_transaction_uses_none() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
    assert_eq!(told(&mut session, "[1,2,3]"), "bypass");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run("COMMIT");
    assert_eq!(database.stats("docs").outcomes(), (0, 1, 1));
}

#[test]
fn a_standby_has_entries_of_its_own_without_redis() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 30, "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    let standby = server.standby();
    standby.catch_up(&server);
    let mut reader = standby.connect("postgres", database.name());
    assert_eq!(told(&mut reader, "[1,2,3]"), "miss");
    source.assert_search(&mut reader, "docs", "[1,2,3]", 5);
    source.assert_search(&mut reader, "docs", "[1,2,3]", 5);
    assert_eq!(told(&mut reader, "[1,2,3]"), "hit: shared");

    // However far it lags behind, its entries are right for what it sees.
    reader.run("SELECT pg_wal_replay_pause()");
    until("the standby lags behind", || reader.value("SELECT pg_get_wal_replay_pause_state()") == "paused");
    session.run(NEAREST);
    assert_eq!(source.assert_search(&mut session, "docs", "[1,2,3]", 5)[0].id, "1000");
    assert_ne!(source.assert_search(&mut reader, "docs", "[1,2,3]", 5)[0].id, "1000");
    assert_eq!(told(&mut reader, "[1,2,3]"), "hit: shared");
    reader.run("SELECT pg_wal_replay_resume()");
    standby.catch_up(&server);
    assert_eq!(told(&mut reader, "[1,2,3]"), "miss");
    // Its own newer answer takes the place of its older one.
    for _ in 0..2 {
        assert_eq!(source.assert_search(&mut reader, "docs", "[1,2,3]", 5)[0].id, "1000");
    }
    assert_eq!(told(&mut reader, "[1,2,3]"), "hit: shared");
    assert_eq!(reader.number("SELECT count(*) FROM vcache_entries"), 1);
    // It is the primary's now, and goes on.
    assert_eq!(reader.value("SELECT pg_promote()"), "t");
    assert_eq!(told(&mut reader, "[1,2,3]"), "hit: shared");
    reader.run("DELETE FROM docs WHERE id = 1000");
    assert_ne!(source.assert_search(&mut reader, "docs", "[1,2,3]", 5)[0].id, "1000");
}
