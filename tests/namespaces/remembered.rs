//! What a name means is remembered by sessions, and is what the caller's snapshot sees all the same.

use harness::{Database, Session, Source};

use crate::stand;

/// The table `docs` registered as the pattern `d/*`, whose payload is the title. `d/a` has rows by every pattern.
fn prepared(database: &Database) -> (Session, Session) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    session.run("UPDATE docs SET title = CASE id % 2 WHEN 0 THEN 'a' ELSE '' END");
    source.register(&mut session, "d/*", "payload_columns => '{title}', namespace_column => 'title'");
    (session, database.session())
}

/// Registers a name whose payload is another.
fn register(session: &mut Session, name: &str) {
    let column = if name.ends_with('*') { ", namespace_column => 'title'" } else { "" };
    session.run(&format!(
        "SELECT vcache_create_namespace('{name}', 'docs', 'embedding', metric => 'l2', payload_columns => '{{n}}'{column})"
    ));
}

const SEARCH: &str = "SELECT payload ? 'n' FROM vcache_search('d/a', '[1,2,3]', 1)";

/// Asserts by whom the name `d/a` is taken, which is asked often enough to be remembered.
#[track_caller]
fn assert_means(session: &mut Session, special: bool) {
    for _ in 0..4 {
        assert_eq!(session.value(SEARCH), if special { "t" } else { "f" });
    }
}

#[test]
fn what_an_older_snapshot_sees_is_not_remembered_for_later_ones() {
    let database = stand().database();
    let (mut session, mut old) = prepared(&database);
    for special in ["d/a", "d/a*"] {
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM docs");
        register(&mut session, special);
        assert_means(&mut old, false);
        old.run("COMMIT");
        assert_means(&mut old, true);
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM docs");
        session.run(&format!("SELECT vcache_drop_namespace('{special}')"));
        assert_means(&mut old, true);
        old.run("COMMIT");
        assert_means(&mut old, false);
    }
}

#[test]
fn what_is_remembered_is_not_for_older_snapshots() {
    let database = stand().database();
    let (mut session, mut old) = prepared(&database);
    let declare = format!("BEGIN; DECLARE c CURSOR FOR {SEARCH}");
    for special in ["d/a", "d/a*"] {
        register(&mut session, special);
        old.run(&declare);
        session.run(&format!("SELECT vcache_drop_namespace('{special}')"));
        assert_means(&mut old, false);
        assert_eq!(old.value("FETCH c"), "t");
        old.run("COMMIT");
        old.run(&declare);
        register(&mut session, special);
        assert_means(&mut old, true);
        assert_eq!(old.value("FETCH c"), "f");
        old.run("COMMIT");
        // A snapshot of another session's.
        let mut exporter = database.session();
        exporter.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let snapshot = exporter.value("SELECT pg_export_snapshot()");
        session.run(&format!("SELECT vcache_drop_namespace('{special}')"));
        assert_means(&mut old, false);
        old.run(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'"));
        assert_means(&mut old, true);
        old.run("COMMIT");
        assert_means(&mut old, false);
    }
}

#[test]
fn what_a_transaction_has_changed_itself() {
    let database = stand().database();
    let (mut session, mut other) = prepared(&database);
    assert_means(&mut session, false);
    session.run(&format!("BEGIN; DECLARE c CURSOR FOR {SEARCH}; SAVEPOINT s"));
    register(&mut session, "d/a");
    assert_means(&mut session, true);
    assert_means(&mut other, false);
    assert_eq!(session.value("FETCH c"), "f");
    session.run("ROLLBACK TO SAVEPOINT s");
    assert_means(&mut session, false);
    register(&mut session, "d/a*");
    session.run("SAVEPOINT s");
    assert_means(&mut session, true);
    session.run("SELECT vcache_drop_namespace('d/a*')");
    assert_means(&mut session, false);
    session.run("ROLLBACK TO SAVEPOINT s");
    assert_means(&mut session, true);
    session.run("ROLLBACK");
    assert_means(&mut session, false);
    session.run("BEGIN");
    register(&mut session, "d/a");
    assert_means(&mut session, true);
    assert_means(&mut other, false);
    session.run("COMMIT");
    assert_means(&mut other, true);
    assert_means(&mut session, true);
}

#[test]
fn rows_that_a_restore_puts_into_the_registry_count() {
    let database = stand().database();
    let (mut session, mut other) = prepared(&database);
    assert_means(&mut other, false);
    session.run(
        "CREATE TABLE dump AS SELECT * FROM vcache_namespace; \
         UPDATE dump SET is_pattern = false, prefix = 'd/a', namespace_column = NULL, payload_columns = '{n}', revision = 1; \
         INSERT INTO vcache_namespace SELECT * FROM dump",
    );
    assert_means(&mut other, true);
    session.run("DELETE FROM vcache_namespace WHERE NOT is_pattern");
    assert_means(&mut other, false);
    session.run("BEGIN; TRUNCATE vcache_namespace; INSERT INTO vcache_namespace SELECT * FROM dump; COMMIT");
    assert_means(&mut other, true);
}

/// It is part of every key, whatever else is remembered.
#[test]
fn an_update_of_the_engine_is_seen_by_sessions_that_were_there() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let engine = session.engine().extension();
    session.run("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    for freshness in ["exact", "ttl"] {
        source.register(&mut session, freshness, &format!("freshness => '{freshness}'"));
        let mut old = database.session();
        let version = format!(
            "SELECT outcome || (key_parts ->> 'engine_version') FROM vcache_explain('{freshness}', '[1,2,3]', 5)"
        );
        for _ in 0..3 {
            old.search(freshness, "[1,2,3]", 5);
        }
        assert!(old.value(&version).starts_with("hit"));
        let next = format!("of {freshness}");
        session.run(&format!(
            "BEGIN; UPDATE pg_extension SET extversion = '{next}' WHERE extname = '{engine}'; \
             ALTER EXTENSION {engine} ADD FUNCTION f(); ALTER EXTENSION {engine} DROP FUNCTION f(); COMMIT"
        ));
        assert_eq!(old.value(&version), format!("miss{next}"));
    }
}
