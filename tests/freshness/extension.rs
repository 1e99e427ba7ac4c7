//! The triggers come with the first exact namespace of a source and go with its last.

use harness::{Database, Session, Source};

use crate::scene::has;
use crate::{NEAREST, Scene, stand};

fn triggers(session: &mut Session) -> i64 {
    session.number("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'docs'::regclass AND NOT tgisinternal AND tgname LIKE 'vcache%'")
}

fn event_triggers(session: &mut Session) -> i64 {
    session.number("SELECT count(*) FROM pg_event_trigger")
}

#[test]
fn exact_is_the_default() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    assert_eq!(session.value("SELECT freshness FROM vcache_namespaces"), "exact");
    assert_eq!(triggers(&mut session), 3);
    let first = source.assert_search(&mut session, "docs", "[9,9,9]", 5);
    session.run(NEAREST);
    assert_ne!(source.assert_search(&mut session, "docs", "[9,9,9]", 5), first);
}

#[test]
fn triggers_go_with_the_last_exact_namespace() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let second = scene.seen_by("second", database.session());
    second.register(&mut session, "");
    assert_eq!(triggers(&mut session), 3);
    scene.warm(&mut session);
    second.warm(&mut session);
    session.run("SELECT vcache_drop_namespace('docs')");
    assert_eq!(triggers(&mut session), 3);
    session.run(NEAREST);
    assert!(has(&second.stale(&mut session), "1000"));
    second.hit(&mut session);
    // A rollback keeps them.
    session.run("BEGIN; SELECT vcache_drop_namespace('second')");
    assert_eq!(triggers(&mut session), 0);
    session.run("ROLLBACK");
    assert_eq!(triggers(&mut session), 3);
    session.run("DELETE FROM docs WHERE id = 1000");
    assert!(!has(&second.stale(&mut session), "1000"));
    session.run("SELECT vcache_drop_namespace('second')");
    assert_eq!(triggers(&mut session), 0);
    session.run(NEAREST);
    // And again: what was cached under the dropped one is not met.
    scene.register(&mut session, "");
    assert!(has(&scene.miss(&mut session), "1000"));
    scene.hit(&mut session);
}

#[test]
fn freshness_is_altered_to_and_fro() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"ttl\"}')");
    assert_eq!(triggers(&mut session), 0);
    // As 'ttl' says, the next answers may be old.
    reader.search("docs", "[9,9,9]", 5);
    session.run(NEAREST);
    assert_ne!(reader.search("docs", "[9,9,9]", 5)[0].id, "1000");
    session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')");
    assert_eq!(triggers(&mut session), 3);
    assert!(has(&scene.right(&mut reader), "1000"));
    scene.hit(&mut reader);
    session.run("DELETE FROM docs WHERE id = 1000");
    assert!(!has(&scene.stale(&mut reader), "1000"));
    session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": null}')");
    assert_eq!(session.value("SELECT freshness FROM vcache_namespaces"), "exact");
}

#[test]
fn namespaces_of_a_partition_and_of_its_parent_share_triggers() {
    let database = stand().database();
    let (_, mut session) = Scene::made_by(
        &database,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (2000); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i",
    );
    let low = Scene::of(Source { table: "low".to_owned(), ..crate::scene::docs() }, database.session());
    low.register(&mut session, "");
    let all = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'vcache%' AND tgrelid IN ('docs'::regclass, 'low'::regclass)";
    // Two for each, and the row trigger of the leaf.
    assert_eq!(session.number(all), 5);
    session.run("SELECT vcache_drop_namespace('docs')");
    low.warm(&mut session);
    session.run(NEAREST);
    assert!(has(&low.stale(&mut session), "1000"));
    session.run("SELECT vcache_drop_namespace('low')");
    assert_eq!(session.number(all), 0);
}

fn dropped_and_made_again(database: &Database, path: &str) {
    let mut session = database.session();
    let mut other = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let scene = Scene::of(source, database.session());
    scene.register(&mut session, "");
    for _ in 0..2 {
        scene.warm(&mut other);
        session.run("DROP EXTENSION vcache");
        assert_eq!((triggers(&mut session), event_triggers(&mut session)), (0, 0));
        session.run(NEAREST);
        session.run("DELETE FROM docs WHERE id = 1000; UPDATE docs SET embedding = '[7,7,7]' WHERE id = 1");
        session.run(path);
        session.run("CREATE EXTENSION vcache");
        assert_eq!((triggers(&mut session), event_triggers(&mut session) > 0), (0, true));
        scene.register(&mut session, "");
        scene.miss(&mut other);
        session.run(NEAREST);
        assert!(has(&scene.stale(&mut other), "1000"));
        session.run("DELETE FROM docs WHERE id = 1000");
    }
    // Undone.
    scene.warm(&mut other);
    session.run("BEGIN; DROP EXTENSION vcache");
    session.run(NEAREST);
    session.run("ROLLBACK");
    assert!(!has(&scene.hit(&mut other), "1000"));
    session.run(NEAREST);
    assert!(has(&scene.stale(&mut other), "1000"));
}

#[test]
fn drop_extension_needs_no_cascade_and_takes_the_triggers_away() {
    dropped_and_made_again(&stand().database(), "");
}

#[test]
fn drop_extension_while_others_write() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    let mut writer = database.session();
    writer.run("BEGIN");
    writer.run(NEAREST);
    session.run("SET lock_timeout = '100ms'");
    // It waits for the writer, as any DROP TRIGGER does, and harms neither.
    session.fails("DROP EXTENSION vcache").assert("55P03", &[]);
    writer.run("COMMIT");
    session.run("DROP EXTENSION vcache");
    writer.run("DELETE FROM docs WHERE id = 1000");
}

#[test]
fn registering_waits_for_writers_no_longer_than_lock_timeout_says() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let scene = Scene::of(source, database.session());
    let mut writer = database.session();
    writer.run("BEGIN");
    writer.run(NEAREST);
    session.run("SET lock_timeout = '50ms'");
    session
        .fails("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact')")
        .assert("55P03", &[]);
    writer.run("COMMIT");
    scene.register(&mut session, "");
    assert!(has(&scene.miss(&mut session), "1000"));
    // Nothing half-made was left.
    assert_eq!(triggers(&mut session), 3);
}

#[test]
fn exact_is_refused_where_there_are_no_triggers() {
    let database = stand().database();
    let mut session = database.session();
    Source::docs(&mut session, 30, 3);
    session.run("CREATE VIEW seen AS SELECT * FROM docs; CREATE MATERIALIZED VIEW kept AS SELECT * FROM docs; CREATE TEMP TABLE own AS SELECT * FROM docs");
    session.refuses(["seen", "kept", "own"].map(|source| {
        let sql = format!(
            "SELECT vcache_create_namespace('x', '{source}', 'embedding', id_column => 'id', metric => 'l2', freshness => 'exact')"
        );
        (sql, "", [].as_slice())
    }));
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 0);
}

#[test]
fn exact_is_refused_where_rows_show_names_of_other_objects() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    session.run("CREATE DOMAIN of_role AS regrole; CREATE TYPE pair AS (a int, b regclass)");
    for (kind, is_refused) in [
        ("regclass", true),
        ("regrole[]", true),
        ("of_role", true),
        ("pair", true),
        ("pair[]", true),
        ("aclitem", true),
        ("regtype", false),
        ("text", false),
    ] {
        session.run(&format!("ALTER TABLE docs ADD COLUMN other {kind}"));
        let register = "SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', payload_columns => '{other}', freshness => 'exact')";
        if is_refused {
            session.fails(register).assert("0A000", &["column \"other\" has type"]);
            session.run(&register.replace("'exact'", "'ttl'"));
        } else {
            session.run(register);
        }
        session.run("SELECT vcache_drop_namespace('x'); ALTER TABLE docs DROP COLUMN other");
    }
    // One that comes later makes bypasses.
    session.run("SELECT vcache_alter_namespace('docs', '{\"payload_columns\": [\"*\"]}')");
    let search = "SELECT count(*) FROM vcache_search('docs', '[9,9,9]')";
    let outcome = "SELECT outcome FROM vcache_explain('docs', '[9,9,9]')";
    session.run(search);
    assert_eq!(session.value(outcome), "hit");
    session.run("ALTER TABLE docs ADD COLUMN other regclass");
    session.run(search);
    assert_eq!(session.value(outcome), "bypass");
}
