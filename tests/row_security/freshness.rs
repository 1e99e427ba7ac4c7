//! Exact freshness under row-level security: the clock tells of every change of a row, whichever column it is of.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Bypass, Hit, Miss};

#[test]
fn an_update_of_a_column_that_only_a_policy_reads_is_a_change() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    owner.run("UPDATE docs SET reader = 'nobody' WHERE id < 10");
    assert_eq!(scene.compared(&mut alice), (Miss, 7));
    assert_eq!(scene.search(&mut alice), Hit);
    // Also of one whose policy came later.
    owner.run("CREATE POLICY tenants ON docs USING (tenant = 1)");
    scene.assert_fills(&mut alice);
    owner.run("UPDATE docs SET tenant = 1 WHERE id > 20");
    assert_eq!(scene.search(&mut alice), Miss);
    owner.run(&format!("INSERT INTO docs (id, reader, embedding) VALUES (100, '{}', '[1,2,3]')", scene.alice));
    scene.assert_fills(&mut alice);
    owner.run("DELETE FROM docs WHERE id = 100");
    scene.assert_fills(&mut alice);
}

#[test]
fn a_namespace_that_gets_rls_settings_later_hears_of_every_column_from_then_on() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::new(&database);
    owner.run("CREATE POLICY own ON docs USING (reader = current_user)");
    scene.register(&mut owner, "");
    let mut writer = database.session();
    writer.run("UPDATE docs SET reader = reader");
    owner.run("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": []}')");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    writer.run("UPDATE docs SET reader = 'nobody'");
    assert_eq!(scene.compared(&mut alice), (Miss, 0));
}

#[test]
fn what_a_transaction_has_written_itself_is_its_own() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    owner.run("GRANT UPDATE ON docs TO PUBLIC");
    let mut alice = database.session_as(&scene.alice);
    scene.assert_fills(&mut alice);
    alice.run("BEGIN; UPDATE docs SET title = 'mine' WHERE id < 5");
    assert_eq!(scene.search(&mut alice), Bypass);
    alice.run("ROLLBACK");
    assert_eq!(scene.search(&mut alice), Hit);
    // A snapshot of before.
    alice.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(scene.search(&mut alice), Hit);
    owner.run("UPDATE docs SET reader = 'nobody' WHERE id < 10");
    assert_eq!(scene.compared(&mut alice).1, 10);
    alice.run("COMMIT");
    assert_eq!(scene.compared(&mut alice).1, 7);
}

#[test]
fn tenants_and_policies_go_together() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    scene.source.register(&mut owner, "t/*", "namespace_column => 'tenant', rls_settings => '{}'");
    let mut alice = database.session_as(&scene.alice);
    let mut search = |tenant: u8| scene.compared_in(&mut alice, &format!("t/{tenant}"), &format!("tenant = {tenant}"));
    for tenant in [1, 2] {
        assert_eq!(search(tenant).0, Miss);
        assert_eq!(search(tenant).0, Hit);
    }
    let rows = search(1).1;
    owner.run(
        "UPDATE docs SET reader = 'nobody' WHERE id = (SELECT id FROM docs WHERE tenant = 1 AND id % 3 = 0 LIMIT 1)",
    );
    assert_eq!(search(1), (Miss, rows - 1));
    // The other tenant's rows have not changed.
    assert_eq!(search(2).0, Hit);
}
