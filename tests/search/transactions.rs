//! Searches inside transactions: what has not been committed is seen by its writer alone, and never kept.

use harness::{Database, Session, Source, Stand, ids, until};

use crate::stand;

/// A row that is the nearest to every query of the tests here.
const NEAREST: &str = "INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')";

fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "freshness => 'ttl'");
    (session, source)
}

#[test]
fn a_transaction_that_has_written_sees_its_rows_and_keeps_nothing() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    session.run("BEGIN");
    session.run(NEAREST);
    for _ in 0..2 {
        assert_eq!(source.assert_search(&mut session, "docs", "[9,9,9]", 10)[0].id, "1000");
    }
    assert_eq!(database.stats("docs").outcomes(), (0, 0, 2));
    assert!(stand.redis.keys().is_empty());
    // Another session meanwhile: the committed rows, and an entry of its own that the writer does not use.
    let mut other = database.session();
    for _ in 0..2 {
        assert_ne!(source.assert_search(&mut other, "docs", "[9,9,9]", 10)[0].id, "1000");
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 2));
    assert_eq!(session.search("docs", "[9,9,9]", 10)[0].id, "1000");
    session.run("ROLLBACK");
    assert_ne!(session.search("docs", "[9,9,9]", 10)[0].id, "1000");
    assert_eq!(database.stats("docs").outcomes(), (2, 1, 3));
}

#[test]
fn uncommitted_rows_are_never_stored() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    let writes = [
        // The same table, another table, a row's lock, a subtransaction that is gone, a sequence's row: all of them
        // give the transaction an id.
        NEAREST,
        "CREATE TABLE unrelated (n int)",
        "UPDATE docs SET title = 'changed' WHERE id = 1",
        "SAVEPOINT s; INSERT INTO docs VALUES (1001, 'nearest', 0, '[9,9,9]'); ROLLBACK TO s",
        "SELECT pg_current_xact_id()",
    ];
    for (count, write) in writes.into_iter().enumerate() {
        session.run("BEGIN");
        session.run(write);
        source.assert_search(&mut session, "docs", "[9,9,9]", 10);
        session.run("ROLLBACK");
        assert!(stand.redis.keys().is_empty(), "{write}");
        assert_eq!(database.stats("docs").outcomes(), (0, 0, count as i64 + 1), "{write}");
    }
    source.assert_search(&mut session, "docs", "[9,9,9]", 10);
    assert_eq!(database.stats("docs").outcomes(), (0, 1, 5));
}

#[test]
fn a_search_inside_a_writing_statement_keeps_nothing() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    session.run(
        "CREATE TABLE seen (moment text, id text);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO seen SELECT TG_WHEN || ' ' || TG_LEVEL, s.id FROM vcache_search('docs', '[9,9,9]', 1) s;
             RETURN NEW;
         END $$;
         CREATE TRIGGER a BEFORE INSERT ON docs FOR EACH ROW EXECUTE FUNCTION look();
         CREATE TRIGGER b AFTER INSERT ON docs FOR EACH ROW EXECUTE FUNCTION look();
         CREATE TRIGGER c AFTER INSERT ON docs FOR EACH STATEMENT EXECUTE FUNCTION look()",
    );
    session.run("BEGIN");
    session.run(NEAREST);
    let seen = session.column("SELECT moment || ' ' || (id = '1000') FROM seen");
    assert!(
        seen.contains(&"AFTER ROW true".to_owned()) && seen.contains(&"AFTER STATEMENT true".to_owned()),
        "{seen:?}"
    );
    session.run("ROLLBACK");
    for _ in 0..2 {
        assert_ne!(source.assert_search(&mut session, "docs", "[9,9,9]", 10)[0].id, "1000");
    }
    // Before the first row there is nothing yet that others may not see; from then on every search is a bypass.
    let stats = database.stats("docs");
    let (_, misses, bypasses) = stats.outcomes();
    assert_eq!((misses, bypasses, stand.redis.keys().len()), (1, 2, 1), "{stats:?}");
}

#[test]
fn a_transaction_that_only_reads_uses_the_cache() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    for begin in [
        "BEGIN",
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
    ] {
        session.run(begin);
        session.run("SAVEPOINT s");
        source.assert_search(&mut session, "docs", "[1,2,3]", 10);
        session.run("RELEASE s");
        source.assert_search(&mut session, "docs", "[1,2,3]", 10);
        session.run("COMMIT");
    }
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.misses, stats.stores, database.engine_executions("docs") - stats.bypasses), (1, 1, 1));
    assert!(stats.hits >= 5, "{stats:?}");
    // A search gives its transaction no id: it would be refused on a standby, and cost on every call.
    session.run("BEGIN");
    source.assert_search(&mut session, "docs", "[3,2,1]", 10);
    source.assert_search(&mut session, "docs", "[3,2,1]", 10);
    assert_eq!(session.rows("SELECT pg_current_xact_id_if_assigned()"), [[None]]);
    session.run("COMMIT");
}

#[test]
fn a_repeatable_read_transaction_asks_the_engine_for_its_own_snapshot() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    session.run("SELECT count(*) FROM docs");
    database.session().run(NEAREST);
    let found = source.assert_search(&mut session, "docs", "[9,9,9]", 10);
    assert_ne!(found[0].id, "1000");
    assert_eq!(session.search("docs", "[9,9,9]", 10), found);
    session.run("COMMIT");
    assert_eq!(session.search_by("'docs', '[9,9,9]', 10, ttl => '0'")[0].id, "1000");
}

#[test]
fn the_engine_runs_in_the_snapshot_of_the_statement() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    // The row is inserted by the same statement: its snapshot does not see it, nor may the search.
    let found = session.answer(&format!(
        "WITH new AS ({NEAREST} RETURNING id) SELECT s.* FROM new, LATERAL vcache_search('docs', '[9,9,9]', 3 + (new.id - new.id)) s"
    ));
    assert!(!ids(&found).contains(&"1000"), "{found:?}");
    // Committed by now; what that statement saw must not have been kept.
    assert_eq!(source.assert_search(&mut session, "docs", "[9,9,9]", 10)[0].id, "1000");
}

#[test]
fn a_search_that_fails_leaves_the_transaction_as_an_error_does() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    session.run("BEGIN");
    session.run("SAVEPOINT s");
    session.fails("SELECT * FROM vcache_search('docs', '[1]')");
    session.fails("SELECT 1").assert("25P02", &[]);
    session.run("ROLLBACK TO s");
    source.assert_search(&mut session, "docs", "[1,2,3]", 10);
    session.run("COMMIT");
    source.assert_search(&mut session, "docs", "[1,2,3]", 10);
}

/// Asserts that an answer which an old snapshot has left in the cache is as old as that: `read` makes the snapshot and a
/// later statement `search` fills the cache under it.
fn assert_as_old_as_its_snapshot(read: &str, search: &str) {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, _) = prepared(&database);
    let mut other = database.session();
    other.run(&format!(
        "{NEAREST};
         CREATE FUNCTION found() RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
         DECLARE r record;
         BEGIN
             FOR r IN SELECT id FROM vcache_search('docs', '[9,9,9]', 3) LOOP RETURN NEXT r.id; END LOOP;
         END $$"
    ));
    session.run(read);
    let since = other.value("SELECT clock_timestamp()");
    other.run("DELETE FROM docs WHERE id = 1000");
    assert!(session.column(search).contains(&"1000".to_owned()), "{search}");
    session.run("COMMIT");
    assert_eq!(stand.redis.keys().len(), 1);
    // Before the ttl is over such an answer may be given; but not to one who accepts none from before the deletion.
    assert_eq!(other.search("docs", "[9,9,9]", 3)[0].id, "1000");
    let fresh = other.search_by(&format!("'docs', '[9,9,9]', 3, ttl => clock_timestamp() - '{since}'"));
    assert_ne!(fresh[0].id, "1000", "{search}");
}

#[test]
fn an_answer_is_as_old_as_its_snapshot() {
    let search = "SELECT id FROM vcache_search('docs', '[9,9,9]', 3)";
    assert_as_old_as_its_snapshot("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM docs", search);
    let cursor = |query: &str| format!("BEGIN; DECLARE c CURSOR FOR {query}");
    assert_as_old_as_its_snapshot(&cursor(search), "FETCH ALL FROM c");
    // The loop of the function is a cursor of its own, which is younger than its snapshot.
    assert_as_old_as_its_snapshot(&cursor("SELECT found() FROM generate_series(1, 1)"), "FETCH ALL FROM c");
}

#[test]
fn an_older_snapshot_does_not_overwrite_a_newer_answer() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, _) = prepared(&database);
    let mut other = database.session();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        session.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM docs"));
        other.run(NEAREST);
        assert_eq!(other.search("docs", "[9,9,9]", 10)[0].id, "1000");
        let entry = stand.redis.get(&stand.redis.only_key());
        let sets = stand.redis.calls("set");
        // The entry has too few rows for this one, which asks the engine and would store.
        assert_ne!(session.search("docs", "[9,9,9]", 40)[0].id, "1000");
        session.run("COMMIT");
        assert_eq!((stand.redis.get(&stand.redis.only_key()), stand.redis.calls("set")), (entry, sets + 1), "{level}");
        assert_eq!(other.search("docs", "[9,9,9]", 10)[0].id, "1000");
        other.run("DELETE FROM docs WHERE id = 1000; SELECT vcache_invalidate()");
        database.flush();
    }
    // Where nothing stands, the older answer is better than none.
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    session.search("docs", "[9,9,9]", 10);
    session.run("COMMIT");
    assert_eq!((database.stats("docs").stores, stand.redis.keys().len()), (3, 1));
}

#[test]
fn a_standby_shares_the_cache_and_overwrites_nothing_while_it_lags_behind() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    let standby = stand.server.standby();
    let mut reader = standby.connect("postgres", database.name());
    assert_eq!(reader.value("SELECT pg_is_in_recovery()"), "t");
    // Either finds what the other has stored.
    for vector in ["[1,2,3]", "[3,2,1]"] {
        source.assert_search(&mut session, "docs", vector, 10);
        source.assert_search(&mut reader, "docs", vector, 10);
        std::mem::swap(&mut session, &mut reader);
    }
    assert_eq!((stand.redis.calls("get"), stand.redis.calls("set")), (4, 2));

    reader.run("SELECT pg_wal_replay_pause()");
    until("the standby lags behind", || reader.value("SELECT pg_get_wal_replay_pause_state()") == "paused");
    session.run(NEAREST);
    assert_eq!(session.search("docs", "[9,9,9]", 10)[0].id, "1000");
    // The entry has too few rows for the standby, which asks its own engine and would store.
    assert_ne!(reader.search("docs", "[9,9,9]", 40)[0].id, "1000");
    assert_eq!(stand.redis.calls("set"), 4);
    assert_eq!(session.search("docs", "[9,9,9]", 10)[0].id, "1000");
}
