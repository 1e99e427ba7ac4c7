//! Partitions and inheritance: a source is all of its closure, upwards and downwards.

use harness::{Session, Source};

use crate::scene::{docs, has};
use crate::{Scene, stand};

const PARTITIONED: &str = "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
     CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
     CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000) PARTITION BY RANGE (id); \
     CREATE TABLE high_a PARTITION OF high FOR VALUES FROM (20) TO (1000); \
     CREATE TABLE high_b PARTITION OF high FOR VALUES FROM (1000) TO (2000); \
     INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i; ";

/// Runs each statement and asserts that it is met.
fn assert_seen(scene: &Scene, session: &mut Session, reader: &mut Session, statements: &[&str]) {
    for statement in statements {
        println!("{statement}");
        let before = scene.warm(reader);
        session.run(statement);
        let after = scene.miss(reader);
        assert_ne!(before, after, "{statement}");
        scene.hit(reader);
    }
}

#[test]
fn race_05_partitions_are_written_directly_and_through_their_parents() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let mut reader = database.session();
    assert_seen(
        &scene,
        &mut session,
        &mut reader,
        &[
            "INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]')",
            "INSERT INTO high VALUES (1001, '', 0, '[9,9,9]')",
            "INSERT INTO high_b VALUES (1002, '', 0, '[9,9,9]')",
            "UPDATE high_b SET title = 'x'",
            "UPDATE docs SET id = id - 900 WHERE id = 1000",
            "UPDATE high SET id = id + 900 WHERE id = 100",
            "DELETE FROM high_b WHERE id = 1000",
            "TRUNCATE high_b",
            "UPDATE low SET embedding = '[9,9,9]' WHERE id = 1",
            "TRUNCATE low",
            "TRUNCATE docs",
        ],
    );
}

#[test]
fn race_05_the_source_is_a_partition_and_the_write_goes_through_the_parent() {
    let database = stand().database();
    let mut session = database.session();
    let vector = format!("{}(3)", session.engine().extension());
    session.run(&PARTITIONED.replace("VECTOR", &vector));
    let mut reader = database.session();
    let source = Source { table: "high_b".to_owned(), ..docs() };
    let scene = Scene::of(source, database.session());
    scene.register(&mut session, "");
    assert_seen(
        &scene,
        &mut session,
        &mut reader,
        &[
            "INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]')",
            "INSERT INTO high VALUES (1001, '', 0, '[9,9,9]')",
            "UPDATE docs SET title = 'x'",
            "UPDATE docs SET id = id - 900 WHERE id = 1000",
            "UPDATE high SET id = id + 900 WHERE id = 100",
            "DELETE FROM docs WHERE id = 1000",
            "TRUNCATE high",
            "INSERT INTO high_b VALUES (1000, '', 0, '[9,9,9]')",
            "TRUNCATE docs",
        ],
    );
    // A search under a mark of the parent's statement.
    session.run("BEGIN");
    session.run("INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]')");
    assert!(has(&scene.bypass(&mut session, "written"), "1000"));
    session.run("ROLLBACK");
    scene.hit(&mut reader);
}

#[test]
fn race_05_a_child_with_two_parents_written_through_the_other() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(
        &database,
        "CREATE TABLE docs (id int, title text, n int, embedding VECTOR); \
         CREATE TABLE others (id int, title text, n int, embedding VECTOR); \
         CREATE TABLE child () INHERITS (docs, others); \
         CREATE TABLE grandchild () INHERITS (child); \
         INSERT INTO docs SELECT i, 'title ' || i, 0, '[8,8,8]' FROM generate_series(1, 10) i; \
         INSERT INTO child SELECT i, 'title ' || i, 0, '[8,8,8]' FROM generate_series(11, 20) i; \
         INSERT INTO grandchild SELECT i, 'title ' || i, 0, '[8,8,8]' FROM generate_series(21, 30) i; \
         CREATE UNIQUE INDEX ON docs (id); ALTER TABLE docs ADD PRIMARY KEY (id)",
    );
    let mut reader = database.session();
    assert_seen(
        &scene,
        &mut session,
        &mut reader,
        &[
            "INSERT INTO child VALUES (1000, '', 0, '[9,9,9]')",
            "UPDATE others SET title = 'x'",
            "DELETE FROM others WHERE id = 1000",
            "UPDATE others SET embedding = '[9,9,9]' WHERE id = 30",
            "UPDATE ONLY child SET embedding = '[9,9,9]' WHERE id = 20",
            "UPDATE docs SET title = 'y' WHERE id = 20",
            "TRUNCATE others",
            "DELETE FROM docs",
        ],
    );
    // A second parent that comes later, and a row of that parent's own, which is none of the source's.
    session.run(
        "CREATE TABLE third (id int, title text, n int, embedding VECTOR)"
            .replace("VECTOR", &format!("{}(3)", session.engine().extension()))
            .as_str(),
    );
    session.run("ALTER TABLE child INHERIT third; INSERT INTO docs VALUES (1, '', 0, '[9,9,9]'); INSERT INTO child VALUES (2, '', 0, '[9,9,9]')");
    assert_seen(&scene, &mut session, &mut reader, &["UPDATE third SET title = 'z'", "DELETE FROM third"]);
    session.run("ALTER TABLE child NO INHERIT third");
    scene.right(&mut reader);
    session.run("INSERT INTO child VALUES (3, '', 0, '[9,9,9]')");
    assert!(has(&scene.right(&mut reader), "3"));
}

#[test]
fn members_that_come_and_go() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let mut reader = database.session();
    // The DDL itself adds or takes rows.
    assert_seen(
        &scene,
        &mut session,
        &mut reader,
        &[
            "CREATE TABLE later PARTITION OF docs FOR VALUES FROM (2000) TO (3000); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]')",
            "INSERT INTO later VALUES (2001, '', 0, '[9,9,9]')",
            "INSERT INTO docs VALUES (2002, '', 0, '[9,9,9]')",
            "ALTER TABLE docs DETACH PARTITION later",
            "UPDATE later SET title = 'meanwhile'; ALTER TABLE docs ATTACH PARTITION later FOR VALUES FROM (2000) TO (3000)",
            "UPDATE later SET title = 'again'",
            "DROP TABLE later",
            "CREATE TABLE later (LIKE docs); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]'); \
             ALTER TABLE docs ATTACH PARTITION later FOR VALUES FROM (2000) TO (3000)",
            "UPDATE later SET title = 'new'",
            "INSERT INTO docs VALUES (100, '', 0, '[9,9,9]')",
            "ALTER TABLE high DETACH PARTITION high_a",
            "ALTER TABLE high ATTACH PARTITION high_a FOR VALUES FROM (20) TO (1000); INSERT INTO high_a VALUES (101, '', 0, '[9,9,9]')",
            "DROP TABLE high",
        ],
    );
    // A table that has been detached is none of the source's any more.
    session.run("ALTER TABLE docs DETACH PARTITION later");
    scene.warm(&mut reader);
    session.run("INSERT INTO later VALUES (2005, '', 0, '[9,9,9]')");
    scene.right(&mut reader);
    assert_eq!(session.value("SELECT triggers_in_place FROM vcache_sources WHERE source = 'docs'::regclass"), "t");
}

#[test]
fn inside_the_transaction_that_attaches_or_detaches() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let mut reader = database.session();
    session.run("CREATE TABLE later (LIKE docs); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]')");
    for ddl in [
        "ALTER TABLE docs ATTACH PARTITION later FOR VALUES FROM (2000) TO (3000)",
        "ALTER TABLE docs DETACH PARTITION low",
        "CREATE TABLE fresh PARTITION OF docs FOR VALUES FROM (2000) TO (3000); INSERT INTO fresh VALUES (2000, '', 0, '[9,9,9]')",
        "DROP TABLE low",
        "TRUNCATE low",
        "ALTER TABLE docs DETACH PARTITION low; INSERT INTO low VALUES (0, '', 0, '[9,9,9]')",
    ] {
        scene.warm(&mut reader);
        session.run(&format!("BEGIN; {ddl}"));
        scene.right(&mut session);
        session.run("ROLLBACK");
        scene.right(&mut reader);
        scene.hit(&mut reader);
        session.run(&format!("BEGIN; SAVEPOINT a; {ddl}; SAVEPOINT b"));
        scene.right(&mut session);
        session.run("ROLLBACK TO a");
        scene.right(&mut session);
        session.run("COMMIT");
        scene.right(&mut reader);
        scene.hit(&mut reader);
    }
}

#[test]
fn race_10_a_temporary_child_is_one_sessions_own() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut session);
    session.run("CREATE TEMP TABLE mine () INHERITS (docs); INSERT INTO mine VALUES (1000, 'mine', 0, '[9,9,9]')");
    session.notices();
    for _ in 0..2 {
        assert!(has(&scene.bypass(&mut session, "triggers"), "1000"));
    }
    assert_eq!(session.notices().len(), 1);
    // Nobody else sees the rows, and what is served is right; whether it is cached is vcache's to say.
    assert!(!has(&scene.right(&mut other), "1000"));
    other.run("INSERT INTO docs VALUES (1001, 'all', 0, '[9,9,9]')");
    assert!(has(&scene.right(&mut other), "1001"));
    let both = scene.bypass(&mut session, "triggers");
    assert!(has(&both, "1000") && has(&both, "1001"), "{both:?}");
    session.run("DROP TABLE mine");
    assert!(!has(&scene.right(&mut session), "1000"));
    scene.hit(&mut session);
    // And one that goes with its session.
    let mut third = database.session();
    third.run("CREATE TEMP TABLE mine () INHERITS (docs); INSERT INTO mine VALUES (1000, 'mine', 0, '[9,9,9]')");
    assert!(has(&scene.bypass(&mut third, "triggers"), "1000"));
    assert!(!has(&scene.right(&mut session), "1000"));
    drop(third);
    harness::until("the temporary table has gone", || {
        session.number("SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
    });
    assert!(!has(&scene.right(&mut session), "1000"));
    scene.hit(&mut session);
}

#[test]
fn race_10_a_foreign_member_changes_without_anybody_saying_so() {
    let stand = harness::Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let vector = session.engine().extension();
    // A partitioned table with a foreign partition has no primary key.
    session.run(&format!(
        "CREATE TABLE docs (id int, title text, n int, embedding {vector}(3)) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (1000); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i; \
         CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw"
    ));
    let scene = Scene::of(docs(), database.session());
    scene.register(&mut session, "id_column => 'id'");
    scene.warm(&mut session);
    let file = session.value("SELECT current_setting('data_directory') || '/foreign'");
    let put = |session: &mut Session, title: &str| {
        session.run(&format!("COPY (SELECT 1000, '{title}', 0, '[9,9,9]') TO '{file}'"));
    };
    put(&mut session, "one");
    session.run(&format!(
        "CREATE FOREIGN TABLE high PARTITION OF docs FOR VALUES FROM (1000) TO (2000) SERVER files OPTIONS (filename '{file}')"
    ));
    for title in ["one", "two"] {
        put(&mut session, title);
        assert!(has(&scene.bypass(&mut session, "triggers"), "1000"));
    }
    session.run("ALTER TABLE docs DETACH PARTITION high");
    assert!(!has(&scene.right(&mut session), "1000"));
    scene.hit(&mut session);
}

#[test]
fn race_22_a_source_becomes_a_partition_of_a_source() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let mut reader = database.session();
    session.run("CREATE TABLE later (LIKE docs INCLUDING ALL); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]')");
    let later = Scene::of(Source { table: "later".to_owned(), ..docs() }, database.session());
    later.register(&mut session, "");
    later.warm(&mut reader);
    assert_seen(
        &scene,
        &mut session,
        &mut reader,
        &["ALTER TABLE docs ATTACH PARTITION later FOR VALUES FROM (2000) TO (3000)", "UPDATE later SET title = 'x'"],
    );
    later.right(&mut reader);
    session.run("INSERT INTO docs VALUES (2001, '', 0, '[9,9,9]')");
    assert!(has(&later.miss(&mut reader), "2001"));
    assert!(has(&scene.right(&mut reader), "2001"));
    later.hit(&mut reader);
    // Dropping one namespace leaves the other guarded.
    session.run("SELECT vcache_drop_namespace('docs')");
    session.run("DELETE FROM docs WHERE id = 2001");
    assert!(!has(&later.stale(&mut reader), "2001"));
    later.hit(&mut reader);
    session.run("ALTER TABLE docs DETACH PARTITION later; DELETE FROM later");
    later.miss(&mut reader);
}

#[test]
fn a_partition_made_by_another_role_while_vcache_is_switched_off() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let role = database.role("owner", "");
    session.run(&format!(
        "ALTER TABLE docs OWNER TO {role}; ALTER TABLE low OWNER TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    ));
    let mut reader = database.session();
    let mut owner = database.session_as(&role);
    owner.run("SET vcache.enabled = off; SET search_path = public");
    assert_seen(
        &scene,
        &mut owner,
        &mut reader,
        &[
            "CREATE TABLE later PARTITION OF docs FOR VALUES FROM (2000) TO (3000); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]')",
            "UPDATE later SET title = 'x'",
            "DROP TABLE later",
        ],
    );
}
