//! The settings that policies read: their values are part of the key, wherever they come from.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};

const TENANT: &str = "tenant = current_setting('app.tenant', true)::int";

#[test]
fn each_value_has_entries_of_its_own() {
    let _turn = turn();
    let database = stand().database();
    let (scene, _owner) = Scene::with_policy(&database, "{app.tenant}", TENANT);
    let mut alice = database.session_as(&scene.alice);
    for end in [Miss, Hit] {
        for tenant in ["1", "2", "01"] {
            alice.run(&format!("SET app.tenant = '{tenant}'"));
            assert_eq!(scene.search(&mut alice), end, "{tenant}");
            let said = scene.key_part(&mut alice, "rls_settings").expect("settings");
            assert_eq!(said, format!("{{\"app.tenant\": \"{tenant}\"}}"));
        }
    }
    // What fails is stored for nobody.
    alice.run("SET app.tenant = 'one'");
    for _ in 0..2 {
        scene.assert_fails_as_plain(&mut alice, "22P02");
    }
}

#[test]
fn null_is_not_the_empty_text() {
    let _turn = turn();
    let database = stand().database();
    let policy = "CASE WHEN current_setting('app.tenant', true) IS NULL THEN tenant = 1 ELSE tenant = 2 END";
    let (scene, _owner) = Scene::with_policy(&database, "{app.tenant}", policy);
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    assert_eq!(scene.key_part(&mut alice, "rls_settings").expect("settings"), "{\"app.tenant\": null}");
    // After a transaction in which it was set, PostgreSQL has it empty.
    alice.run("BEGIN; SET LOCAL app.tenant = 'x'; COMMIT");
    scene.assert_fills(&mut alice);
    assert_eq!(scene.search(&mut database.session_as(&scene.alice)), Hit);
}

#[test]
fn it_is_the_value_of_the_moment_that_counts() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{app.tenant}", TENANT);
    owner.run(
        "CREATE FUNCTION as_tenant_2() RETURNS SETOF text LANGUAGE sql SET app.tenant = '2'
            AS $$ SELECT id FROM vcache_search('docs', '[1,2,3]', 30) $$;
         CREATE FUNCTION plain_as_tenant_2() RETURNS SETOF text LANGUAGE sql SET app.tenant = '2'
            AS $$ SELECT id::text FROM docs $$",
    );
    let mut alice = database.session_as(&scene.alice);
    alice.run("SET app.tenant = '1'");
    scene.assert_fills(&mut alice);
    for end in [Miss, Hit] {
        alice.run("BEGIN; SET LOCAL app.tenant = '3'");
        assert_eq!(scene.search(&mut alice), end);
        alice.run("SAVEPOINT s; SET LOCAL app.tenant = '1'");
        assert_eq!(scene.search(&mut alice), Hit);
        alice.run("ROLLBACK TO s");
        assert_eq!(scene.search(&mut alice), Hit);
        alice.run("COMMIT");
        assert_eq!(scene.search(&mut alice), Hit);
        let sorted = |function: &str| format!("SELECT i FROM {function}() i ORDER BY i");
        let (found, plain) = (alice.column(&sorted("as_tenant_2")), alice.column(&sorted("plain_as_tenant_2")));
        assert_eq!(found, plain);
        assert!(found.iter().all(|id| id.parse::<i32>().expect("an id") % 4 == 2) && !found.is_empty());
        alice.run("SELECT set_config('app.tenant', '0', true)");
        assert_eq!(scene.search(&mut alice), Hit);
    }
    // In one statement.
    alice.run("SET app.tenant = '1'");
    let both = "SELECT current_setting('app.tenant'), (SELECT count(*) FROM vcache_search('docs', '[1,2,3]', 30)), \
                (SELECT count(*) FROM docs)";
    let rows = alice.rows(both);
    assert_eq!(rows[0][1], rows[0][2]);
}

#[test]
fn a_setting_that_is_needed_and_missing_is_the_plain_querys_error() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) =
        Scene::with_policy(&database, "{app.tenant}", "tenant = current_setting('app.tenant')::int");
    let mut alice = database.session_as(&scene.alice);
    alice.run("SET app.tenant = '1'");
    scene.assert_fills(&mut alice);
    let mut another = database.session_as(&scene.alice);
    scene.assert_fails_as_plain(&mut another, "42704");
    assert_eq!(scene.explained(&mut another).1, "there is no setting app.tenant, which is needed");
    owner.run("ALTER POLICY own ON docs USING (tenant = 1 OR false AND tenant = current_setting('app.tenant')::int)");
    assert_eq!(scene.search(&mut another), Bypass);
}

#[test]
fn a_hidden_setting_is_not_shown() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{vcache.redis_url}", "reader = current_user");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_bypasses(&mut alice, "may not see the setting vcache.redis_url");
    owner.run(&format!("GRANT pg_read_all_settings TO {}", scene.alice));
    scene.assert_fills(&mut alice);
}

#[test]
fn options_that_are_refused() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    scene.register(&mut owner, "");
    let create = |settings: &str| {
        format!("SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', rls_settings => {settings})")
    };
    let alter = |value: &str| format!("SELECT vcache_alter_namespace('docs', '{{\"rls_settings\": {value}}}')");
    owner.refuses([
        (create("'{\"\"}'"), "22023", &["cannot stand in rls_settings"][..]),
        (create("'{HNSW.ef_search}'"), "22023", &["\"hnsw.ef_search\" cannot stand in rls_settings"]),
        (create("'{NULL}'"), "22004", &["1"]),
        (create("'{{a},{b}}'"), "2202E", &["dimension"]),
        (alter("\"app.tenant\""), "22023", &["must be an array of strings"]),
        (alter("[\"ruvector.x\"]"), "22023", &["cannot stand in rls_settings"]),
    ]);
}
