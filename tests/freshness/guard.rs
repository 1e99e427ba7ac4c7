//! What guards a source are triggers on every member of it, each in its exact state. Where one is missing or another than it should be,
//! a search is a bypass, and the session is warned once.

use harness::{Database, Session};

use crate::scene::has;
use crate::{NEAREST, Scene, stand};

const TRIGGERS: [&str; 3] = ["vcache_before", "vcache_after", "vcache_row"];

fn in_place(session: &mut Session) -> bool {
    session.value("SELECT triggers_in_place FROM vcache_sources WHERE source = 'docs'::regclass") == "t"
}

/// Asserts that the source is not guarded, for a session that is told so once and for a new one, and that the triggers alone are health's
/// complaint.
fn assert_unguarded(database: &Database, scene: &Scene, why: &str) {
    let mut session = database.session();
    assert!(!in_place(&mut session), "{why}");
    session.notices();
    scene.bypass(&mut session, "triggers");
    let told = session.notices();
    assert_eq!(told.len(), 1, "{why}: {told:?}");
    assert_eq!(told[0].severity, "WARNING", "{why}");
    assert!(told[0].message.contains("docs"), "{why}: {told:?}");
    for _ in 0..3 {
        scene.bypass(&mut session, "triggers");
    }
    assert_eq!(session.notices(), [], "{why}: once a session");
    let status = session.value("SELECT status FROM vcache_health() WHERE component = 'triggers'");
    assert_ne!(status, "ok", "{why}");
}

#[test]
fn triggers_stand_on_the_source_in_their_states() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    let states = "SELECT string_agg(concat_ws(' ', tgname, tgenabled), ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'docs'::regclass";
    assert_eq!(session.value(states), "vcache_after A, vcache_before A, vcache_row R");
    assert!(in_place(&mut session));
    assert_eq!(session.value("SELECT status FROM vcache_health() WHERE component = 'triggers'"), "ok");
    assert_eq!(
        session.number("SELECT count(*) FROM pg_event_trigger WHERE evtenabled <> 'A' AND evtname LIKE 'vcache%'"),
        0
    );
}

#[test]
fn race_12_a_trigger_switched_off_and_on_in_one_transaction() {
    for trigger in TRIGGERS {
        let database = stand().database();
        let (scene, mut session) = Scene::new(&database);
        let mut other = database.session();
        scene.warm(&mut other);
        // On again, in a plainer state than it had.
        session.run(&format!(
            "BEGIN; ALTER TABLE docs DISABLE TRIGGER {trigger}; {NEAREST}; ALTER TABLE docs ENABLE TRIGGER {trigger}; COMMIT"
        ));
        assert!(has(&scene.bypass(&mut other, "triggers"), "1000"), "{trigger}");
        assert_unguarded(&database, &scene, trigger);
        // Its own state again: guarded, and what was written meanwhile is seen.
        let state = if trigger == "vcache_row" { "REPLICA" } else { "ALWAYS" };
        session.run(&format!("ALTER TABLE docs ENABLE {state} TRIGGER {trigger}"));
        assert!(has(&scene.miss(&mut other), "1000"), "{trigger}");
        scene.hit(&mut other);
        assert!(in_place(&mut session));
        session.run(&format!(
            "BEGIN; ALTER TABLE docs DISABLE TRIGGER {trigger}; DELETE FROM docs WHERE id = 1000; \
             ALTER TABLE docs ENABLE {state} TRIGGER {trigger}; COMMIT"
        ));
        assert!(!has(&scene.right(&mut other), "1000"), "{trigger}");
        scene.hit(&mut other);
    }
}

#[test]
fn race_12_all_triggers_switched_on_are_no_longer_always_and_replica() {
    for (off, on) in [("ALL", "ALL"), ("USER", "USER"), ("ALL", "USER")] {
        let database = stand().database();
        let (scene, mut session) = Scene::new(&database);
        scene.warm(&mut session);
        session.run(&format!(
            "BEGIN; ALTER TABLE docs DISABLE TRIGGER {off}; {NEAREST}; ALTER TABLE docs ENABLE TRIGGER {on}; COMMIT"
        ));
        assert_unguarded(&database, &scene, on);
        // Even without anything written in between, and with nothing cached before.
        session.run("DELETE FROM docs WHERE id = 1000");
        assert!(!has(&scene.bypass(&mut session, "triggers"), "1000"));
    }
}

#[test]
fn inside_the_transaction_that_switches_a_trigger_off() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut other);
    for trigger in TRIGGERS {
        session.run(&format!("BEGIN; ALTER TABLE docs DISABLE TRIGGER {trigger}"));
        session.run(NEAREST);
        let found = session.rows(&scene.comparison(session.engine(), crate::QUERY));
        assert!(has(&Scene::assert_equal(found), "1000"), "{trigger}");
        session.run("ROLLBACK");
        assert!(!has(&scene.hit(&mut other), "1000"), "{trigger}");
        scene.hit(&mut session);
    }
}

#[test]
fn a_dropped_trigger_and_one_of_the_same_name_that_does_nothing() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut session);
    for trigger in TRIGGERS {
        // Either it cannot be dropped, or its absence is noticed.
        session.run("BEGIN");
        if session.try_rows(&format!("DROP TRIGGER {trigger} ON docs")).is_err() {
            session.run("ROLLBACK");
            scene.hit(&mut other);
            continue;
        }
        session.run("COMMIT");
        session.run(NEAREST);
        assert!(has(&scene.bypass(&mut other, "triggers"), "1000"), "{trigger}");
        session.run("DELETE FROM docs WHERE id = 1000");
        session.run(
            "CREATE OR REPLACE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        );
        let (kind, state) = match trigger {
            "vcache_before" => ("BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON docs FOR EACH STATEMENT", "ALWAYS"),
            "vcache_after" => ("AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON docs FOR EACH STATEMENT", "ALWAYS"),
            _ => ("AFTER INSERT OR UPDATE OR DELETE ON docs FOR EACH ROW", "REPLICA"),
        };
        session.run(&format!(
            "CREATE TRIGGER {trigger} {kind} EXECUTE FUNCTION nothing(); ALTER TABLE docs ENABLE {state} TRIGGER {trigger}"
        ));
        scene.bypass(&mut other, "triggers");
        // The function is right, the events are not.
        let function = session.value("SELECT oid::regproc FROM pg_proc WHERE proname = 'vcache_source_changed'");
        for narrow in [
            format!("CREATE TRIGGER {trigger} {} EXECUTE FUNCTION {function}()", kind.replace("INSERT OR ", "")),
            format!("CREATE TRIGGER {trigger} {} EXECUTE FUNCTION {function}()", kind.replace("UPDATE", "UPDATE OF n")),
        ] {
            session.run(&format!(
                "DROP TRIGGER {trigger} ON docs; {narrow}; ALTER TABLE docs ENABLE {state} TRIGGER {trigger}"
            ));
            session.run(NEAREST);
            assert!(has(&scene.right(&mut other), "1000"), "{narrow}");
            session.run("DELETE FROM docs WHERE id = 1000; UPDATE docs SET title = title || 'x'");
            assert!(!has(&scene.right(&mut other), "1000"), "{narrow}");
        }
        session.run(&format!("DROP TRIGGER {trigger} ON docs"));
        // Altering the namespace, or registering another, puts them in place again.
        session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"ttl\"}'); SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')");
        scene.right(&mut other);
        scene.hit(&mut other);
    }
}

#[test]
fn a_renamed_trigger() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    for trigger in TRIGGERS {
        scene.warm(&mut session);
        if session.try_rows(&format!("ALTER TRIGGER {trigger} ON docs RENAME TO zzz")).is_err() {
            continue;
        }
        // It works by any name; whether it counts is for vcache to say, as long as the answer is right.
        session.run(NEAREST);
        assert!(has(&scene.right(&mut session), "1000"), "{trigger}");
        session.run(&format!("ALTER TRIGGER zzz ON docs RENAME TO {trigger}; DELETE FROM docs WHERE id = 1000"));
        assert!(!has(&scene.right(&mut session), "1000"), "{trigger}");
        scene.hit(&mut session);
    }
}
