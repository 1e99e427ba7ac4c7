//! Views and materialized views as sources: whose rights count, what is cached, and what makes it unreachable.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};
use harness::Session;

const VIEW: &str = "CREATE VIEW seen AS SELECT id, title, n, embedding, tenant FROM docs";

#[test]
fn race_1_a_view_with_security_invoker_over_a_table_with_row_level_security() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let view = "CREATE POLICY own ON docs USING (reader = current_user);
                CREATE VIEW seen WITH (security_invoker) AS SELECT id, title, embedding FROM docs";
    let scene = scene.over(&mut owner, "seen", view, "");
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    assert_eq!(scene.compared(&mut alice), (Bypass, 10));
    assert_eq!(scene.compared(&mut bob), (Bypass, 10));
    scene.assert_bypasses(
        &mut alice,
        "policy \"own\" of table \"docs\" reads current_user, and the namespace declares no",
    );
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": []}')");
    for session in [&mut alice, &mut bob] {
        scene.assert_fills(session);
    }
    assert_eq!(scene.compared(&mut owner), (Miss, 30));
    // A policy that reads nothing needs to be declared as well.
    owner.run("ALTER POLICY own ON docs USING (tenant = 1); SELECT vcache_alter_namespace('docs', '{\"rls_settings\": null}')");
    scene.assert_bypasses(
        &mut alice,
        "row-level security is in force for table \"docs\", and the namespace declares no",
    );
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": []}')");
    scene.assert_fills(&mut alice);
    owner.run("ALTER POLICY own ON docs USING (tenant = 1 AND now() > '2000-01-01')");
    scene.assert_bypasses(&mut alice, "policy \"own\" of table \"docs\" calls function now()");
    alice.run("SET row_security = off");
    scene.assert_fails_as_plain(&mut alice, "42501");
}

#[test]
fn race_1_a_view_that_reads_a_setting() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let view = format!("{VIEW} WHERE tenant = current_setting('app.tenant', true)::int");
    let scene = scene.over(&mut owner, "seen", &view, "");
    let mut alice = database.session_as(&scene.alice);
    alice.run("SET app.tenant = '1'");
    scene.assert_bypasses(&mut alice, "reads the setting app.tenant, and the namespace declares no rls_settings");
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": [\"app.other\"]}')");
    scene.assert_bypasses(&mut alice, "reads the setting app.tenant, which is not among");
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": [\"app.tenant\"]}')");
    for end in [Miss, Hit] {
        for tenant in 1..4 {
            alice.run(&format!("SET app.tenant = '{tenant}'"));
            assert_eq!(scene.search(&mut alice), end);
        }
    }
}

#[test]
fn row_level_security_under_a_view_is_that_of_its_owner_and_current_user_is_the_callers() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let keeper = database.role("keeper", "");
    let view = format!(
        "CREATE POLICY own ON docs TO {keeper} USING (reader = current_user);
         {VIEW}; ALTER VIEW seen OWNER TO {keeper}"
    );
    let scene = scene.over(&mut owner, "seen", &view, ", rls_settings => '{}'");
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    for session in [&mut alice, &mut bob] {
        assert_eq!(scene.compared(session), (Miss, 10));
        assert_eq!(scene.compared(session), (Hit, 10));
    }
    // Then no policy is for the owner of the view any more.
    owner.run(&format!("ALTER POLICY own ON docs TO {}", scene.alice));
    assert_eq!(scene.compared(&mut alice), (Miss, 0));
    owner.run(&format!("ALTER ROLE {keeper} BYPASSRLS"));
    assert_eq!(scene.compared(&mut alice), (Miss, 30));
    owner.run("ALTER VIEW seen SET (security_invoker = on)");
    assert_eq!(scene.compared(&mut alice), (Miss, 10));
    assert_eq!(scene.compared(&mut bob), (Miss, 0));
    owner.run(&format!(
        "ALTER VIEW seen RESET (security_invoker); ALTER ROLE {keeper} NOBYPASSRLS; GRANT {} TO {keeper}",
        scene.alice
    ));
    assert_eq!(scene.compared(&mut bob), (Miss, 10));
}

#[test]
fn what_a_view_may_use() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    owner.run(&format!(
        "ALTER TABLE docs DISABLE ROW LEVEL SECURITY; {VIEW};
         CREATE FUNCTION mine(int) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 = current_setting('app.tenant')::int $$;
         CREATE TABLE grants (tenant int); INSERT INTO grants VALUES (1), (2); CREATE SEQUENCE numbers;
         CREATE VIEW names AS SELECT current_user AS name; CREATE DOMAIN counted AS int CHECK (VALUE >= 0)"
    ));
    let scene = scene.over(&mut owner, "seen", "", "");
    let mut alice = database.session_as(&scene.alice);
    let distance = "embedding <-> '[1,2,3]' < 100";
    for (part, words) in [
        ("", ""),
        ("WHERE tenant IN (SELECT tenant FROM grants)", ""),
        ("JOIN grants USING (tenant)", ""),
        ("WHERE tenant > (SELECT min(tenant) FROM grants) AND lower(title) <> ''", ""),
        (
            "WHERE tenant IN (WITH g AS (SELECT * FROM grants) SELECT tenant FROM g UNION ALL SELECT generate_series(3, 3))",
            "",
        ),
        (&format!("WHERE {distance}"), ""),
        ("WHERE now() > '2000-01-01'", "calls function now(), which is not immutable"),
        ("WHERE made < current_date", "reads the time"),
        ("WHERE random() < 2", "calls function random()"),
        ("WHERE mine(tenant)", "calls function public.mine(), which is not PostgreSQL's own"),
        ("WHERE reader <> current_user", "reads current_user, and the namespace declares no rls_settings"),
        ("WHERE reader <> session_user", "reads current_user"),
        ("WHERE EXISTS (SELECT FROM names WHERE name <> reader)", "reads current_user"),
        ("WHERE made::text <> ''", "calls function date_out()"),
        ("WHERE nextval('numbers') > 0", "calls function nextval()"),
        ("WHERE tenant IN (SELECT tenant FROM grants TABLESAMPLE bernoulli (100))", "takes a sample of a table"),
        ("WHERE tenant::counted >= 0", "casts to a domain"),
        (
            "WHERE tenant IN (SELECT t FROM grants, LATERAL (SELECT (now() > '2000-01-01')::int * tenant) l (t))",
            "calls function now()",
        ),
    ] {
        owner.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT id, title, n, embedding, tenant FROM docs {part}"));
        if words.is_empty() {
            assert_eq!((scene.search(&mut alice), scene.search(&mut alice)), (Miss, Hit), "{part}");
            continue;
        }
        let words =
            if words == "reads current_user" && part.contains("session_user") { "reads session_user" } else { words };
        let ended = if part.contains("current_setting") { Bypass } else { scene.ended(&mut alice).0 };
        assert_eq!(ended, Bypass, "{part}");
        let (outcome, reason) = scene.explained(&mut alice);
        assert!(outcome == "bypass" && reason.contains(words), "{part}: {reason:?}");
    }
}

#[test]
fn a_hit_needs_the_rights_that_the_plain_query_needs() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let (keeper, inner) = (database.role("keeper", ""), database.role("inner", ""));
    let views = format!(
        "ALTER TABLE docs DISABLE ROW LEVEL SECURITY; REVOKE ALL ON docs FROM PUBLIC; GRANT SELECT ON docs TO {inner};
         CREATE VIEW nested AS SELECT * FROM docs; ALTER VIEW nested OWNER TO {inner}; GRANT SELECT ON nested TO {keeper};
         CREATE VIEW seen AS SELECT id, title, n, embedding FROM nested; ALTER VIEW seen OWNER TO {keeper}"
    );
    let scene = scene.over(&mut owner, "seen", &views, ", payload_columns => '{title}'");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    let mut denied = |revoke: &str, grant: &str| {
        owner.run(revoke);
        scene.assert_fails_as_plain(&mut alice, "42501");
        alice.fails("SELECT * FROM vcache_explain('docs', '[1,2,3]', 30)").assert("42501", &["permission denied"]);
        owner.run(grant);
        assert_eq!(scene.search(&mut alice), Hit, "{grant}");
    };
    denied("REVOKE SELECT ON seen FROM PUBLIC", "GRANT SELECT ON seen TO PUBLIC");
    denied(&format!("REVOKE SELECT ON nested FROM {keeper}"), &format!("GRANT SELECT ON nested TO {keeper}"));
    denied(&format!("REVOKE SELECT ON docs FROM {inner}"), &format!("GRANT SELECT ON docs TO {inner}"));
    let columns = "id, title, n, embedding, reader, tenant, state, made";
    denied(
        &format!("REVOKE SELECT ON docs FROM {inner}; GRANT SELECT (id, title, n, embedding) ON docs TO {inner}"),
        &format!("GRANT SELECT ({columns}) ON docs TO {inner}"),
    );
    // With security_invoker, it is the caller who needs them all the way down.
    owner.run(&format!("GRANT SELECT ON docs TO {inner}; ALTER VIEW seen SET (security_invoker = on)"));
    scene.assert_fails_as_plain(&mut alice, "42501");
    owner.run(&format!("GRANT SELECT ON nested TO {}", scene.alice));
    scene.assert_fills(&mut alice);
    owner.run(&format!("REVOKE SELECT ON nested FROM {}", scene.alice));
    scene.assert_fails_as_plain(&mut alice, "42501");
    // A column of the answer that may not be read of the view itself.
    owner.run("ALTER VIEW seen RESET (security_invoker); REVOKE SELECT ON seen FROM PUBLIC; GRANT SELECT (id, embedding) ON seen TO PUBLIC");
    alice
        .fails("SELECT * FROM vcache_search('docs', '[1,2,3]', 30)")
        .assert("42501", &["permission denied for view seen"]);
}

#[test]
fn definitions_are_watched_those_of_views_within_views_too() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let views =
        "ALTER TABLE docs DISABLE ROW LEVEL SECURITY; CREATE VIEW nested AS SELECT * FROM docs WHERE tenant > 0;
                 CREATE VIEW seen AS SELECT id, title, n, embedding FROM nested";
    let scene = scene.over(&mut owner, "seen", views, ", ttl => '1 hour'");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    let first = scene.compared(&mut alice).1;
    owner.run("CREATE OR REPLACE VIEW nested AS SELECT * FROM docs WHERE tenant > 1");
    scene.assert_fills(&mut alice);
    owner.run("CREATE OR REPLACE VIEW seen AS SELECT id, title, n, embedding FROM nested WHERE n > 3");
    scene.assert_fills(&mut alice);
    owner.run("BEGIN; CREATE OR REPLACE VIEW seen AS SELECT id, title, n, embedding FROM docs; ROLLBACK");
    assert_eq!(scene.search(&mut alice), Hit);
    owner.run("CREATE OR REPLACE VIEW nested AS SELECT * FROM docs WHERE tenant > 0; CREATE OR REPLACE VIEW seen AS SELECT id, title, n, embedding FROM nested");
    assert_eq!(scene.compared(&mut alice).1, first);
    // Writes are not heard of; forgetting is.
    owner.run("DELETE FROM docs WHERE tenant = 2");
    assert_eq!(scene.ended(&mut alice).0, Hit);
    owner.run("SELECT vcache_invalidate('docs')");
    scene.assert_fills(&mut alice);
}

/// A function's snapshot is older than its locks: to it, a table that has been rewritten since is empty.
#[test]
fn a_table_behind_a_view_that_is_rewritten_meanwhile_is_not_stored_as_empty() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let scene = scene.over(&mut owner, "seen", &format!("ALTER TABLE docs DISABLE ROW LEVEL SECURITY; {VIEW}"), "");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    owner.run("SELECT vcache_invalidate('docs')");
    owner.run("BEGIN; LOCK docs");
    let searching = std::thread::spawn(move || {
        let found = alice.search("docs", "[1,2,3]", 30);
        (alice, found)
    });
    let mut other = database.session();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    harness::until("it waits", || other.number(waiting) == 1);
    owner.run("ALTER TABLE docs ALTER made TYPE timestamp; COMMIT");
    let (mut alice, found) = searching.join().expect("no panic");
    assert_eq!(found.len(), 30);
    assert_eq!(scene.compared(&mut alice), (Hit, 30));
}

#[test]
fn what_a_view_needs_to_be_a_source() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    owner.run(&format!(
        "{VIEW}; CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen; CREATE TEMP VIEW own AS SELECT * FROM seen"
    ));
    let create =
        |source: &str, options: &str| format!("SELECT vcache_create_namespace('x', '{source}', 'embedding'{options})");
    let ttl = ", freshness => 'ttl'";
    owner.refuses([
        (
            create("seen", ""),
            "0A000",
            &["\"seen\" is not a table, so freshness 'exact' cannot be kept", "no trigger"][..],
        ),
        (create("kept", ", freshness => 'exact'"), "0A000", &["exact"]),
        (create("seen", ttl), "42P16", &["primary key"]),
        (create("seen", &format!("{ttl}, id_column => 'id'")), "42P17", &["metric"]),
        (create("own", &format!("{ttl}, id_column => 'id', metric => 'l2'")), "42809", &["temporary"]),
    ]);
    owner.run(&create("seen", &format!("{ttl}, id_column => 'id', metric => 'l2'")));
    owner.refuses([(
        "SELECT vcache_alter_namespace('x', '{\"freshness\": \"exact\"}')".to_owned(),
        "0A000",
        &["exact"][..],
    )]);
    owner.run("SELECT vcache_alter_namespace('x', '{\"ttl\": \"1 hour\", \"payload_columns\": [\"*\"]}')");
    assert_eq!(owner.number("SELECT count(*) FROM vcache_sources"), 0);
    assert_eq!(owner.value("SELECT status FROM vcache_health() WHERE component = 'triggers'"), "off");
    let mut alice = database.session_as(&scene.alice);
    alice.fails("SELECT vcache_drop_namespace('x')").assert("42501", &["must be owner of view seen"]);
    owner.run("SELECT vcache_drop_namespace('x')");
}

#[test]
fn a_materialized_view_is_as_a_table_that_nothing_tells_of() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let view = "CREATE MATERIALIZED VIEW kept AS SELECT id, title, n, embedding FROM docs";
    let scene = scene.over(&mut owner, "kept", view, "");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    // All who may read it see the same.
    assert_eq!(scene.search(&mut database.session_as(&scene.bob)), Hit);
    owner.run("DELETE FROM docs WHERE id < 10; REFRESH MATERIALIZED VIEW kept");
    let rows = |session: &mut Session| session.search("docs", "[1,2,3]", 30).len();
    assert_eq!(rows(&mut alice), 30);
    owner.run("SELECT vcache_invalidate('docs')");
    assert_eq!(scene.compared(&mut alice), (Miss, 21));
    owner.run("REVOKE SELECT ON kept FROM PUBLIC");
    scene.assert_fails_as_plain(&mut alice, "42501");
}

#[test]
fn what_a_role_becomes_while_the_engine_is_asked_is_not_stored_for_who_it_was() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let group = database.role("group", "");
    let statements = format!(
        "CREATE POLICY own ON docs USING (reader = current_user); CREATE POLICY team ON docs TO {group} USING (tenant = 1);
         CREATE VIEW seen WITH (security_invoker) AS SELECT id, title, n, embedding FROM docs"
    );
    let scene = scene.over(&mut owner, "seen", &statements, ", rls_settings => '{}'");
    let mut alice = database.session_as(&scene.alice);
    // From now on it is known what decides which rows there are.
    scene.assert_fills(&mut alice);
    owner.run("BEGIN; LOCK docs");
    let searching = std::thread::spawn(move || {
        let found = alice.search("docs", "[7,7,7]", 30).len();
        (alice, found)
    });
    let mut other = database.session();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    harness::until("it waits", || other.number(waiting) == 1);
    other.run(&format!("GRANT {group} TO {}", scene.alice));
    owner.run("COMMIT");
    let (mut alice, found) = searching.join().expect("no panic");
    assert!(found > 10, "{found}");
    owner.run(&format!("REVOKE {group} FROM {}", scene.alice));
    assert_eq!(alice.search("docs", "[7,7,7]", 30).len(), 10);
}
