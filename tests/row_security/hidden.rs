//! What an answer may depend on without saying so: settings behind operators and behind functions that are called immutable, and functions of a user's that
//! make json of a payload or measure a distance.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Hit, Miss};

#[test]
fn an_operator_that_reads_a_setting_is_no_way_around() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "true");
    owner.run(
        "CREATE OPERATOR public.@@@ (RIGHTARG = text, FUNCTION = current_setting);
         CREATE OPERATOR public.??? (LEFTARG = text, RIGHTARG = boolean, FUNCTION = current_setting)",
    );
    let mut alice = database.session_as(&scene.alice);
    alice.run("SET app.tenant = '1'");
    for policy in ["tenant::text = (@@@ 'app.tenant')", "tenant::text = ('app.tenant' ??? true)"] {
        owner.run(&format!("ALTER POLICY own ON docs USING ({policy})"));
        scene.assert_bypasses(&mut alice, "by an operator");
    }
}

/// Policies of built-in functions that are called immutable, and settings that change what they give.
#[test]
fn what_immutable_functions_read_is_in_the_key() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "true");
    owner.run(
        "ALTER TABLE docs ADD COLUMN f float8 DEFAULT 0.1::float8 + 0.2::float8, ADD COLUMN b bytea DEFAULT '\\x41', ADD COLUMN q text DEFAULT 'abc',
             ADD COLUMN early timestamptz DEFAULT '2024-03-01 00:00Z', ADD COLUMN late timestamptz DEFAULT '2024-03-31 23:30Z',
             ADD COLUMN at timestamp DEFAULT '2024-01-01'",
    );
    for (policy, settings) in [
        ("f::text = '0.3'", ["extra_float_digits = 1", "extra_float_digits = 0"]),
        ("b::text = '\\x41'", ["bytea_output = hex", "bytea_output = escape"]),
        ("date_part('month', age(late, early)) = 1", ["TimeZone = 'UTC'", "TimeZone = 'Europe/Berlin'"]),
        ("quote_ident(q) = q", ["quote_all_identifiers = off", "quote_all_identifiers = on"]),
        (
            "(at AT TIME ZONE 'EST') = '2024-01-01 05:00Z'",
            ["timezone_abbreviations = 'Default'", "timezone_abbreviations = 'Australia'"],
        ),
    ] {
        owner.run(&format!("ALTER POLICY own ON docs USING ({policy})"));
        let mut rows = Vec::new();
        for end in [Miss, Hit] {
            for setting in settings {
                let mut alice = database.session_as(&scene.alice);
                alice.run(&format!("SET {setting}"));
                let (outcome, found) = scene.compared(&mut alice);
                assert_eq!(outcome, end, "{policy} with {setting}");
                rows.push(found);
            }
        }
        assert_ne!(rows[0], rows[1], "{policy} is none of those that read a setting");
    }
}

#[test]
fn a_role_that_is_lent_a_right_while_the_engine_is_asked_leaves_no_entry() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let group = database.role("readers", "");
    owner.run(&format!(
        "CREATE POLICY few ON docs USING (id <= 5); CREATE POLICY all_of_it ON docs TO {group} USING (true)"
    ));
    let slow = "SELECT id, title, embedding FROM docs WHERE (SELECT count(*) FROM generate_series(1, 3000000)) > 0";
    let view = format!("CREATE VIEW slow WITH (security_invoker) AS {slow}");
    let scene = scene.over(&mut owner, "slow", &view, ", rls_settings => '{}'");
    let mut alice = database.session_as(&scene.alice);
    let asks = std::thread::scope(|scope| {
        let mut asking = database.session_as(&scene.alice);
        owner.run(&format!("BEGIN; LOCK TABLE docs; GRANT {group} TO {}", scene.alice));
        let asked = scope.spawn(move || asking.search("docs", "[1,2,3]", 30).len());
        harness::until("the search waits", || {
            owner.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'docs'::regclass") > 0
        });
        owner.run("COMMIT");
        harness::until("the search runs", || {
            owner.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'docs'::regclass") == 0
        });
        owner.run(&format!("REVOKE {group} FROM {}", scene.alice));
        asked.join().expect("a search")
    });
    assert!([5, 30].contains(&asks), "{asks}");
    for _ in 0..2 {
        assert_eq!(scene.compared(&mut alice).1, 5);
    }
}

#[test]
fn a_payload_that_a_users_function_makes_json_of_is_not_shared() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    owner.run(&format!(
        "ALTER TABLE docs DISABLE ROW LEVEL SECURITY;
         CREATE FUNCTION shown(state) RETURNS json LANGUAGE sql STABLE AS
             $$ SELECT to_json(CASE WHEN current_user = '{}' THEN $1::text ELSE 'hidden' END) $$",
        scene.bob
    ));
    scene.register(&mut owner, "payload_columns => '{state}'");
    let payload = "SELECT payload->>'state' FROM vcache_search('docs', '[1,2,3]', 1)";
    let [mut alice, mut bob] = [&scene.alice, &scene.bob].map(|role| database.session_as(role));
    assert_eq!((bob.value(payload), alice.value(payload)), ("open".to_owned(), "open".to_owned()));
    owner.run("CREATE CAST (state AS json) WITH FUNCTION shown(state)");
    for _ in 0..2 {
        assert_eq!((bob.value(payload), alice.value(payload)), ("open".to_owned(), "hidden".to_owned()));
    }
    let reason = alice.value("SELECT reason FROM vcache_explain('docs', '[1,2,3]', 1)");
    assert!(reason.contains("shown()"), "{reason}");
}

#[test]
fn a_metric_is_an_operator_of_the_engines() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let kind = owner.engine().extension();
    owner.run(&format!(
        "CREATE FUNCTION public.mine({kind}, {kind}) RETURNS float8 LANGUAGE sql STABLE AS 'SELECT 1.0::float8';
         CREATE OPERATOR public.<@@> (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = public.mine)"
    ));
    let create = "SELECT vcache_create_namespace('mine', 'docs', 'embedding', metric => '<@@>')";
    owner.fails(create).assert("22023", &["<@@>"]);
    drop(scene);
}
