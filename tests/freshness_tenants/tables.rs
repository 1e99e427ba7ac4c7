//! What is done to the table and its triggers.

use crate::scene::{near, register};
use crate::{Scene, stand};

const ALL: [&str; 3] = ["docs/ann", "docs/bob", "docs/cid"];

#[test]
fn a_trigger_that_is_not_as_it_was_made_makes_bypasses() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    register(&mut session, "all", "ttl => '1 hour'");
    let condition = "WHEN (vcache_row_changed(NEW.tableoid, NEW.ctid))";
    let create = "CREATE TRIGGER vcache_new AFTER INSERT OR UPDATE ON notes FOR EACH ROW";
    let call = "EXECUTE FUNCTION vcache_source_changed(); ALTER TABLE notes ENABLE ALWAYS TRIGGER vcache_new";
    for change in [
        "ALTER TABLE notes DISABLE TRIGGER vcache_new".to_owned(),
        "ALTER TABLE notes DISABLE TRIGGER vcache_old".to_owned(),
        "ALTER TABLE notes ENABLE TRIGGER ALL".to_owned(),
        "ALTER TABLE notes ENABLE REPLICA TRIGGER vcache_old".to_owned(),
        "DROP TRIGGER vcache_old ON notes".to_owned(),
        format!("DROP TRIGGER vcache_new ON notes; {create} {call}"),
        format!("DROP TRIGGER vcache_new ON notes; {create} WHEN (false) {call}"),
        format!(
            "DROP TRIGGER vcache_new ON notes; {create} WHEN (NOT vcache_row_changed(NEW.tableoid, NEW.ctid)) {call}"
        ),
        format!("DROP TRIGGER vcache_new ON notes; {create} WHEN (vcache_row_changed(NEW.tableoid, '(0,1)')) {call}"),
        format!("DROP TRIGGER vcache_new ON notes; {create} WHEN (vcache_row_changed(1259, NEW.ctid)) {call}"),
        format!(
            "DROP TRIGGER vcache_new ON notes; {} {condition} {call}",
            create.replace("INSERT OR UPDATE", "INSERT")
        ),
        format!("DROP TRIGGER vcache_new ON notes; {} {condition} {call}", create.replace("UPDATE", "UPDATE OF id")),
    ] {
        scene.warm();
        println!("{change}");
        session.run(&change);
        scene.assert_bypassed();
        // Those who read all the rows do not mind, except for what they need as well.
        if !change.contains("ALL") {
            assert_ne!(session.value("SELECT outcome FROM vcache_explain('all', '[9,9,9]', 5)"), "bypass", "{change}");
        }
        session.run("SELECT vcache_alter_namespace('docs/*', '{}')");
        scene.changes(&mut session, "UPDATE notes SET title = title || 'x' WHERE tenant = 'bob'", &["docs/bob"]);
    }
}

#[test]
fn columns_are_renamed_and_swapped() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    let swap = "ALTER TABLE notes RENAME tenant TO other; ALTER TABLE notes RENAME title TO tenant; ALTER TABLE notes RENAME other TO title";
    session.run("UPDATE notes SET title = (ARRAY['ann', 'bob', 'cid'])[id % 3 + 1]");
    scene.changes(&mut session, swap, &ALL);
    // The row's title was, and is, the tenant.
    scene.changes(
        &mut session,
        "INSERT INTO notes (id, title, tenant, embedding) VALUES (100, 'ann', 'bob', '[8,8,8]')",
        &["docs/bob"],
    );
    scene.changes(&mut session, "UPDATE notes SET tenant = 'cid' WHERE id = 100", &["docs/bob", "docs/cid"]);
    scene.changes(&mut session, swap, &ALL);
    scene.changes(&mut session, "DELETE FROM notes WHERE id = 100", &["docs/ann"]);
}

#[test]
fn nothing_stands_in_the_way_of_alter_table() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    scene.changes(&mut session, "ALTER TABLE notes ALTER tenant TYPE varchar(10)", &ALL);
    scene.changes(&mut session, &near(100, "'ann'"), &["docs/ann"]);
    // To a type of a user's that has no hash of PostgreSQL's, and back.
    session.run("CREATE TYPE pair AS (a text)");
    session.run("ALTER TABLE notes ALTER tenant TYPE pair USING ROW(tenant)::pair");
    let mut pairs = Scene::of_table(&database);
    pairs.view("docs/(ann)", "tenant = '(ann)'::pair");
    pairs.view("docs/(bob)", "tenant = '(bob)'::pair");
    pairs.changes(&mut session, &near(101, "'(bob)'"), &["docs/(ann)", "docs/(bob)"]);
    session.run("ALTER TABLE notes ALTER tenant TYPE text USING (tenant).a");
    scene.changes(&mut session, &near(102, "'bob'"), &["docs/bob"]);
    session.run("SELECT vcache_drop_namespace('docs/*')");
    register(&mut session, "by title/*", "namespace_column => 'title'");
    session.run("ALTER TABLE notes DROP tenant");
    let mut by_title = Scene::of_table(&database);
    by_title.view("by title/x", "title = 'x'");
    by_title.view("by title/y", "title = 'y'");
    by_title.changes(
        &mut session,
        "INSERT INTO notes (id, title, embedding) VALUES (103, 'x', '[8,8,8]')",
        &["by title/x"],
    );
    session.run("DROP EXTENSION vcache; INSERT INTO notes (id, title) VALUES (104, 'y')");
}

#[test]
fn who_may_write_needs_no_privilege_of_vcache() {
    let database = stand().database();
    let mut owner = database.session();
    owner.run("DROP EXTENSION vcache; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; CREATE EXTENSION vcache");
    let (_, mut session) = Scene::new(&database);
    let writer = database.role("writer", "");
    session.run(&format!("GRANT INSERT, UPDATE, DELETE, SELECT ON notes TO {writer}"));
    let mut writer = database.session_as(&writer);
    writer.run(
        "INSERT INTO notes (id, tenant) VALUES (100, 'ann'); UPDATE notes SET n = 1; DELETE FROM notes WHERE id = 100",
    );
}

#[test]
fn the_condition_may_be_asked_by_anybody() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    scene.warm();
    let mut anybody = database.session_as(&database.role("anybody", ""));
    for arguments in [
        "'pg_class'::regclass, '(0,1)'",
        "0, '(0,1)'",
        "NULL, NULL",
        "(SELECT oid FROM pg_class WHERE relname = 'notes_pkey'), '(0,1)'",
    ] {
        assert_eq!(anybody.value(&format!("SELECT vcache_row_changed({arguments})")), "f");
    }
    let oid = session.value("SELECT 'notes'::regclass::oid");
    assert_eq!(anybody.value(&format!("SELECT vcache_row_changed({oid}, '(0,1)')")), "f");
    assert_eq!(anybody.value(&format!("SELECT vcache_row_changed({oid}, '(0,999)')")), "f");
    assert_eq!(anybody.value(&format!("SELECT vcache_row_changed({oid}, '(999999,1)')")), "f");
    anybody.fails("SELECT vcache_row_changed(tableoid, ctid) FROM notes").assert("42501", &[]);
    session.run("SELECT vcache_row_changed(tableoid, ctid) FROM notes");
    scene.assert_stale(&[]);
}
