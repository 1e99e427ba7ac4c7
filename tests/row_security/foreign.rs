//! Foreign tables: as whom a role reads them is between it and their server, so no two roles share.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};
use harness::Session;

/// A foreign table `far` over the table `docs` of the same server, which reads it as who the role is there.
fn far<'d>(scene: Scene<'d>, owner: &mut Session, options: &str) -> Scene<'d> {
    let (kind, port, host) = (
        owner.engine().extension(),
        owner.value("SHOW port"),
        owner.value("SELECT split_part(current_setting('unix_socket_directories'), ',', 1)"),
    );
    let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
    let mapping = |role: &str| {
        format!("CREATE USER MAPPING FOR {role} SERVER near OPTIONS (user '{role}', password_required 'false');")
    };
    let statements = format!(
        "CREATE POLICY own ON docs USING (reader = current_user);
         CREATE EXTENSION postgres_fdw;
         CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname '{}');
         {}{}
         CREATE FOREIGN TABLE far (id int, title text, embedding {kind}(3)) SERVER near OPTIONS (table_name 'docs')",
        scene.database.name(),
        mapping(&alice),
        mapping(&bob),
    );
    scene.over(owner, "far", &statements, options)
}

#[test]
fn each_role_has_entries_of_its_own() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let scene = far(scene, &mut owner, "");
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    for end in [Miss, Hit] {
        assert_eq!(scene.compared(&mut alice), (end, 10));
        assert_eq!(scene.compared(&mut bob), (end, 10));
    }
    // Who is another to the server from now on, or nobody.
    owner.run(&format!("ALTER USER MAPPING FOR {} SERVER near OPTIONS (SET user '{}')", scene.alice, scene.bob));
    scene.assert_fills(&mut alice);
    owner.run(&format!("DROP USER MAPPING FOR {} SERVER near", scene.alice));
    scene.assert_fails_as_plain(&mut alice, "42704");
    owner.run("REVOKE SELECT ON far FROM PUBLIC");
    scene.assert_fails_as_plain(&mut bob, "42501");
    owner.refuses([(
        "SELECT vcache_create_namespace('x', 'far', 'embedding', id_column => 'id', metric => 'l2')".to_owned(),
        "0A000",
        &["not a table", "exact"][..],
    )]);
}

#[test]
fn so_it_is_where_one_inherits_from_the_source_or_is_behind_a_view() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let scene = far(scene, &mut owner, "");
    let kind = owner.engine().extension();
    owner.run("SELECT vcache_drop_namespace('docs')");
    let parent = format!("CREATE TABLE parent (id int, title text, embedding {kind}(3))");
    let scene = scene.over(&mut owner, "parent", &parent, "");
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    assert_eq!(scene.compared(&mut alice), (Miss, 0));
    assert_eq!(scene.compared(&mut bob), (Hit, 0));
    owner.run("ALTER FOREIGN TABLE far INHERIT parent");
    for end in [Miss, Hit] {
        assert_eq!(scene.compared(&mut alice), (end, 10));
        assert_eq!(scene.compared(&mut bob), (end, 10));
    }
    owner.run("SELECT vcache_drop_namespace('docs')");
    let view = "CREATE VIEW seen WITH (security_invoker) AS SELECT * FROM parent";
    let scene = scene.over(&mut owner, "seen", view, "");
    for end in [Miss, Hit] {
        assert_eq!(scene.compared(&mut alice), (end, 10));
        assert_eq!(scene.compared(&mut bob), (end, 10));
    }
    owner.run(&format!("DROP USER MAPPING FOR {} SERVER near", scene.alice));
    scene.assert_fails_as_plain(&mut alice, "42704");
    // Of views, whose own rights are lent, the owner is who reads.
    owner.run("ALTER VIEW seen RESET (security_invoker)");
    scene.assert_fails_as_plain(&mut alice, "42704");
    owner.run(&format!(
        "CREATE USER MAPPING FOR CURRENT_USER SERVER near OPTIONS (user '{}', password_required 'false')",
        scene.bob
    ));
    assert_eq!(scene.compared(&mut alice), (Miss, 10));
    alice.run("BEGIN; CREATE TEMP TABLE t ()");
    assert_eq!(scene.compared(&mut alice), (Bypass, 10));
    alice.run("COMMIT");
}
