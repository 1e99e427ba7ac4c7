//! Partitions and tables that inherit.

use harness::Database;

use crate::scene::{TENANTS, near, register, rows, table};
use crate::{Scene, stand};

const ALL: [&str; 3] = ["docs/ann", "docs/bob", "docs/cid"];

/// Partitions by n, the second with its columns in another order and a dropped one.
fn partitioned(database: &Database) -> (Scene, harness::Session) {
    let mut session = database.session();
    let vector = session.engine().extension();
    let root = table(&session, "text").replace("id int PRIMARY KEY", "id int") + " PARTITION BY LIST (n)";
    session.run(&format!(
        "{root}; CREATE TABLE first PARTITION OF notes FOR VALUES IN (0); \
         CREATE TABLE second (gone int, embedding {vector}(3), tenant text, gone_too text, n int DEFAULT 0, title text, id int); \
         ALTER TABLE second DROP gone; ALTER TABLE second DROP gone_too; \
         ALTER TABLE notes ATTACH PARTITION second FOR VALUES IN (1); {}",
        rows(&TENANTS)
    ));
    register(&mut session, "docs/*", "id_column => 'id', namespace_column => 'tenant'");
    let mut scene = Scene::of_table(database);
    for tenant in TENANTS {
        scene.view(&format!("docs/{tenant}"), &format!("tenant = '{tenant}'"));
    }
    (scene, session)
}

#[test]
fn rows_are_told_apart_in_every_partition() {
    let database = stand().database();
    let (mut scene, mut session) = partitioned(&database);
    let (ann, bob, cid) = ("docs/ann", "docs/bob", "docs/cid");
    let in_second = |id, tenant| near(id, tenant).replace("(id, ", "(n, id, ").replace("VALUES (", "VALUES (1, ");
    for (statement, stale) in [
        (near(100, "'ann'"), vec![ann]),
        (in_second(101, "'bob'"), vec![bob]),
        (in_second(102, "'cid'").replace("notes", "second"), vec![cid]),
        ("UPDATE notes SET title = 'x' WHERE id = 101".to_owned(), vec![bob]),
        // From one partition to the other: where it stands is nothing that is read; whose it is, is.
        ("UPDATE notes SET n = 1 WHERE id = 100".to_owned(), vec![]),
        ("UPDATE notes SET n = 0, tenant = 'cid' WHERE id = 100".to_owned(), vec![ann, cid]),
        ("UPDATE second SET tenant = 'ann' WHERE id = 101".to_owned(), vec![ann, bob]),
        ("DELETE FROM notes WHERE id = 101".to_owned(), vec![ann]),
        ("TRUNCATE second".to_owned(), ALL.to_vec()),
    ] {
        scene.changes(&mut session, &statement, &stale);
    }
}

#[test]
fn new_partitions_are_told_apart_as_well() {
    let database = stand().database();
    let (mut scene, mut session) = partitioned(&database);
    scene.changes(&mut session, "CREATE TABLE third PARTITION OF notes FOR VALUES IN (2)", &ALL);
    let third = "INSERT INTO notes VALUES (100, 'third', 2, 'ann', '[8,8,8]')";
    scene.changes(&mut session, third, &["docs/ann"]);
    scene.changes(&mut session, "ALTER TABLE notes DETACH PARTITION third", &ALL);
    // On its own it is nobody's; what is written there is seen once it is attached.
    scene.changes(&mut session, "UPDATE third SET tenant = 'bob'", &[]);
    scene.changes(&mut session, "ALTER TABLE notes ATTACH PARTITION third FOR VALUES IN (2)", &ALL);
    scene.changes(&mut session, "DELETE FROM third", &["docs/bob"]);
    // One that is a source of its own already has triggers, but not those.
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE fourth (id int, title text, n int, tenant text, embedding {vector}(3)); \
         SELECT vcache_create_namespace('fourth', 'fourth', 'embedding', id_column => 'id', metric => 'l2'); \
         ALTER TABLE notes ATTACH PARTITION fourth FOR VALUES IN (3)"
    ));
    scene.changes(&mut session, "INSERT INTO fourth VALUES (101, 'fourth', 3, 'cid', '[8,8,8]')", &["docs/cid"]);
    scene.changes(&mut session, "ALTER TABLE notes DETACH PARTITION fourth; DROP TABLE third", &ALL);
}

#[test]
fn a_partition_and_its_root_are_sources_of_their_own() {
    let database = stand().database();
    let (mut scene, mut session) = partitioned(&database);
    session.run(
        "SELECT vcache_create_namespace('second/*', 'second', 'embedding', id_column => 'id', metric => 'l2', \
                                        payload_columns => '{title}', namespace_column => 'title')",
    );
    scene.view("second/x", "tableoid = 'second'::regclass AND title = 'x'");
    scene.view("second/y", "tableoid = 'second'::regclass AND title = 'y'");
    for (statement, stale) in [
        ("INSERT INTO notes VALUES (100, 'x', 0, 'ann', '[8,8,8]')", vec!["docs/ann"]),
        ("INSERT INTO notes VALUES (101, 'x', 1, 'ann', '[8,8,8]')", vec!["docs/ann", "second/x"]),
        ("UPDATE notes SET title = 'y' WHERE id = 101", vec!["docs/ann", "second/x", "second/y"]),
        ("UPDATE second SET tenant = 'bob' WHERE id = 101", vec!["docs/ann", "docs/bob", "second/y"]),
        ("DELETE FROM notes WHERE id = 101", vec!["docs/bob", "second/y"]),
        // By a column that nobody reads, a row comes into the one and leaves it.
        ("UPDATE notes SET n = 1 WHERE id = 100", vec!["docs/ann", "second/x"]),
        ("UPDATE notes SET n = 0 WHERE id = 100", vec!["docs/ann", "second/x"]),
    ] {
        scene.changes(&mut session, statement, &stale);
    }
}

#[test]
fn tables_that_inherit() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    session.run("CREATE TABLE child (extra text, tenant text) INHERITS (notes)");
    let child = "INSERT INTO child (id, title, tenant, embedding, extra) VALUES (100, 'c', 'ann', '[8,8,8]', 'x')";
    scene.changes(&mut session, child, &["docs/ann"]);
    scene.changes(&mut session, "UPDATE notes SET tenant = 'cid' WHERE id = 100", &["docs/ann", "docs/cid"]);
    // The child as a source, with a column that its parent does not have: what is the parent's alone is not the child's.
    session.run(
        "SELECT vcache_create_namespace('extra/*', 'child', 'embedding', id_column => 'id', metric => 'l2', \
                                        payload_columns => '{title}', namespace_column => 'extra')",
    );
    scene.changes(&mut session, &near(101, "'bob'"), &["docs/bob"]);
    session.run("ALTER TABLE notes ADD extra text");
    scene.view("extra/x", "tableoid = 'child'::regclass AND extra = 'x'");
    scene.changes(&mut session, &near(102, "'bob'"), &["docs/bob"]);
    scene.changes(&mut session, "UPDATE notes SET title = 'z' WHERE id = 100", &["docs/cid", "extra/x"]);
    scene.changes(&mut session, "DELETE FROM ONLY notes WHERE tenant = 'bob'", &["docs/bob"]);
}
