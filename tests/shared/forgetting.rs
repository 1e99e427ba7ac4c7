//! What ends an entry: its time, a write, an invalidation, a flush; and that what bears the name of something that is gone never finds what that had.

use harness::{Database, Session, Source};

use crate::scene::{prepared, stand, told, without_redis};

/// Asserts that there is an entry for `[1,2,3]` and that it is found.
#[track_caller]
fn warm(session: &mut Session, source: &Source) {
    source.assert_search(session, "docs", "[1,2,3]", 5);
    source.assert_search(session, "docs", "[1,2,3]", 5);
    assert_eq!(told(session, "[1,2,3]"), "hit: shared");
}

fn held(session: &mut Session) -> i64 {
    session.number("SELECT count(*) FROM vcache_entries")
}

#[test]
fn the_ttl_of_the_call_the_namespace_and_the_setting() {
    for (namespace, setting, call) in [("NULL", "1h", ", ttl => '1 s'"), ("'1 s'", "1h", ""), ("NULL", "1s", "")] {
        let server = without_redis().set("vcache.ttl", setting).start();
        let database = server.database();
        let (mut session, _) = prepared(&database, 30, &format!("ttl => {namespace}"));
        let search = format!("'docs', '[1,2,3]', 5{call}");
        session.search_by(&search);
        let lives = "SELECT expires_in BETWEEN '0' AND '1 s' FROM vcache_entries";
        let lived = session.column(lives);
        assert!(lived.is_empty() || lived == ["t"], "{lived:?}");
        // Nor does being found make it live longer.
        session.search_by(&search);
        session.run("SELECT pg_sleep(1.1)");
        assert_eq!(held(&mut session), 0);
        assert_eq!(told(&mut session, "[1,2,3]"), "miss");
        session.search_by(&search);
        let expired = session.number("SELECT misses_expired FROM vcache_stats WHERE namespace = 'docs'");
        assert!(expired >= 1, "{expired}");
        // What has expired makes room, and that is no eviction.
        assert_eq!(database.stats("docs").evictions, 0);
    }
}

#[test]
fn a_call_takes_no_answer_that_is_older_than_its_ttl() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    warm(&mut session, &source);
    session.run("SELECT pg_sleep(0.2)");
    let before = database.stats("docs");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '100 ms'");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '0'");
    let after = database.stats("docs");
    assert_eq!((after.hits, after.misses, after.bypasses), (before.hits, before.misses + 1, before.bypasses + 1));
}

#[test]
fn a_write_is_seen_by_the_next_search() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "payload_columns => '{title}'");
    let mut other = database.session();
    warm(&mut session, &source);
    for write in [
        "INSERT INTO docs VALUES (1000, 'nearest', 0, '[1,2,3]')",
        "UPDATE docs SET title = 'renamed' WHERE id = 1000",
        "DELETE FROM docs WHERE id = 1000",
        "TRUNCATE docs",
        "INSERT INTO docs VALUES (1, 'first', 0, '[1,2,3]')",
        "ALTER TABLE docs ADD COLUMN more text DEFAULT 'x'",
    ] {
        let before = database.stats("docs");
        session.run(write);
        for session in [&mut other, &mut session] {
            source.assert_search(session, "docs", "[1,2,3]", 5);
        }
        let after = database.stats("docs");
        assert_eq!((after.misses, after.shared_hits), (before.misses + 1, before.shared_hits + 1), "{write}");
    }
    // Of one key there is one entry, whatever it has been.
    assert_eq!(held(&mut session), 1);
}

#[test]
fn what_a_transaction_has_written_is_its_own() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    let mut other = database.session();
    warm(&mut session, &source);
    session.run("BEGIN; INSERT INTO docs VALUES (1000, 'nearest', 0, '[1,2,3]')");
    assert_eq!(session.search("docs", "[1,2,3]", 5)[0].id, "1000");
    assert_eq!(told(&mut session, "[1,2,3]"), "bypass");
    assert_ne!(source.assert_search(&mut other, "docs", "[1,2,3]", 5)[0].id, "1000");
    assert_eq!(told(&mut other, "[1,2,3]"), "hit: shared");
    session.run("ROLLBACK");
    // The entry is right again, or still.
    assert_eq!(told(&mut session, "[1,2,3]"), "hit: shared");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
}

#[test]
fn an_invalidation_and_a_flush() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    source.register(&mut session, "more", "");
    warm(&mut session, &source);
    session.search("more", "[1,2,3]", 5);
    session.run("SELECT vcache_invalidate('docs')");
    assert_eq!(told(&mut database.session(), "[1,2,3]"), "miss");
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('more', '[1,2,3]')"), "hit");
    warm(&mut session, &source);
    session.run("BEGIN; SELECT vcache_invalidate()");
    assert_eq!(told(&mut database.session(), "[1,2,3]"), "hit: shared");
    session.run("COMMIT");
    assert_eq!(told(&mut database.session(), "[1,2,3]"), "miss");
    warm(&mut session, &source);
    session.run("SELECT vcache_flush()");
    assert_eq!((told(&mut session, "[1,2,3]"), held(&mut session)), ("miss".to_owned(), 0));
    warm(&mut session, &source);
}

/// A table `docs` with one row of this id, registered as `docs`.
fn of_one_row(session: &mut Session, id: u32) {
    Source::docs(session, 0, 3).register(session, "docs", "freshness => 'ttl'");
    session.run(&format!("INSERT INTO docs VALUES ({id}, 'row {id}', 0, '[1,2,3]')"));
}

/// Asserts that a search finds this row twice, and asks the engine for it once.
#[track_caller]
fn assert_finds(database: &Database, id: u32) {
    let mut session = database.session();
    session.run("SELECT vcache_stats_reset()");
    for _ in 0..2 {
        assert_eq!(harness::ids(&session.search("docs", "[1,2,3]", 5)), [id.to_string()]);
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
    assert_eq!(held(&mut session), 1);
}

#[test]
fn a_namespace_that_is_made_again_under_the_same_name() {
    let server = without_redis().start();
    let database = server.database();
    let mut session = database.session();
    for id in 1..5 {
        of_one_row(&mut session, id);
        session.run("SELECT vcache_stats_reset()");
        for _ in 0..2 {
            assert_eq!(harness::ids(&session.search("docs", "[1,2,3]", 5)), [id.to_string()]);
        }
        assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
        session.run("SELECT vcache_drop_namespace('docs'); DROP TABLE docs");
    }
}

#[test]
fn an_extension_that_is_made_again() {
    let server = without_redis().start();
    let database = server.database();
    for id in 1..5 {
        let mut session = database.session();
        of_one_row(&mut session, id);
        assert_finds(&database, id);
        session.run("DROP EXTENSION vcache; DROP TABLE docs; CREATE EXTENSION vcache");
        // What the earlier one has left is nobody's.
        assert_eq!(held(&mut session), 0);
    }
}

#[test]
fn a_database_that_is_made_again_with_the_same_name_and_number() {
    let server = without_redis().start();
    let database = server.database();
    let mut admin = server.connect("postgres", "postgres");
    let name = database.name();
    let number = admin.value(&format!("SELECT oid FROM pg_database WHERE datname = '{name}'"));
    for id in 1..4 {
        of_one_row(&mut database.session(), id);
        assert_finds(&database, id);
        harness::until("nobody is in it", || admin.try_rows(&format!("DROP DATABASE {name}")).is_ok());
        admin.run(&format!("CREATE DATABASE {name} OID = {number}"));
        database.session().run("CREATE EXTENSION vcache");
        assert_eq!(held(&mut database.session()), 0);
    }
}

#[test]
fn a_restart_forgets_all() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 30, "");
    for mode in [harness::Stop::Fast, harness::Stop::Immediate] {
        warm(&mut session, &source);
        server.restart(mode);
        session = database.session();
        assert_eq!((told(&mut session, "[1,2,3]"), held(&mut session)), ("miss".to_owned(), 0));
    }
    warm(&mut session, &source);
}
