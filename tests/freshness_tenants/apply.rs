//! Rows that a worker of logical replication applies, without statements; and a session under its role.

use harness::{Database, Stand, until};

use crate::scene::{TENANTS, near, rows, table};
use crate::{Scene, stand};

/// Runs statements on the publisher, and waits until they are applied.
fn applied(from: &Database, to: &Database, statements: &str) {
    let mut session = from.session();
    session.run(statements);
    let all =
        "SELECT coalesce(string_agg(concat_ws(',', id, title, n, tenant, embedding), ';' ORDER BY id), '') FROM notes";
    let wanted = session.value(all);
    until("the statements are applied", || to.session().value(all) == wanted);
}

#[test]
fn applied_rows_are_told_apart() {
    let there = Stand::start_with(|setup| setup.set("wal_level", "logical"));
    let here = Stand::start_with(|setup| setup.set("wal_retrieve_retry_interval", "100ms"));
    let (from, to) = (there.server.database(), here.server.database());
    let mut publisher = from.session();
    publisher.run(&format!("{}; {}", table(&publisher, "text"), rows(&TENANTS)));
    publisher.run("ALTER TABLE notes REPLICA IDENTITY FULL; CREATE PUBLICATION notes FOR TABLE notes");
    let mut subscriber = to.session();
    subscriber.run(&table(&subscriber, "text"));
    crate::scene::register(&mut subscriber, "docs/*", "namespace_column => 'tenant'");
    let (server, name) = (from.server(), from.name());
    subscriber.run(&format!(
        "CREATE SUBSCRIPTION notes CONNECTION 'host={} port={} user=postgres dbname={name}' PUBLICATION notes",
        server.socket_directory().display(),
        server.port()
    ));
    applied(&from, &to, "");
    let mut scene = Scene::of_table(&to);
    for tenant in TENANTS {
        scene.view(&format!("docs/{tenant}"), &format!("tenant = '{tenant}'"));
    }
    let (ann, bob, cid) = ("docs/ann", "docs/bob", "docs/cid");
    for (statement, stale) in [
        (near(100, "'ann'"), vec![ann]),
        ("UPDATE notes SET title = 'x' WHERE id = 11".to_owned(), vec![bob]),
        ("UPDATE notes SET tenant = 'cid' WHERE id = 100".to_owned(), vec![ann, cid]),
        ("DELETE FROM notes WHERE id = 100".to_owned(), vec![cid]),
        ("TRUNCATE notes".to_owned(), vec![ann, bob, cid]),
    ] {
        scene.warm();
        if statement.starts_with("TRUNCATE") {
            publisher.run(&statement);
            until("it is applied", || to.session().number("SELECT count(*) FROM notes") == 0);
        } else {
            applied(&from, &to, &statement);
        }
        scene.assert_stale(&stale);
    }
}

#[test]
fn the_replica_role() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    session.run("SET session_replication_role = replica");
    for (statement, stale) in [
        (near(100, "'ann'"), vec!["docs/ann"]),
        ("UPDATE notes SET tenant = 'cid' WHERE id = 100".to_owned(), vec!["docs/ann", "docs/cid"]),
        ("DELETE FROM notes WHERE id = 100".to_owned(), vec!["docs/cid"]),
    ] {
        scene.changes(&mut session, &statement, &stale);
    }
}
