//! One table for many tenants: a write to the rows of one leaves the entries of the others fresh.

use harness::{Database, Session};

use crate::scene::docs;
use crate::{Scene, stand};

const TENANTS: [&str; 3] = ["ann", "bob", "cid"];

/// A table of three tenants' rows, registered as `docs/*`, and how each sees it.
fn prepared(database: &Database) -> (Vec<Scene>, Session) {
    let mut session = database.session();
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, tenant text, embedding {vector}(3)); \
         INSERT INTO docs SELECT i, 'title ' || i, 0, (ARRAY['ann', 'bob', 'cid'])[i % 3 + 1], '[8,8,8]' FROM generate_series(1, 30) i; \
         SELECT vcache_create_namespace('docs/*', 'docs', 'embedding', metric => 'l2', freshness => 'exact', \
                                        payload_columns => '{{title}}', namespace_column => 'tenant')"
    ));
    let scene = Scene::of(docs(), database.session());
    let scenes = TENANTS.map(|tenant| {
        scene.seen_by(&format!("docs/{tenant}"), database.session()).among(&format!("tenant = '{tenant}'"))
    });
    (scenes.into(), session)
}

/// Runs statements and asserts whose entries they make stale: a tenant's letter is there for each.
fn assert_stale_for(scenes: &[Scene], session: &mut Session, stale: &str, statement: &str) {
    for scene in scenes {
        scene.warm(session);
    }
    println!("{statement}");
    session.run(statement);
    for (scene, tenant) in scenes.iter().zip(TENANTS) {
        if stale.contains(&tenant[..1]) {
            scene.stale(session);
            scene.hit(session);
        } else {
            scene.hit(session);
        }
    }
}

#[test]
fn one_tenants_writes_leave_the_others_entries_fresh() {
    let database = stand().database();
    let (scenes, mut session) = prepared(&database);
    for (stale, statement) in [
        ("a", "INSERT INTO docs VALUES (1000, 'nearest', 0, 'ann', '[9,9,9]')"),
        ("b", "UPDATE docs SET title = 'x' WHERE tenant = 'bob'"),
        ("c", "DELETE FROM docs WHERE id = 2"),
        ("ab", "INSERT INTO docs VALUES (1001, '', 0, 'ann', '[9,9,9]'), (1002, '', 0, 'bob', '[9,9,9]')"),
        ("ac", "UPDATE docs SET tenant = 'cid' WHERE id = 1001"),
        (
            "a",
            "BEGIN; INSERT INTO docs VALUES (1003, '', 0, 'ann', '[9,9,9]'); SAVEPOINT a; DELETE FROM docs WHERE tenant = 'bob'; ROLLBACK TO a; COMMIT",
        ),
        ("", "UPDATE docs SET title = 'y' WHERE tenant = 'nobody'"),
        ("", "INSERT INTO docs VALUES (1010, 'nobody', 0, NULL, '[9,9,9]')"),
        ("b", "UPDATE docs SET tenant = 'bob' WHERE id = 1010"),
        ("abc", "DELETE FROM docs WHERE id > 20"),
        ("abc", "TRUNCATE docs"),
    ] {
        assert_stale_for(&scenes, &mut session, stale, statement);
    }
}

#[test]
fn a_tenants_own_writes_are_seen_before_the_commit() {
    let database = stand().database();
    let (scenes, mut session) = prepared(&database);
    for scene in &scenes {
        scene.warm(&mut session);
    }
    session.run("BEGIN");
    session.run("UPDATE docs SET embedding = '[9,9,9]' WHERE tenant = 'ann'");
    scenes[0].bypass(&mut session, "written");
    for scene in &scenes {
        scene.right(&mut session);
    }
    session.run("COMMIT");
    for scene in &scenes {
        scene.right(&mut session);
        scene.hit(&mut session);
    }
}

#[test]
fn values_that_are_equal_and_not_the_same() {
    let database = stand().database();
    let mut session = database.session();
    let vector = session.engine().extension();
    // 1.0 and 1.00 are one tenant; a text in a collation that does not tell letters of another case apart is as well.
    session.run(&format!(
        "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE docs (id int PRIMARY KEY, title text, n int, price numeric, embedding {vector}(3)); \
         INSERT INTO docs SELECT i, 'title ' || i, 0, 1.0, '[8,8,8]' FROM generate_series(1, 30) i; \
         SELECT vcache_create_namespace('docs/*', 'docs', 'embedding', metric => 'l2', freshness => 'exact', \
                                        payload_columns => '{{title}}', namespace_column => 'price')"
    ));
    let scene = Scene::of(docs(), database.session()).seen_by("docs/1.0", database.session()).among("price = 1");
    scene.warm(&mut session);
    for price in ["1.00", "1", "1.000"] {
        session.run(&format!("INSERT INTO docs SELECT max(id) + 1, 'near', 0, {price}, '[9,9,9]' FROM docs"));
        scene.stale(&mut session);
        scene.hit(&mut session);
    }
    session.run("DROP TABLE docs CASCADE; SELECT vcache_drop_namespace('docs/*')");
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, tenant text COLLATE anycase, embedding {vector}(3)); \
         INSERT INTO docs SELECT i, 'title ' || i, 0, 'Ann', '[8,8,8]' FROM generate_series(1, 30) i; \
         SELECT vcache_create_namespace('docs/*', 'docs', 'embedding', metric => 'l2', freshness => 'exact', \
                                        payload_columns => '{{title}}', namespace_column => 'tenant')"
    ));
    let scene = Scene::of(docs(), database.session()).seen_by("docs/ann", database.session()).among("tenant = 'ann'");
    scene.warm(&mut session);
    session.run("INSERT INTO docs VALUES (1000, 'near', 0, 'ANN', '[9,9,9]')");
    scene.stale(&mut session);
}
