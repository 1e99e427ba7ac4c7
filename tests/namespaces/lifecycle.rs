//! What becomes of a namespace with its transaction and with its source.

use harness::{Session, Source, Stand, VECTOR};

use crate::stand;

fn count(session: &mut Session) -> i64 {
    session.number("SELECT count(*) FROM vcache_namespaces")
}

#[test]
fn a_rolled_back_create_leaves_nothing() {
    let database = stand().database();
    let (mut session, mut other) = (database.session(), database.session());
    let source = Source::docs(&mut session, 30, 3);
    session.run("BEGIN");
    source.register(&mut session, "docs", "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    // Not yet there for others.
    other.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
    session.run("ROLLBACK");
    for session in [&mut session, &mut other] {
        assert_eq!(count(session), 0);
        session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
    }
    // The same in a subtransaction.
    session.run("BEGIN; SAVEPOINT s");
    source.register(&mut session, "docs", "");
    session.run("ROLLBACK TO s");
    session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
    session.run("ROLLBACK");
    source.register(&mut session, "docs", "");
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
}

#[test]
fn a_rolled_back_drop_or_alter_changes_nothing() {
    let database = stand().database();
    let (mut session, mut other) = (database.session(), database.session());
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "freshness => 'ttl'");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run("BEGIN; SELECT vcache_drop_namespace('docs')");
    session.run("SAVEPOINT s");
    session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
    session.run("ROLLBACK");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run(r#"BEGIN; SELECT vcache_alter_namespace('docs', '{"payload_columns": ["title"]}')"#);
    assert!(session.search("docs", "[1,2,3]", 1)[0].payload.is_some());
    session.run("ROLLBACK");
    for session in [&mut session, &mut other] {
        assert!(session.search("docs", "[1,2,3]", 1)[0].payload.is_none());
    }
    // The entry of before stands.
    assert_eq!(database.stats("docs").misses, 1);
}

#[test]
fn a_namespace_created_again_meets_no_entry_of_the_old_one() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let mut other = database.session();
    source.register(&mut session, "docs", "");
    for round in 1..=3 {
        session.run(&format!("UPDATE docs SET embedding = embedding + '[1,1,1]'::{VECTOR}"));
        session.run("SELECT vcache_drop_namespace('docs')");
        source.register(&mut session, "docs", "");
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        source.assert_search(&mut other, "docs", "[1,2,3]", 5);
        assert_eq!(stand.redis.keys().len(), round);
    }
    assert_eq!(database.stats("docs").misses, 3);
}

#[test]
fn dropping_what_is_not_there() {
    let database = stand().database();
    let mut session = database.session();
    session.fails("SELECT vcache_drop_namespace('nowhere')").assert("42704", &["nowhere"]);
    session.fails("SELECT vcache_drop_namespace(NULL)").assert("22", &["null"]);
    session.notices();
    session.run("SELECT vcache_drop_namespace('nowhere', if_exists => true)");
    let notices = session.notices();
    assert!(
        notices.iter().any(|notice| notice.severity == "NOTICE" && notice.message.contains("nowhere")),
        "{notices:?}"
    );
}

#[test]
fn a_source_that_was_dropped_fails_its_searches_and_nothing_else() {
    let database = stand().database();
    let mut session = database.session();
    let mut other = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let kept = Source::create(&mut session, "kept", 30, 3);
    source.register(&mut session, "docs", "");
    kept.register(&mut session, "kept", "");
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
    session.run("DROP TABLE docs");
    for session in [&mut session, &mut other] {
        // A hit would be there to be had.
        session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]', 5)").assert("42", &[]);
        kept.assert_search(session, "kept", "[1,2,3]", 5);
        session.rows("SELECT * FROM vcache_namespaces");
        session.rows("SELECT * FROM vcache_stats");
    }
    // A new table of that name is another table.
    let source = Source::docs(&mut session, 20, 3);
    session.run("SELECT vcache_drop_namespace('docs', if_exists => true)");
    source.register(&mut session, "docs", "");
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
}

#[test]
fn a_column_that_was_dropped_fails_its_searches() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run("ALTER TABLE docs DROP COLUMN embedding");
    for rest in ["", ", ttl => '0'"] {
        session.fails(&format!("SELECT * FROM vcache_search('docs', '[1,2,3]', 5{rest})")).assert("42", &[]);
    }
    session.rows("SELECT * FROM vcache_namespaces");
    session.run("SELECT vcache_drop_namespace('docs')");
}

#[test]
fn a_session_that_was_there_before_sees_every_change() {
    let database = stand().database();
    let mut old = database.session();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    for round in 0..3 {
        old.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
        source.register(&mut session, "docs", &format!("payload_columns => '{{{}}}'", ["id", "title", "n"][round]));
        let payload = old.search("docs", "[1,2,3]", 1)[0].payload.clone().expect("a payload");
        assert!(payload.contains(["\"id\"", "\"title\"", "\"n\""][round]), "{payload}");
        session.run("SELECT vcache_drop_namespace('docs')");
    }
}
