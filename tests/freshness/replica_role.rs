//! session_replication_role = replica, in which only ALWAYS and REPLICA triggers fire.

use harness::Stand;

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene, stand};

#[test]
fn searches_are_bypasses_and_writes_are_seen() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut other);
    session.run("SET session_replication_role = replica");
    scene.bypass(&mut session, "replica");
    for write in [
        NEAREST,
        "UPDATE docs SET embedding = '[1,1,1]' WHERE id = 1000",
        "DELETE FROM docs WHERE id = 1",
        "TRUNCATE docs",
    ] {
        scene.warm(&mut other);
        session.run(write);
        scene.bypass(&mut session, "replica");
        scene.stale(&mut other);
        scene.hit(&mut other);
    }
    session.run("SET session_replication_role = local");
    scene.hit(&mut session);
    session.run(NEAREST);
    assert!(has(&scene.stale(&mut other), "1000"));
    session.run("RESET session_replication_role");
    scene.hit(&mut session);
}

#[test]
fn the_mark_outlives_a_change_of_the_role() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut other);
    session.run("BEGIN; SET LOCAL session_replication_role = replica");
    session.run(NEAREST);
    session.run("SET LOCAL session_replication_role = origin");
    assert!(has(&scene.bypass(&mut session, "written"), "1000"));
    session.run("ROLLBACK");
    assert!(!has(&scene.hit(&mut other), "1000"));
    session.run("BEGIN");
    session.run(NEAREST);
    session.run("SET LOCAL session_replication_role = replica");
    assert!(has(&scene.right(&mut session), "1000"));
    session.run("COMMIT");
    assert!(has(&scene.stale(&mut other), "1000"));
}

#[test]
fn a_function_that_runs_as_a_replica() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    session.run(&format!(
        "CREATE FUNCTION load() RETURNS void LANGUAGE sql SET session_replication_role = replica AS $$ {NEAREST} $$; \
         CREATE FUNCTION look() RETURNS text LANGUAGE sql VOLATILE SET session_replication_role = replica \
           AS $$ SELECT id FROM vcache_search('docs', '{QUERY}', 1) $$"
    ));
    scene.warm(&mut other);
    session.run("BEGIN; SELECT load()");
    assert!(has(&scene.bypass(&mut session, "written"), "1000"));
    session.run("COMMIT");
    assert!(has(&scene.stale(&mut other), "1000"));
    session.run("DELETE FROM docs WHERE id = 1000");
    assert_ne!(session.value("SELECT look()"), "1000");
    assert!(!has(&scene.right(&mut other), "1000"));
}

#[test]
fn upserts_and_merges_and_moves_between_partitions_as_a_replica() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(
        &database,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
         CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i",
    );
    let mut other = database.session();
    session.run("SET session_replication_role = replica");
    for write in [
        "INSERT INTO docs VALUES (1, 'upsert', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET title = 'upsert', embedding = '[9,9,9]'",
        "MERGE INTO docs d USING (VALUES (2)) v (id) ON d.id = v.id WHEN MATCHED THEN UPDATE SET embedding = '[9,9,9]'",
        "UPDATE docs SET id = 1001 WHERE id = 1",
        "UPDATE docs SET id = 3000 - 2997 + 100 WHERE id = 3",
        "INSERT INTO high VALUES (1002, 'direct', 0, '[9,9,9]')",
        "TRUNCATE high",
    ] {
        scene.warm(&mut other);
        session.run(write);
        scene.right(&mut other);
        scene.hit(&mut other);
    }
}
