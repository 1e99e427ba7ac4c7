//! Changes of definitions that change what an answer says without a row being written.

use harness::{Database, Session};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene, stand};

/// The search's payloads and those that the plain query would have, of the same snapshot.
fn assert_payloads(session: &mut Session, columns: &str) -> Vec<String> {
    let kind = session.engine().extension();
    let found =
        session.column(&format!("SELECT payload FROM vcache_search('docs', '{QUERY}', 3) ORDER BY distance, id"));
    let plain = session.column(&format!(
        "SELECT to_jsonb(p) FROM (SELECT {columns} FROM docs ORDER BY embedding <-> '{QUERY}'::{kind}, id::text LIMIT 3) p"
    ));
    assert_eq!(found, plain);
    found
}

fn outcome(session: &mut Session) -> String {
    session.value(&format!("SELECT outcome FROM vcache_explain('docs', '{QUERY}', 3)"))
}

fn prepared(database: &Database, types: &str, column: &str) -> Session {
    let mut session = database.session();
    let vector = session.engine().extension();
    session.run(&format!(
        "{types}; CREATE TABLE docs (id int PRIMARY KEY, x {column}, embedding {vector}(3)); \
         INSERT INTO docs SELECT i, NULL, ('[' || i || ',9,9]')::{vector} FROM generate_series(7, 11) i"
    ));
    session
}

fn register(session: &mut Session) {
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{x}', freshness => 'exact')");
}

/// Asserts that each statement is met by another session's next search, though it writes no row.
fn assert_met(database: &Database, session: &mut Session, statements: &[&str]) {
    assert_ends(database, session, &statements.iter().map(|statement| (*statement, "hit")).collect::<Vec<_>>());
}

/// The same with statements behind which searches end so.
fn assert_ends(database: &Database, session: &mut Session, statements: &[(&str, &str)]) {
    let mut reader = database.session();
    let mut so_far = "hit";
    for (statement, end) in statements {
        println!("{statement}");
        let before = assert_payloads(&mut reader, "x");
        assert_eq!(outcome(&mut reader), so_far);
        // Not before the commit, and not at all if there is none.
        session.run("BEGIN");
        session.run(statement);
        let inside = assert_payloads(session, "x");
        session.run("ROLLBACK");
        assert_eq!(assert_payloads(&mut reader, "x"), before, "{statement}");
        session.run(statement);
        let after = assert_payloads(&mut reader, "x");
        assert_ne!(before, after, "{statement}: the test shows nothing if the answer stays");
        assert_eq!(inside, after, "{statement}");
        assert_eq!(outcome(&mut reader), *end);
        so_far = end;
    }
}

#[test]
fn race_13_labels_of_an_enumeration() {
    let database = stand().database();
    let mut session = prepared(&database, "CREATE TYPE mood AS ENUM ('good', 'bad')", "mood");
    session.run("UPDATE docs SET x = 'good'");
    register(&mut session);
    assert_met(&database, &mut session, &["ALTER TYPE mood RENAME VALUE 'good' TO 'better'"]);
    // As an element of something else.
    let database = stand().database();
    let types =
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN moods AS mood[]; CREATE TYPE pair AS (a int, b moods)";
    let mut session = prepared(&database, types, "pair");
    session.run("UPDATE docs SET x = ROW(1, ARRAY['good', 'bad']::mood[])");
    register(&mut session);
    assert_met(
        &database,
        &mut session,
        &["ALTER TYPE mood RENAME VALUE 'good' TO 'better'", "ALTER TYPE pair RENAME ATTRIBUTE a TO first"],
    );
}

#[test]
fn race_13_attributes_of_a_composite_type() {
    let database = stand().database();
    let mut session = prepared(&database, "CREATE TYPE pair AS (a int, b int)", "jsonb");
    // A column of the type cannot be altered with ADD while a table has it; RENAME can.
    session.run("ALTER TABLE docs DROP x; ALTER TABLE docs ADD x pair; UPDATE docs SET x = ROW(1, 2)");
    register(&mut session);
    assert_met(&database, &mut session, &["ALTER TYPE pair RENAME ATTRIBUTE b TO second"]);
}

#[test]
fn race_13_the_row_type_of_another_table() {
    let database = stand().database();
    let mut session = prepared(&database, "CREATE TABLE other (a int, b int)", "other");
    session.run("UPDATE docs SET x = ROW(1, 2)");
    register(&mut session);
    assert_met(&database, &mut session, &["ALTER TABLE other RENAME b TO second"]);
}

#[test]
fn race_13_a_cast_to_json() {
    let database = stand().database();
    let types = "CREATE TYPE kind AS ENUM ('one'); CREATE FUNCTION as_json(kind) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT '{\"cast\": 1}'::json $$";
    let mut session = prepared(&database, types, "kind");
    session.run("UPDATE docs SET x = 'one'");
    register(&mut session);
    // What a user's function makes of a value may be another thing for another role: it is not cached.
    let replace = "CREATE OR REPLACE FUNCTION as_json(kind) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT '{\"cast\": 2}'::json $$";
    assert_ends(
        &database,
        &mut session,
        &[
            ("CREATE CAST (kind AS json) WITH FUNCTION as_json(kind)", "bypass"),
            (replace, "bypass"),
            ("DROP CAST (kind AS json)", "hit"),
        ],
    );
}

#[test]
fn race_13_inside_the_transaction_nothing_is_stored() {
    let database = stand().database();
    let mut session = prepared(&database, "CREATE TYPE mood AS ENUM ('good', 'bad')", "mood");
    session.run("UPDATE docs SET x = 'good'");
    register(&mut session);
    let mut reader = database.session();
    for end in ["ROLLBACK", "ROLLBACK TO a; COMMIT", "COMMIT"] {
        session.run("BEGIN; SAVEPOINT a; ALTER TYPE mood RENAME VALUE 'good' TO 'better'");
        assert_eq!(assert_payloads(&mut session, "x")[0], "{\"x\": \"better\"}");
        assert_eq!(outcome(&mut session), "bypass");
        session.run(end);
        let label = if end == "COMMIT" { "better" } else { "good" };
        for session in [&mut reader, &mut session] {
            assert_eq!(assert_payloads(session, "x")[0], format!("{{\"x\": \"{label}\"}}"), "{end}");
            assert_eq!(outcome(session), "hit", "{end}");
        }
    }
}

#[test]
fn tables_and_columns_take_other_names() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut reader = database.session();
    for ddl in [
        "ALTER TABLE docs RENAME TO papers; ALTER TABLE papers RENAME TO docs",
        "CREATE SCHEMA elsewhere; ALTER TABLE docs SET SCHEMA elsewhere; ALTER TABLE elsewhere.docs SET SCHEMA public",
        "ALTER TABLE docs ADD later int; ALTER TABLE docs DROP later",
        "ALTER TABLE docs ALTER title TYPE varchar(100)",
        "ALTER TABLE docs ALTER title SET STORAGE EXTERNAL; ALTER TABLE docs ALTER title SET STATISTICS 10",
        "ALTER TABLE docs OWNER TO CURRENT_USER; GRANT SELECT ON docs TO PUBLIC",
        "CREATE INDEX i ON docs (title); DROP INDEX i",
        "VACUUM FULL docs",
        "CREATE STATISTICS s ON n, title FROM docs",
    ] {
        println!("{ddl}");
        scene.warm(&mut reader);
        for statement in ddl.split("; ") {
            session.run(statement);
        }
        scene.right(&mut reader);
        scene.hit(&mut reader);
        session.run("UPDATE docs SET title = title || '.'");
        scene.stale(&mut reader);
        scene.hit(&mut reader);
    }
    // A column read takes the place of another of its type.
    session.run("ALTER TABLE docs ADD other text; UPDATE docs SET other = 'other ' || id");
    scene.warm(&mut reader);
    session.run("BEGIN; ALTER TABLE docs RENAME title TO old; ALTER TABLE docs RENAME other TO title; COMMIT");
    assert!(scene.right(&mut reader)[0].payload.as_deref().expect("a payload").contains("other"));
    scene.hit(&mut reader);
    session.run("UPDATE docs SET title = 'once more'");
    assert!(scene.right(&mut reader)[0].payload.as_deref().expect("a payload").contains("once more"));
}

#[test]
fn a_column_with_a_default_is_there_without_a_write() {
    let database = stand().database();
    let mut session = prepared(&database, "SELECT 1", "jsonb");
    session.run("ALTER TABLE docs DROP x");
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{*}', freshness => 'exact')");
    let mut reader = database.session();
    for (ddl, columns) in [
        ("ALTER TABLE docs ADD a int DEFAULT 7", "id, a"),
        ("ALTER TABLE docs ALTER a SET DEFAULT 8", "id, a"),
        ("ALTER TABLE docs ADD b text DEFAULT 'x', ADD c bool DEFAULT false", "id, a, b, c"),
        ("ALTER TABLE docs DROP b", "id, a, c"),
        ("ALTER TABLE docs RENAME c TO d", "id, a, d"),
        ("ALTER TABLE docs ALTER a TYPE numeric(5, 2)", "id, a, d"),
    ] {
        session.run(ddl);
        for _ in 0..2 {
            assert_payloads(&mut reader, columns);
        }
        assert_eq!(outcome(&mut reader), "hit", "{ddl}");
    }
}

#[test]
fn an_index_changes_what_the_engine_answers() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    scene.source.index(&mut session);
    scene.miss(&mut reader);
    scene.hit(&mut reader);
    session.run(NEAREST);
    assert!(has(&scene.stale(&mut reader), "1000"));
    session.run(&session_drop_index(&mut reader));
    assert!(has(&scene.miss(&mut reader), "1000"));
    scene.hit(&mut reader);
}

fn session_drop_index(session: &mut Session) -> String {
    let index = session
        .value("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'docs'::regclass AND NOT indisprimary");
    format!("DROP INDEX {index}")
}

#[test]
fn the_source_dropped_and_made_again() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    session.run("BEGIN; DROP TABLE docs");
    session.run("ROLLBACK");
    scene.hit(&mut reader);
    session.run("DROP TABLE docs");
    reader.fails("SELECT * FROM vcache_search('docs', '[9,9,9]')").assert("42P01", &["docs"]);
    let source = harness::Source::docs(&mut session, 20, 3);
    session.run("SELECT vcache_drop_namespace('docs', true)");
    scene.register(&mut session, "");
    drop(source);
    scene.miss(&mut reader);
    session.run(NEAREST);
    assert!(has(&scene.stale(&mut reader), "1000"));
}

#[test]
fn race_23_the_clocks_index_is_made_anew() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let (mut reader, mut writer) = (database.session(), database.session());
    let indexes = session.column(
        "SELECT i.indexrelid::regclass FROM pg_index i WHERE indrelid = (SELECT oid FROM pg_class WHERE relname = 'vcache_source_clock')",
    );
    assert!(!indexes.is_empty());
    for command in ["REINDEX INDEX CONCURRENTLY", "REINDEX INDEX"] {
        for index in &indexes {
            scene.warm(&mut reader);
            session.run(&format!("{command} {index}"));
            scene.hit(&mut reader);
            writer.run(NEAREST);
            assert!(has(&scene.stale(&mut reader), "1000"));
            writer.run("DELETE FROM docs WHERE id = 1000");
            assert!(!has(&scene.stale(&mut reader), "1000"));
        }
    }
    for command in ["REINDEX TABLE CONCURRENTLY", "VACUUM", "VACUUM FULL", "ANALYZE"] {
        scene.warm(&mut reader);
        session.run(&format!("{command} vcache_source_clock"));
        scene.hit(&mut reader);
        writer.run("UPDATE docs SET title = title || '.'");
        scene.stale(&mut reader);
    }
}
