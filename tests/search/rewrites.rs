//! TRUNCATE and the ALTER TABLEs that rewrite are not MVCC-safe: to an older snapshot the table is empty afterwards. A plain query takes
//! its locks before its snapshot and never meets that; a function's snapshot is the statement's, and older.

use harness::{Database, Session, Source, Stand, until};

use crate::stand;

fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "freshness => 'ttl'");
    (session, source)
}

/// Runs `changes` in a transaction of `owner`'s, which commits when `waiting`'s statement waits for it.
fn while_waiting(owner: &mut Session, changes: &str, waiting: &mut Session, statement: &str) -> i64 {
    let pid = waiting.pid();
    owner.run("BEGIN");
    owner.run(changes);
    std::thread::scope(|scope| {
        let counted = scope.spawn(|| waiting.number(statement));
        until("the statement waits", || {
            owner.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
        });
        owner.run("COMMIT");
        counted.join().expect("thread")
    })
}

const COUNT: &str = "SELECT count(*) FROM vcache_search('docs', '[1,2,3]', 10)";

const REWRITES: [&str; 3] = [
    "CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE docs; TRUNCATE docs; INSERT INTO docs TABLE kept",
    "ALTER TABLE docs ALTER n TYPE bigint",
    "ALTER TABLE docs ADD random float8 DEFAULT random()",
];

#[test]
fn a_search_that_waited_for_a_rewrite_sees_the_rows() {
    for rewrite in REWRITES {
        let database = stand().database();
        let (mut owner, source) = prepared(&database);
        let mut waiting = database.session();
        assert_eq!(while_waiting(&mut owner, rewrite, &mut waiting, COUNT), 10, "{rewrite}");
        // And so do those who come after it.
        assert_eq!(source.assert_search(&mut waiting, "docs", "[1,2,3]", 10).len(), 10);
        assert_eq!(database.stats("docs").outcomes(), (1, 1, 0), "{rewrite}");
    }
}

#[test]
fn a_bypass_that_waited_for_a_rewrite_sees_the_rows() {
    let database = stand().database();
    let (mut owner, _) = prepared(&database);
    let bypass = "SELECT count(*) FROM vcache_search('docs', '[1,2,3]', 10, ttl => '0')";
    assert_eq!(while_waiting(&mut owner, REWRITES[0], &mut database.session(), bypass), 10);
}

#[test]
fn a_statement_that_began_before_a_rewrite_sees_the_rows() {
    let database = stand().database();
    let (mut owner, source) = prepared(&database);
    let mut late = database.session();
    late.run(
        "CREATE FUNCTION late() RETURNS bigint STABLE LANGUAGE plpgsql AS $$ BEGIN \
           PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1); \
           RETURN (SELECT count(*) FROM vcache_search('docs', '[1,2,3]', 10)); END $$",
    );
    let changes = format!("SELECT pg_advisory_xact_lock(1); {}", REWRITES[0]);
    assert_eq!(while_waiting(&mut owner, &changes, &mut late, "SELECT late()"), 10);
    assert_eq!(source.assert_search(&mut late, "docs", "[1,2,3]", 10).len(), 10);
}

#[test]
fn a_partition_that_was_truncated_and_filled_again_is_seen() {
    let database = stand().database();
    let mut owner = database.session();
    let vector = owner.engine().extension();
    owner.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, embedding {vector}(3)) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (10); \
         CREATE TABLE high PARTITION OF docs FOR VALUES FROM (10) TO (20); \
         INSERT INTO docs SELECT i, '[1,2,3]' FROM generate_series(5, 14) i; \
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')"
    ));
    let changes = "TRUNCATE high; INSERT INTO docs SELECT i, '[1,2,3]' FROM generate_series(10, 14) i";
    assert_eq!(while_waiting(&mut owner, changes, &mut database.session(), COUNT), 10);
    assert_eq!(owner.number(COUNT), 10);
}

#[test]
fn under_repeatable_read_it_is_what_the_plain_query_sees_and_is_not_kept() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut owner, source) = prepared(&database);
    let mut old = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.number("SELECT count(*) FROM pg_class");
    owner.run("BEGIN");
    owner.run(REWRITES[0]);
    owner.run("COMMIT");
    assert_eq!(source.plain(&mut old, "[1,2,3]", 10).len(), 0, "PostgreSQL's own caveat");
    assert_eq!(old.number(COUNT), 0);
    old.run("COMMIT");
    assert!(stand.redis.keys().is_empty());
    assert_eq!(source.assert_search(&mut old, "docs", "[1,2,3]", 10).len(), 10);
}
