//! Snapshots from before a change of what the columns are: what others wrote under the old ones says nothing of the new ones.

use harness::{Database, Session};

use crate::scene::{TENANTS, near, register};
use crate::{Scene, stand};

/// A session whose transaction has its snapshot.
fn at_present(database: &Database) -> Session {
    let mut session = database.session();
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM vcache_namespaces");
    session
}

fn found(session: &mut Session, namespace: &str) -> Vec<String> {
    session.column(&format!("SELECT id FROM vcache_search('{namespace}', '[9,9,9]', 3)"))
}

#[test]
fn a_column_that_was_another() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    session.run("UPDATE notes SET title = 'ann'");
    let mut before = at_present(&database);
    // Two tenants' by the old names, and for the new names of nobody but ann.
    session.run(&near(100, "'bob'").replace("(id,", "(title, id,").replace("VALUES (", "VALUES ('ann', "));
    let mut after = at_present(&database);
    session.run("ALTER TABLE notes RENAME tenant TO other; ALTER TABLE notes RENAME title TO tenant; ALTER TABLE notes RENAME other TO title");
    for _ in 0..2 {
        assert!(!found(&mut before, "docs/ann").contains(&"100".to_owned()));
        assert!(found(&mut after, "docs/ann").contains(&"100".to_owned()));
    }
}

#[test]
fn a_payload_that_was_another() {
    let database = stand().database();
    let (_, mut session) = Scene::of_kind(&database, "text", &TENANTS);
    session.run("ALTER TABLE notes ADD unread text DEFAULT 'before'");
    register(&mut session, "all", "ttl => '1 hour'");
    let payload = |session: &mut Session| {
        session.column("SELECT DISTINCT payload ->> 'title' FROM vcache_search('all', '[9,9,9]', 3)")
    };
    let mut before = at_present(&database);
    // Nobody reads it, so nothing advances.
    session.run("UPDATE notes SET unread = 'after'");
    let mut after = at_present(&database);
    session.run("ALTER TABLE notes RENAME title TO old; ALTER TABLE notes RENAME unread TO title");
    for _ in 0..2 {
        assert_eq!(payload(&mut before), ["before"]);
        assert_eq!(payload(&mut after), ["after"]);
    }
}

#[test]
fn snapshots_of_tenants() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    scene.warm();
    let mut before = at_present(&database);
    session.run(&near(100, "'ann'"));
    scene.right();
    // Another tenant's entry is shared with an older snapshot; one's own is of another version.
    let outcome = |session: &mut Session, namespace: &str| {
        session.value(&format!("SELECT outcome FROM vcache_explain('{namespace}', '[9,9,9]', 5)"))
    };
    assert_eq!(
        (outcome(&mut before, "docs/ann"), outcome(&mut before, "docs/bob")),
        ("miss".to_owned(), "hit".to_owned())
    );
    assert!(!found(&mut before, "docs/ann").contains(&"100".to_owned()));
    // What it asked for itself does not take the newer one's place.
    scene.assert_stale(&[]);
}
