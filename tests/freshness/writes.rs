//! Every way of writing rows is seen by the next search, which stores, and the one after it is a hit.

use std::io::Write;

use harness::{Database, Session, literal};

use crate::scene::has;
use crate::{Scene, stand};

/// Runs each statement and asserts that the searches of another session meet its effect.
fn assert_seen(database: &Database, scene: &Scene, writer: &mut Session, statements: &[&str]) {
    let mut reader = database.session();
    for statement in statements {
        let before = scene.warm(&mut reader);
        writer.run(statement);
        let after = scene.stale(&mut reader);
        assert_ne!(before, after, "{statement}: the test shows nothing if the answer stays");
        scene.hit(&mut reader);
        scene.hit(writer);
    }
}

#[test]
fn statements_of_every_kind() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    writer.run(&format!(
        "CREATE TABLE coming AS SELECT * FROM docs WHERE id < 4; \
         UPDATE coming SET embedding = '[9,9,9]', title = 'coming'; \
         CREATE VIEW seen AS SELECT * FROM docs; \
         CREATE FUNCTION write(id int) RETURNS void LANGUAGE sql AS \
           $$ INSERT INTO docs VALUES (id, 'by a function', 0, '[9,9,9]') $$; \
         CREATE TABLE other (id int); \
         CREATE RULE also AS ON INSERT TO other DO ALSO INSERT INTO docs VALUES (NEW.id, 'by a rule', 0, '[9,9,9]'); \
         PREPARE kept (int) AS INSERT INTO docs VALUES ($1, 'prepared', 0, {})",
        literal("[9,9,9]")
    ));
    assert_seen(
        &database,
        &scene,
        &mut writer,
        &[
            "INSERT INTO docs VALUES (1000, 'one', 0, '[9,9,9]')",
            "INSERT INTO docs SELECT i, 'some', 0, '[9,9,9]' FROM generate_series(1001, 1002) i",
            "UPDATE docs SET embedding = '[8,8,8]' WHERE id = 1000",
            "UPDATE docs SET title = 'another' WHERE id = 1000",
            "UPDATE docs SET id = 1010 WHERE id = 1000",
            "UPDATE docs SET embedding = NULL WHERE id = 1010",
            "UPDATE docs SET (title, embedding) = (SELECT 'x', embedding FROM docs WHERE id = 1001) WHERE id = 1010",
            "UPDATE docs d SET title = c.title FROM coming c WHERE d.id = 1001 AND c.id = 1",
            "DELETE FROM docs WHERE id = 1001",
            "DELETE FROM docs d USING coming c WHERE d.id = c.id + 1001",
            "INSERT INTO docs VALUES (1010, 'upsert', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
            "INSERT INTO docs VALUES (1011, 'upsert', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
            "INSERT INTO docs VALUES (1012, 'upsert', 0, '[9,9,9]') ON CONFLICT DO NOTHING",
            "MERGE INTO docs d USING coming c ON d.id = c.id + 2000 WHEN NOT MATCHED THEN INSERT VALUES (c.id + 2000, c.title, 0, c.embedding)",
            "MERGE INTO docs d USING coming c ON d.id = c.id + 2000 WHEN MATCHED AND c.id = 1 THEN UPDATE SET title = 'merged'",
            "MERGE INTO docs d USING coming c ON d.id = c.id + 2000 WHEN MATCHED AND c.id = 1 THEN DELETE WHEN MATCHED THEN DO NOTHING",
            "WITH w AS (DELETE FROM docs WHERE id = 2002 RETURNING id) SELECT * FROM w",
            "WITH w AS (INSERT INTO docs VALUES (2002, 'cte', 0, '[9,9,9]')) SELECT 1",
            "UPDATE seen SET title = 'by a view' WHERE id = 2002",
            "DELETE FROM seen WHERE id = 2002",
            "SELECT write(1020)",
            "INSERT INTO other VALUES (1021)",
            "EXECUTE kept(1022)",
            "DO $$ BEGIN FOR i IN 1023..1025 LOOP PERFORM write(i); END LOOP; END $$",
            "BEGIN; DELETE FROM docs WHERE id = 1020; SELECT 1; DELETE FROM docs WHERE id = 1021; COMMIT",
            "TRUNCATE docs",
            "INSERT INTO docs VALUES (1, 'first', 0, '[9,9,9]')",
            "TRUNCATE docs; INSERT INTO docs VALUES (2, 'second', 0, '[9,9,9]')",
            "DELETE FROM docs",
        ],
    );
}

#[test]
fn copy() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    let copy = |writer: &mut Session, statement: &str, ids: std::ops::Range<i32>| {
        let mut input = writer.client().copy_in(statement).expect("COPY");
        for id in ids {
            input.write_all(format!("{id}\tcopied\t0\t[9,9,9]\n").as_bytes()).expect("a line");
        }
        input.finish().expect("the end of COPY");
    };
    copy(&mut writer, "COPY docs FROM STDIN", 1000..1002);
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    // While it is on its way, nobody sees its rows.
    writer.run("DELETE FROM docs WHERE id >= 1000");
    scene.warm(&mut reader);
    {
        let mut input = writer.client().copy_in("COPY docs FROM STDIN").expect("COPY");
        for id in 2000..12_000 {
            input.write_all(format!("{id}\tcopied\t0\t[7,7,7]\n").as_bytes()).expect("a line");
        }
        input.flush().expect("flush");
        scene.hit(&mut reader);
        input.finish().expect("the end of COPY");
    }
    assert_eq!(scene.stale(&mut reader)[0].distance.round(), 3.0);
    scene.hit(&mut reader);
    // Into columns, rows that meet a condition, and a file that fails half-way.
    copy(&mut writer, "COPY docs (id, title, n, embedding) FROM STDIN WHERE id % 2 = 0", 1000..1002);
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    let mut input = writer.client().copy_in("COPY docs FROM STDIN").expect("COPY");
    input.write_all(b"1500\tcopied\t0\t[9,9,9]\nrubbish\n").expect("lines");
    input.finish().expect_err("an id");
    scene.hit(&mut reader);
}

#[test]
fn cascades_of_foreign_keys() {
    let database = stand().database();
    let (scene, mut writer) = Scene::made_by(
        &database,
        "CREATE TABLE parents (id int PRIMARY KEY); \
         INSERT INTO parents SELECT i FROM generate_series(0, 9) i; \
         CREATE TABLE docs (id int PRIMARY KEY, title text, n int REFERENCES parents ON UPDATE CASCADE ON DELETE CASCADE, \
                            parent int REFERENCES parents ON DELETE SET NULL, embedding VECTOR); \
         CREATE TABLE changes (id int PRIMARY KEY, title text UNIQUE); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, 8, '[8,8,8]' FROM generate_series(1, 30) i",
    );
    assert_seen(&database, &scene, &mut writer, &["DELETE FROM parents WHERE id = 1", "TRUNCATE parents CASCADE"]);
    // The column of a cascade is one that is read.
    writer.run("INSERT INTO changes VALUES (1, 'one'), (2, 'two')");
    writer.run("INSERT INTO docs SELECT i, 'one', NULL, NULL, '[8,8,8]' FROM generate_series(1, 3) i");
    writer.run(
        "ALTER TABLE docs ADD FOREIGN KEY (title) REFERENCES changes (title) ON UPDATE CASCADE ON DELETE SET NULL",
    );
    assert_seen(
        &database,
        &scene,
        &mut writer,
        &["UPDATE changes SET title = 'three' WHERE id = 1", "DELETE FROM changes WHERE id = 1"],
    );
}

#[test]
fn deferred_triggers_that_write_at_commit() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    writer.run(
        "CREATE TABLE other (id int); \
         CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO docs VALUES (NEW.id, 'deferred', 0, '[9,9,9]'); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER later AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION write()",
    );
    assert_seen(
        &database,
        &scene,
        &mut writer,
        &[
            "INSERT INTO other VALUES (1000)",
            "BEGIN; INSERT INTO other VALUES (1001); INSERT INTO other VALUES (1002); COMMIT",
        ],
    );
}

#[test]
fn writers_without_any_right_on_vcaches_tables_and_with_hostile_paths() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    let role = database.role("writer", "");
    reader.run(&format!(
        "GRANT INSERT ON docs TO {role}; CREATE SCHEMA trap; GRANT ALL ON SCHEMA trap TO {role}; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         GRANT USAGE ON SCHEMA public TO {role}"
    ));
    let mut writer = database.session_as(&role);
    writer.run(
        "CREATE TABLE trap.vcache_source_clock (scope bigint, token bigint); CREATE TEMP TABLE vcache_source_clock (scope bigint); \
         CREATE TEMP TABLE vcache_namespace (is_pattern boolean); SET search_path = pg_temp, trap, public",
    );
    for id in 1000..1003 {
        scene.warm(&mut reader);
        writer.run(&format!("INSERT INTO public.docs VALUES ({id}, 'nearest', 0, '[9,9,9]')"));
        assert!(has(&scene.stale(&mut reader), &id.to_string()));
        writer.run("SET row_security = off; SET search_path = ''");
    }
    writer.fails("SELECT * FROM public.vcache_source_clock").assert("42501", &[]);
}

#[test]
fn writers_mind_neither_vcache_switched_off_nor_redis_gone() {
    let stand = harness::Stand::start();
    let database = stand.database();
    let (scene, mut reader) = Scene::new(&database);
    let mut writer = database.session();
    scene.warm(&mut reader);
    writer.run("SET vcache.enabled = off");
    writer.run("INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')");
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    // What is written while Redis is away is known when it is back with all that it held.
    stand.redis.pause();
    writer.run("DELETE FROM docs WHERE id = 1000");
    writer.run("INSERT INTO docs VALUES (1001, 'nearest', 0, '[9,9,9]')");
    stand.redis.resume();
    database.until_redis_is_used();
    assert!(has(&scene.stale(&mut reader), "1001"));
    scene.hit(&mut reader);
    stand.redis.stop();
    writer.run("DELETE FROM docs WHERE id = 1001");
    assert!(!has(&scene.right(&mut reader), "1001"));
}

#[test]
fn writes_by_a_session_that_began_before_the_namespace() {
    let database = stand().database();
    let mut writer = database.session();
    let source = harness::Source::docs(&mut writer, 30, 3);
    let scene = Scene::of(source, database.session());
    writer.run("PREPARE kept (int) AS INSERT INTO docs VALUES ($1, 'prepared', 0, '[9,9,9]')");
    for id in 1000..1010 {
        writer.run(&format!("EXECUTE kept({id}); DELETE FROM docs WHERE id = {id}"));
    }
    let mut reader = database.session();
    // An older snapshot does not keep it from being seen either.
    let mut old = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
    scene.register(&mut reader, "");
    scene.warm(&mut reader);
    writer.run("EXECUTE kept(1000)");
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    old.run("INSERT INTO docs VALUES (1001, 'nearest', 0, '[9,9,9]'); COMMIT");
    assert!(has(&scene.stale(&mut reader), "1001"));
}

#[test]
fn a_namespace_and_writes_in_one_transaction() {
    let database = stand().database();
    let mut session = database.session();
    let source = harness::Source::docs(&mut session, 30, 3);
    let scene = Scene::of(source, database.session());
    session.run("BEGIN; INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')");
    scene.register(&mut session, "");
    // Written before there were triggers, by the transaction that searches: only a bypass is right, for all others still see no row.
    let found = session.search("docs", "[9,9,9]", 5);
    assert_eq!(found[0].id, "1000");
    session.run("SAVEPOINT a; DELETE FROM docs WHERE id = 1000");
    assert_ne!(session.search("docs", "[9,9,9]", 5)[0].id, "1000");
    session.run("ROLLBACK TO a; COMMIT");
    let mut reader = database.session();
    assert!(has(&scene.right(&mut reader), "1000"));
    scene.hit(&mut reader);
    // And one whose registration is undone.
    session.run("BEGIN; SELECT vcache_drop_namespace('docs'); DELETE FROM docs WHERE id = 1000; ROLLBACK");
    assert!(has(&scene.hit(&mut reader), "1000"));
    session.run("DELETE FROM docs WHERE id = 1000");
    assert!(!has(&scene.stale(&mut reader), "1000"));
}
