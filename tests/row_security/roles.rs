//! Who a role is: its name, what it is a member of, what raises it above policies. Nothing of that has an event trigger.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};

#[test]
fn race_2_a_role_is_renamed_under_a_policy_that_reads_current_user() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    scene.assert_fills(&mut alice);
    scene.assert_fills(&mut bob);
    let (a, b) = (&scene.alice, &scene.bob);
    // Their sessions go on as who they are; the names are the other's.
    owner.run(&format!(
        "ALTER ROLE {a} RENAME TO swap_{a}; ALTER ROLE {b} RENAME TO {a}; ALTER ROLE swap_{a} RENAME TO {b}"
    ));
    assert_eq!(alice.value("SELECT current_user"), *b);
    scene.assert_fills(&mut alice);
    scene.assert_fills(&mut bob);
    owner.run(&format!(
        "ALTER ROLE {a} RENAME TO swap_{a}; ALTER ROLE {b} RENAME TO {a}; ALTER ROLE swap_{a} RENAME TO {b}"
    ));
    // Of a role that was changed nothing of before is met, though it is as it was.
    for end in [Miss, Hit] {
        assert_eq!(scene.compared(&mut alice), (end, 10));
        assert_eq!(scene.compared(&mut bob), (end, 10));
    }
    owner.run(&format!("ALTER ROLE {a} RENAME TO nobody_{a}"));
    assert_eq!(scene.compared(&mut alice), (Miss, 0));
}

#[test]
fn race_2_a_policys_function_is_replaced() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let function = |body: &str| {
        format!("CREATE OR REPLACE FUNCTION seen(int) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT {body} $$")
    };
    owner.run(&format!("{}; CREATE POLICY own ON docs USING (seen(tenant))", function("$1 = 1")));
    scene.register(&mut owner, "rls_settings => '{}'");
    let mut alice = database.session_as(&scene.alice);
    let first = scene.compared(&mut alice);
    assert_eq!(first.0, Bypass);
    owner.run(&function("$1 <> 1"));
    assert_ne!(scene.compared(&mut alice), first);
}

#[test]
fn a_role_shares_with_no_other() {
    let _turn = turn();
    let database = stand().database();
    let (scene, _owner) = Scene::with_policy(&database, "{}", "tenant = 1");
    scene.assert_fills(&mut database.session_as(&scene.alice));
    scene.assert_fills(&mut database.session_as(&scene.bob));
    assert_eq!(scene.search(&mut database.session_as(&scene.alice)), Hit);
}

#[test]
fn a_role_that_is_made_again_under_its_name_is_another() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    let again = database.role("again", "");
    scene.assert_fills(&mut database.session_as(&again));
    owner.run(&format!("DROP ROLE {again}; CREATE ROLE {again} LOGIN"));
    scene.assert_fills(&mut database.session_as(&again));
}

#[test]
fn memberships_decide_which_policies_there_are() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    let (group, outer) = (database.role("group", ""), database.role("outer", ""));
    owner.run(&format!("CREATE POLICY team ON docs TO {group} USING (tenant = 1); GRANT {group} TO {outer}"));
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    let own = scene.compared(&mut alice).1;
    for (grant, revoke) in [
        (format!("GRANT {group} TO {}", scene.alice), format!("REVOKE {group} FROM {}", scene.alice)),
        (format!("GRANT {outer} TO {}", scene.alice), format!("REVOKE {outer} FROM {}", scene.alice)),
    ] {
        for end in [Miss, Hit] {
            owner.run(&grant);
            let (ended, more) = scene.compared(&mut alice);
            assert!(more > own, "{grant}");
            // By what it is a member, an entry does not tell: the policies are the same.
            assert!(ended == end || grant.contains("outer"), "{grant}: {ended:?}");
            owner.run(&revoke);
            assert_eq!(scene.compared(&mut alice), (Hit, own), "{revoke}");
        }
    }
    owner.run(&format!("GRANT {group} TO {}; ALTER ROLE {} NOINHERIT", scene.alice, scene.alice));
    assert_eq!(scene.compared(&mut alice).1, own);
    alice.run(&format!("SET ROLE {group}"));
    assert_eq!(scene.search(&mut alice), Miss);
}

#[test]
fn plans_of_before_a_membership_or_an_attribute_are_not_used() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    let group = database.role("group", "");
    owner.run(&format!(
        "CREATE POLICY own ON docs USING (reader = current_user); CREATE POLICY team ON docs TO {group} USING (tenant = 1)"
    ));
    scene.register(&mut owner, "");
    let mut alice = database.session_as(&scene.alice);
    for _ in 0..7 {
        assert_eq!(scene.compared(&mut alice), (Bypass, 10));
    }
    owner.run(&format!("GRANT {group} TO {}", scene.alice));
    assert!(scene.compared(&mut alice).1 > 10);
    owner.run(&format!("REVOKE {group} FROM {}", scene.alice));
    assert_eq!(scene.compared(&mut alice), (Bypass, 10));
    for attribute in ["BYPASSRLS", "SUPERUSER"] {
        for (set, rows) in [
            (format!("ALTER ROLE {} {attribute}", scene.alice), 30),
            (format!("ALTER ROLE {} NO{attribute}", scene.alice), 10),
        ] {
            owner.run(&set);
            for k in [30, 29] {
                assert_eq!(alice.search("docs", "[1,2,3]", k).len(), rows.min(k), "{set}");
            }
            assert_eq!(scene.compared(&mut alice).1, rows, "{set}");
        }
    }
}

#[test]
fn owners_are_above_the_policies_unless_they_are_forced() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    owner.run(&format!("GRANT ALL ON SCHEMA public TO {0}; ALTER TABLE docs OWNER TO {0}", scene.alice));
    let mut alice = database.session_as(&scene.alice);
    assert_eq!(scene.compared(&mut alice), (Miss, 30));
    alice.run("ALTER TABLE docs FORCE ROW LEVEL SECURITY");
    assert_eq!(scene.compared(&mut alice), (Miss, 10));
    assert_eq!(scene.compared(&mut alice), (Hit, 10));
    alice.run("SET row_security = off");
    scene.assert_fails_as_plain(&mut alice, "42501");
    alice.run("RESET row_security; ALTER TABLE docs NO FORCE ROW LEVEL SECURITY");
    assert_eq!(scene.compared(&mut alice).1, 30);
    owner.run("SET row_security = off");
    assert_eq!(scene.compared(&mut owner).1, 30);
    // Who may not read the table is told so, as by the plain query: first of what stands in the way of all.
    owner.run("REVOKE SELECT ON docs FROM PUBLIC");
    let mut bob = database.session_as(&scene.bob);
    scene.assert_fails_as_plain(&mut bob, "42501");
    bob.run("SET row_security = off");
    scene.assert_fails_as_plain(&mut bob, "42501");
}

#[test]
fn who_the_session_is_counts_where_a_policy_asks() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = session_user");
    let shared = database.role("shared", "");
    owner.run(&format!("GRANT {shared} TO {}, {}", scene.alice, scene.bob));
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    for session in [&mut alice, &mut bob] {
        session.run(&format!("SET ROLE {shared}"));
        scene.assert_fills(session);
    }
    assert_eq!(scene.key_part(&mut alice, "session_user"), Some(scene.alice.clone()));
    owner.run(&format!("SET SESSION AUTHORIZATION {}; SET ROLE {shared}", scene.alice));
    assert_eq!(scene.search(&mut owner), Hit);
    owner.run("RESET SESSION AUTHORIZATION; DROP POLICY own ON docs; CREATE POLICY own ON docs USING (tenant = 1)");
    // Where none asks, they share.
    assert_eq!(scene.search(&mut alice), Miss);
    assert_eq!(scene.search(&mut bob), Hit);
}

#[test]
fn execute_on_functions_of_a_policy_and_on_the_distance_counts() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "lower(reader) = lower(current_user)");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    let distance = owner.value(
        "SELECT oprcode::regproc || '(' || oprleft::regtype || ',' || oprright::regtype || ')' FROM pg_operator \
         WHERE oprname = '<->' AND oprleft = (SELECT atttypid FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'embedding')",
    );
    for function in ["pg_catalog.lower(text)".to_owned(), distance] {
        owner.run(&format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"));
        scene.assert_fails_as_plain(&mut alice, "42501");
        owner.run(&format!("GRANT EXECUTE ON FUNCTION {function} TO PUBLIC"));
        assert_eq!(scene.search(&mut alice), Hit);
    }
}
