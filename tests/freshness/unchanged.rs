//! What cannot change an answer leaves the entries fresh: the next search is a hit.

use harness::{Database, Session};

use crate::scene::{docs, has};
use crate::{Scene, stand};

/// Runs each statement and asserts that another session's next search is a hit.
fn assert_fresh(database: &Database, scene: &Scene, writer: &mut Session, statements: &[&str]) {
    let mut reader = database.session();
    scene.warm(&mut reader);
    for statement in statements {
        println!("{statement}");
        writer.run(statement);
        scene.hit(&mut reader);
        scene.hit(writer);
    }
}

/// Runs each statement and asserts that another session's next search is a miss.
fn assert_stale(database: &Database, scene: &Scene, writer: &mut Session, statements: &[&str]) {
    let mut reader = database.session();
    for statement in statements {
        println!("{statement}");
        scene.warm(&mut reader);
        writer.run(statement);
        scene.stale(&mut reader);
        scene.hit(&mut reader);
    }
}

#[test]
fn statements_that_change_no_row() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    assert_fresh(
        &database,
        &scene,
        &mut writer,
        &[
            "UPDATE docs SET title = 'x' WHERE id = -1",
            "DELETE FROM docs WHERE false",
            "INSERT INTO docs SELECT * FROM docs WHERE false",
            "INSERT INTO docs VALUES (1, '', 0, '[9,9,9]') ON CONFLICT DO NOTHING",
            "INSERT INTO docs VALUES (1, '', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET title = 'x' WHERE false",
            "MERGE INTO docs d USING (VALUES (-1)) v (id) ON d.id = v.id WHEN MATCHED THEN DELETE",
            "WITH w AS (DELETE FROM docs WHERE id = -1 RETURNING *) SELECT * FROM w",
            "BEGIN; DELETE FROM docs WHERE false; DELETE FROM docs WHERE id = -1; COMMIT",
            "SELECT * FROM docs FOR UPDATE",
            "ANALYZE docs",
            "VACUUM docs",
            "COMMENT ON TABLE docs IS 'a comment'",
        ],
    );
}

#[test]
fn statements_that_find_no_row_by_an_index() {
    let database = stand().database();
    let (scene, _) = Scene::new(&database);
    for statement in [
        "UPDATE docs SET title = 'x' WHERE id = -1",
        "DELETE FROM docs WHERE id = -1",
        "INSERT INTO docs VALUES (1, '', 0, '[9,9,9]') ON CONFLICT DO NOTHING",
    ] {
        // PostgreSQL has counted nothing for it yet.
        let by_index = format!("BEGIN; SET LOCAL enable_seqscan = off; {statement}; COMMIT");
        assert_fresh(&database, &scene, &mut database.session(), &[&by_index]);
    }
}

#[test]
fn a_statement_without_rows_after_one_with_rows_in_the_same_transaction() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &[
            "BEGIN; DELETE FROM docs WHERE id = 1; DELETE FROM docs WHERE false; COMMIT",
            "BEGIN; DELETE FROM docs WHERE false; DELETE FROM docs WHERE id = 2; COMMIT",
            "BEGIN; SAVEPOINT a; DELETE FROM docs WHERE id = 3; ROLLBACK TO a; DELETE FROM docs WHERE id = 3; COMMIT",
            // As many rows gone as have come.
            "BEGIN; INSERT INTO docs VALUES (100, '', 0, '[9,9,9]'); DELETE FROM docs WHERE id = 100; INSERT INTO docs VALUES (101, '', 0, '[9,9,9]'); COMMIT",
            "BEGIN; TRUNCATE docs; DELETE FROM docs WHERE false; COMMIT",
            "BEGIN; INSERT INTO docs VALUES (1, '', 0, '[9,9,9]'); TRUNCATE docs; INSERT INTO docs VALUES (1, '', 0, '[8,9,9]'); COMMIT",
        ],
    );
}

#[test]
fn where_postgresql_does_not_count_every_write_counts() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    writer.run("SET track_counts = off");
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &[
            "DELETE FROM docs WHERE id = 1",
            "INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')",
            "UPDATE docs SET title = 'x' WHERE id = 1000",
        ],
    );
    // Switched on or off inside the transaction, or inside the statement by a function.
    writer.run(
        "CREATE FUNCTION off(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET LOCAL track_counts = off; RETURN id; END $$; \
         CREATE FUNCTION on_(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET LOCAL track_counts = on; RETURN id; END $$",
    );
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &[
            "BEGIN; SET LOCAL track_counts = on; DELETE FROM docs WHERE id = 2; COMMIT",
            "BEGIN; DELETE FROM docs WHERE id = 3; SET LOCAL track_counts = on; DELETE FROM docs WHERE false; COMMIT",
            "SET track_counts = on; UPDATE docs SET title = 'y' WHERE id = off(1000)",
            "SET track_counts = off; UPDATE docs SET title = 'z' WHERE id = on_(1000)",
            "SET track_counts = on; BEGIN; SET LOCAL track_counts = off; DELETE FROM docs WHERE id = 4; COMMIT",
        ],
    );
}

#[test]
fn updates_of_columns_that_no_namespace_reads() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let fresh = ["UPDATE docs SET n = n + 1", "UPDATE docs SET n = 5 WHERE id = 1"];
    assert_fresh(&database, &scene, &mut writer, &fresh);
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &[
            "UPDATE docs SET n = 6, title = 'x' WHERE id = 1",
            "UPDATE docs SET embedding = '[9,9,9]' WHERE id = 1",
            "UPDATE docs SET id = 100 WHERE id = 1",
        ],
    );
    // Another namespace that reads it.
    writer.run(
        "SELECT vcache_create_namespace('numbers', 'docs', 'embedding', metric => 'l2', payload_columns => '{n}')",
    );
    writer.run("SELECT id FROM vcache_search('numbers', '[9,9,9]', 1)");
    let payload = "SELECT payload FROM vcache_search('numbers', '[9,9,9]', 1)";
    writer.run("UPDATE docs SET n = 77");
    assert_eq!(writer.value(payload), "{\"n\": 77}");
    // And one fewer; and one that is altered.
    writer.run("SELECT vcache_drop_namespace('numbers')");
    assert_fresh(&database, &scene, &mut writer, &fresh);
    writer.run("SELECT vcache_create_namespace('numbers', 'docs', 'embedding', metric => 'l2')");
    assert_fresh(&database, &scene, &mut writer, &fresh);
    writer.run("SELECT vcache_alter_namespace('numbers', '{\"payload_columns\": [\"n\"]}')");
    writer.run("UPDATE docs SET n = 78");
    assert_eq!(writer.value(payload), "{\"n\": 78}");
    // The whole row, with columns that come later.
    writer.run("SELECT vcache_alter_namespace('numbers', '{\"payload_columns\": [\"*\"]}')");
    writer.run("ALTER TABLE docs ADD later int");
    let later = "SELECT payload->>'later' FROM vcache_search('numbers', '[9,9,9]', 1)";
    assert_eq!(writer.rows(later), [[None]]);
    writer.run("UPDATE docs SET later = 1");
    assert_eq!(writer.value(later), "1");
    writer.run("ALTER TABLE docs RENAME later TO much_later; UPDATE docs SET much_later = 2");
    assert_eq!(writer.value("SELECT payload->>'much_later' FROM vcache_search('numbers', '[9,9,9]', 1)"), "2");
    // One that is read takes the name of one that is not.
    writer.run("SELECT vcache_drop_namespace('numbers')");
    writer.run("ALTER TABLE docs RENAME title TO old_title; ALTER TABLE docs RENAME n TO title");
    let mut reader = database.session();
    scene.right(&mut reader);
    writer.run("UPDATE docs SET title = 99");
    assert_eq!(reader.value("SELECT DISTINCT payload FROM vcache_search('docs', '[9,9,9]', 5)"), "{\"title\": 99}");
    scene.right(&mut reader);
}

#[test]
fn an_update_of_other_columns_that_generated_ones_of_an_heir_are_made_of() {
    let database = stand().database();
    let (scene, mut writer) = Scene::made_by(
        &database,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR); \
         INSERT INTO docs VALUES (1, '', 0, '[1,1,1]'); \
         CREATE TABLE heir (title text GENERATED ALWAYS AS ('n is ' || n) STORED, more text GENERATED ALWAYS AS ('n is ' || n) STORED) \
         INHERITS (docs); \
         INSERT INTO heir (id, n, embedding) VALUES (2, 0, '[8,8,8]')",
    );
    assert_stale(&database, &scene, &mut writer, &["UPDATE docs SET n = 1 WHERE id = 2", "UPDATE heir SET n = 2"]);
    writer.run("SELECT vcache_drop_namespace('docs')");
    // A column that only the heir has.
    writer.run("SELECT vcache_create_namespace('heir', 'heir', 'embedding', id_column => 'id', metric => 'l2', payload_columns => '{more}')");
    let payload = "SELECT payload FROM vcache_search('heir', '[9,9,9]', 1)";
    assert_eq!(writer.value(payload), "{\"more\": \"n is 2\"}");
    writer.run("UPDATE docs SET n = 3 WHERE id = 2");
    assert_eq!(writer.value(payload), "{\"more\": \"n is 3\"}");
}

#[test]
fn an_update_of_other_columns_that_a_trigger_turns_into_one_of_these() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    writer.run(
        "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.embedding = '[9,9,9]'; RETURN NEW; END $$; \
         CREATE TRIGGER move BEFORE UPDATE OF n ON docs FOR EACH ROW EXECUTE FUNCTION move()",
    );
    assert_stale(&database, &scene, &mut writer, &["UPDATE docs SET n = 1 WHERE id = 1"]);
    // Made by a session that searches nothing, dropped, made again with another condition, switched off and on.
    writer.run("DROP TRIGGER move ON docs");
    assert_fresh(&database, &scene, &mut writer, &["UPDATE docs SET n = 2 WHERE id = 2"]);
    writer.run("CREATE TRIGGER move BEFORE UPDATE ON docs FOR EACH ROW WHEN (NEW.n = 3) EXECUTE FUNCTION move()");
    assert_stale(&database, &scene, &mut writer, &["UPDATE docs SET n = 3 WHERE id = 3"]);
    writer.run("ALTER TABLE docs DISABLE TRIGGER move");
    assert!(!has(&scene.right(&mut reader), "4"));
    writer.run("UPDATE docs SET n = 3 WHERE id = 4");
    scene.right(&mut reader);
    writer.run("ALTER TABLE docs ENABLE TRIGGER move; UPDATE docs SET n = 3 WHERE id = 5");
    assert!(has(&scene.right(&mut reader), "5"));
}

#[test]
fn generated_columns_depend_on_others() {
    let database = stand().database();
    let (scene, mut writer) = Scene::made_by(
        &database,
        "CREATE FUNCTION at(n int) RETURNS VECTOR LANGUAGE sql IMMUTABLE AS \
           $$ SELECT ('[' || n || ',9,9]')::VECTOR $$; \
         CREATE TABLE docs (id int PRIMARY KEY, base text, unread int, n int, title text GENERATED ALWAYS AS (upper(base)) STORED, \
                            embedding VECTOR GENERATED ALWAYS AS (at(n)) STORED); \
         INSERT INTO docs (id, base, n) SELECT i, 'title ' || i, i FROM generate_series(1, 30) i",
    );
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &["UPDATE docs SET n = n + 100 WHERE id = 9", "UPDATE docs SET base = 'other' WHERE id = 8"],
    );
    assert_fresh(&database, &scene, &mut writer, &["UPDATE docs SET unread = 1"]);
}

#[test]
fn unread_columns_of_partitions_and_children() {
    let database = stand().database();
    // The partitions' columns stand in another order, with a dropped one before them.
    let (scene, mut writer) = Scene::made_by(
        &database,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
         CREATE TABLE low (dropped int, embedding VECTOR, n int, title text, id int NOT NULL); \
         ALTER TABLE low DROP dropped; \
         ALTER TABLE docs ATTACH PARTITION low FOR VALUES FROM (0) TO (20); \
         CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i",
    );
    assert_fresh(
        &database,
        &scene,
        &mut writer,
        &["UPDATE docs SET n = n + 1", "UPDATE low SET n = n + 1", "UPDATE high SET n = n + 1"],
    );
    assert_stale(
        &database,
        &scene,
        &mut writer,
        &[
            "UPDATE docs SET title = 'a' WHERE id = 1",
            "UPDATE low SET title = 'b' WHERE id = 1",
            "UPDATE high SET title = 'c'",
            "UPDATE low SET embedding = '[9,9,9]'",
        ],
    );
}

#[test]
fn a_source_is_not_another() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    harness::Source::create(&mut writer, "others", 30, 3);
    let others = Scene::of(harness::Source { table: "others".to_owned(), ..docs() }, database.session());
    others.register(&mut writer, "");
    others.warm(&mut writer);
    scene.warm(&mut writer);
    writer.run("BEGIN; DELETE FROM others WHERE id = 1");
    scene.hit(&mut writer);
    others.bypass(&mut writer, "written");
    writer.run("COMMIT");
    scene.hit(&mut writer);
    others.stale(&mut writer);
}
