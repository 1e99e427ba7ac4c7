//! Several namespaces over one table, and what changes of registrations change.

use harness::Session;

use crate::scene::{TENANTS, near, register};
use crate::{Scene, stand};

/// The triggers that tell tenants apart.
fn triggers(session: &mut Session) -> i64 {
    session.number(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'notes'::regclass AND tgname IN ('vcache_new', 'vcache_old')",
    )
}

/// The rows of the clocks, of which one is that of the whole table.
fn clocks(session: &mut Session) -> i64 {
    session.number("SELECT slots FROM vcache_sources")
}

#[test]
fn exact_names_and_patterns_and_the_whole_table() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::of_kind(&database, "text", &TENANTS);
    register(&mut session, "ann", "namespace_column => 'tenant'");
    register(&mut session, "docs/*", "namespace_column => 'tenant'");
    register(&mut session, "by title/*", "namespace_column => 'title'");
    scene.view("ann", "tenant = 'ann'");
    scene.view("docs/ann", "tenant = 'ann'");
    scene.view("docs/bob", "tenant = 'bob'");
    scene.view("by title/x", "title = 'x'");
    scene.changes(&mut session, &near(100, "'ann'"), &["ann", "docs/ann"]);
    scene.changes(&mut session, "UPDATE notes SET title = 'x' WHERE id = 11", &["docs/bob", "by title/x"]);
    register(&mut session, "all", "ttl => '1 hour'");
    scene.view("all", "true");
    scene.changes(&mut session, &near(101, "'ann'"), &["ann", "docs/ann", "all"]);
    scene.changes(&mut session, &near(102, "'cid'"), &["all"]);
    // What is the whole table's alone.
    session.run("SELECT vcache_drop_namespace('all')");
    register(&mut session, "all", "ttl => '1 hour'");
    scene.changes(&mut session, &near(103, "NULL"), &["all"]);
    scene.changes(&mut session, "SELECT vcache_invalidate('docs/*')", &["docs/ann", "docs/bob"]);
    scene.changes(&mut session, "SELECT vcache_invalidate()", &["ann", "docs/ann", "docs/bob", "by title/x", "all"]);
}

#[test]
fn triggers_and_clocks_are_there_while_somebody_needs_them() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::of_kind(&database, "text", &TENANTS);
    register(&mut session, "all", "ttl => '1 hour'");
    assert_eq!(triggers(&mut session), 0);
    register(&mut session, "docs/*", "namespace_column => 'tenant'");
    register(&mut session, "more/*", "namespace_column => 'tenant'");
    assert_eq!(triggers(&mut session), 2);
    scene.view("all", "true");
    scene.view("docs/ann", "tenant = 'ann'");
    scene.changes(&mut session, &near(100, "'ann'"), &["all", "docs/ann"]);
    assert!(clocks(&mut session) > 1);
    session.run("SELECT vcache_drop_namespace('more/*')");
    assert_eq!(triggers(&mut session), 2);
    scene.changes(&mut session, &near(101, "'bob'"), &["all"]);
    session.run("SELECT vcache_drop_namespace('docs/*')");
    assert_eq!((triggers(&mut session), clocks(&mut session)), (0, 1));
    register(&mut session, "docs/*", "namespace_column => 'tenant'");
    scene.changes(&mut session, &near(102, "'ann'"), &["all", "docs/ann"]);
    // The clocks are those of before, and no entry of before is met.
    session.run("SELECT vcache_alter_namespace('docs/*', '{\"freshness\": \"ttl\"}')");
    assert_eq!((triggers(&mut session), clocks(&mut session)), (0, 1));
    session.run("SELECT vcache_alter_namespace('docs/*', '{\"freshness\": \"exact\"}')");
    assert_eq!(triggers(&mut session), 2);
    scene.changes(&mut session, &near(103, "'ann'"), &["all", "docs/ann"]);
    session.run("SELECT vcache_drop_namespace('docs/*'); SELECT vcache_drop_namespace('all')");
    assert_eq!(
        session.number("SELECT count(*) FROM pg_trigger WHERE tgname ~ '^vcache' AND tgrelid = 'notes'::regclass"),
        0
    );
}

#[test]
fn another_column() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    session.run("SELECT vcache_alter_namespace('docs/*', '{\"namespace_column\": \"title\"}')");
    let mut by_title = Scene::of_table(&database);
    by_title.view("docs/ann", "title = 'ann'");
    by_title.view("docs/bob", "title = 'bob'");
    by_title.changes(&mut session, "INSERT INTO notes VALUES (100, 'bob', 0, 'ann', '[8,8,8]')", &["docs/bob"]);
    session.run("SELECT vcache_alter_namespace('docs/*', '{\"namespace_column\": \"tenant\"}')");
    scene.changes(&mut session, "INSERT INTO notes VALUES (101, 'bob', 0, 'ann', '[8,8,8]')", &["docs/ann"]);
}

#[test]
fn a_session_that_has_written_before_learns_of_new_tenants() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::of_kind(&database, "text", &TENANTS);
    register(&mut session, "all", "ttl => '1 hour'");
    let mut writer = database.session();
    writer.run(&near(100, "'ann'"));
    register(&mut session, "docs/*", "namespace_column => 'tenant'");
    scene.view("docs/ann", "tenant = 'ann'");
    scene.view("docs/bob", "tenant = 'bob'");
    scene.changes(&mut writer, &near(101, "'ann'"), &["docs/ann"]);
    session.run("SELECT vcache_drop_namespace('all')");
    scene.changes(&mut writer, &near(102, "'ann'"), &["docs/ann"]);
    // In one transaction, and its part undone.
    let undone =
        format!("BEGIN; SAVEPOINT a; SELECT vcache_drop_namespace('docs/*'); {}; ROLLBACK TO a", near(103, "'ann'"));
    scene.changes(&mut writer, &format!("{undone}; {}; COMMIT", near(104, "'bob'")), &["docs/bob"]);
}

#[test]
fn what_is_told_of_sources() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    scene.warm();
    for id in 100..160 {
        session.run(&near(id, "'ann'"));
    }
    let told = |session: &mut Session| {
        session.value("SELECT concat_ws(' ', slots > 0, last_change > now() - interval '1 hour', changes_per_minute > 5, triggers_in_place) FROM vcache_sources")
    };
    assert_eq!(told(&mut session), "t t t t");
    let reason = session.value("SELECT reason FROM vcache_explain('docs/ann', '[9,9,9]', 5)");
    assert!(reason.contains("the tenant changes"), "{reason}");
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs/bob', '[9,9,9]', 5)"), "hit");
    session.run("ALTER TABLE notes DISABLE TRIGGER vcache_old");
    assert_eq!(told(&mut session), "t t t f");
    assert_eq!(session.value("SELECT status FROM vcache_health() WHERE component = 'triggers'"), "degraded");
}
