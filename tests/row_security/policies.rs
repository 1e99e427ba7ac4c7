//! Which policies a namespace with rls_settings is cached under, and what their changes do.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};

const SETTINGS: &str = "{app.tenant,app.tenants,app.claims}";

/// A session's settings for them.
const SET: &str = r#"SET app.tenant = '1'; SET app.tenants = '{1,2}'; SET app.claims = '{"tenant": 3}'"#;

#[test]
fn policies_of_built_in_functions_over_the_row_are_cached_under() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, SETTINGS, "false");
    let mut alice = database.session_as(&scene.alice);
    alice.run(SET);
    for policy in [
        "true",
        "false",
        "reader = current_user",
        "reader COLLATE \"C\" = current_role",
        "reader = user::text",
        "reader = session_user",
        "reader = pg_catalog.\"current_user\"()",
        "tenant = current_setting('app.tenant')::int",
        "tenant = ANY (current_setting('app.tenants', true)::int[])",
        "tenant = ANY (string_to_array(btrim(current_setting('APP.Tenants'), '{}'), ',')::int[])",
        "(current_setting('app.claims', true)::jsonb ->> 'tenant')::int = tenant",
        "(current_setting('app.claims', true)::json -> 'tenant')::text = tenant::text",
        "state = 'open' AND state < 'closed' AND state = ANY (ARRAY['open', 'closed']::state[])",
        "CASE WHEN n > 3 THEN tenant IN (1, 2) ELSE coalesce(reader, '') <> '' END",
        "lower(title) LIKE 'title 1%' OR title ~ '2$' OR greatest(n, 3) = nullif(n, 4)",
        "made > '2019-12-31' AND made IS DISTINCT FROM '2021-01-01' AND (n > 3) IS NOT TRUE",
        "(ARRAY[tenant, n])[1] = 2 AND (tenant, n) <> (2, 3)",
    ] {
        owner.run(&format!("DROP POLICY own ON docs; CREATE POLICY own ON docs USING ({policy})"));
        assert_eq!((scene.search(&mut alice), scene.search(&mut alice)), (Miss, Hit), "{policy}");
    }
}

#[test]
fn policies_that_depend_on_more_are_not_and_it_is_told_why() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, SETTINGS, "false");
    let mut alice = database.session_as(&scene.alice);
    alice.run(SET);
    owner.run(
        "CREATE FUNCTION mine(text) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 = current_user $$;
         CREATE TYPE pair AS (a int, b int); CREATE DOMAIN counted AS int CHECK (VALUE >= 0);
         CREATE TABLE grants (reader text); INSERT INTO grants VALUES ('nobody'); GRANT SELECT ON grants TO PUBLIC",
    );
    for (policy, words) in [
        ("reader IN (SELECT reader FROM grants)", "has a subquery"),
        ("EXISTS (SELECT)", "has a subquery"),
        ("now() > '2000-01-01'", "calls function now(), which is not immutable"),
        ("current_timestamp > '2000-01-01'", "reads the time"),
        ("made < current_date", "reads the time"),
        ("random() < 2", "calls function random()"),
        ("pg_has_role(current_user, 'pg_monitor', 'member') OR reader = current_user", "calls function pg_has_role()"),
        ("has_table_privilege('docs', 'select')", "calls function has_table_privilege()"),
        ("mine(reader)", "calls function public.mine(), which is not PostgreSQL's own"),
        ("tenant = current_setting('app.other', true)::int IS NOT TRUE", "the setting app.other, which is not among"),
        ("tenant = current_setting('app.' || 'tenant')::int", "reads a setting whose name it computes"),
        ("current_schema = 'public'", "reads current_schema"),
        ("current_database() <> ''", "calls function current_database()"),
        ("made::text = '2020-01-01'", "calls function date_out()"),
        ("made < '2021-01-01'::timestamptz", "which is not immutable"),
        ("ctid IS NOT NULL", "reads a system column"),
        ("docs IS NOT NULL", "has a value of type docs"),
        ("(tenant, n)::pair = (1, 2)::pair IS NOT NULL", "expression of a kind"),
        ("tenant::counted >= 0", "expression of a kind"),
        ("'docs'::regclass = 'docs'::regclass", "has a value of type regclass"),
        ("embedding <-> embedding < 1", "which is not PostgreSQL's own"),
        ("embedding IS NOT NULL", "has a value of type"),
    ] {
        owner.run(&format!("DROP POLICY own ON docs; CREATE POLICY own ON docs USING ({policy})"));
        let ended = (scene.search(&mut alice), scene.search(&mut alice));
        assert_eq!(ended, (Bypass, Bypass), "{policy}");
        let (_, reason) = scene.explained(&mut alice);
        let whose = "row-level security is in force: policy \"own\" of table \"docs\" ";
        assert!(reason.starts_with(whose) && reason.contains(words), "{policy}: {reason:?}");
    }
    // One of several is enough.
    owner.run("DROP POLICY own ON docs; CREATE POLICY a ON docs USING (reader = current_user); CREATE POLICY b ON docs AS RESTRICTIVE USING (now() > '2000-01-01')");
    scene.assert_bypasses(&mut alice, "policy \"b\" of table \"docs\" calls function now()");
    // None of those that are not in force.
    owner.run(&format!("ALTER POLICY b ON docs TO {}", scene.bob));
    scene.assert_fills(&mut alice);
    owner.run("DROP POLICY b ON docs; CREATE POLICY b ON docs FOR UPDATE USING (now() > '2000-01-01')");
    assert_eq!(scene.search(&mut alice), Hit);
}

#[test]
fn without_rls_settings_nothing_is_cached() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "true");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": null}')");
    scene.assert_bypasses(&mut alice, "the namespace declares no rls_settings");
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": [\"App.Tenant\"]}')");
    assert_eq!(owner.value("SELECT rls_settings FROM vcache_namespaces"), "{app.tenant}");
    scene.assert_fills(&mut alice);
    // Who is above the policies shares what is cached for all, whatever is declared.
    assert_eq!(scene.search(&mut owner), Miss);
    let auditor = database.role("auditor", "BYPASSRLS");
    assert_eq!(scene.compared(&mut database.session_as(&auditor)), (Hit, 30));
    assert_eq!(scene.key_part(&mut owner, "role"), None);
    assert_eq!(scene.key_part(&mut alice, "role").as_ref(), Some(&scene.alice));
    // Row-level security that is taken away again.
    owner.run("ALTER TABLE docs DISABLE ROW LEVEL SECURITY");
    assert_eq!(scene.search(&mut alice), Miss);
    assert_eq!(scene.search(&mut owner), Hit);
    // No policy at all lets nothing through.
    owner.run("DROP POLICY own ON docs; ALTER TABLE docs ENABLE ROW LEVEL SECURITY");
    assert_eq!(scene.compared(&mut alice), (Miss, 0));
    assert_eq!(scene.compared(&mut alice), (Hit, 0));
}

#[test]
fn a_policy_that_is_changed_added_or_dropped_makes_old_entries_unreachable() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    let mut alice = database.session_as(&scene.alice);
    let (first, group) = (scene.compared(&mut alice).1, database.role("group", ""));
    assert!(scene.key_part(&mut alice, "policies").expect("policies").contains("docs.own"));
    owner.run(&format!("GRANT {group} TO {}", scene.alice));
    for (change, first) in [
        ("ALTER POLICY own ON docs USING (reader = current_user AND n > 2)", Miss),
        // As it was before; who changed it in between is nobody's business.
        ("ALTER POLICY own ON docs USING (reader = current_user)", Miss),
        ("ALTER POLICY own ON docs RENAME TO mine", Miss),
        ("DROP POLICY mine ON docs; CREATE POLICY mine ON docs USING (reader = current_user)", Miss),
        ("CREATE POLICY more ON docs USING (tenant = 1)", Miss),
        ("CREATE POLICY less ON docs AS RESTRICTIVE FOR SELECT USING (n > 1)", Miss),
        (&format!("ALTER POLICY less ON docs TO {group}"), Miss),
        // The same policies as before there was that one.
        ("DROP POLICY less ON docs", Hit),
        ("DROP POLICY mine ON docs", Miss),
        ("ALTER POLICY more ON docs USING (false)", Miss),
        ("DROP POLICY more ON docs", Miss),
        ("CREATE POLICY own ON docs USING (reader = current_user)", Miss),
    ] {
        owner.run(change);
        assert_eq!(scene.search(&mut alice), first, "{change}");
        assert_eq!(scene.search(&mut alice), Hit, "{change}");
    }
    assert_eq!(scene.compared(&mut alice), (Hit, first));
    // In the transaction that changes one, and when that is rolled back.
    owner.run(&format!("BEGIN; ALTER POLICY own ON docs USING (tenant = 2); SET ROLE {}", scene.alice));
    assert_ne!(scene.search(&mut owner), Hit);
    owner.run("ROLLBACK");
    assert_eq!(scene.compared(&mut alice), (Hit, first));
}

#[test]
fn the_named_parents_policies_count_not_the_partitions() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let kind = owner.engine().extension();
    owner.run(&format!(
        "CREATE TABLE parted (id int, reader text, tenant int, embedding {kind}(3)) PARTITION BY LIST (tenant);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (0, 1); CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
         INSERT INTO parted SELECT id, reader, tenant, embedding FROM docs;
         ALTER TABLE parted_1 ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON parted_1 USING (now() < '2000-01-01')"
    ));
    let options = ", rls_settings => '{}'";
    let scene = scene.over(&mut owner, "parted", "ANALYZE parted", options);
    let mut alice = database.session_as(&scene.alice);
    assert_eq!(scene.compared(&mut alice), (Miss, 30));
    owner
        .run("ALTER TABLE parted ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON parted USING (reader = current_user)");
    assert_eq!(scene.compared(&mut alice), (Miss, 10));
    assert_eq!(scene.compared(&mut alice), (Hit, 10));
    assert_eq!(scene.compared(&mut database.session_as(&scene.bob)), (Miss, 10));
}
