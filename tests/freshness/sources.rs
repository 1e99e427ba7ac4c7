//! vcache_sources: the clocks as people see them; and what vcache_explain and vcache_health say of a source that always changes.

use harness::Session;

use crate::{Scene, stand};

#[test]
fn a_row_for_each_source_of_an_exact_namespace() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    scene.seen_by("second", database.session()).register(&mut session, "");
    harness::Source::create(&mut session, "others", 10, 3).register(&mut session, "others", "freshness => 'ttl'");
    let columns = session.column(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = 'vcache_sources'::regclass AND attnum > 0 ORDER BY attnum",
    );
    assert_eq!(
        columns,
        [
            "source regclass",
            "slots bigint",
            "last_change timestamp with time zone",
            "changes_per_minute double precision",
            "triggers_in_place boolean"
        ]
    );
    let row =
        "SELECT slots, last_change IS NOT NULL, triggers_in_place FROM vcache_sources WHERE source = 'docs'::regclass";
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(session.rows(row)[0][2], text("t"));
    let before = session.value("SELECT clock_timestamp()");
    session.run("DELETE FROM docs WHERE id = 1");
    assert_eq!(session.rows(row), [[text("1"), text("t"), text("t")]]);
    assert_eq!(
        session.value(&format!("SELECT last_change BETWEEN '{before}' AND clock_timestamp() FROM vcache_sources WHERE source = 'docs'::regclass")),
        "t"
    );
    // What changes no row changes nothing here, and a rollback takes a change back.
    let last = session.value("SELECT last_change FROM vcache_sources WHERE source = 'docs'::regclass");
    session.run("DELETE FROM docs WHERE id = 1; BEGIN; DELETE FROM docs WHERE id = 2; ROLLBACK");
    assert_eq!(session.value("SELECT last_change FROM vcache_sources WHERE source = 'docs'::regclass"), last);
}

#[test]
fn a_source_that_always_changes_is_told() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let rate = "SELECT coalesce(changes_per_minute, 0) FROM vcache_sources WHERE source = 'docs'::regclass";
    scene.warm(&mut session);
    for round in 0..120 {
        session.run(&format!("UPDATE docs SET title = '{round}' WHERE id = 1"));
        scene.stale(&mut session);
    }
    let changes: f64 = session.value(rate).parse().expect("a number");
    assert!(changes > 1.0, "{changes} changes a minute");
    session.run("UPDATE docs SET title = 'last' WHERE id = 1");
    let reason = session.value("SELECT reason FROM vcache_explain('docs', '[9,9,9]', 5)");
    assert!(reason.contains("a minute") && reason.contains("consider freshness 'ttl'"), "{reason}");
    let detail = session.value("SELECT string_agg(detail, ' ') FROM vcache_health()");
    assert!(detail.contains("a minute") && detail.contains("consider freshness 'ttl'"), "{detail}");
}

#[test]
fn a_source_that_changes_now_and_then_is_not_complained_of() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    let rates = "SELECT changes_per_minute::text FROM vcache_sources";
    assert_eq!(session.value(rates), "0");
    session.run("UPDATE docs SET title = 'once' WHERE id = 1");
    let shown: f64 = session.value(rates).parse().expect("a number");
    assert!((shown * 100.0 - (shown * 100.0).round()).abs() < 1e-6 && shown > 0.0, "{shown}");
    let reason = |session: &mut Session, ttl: &str| {
        session.value(&format!("SELECT reason FROM vcache_explain('docs', '[9,9,9]', 5, ttl => '{ttl}')"))
    };
    let said = reason(&mut session, "1 hour");
    assert!(said.contains("changed") && !said.contains("consider"), "{said}");
    // Often, and yet not within the life that an entry has anyway.
    for round in 0..120 {
        session.run(&format!("UPDATE docs SET title = '{round}' WHERE id = 1"));
    }
    assert!(reason(&mut session, "1 hour").contains("consider"));
    let said = reason(&mut session, "1 ms");
    assert!(said.contains("changed") && !said.contains("consider"), "{said}");
    let health = "SELECT detail FROM vcache_health() WHERE component = 'triggers'";
    assert!(session.value(health).contains("consider"));
    session.run("SELECT vcache_alter_namespace('docs', '{\"ttl\": \"1 ms\"}')");
    assert!(!session.value(health).contains("consider"));
}

#[test]
fn what_is_drawn_once_and_what_triggers_keep_are_not_refreshed() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    for view in ["vcache_secret", "vcache_source_clock"] {
        session.fails(&format!("REFRESH MATERIALIZED VIEW {view}")).assert("55000", &["refreshed"]);
    }
    scene.hit(&mut session);
}

#[test]
fn who_may_search_may_look_and_nobody_may_touch() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    let role = database.role("someone", "");
    let mut someone = database.session_as(&role);
    assert_eq!(someone.number("SELECT count(*) FROM vcache_sources"), 0);
    session.run(&format!("GRANT SELECT ON docs TO {role}"));
    assert_eq!(someone.number("SELECT count(*) FROM vcache_sources"), 1);
    for sql in [
        "SELECT * FROM vcache_source_clock",
        "DELETE FROM vcache_source_clock",
        "TRUNCATE vcache_source_clock",
        "DELETE FROM vcache_sources",
    ] {
        assert!(someone.try_rows(sql).is_err(), "{sql}");
    }
    session.run("DELETE FROM docs WHERE id = 1");
    assert_eq!(someone.value("SELECT slots FROM vcache_sources"), "1");
}

#[test]
fn the_triggers_function_is_nobodys_to_call() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let role = database.role("someone", "");
    session.run(&format!("GRANT ALL ON SCHEMA public TO {role}"));
    let mut someone = database.session_as(&role);
    someone.fails("SELECT vcache_source_changed()");
    // As the trigger of a table of one's own it does no harm to others.
    someone.run("CREATE TABLE own (id int)");
    if someone
        .try_rows("CREATE TRIGGER vcache_after AFTER INSERT ON own FOR EACH STATEMENT EXECUTE FUNCTION vcache_source_changed()")
        .is_ok()
    {
        scene.warm(&mut session);
        let _ = someone.try_rows("INSERT INTO own VALUES (1)");
        scene.hit(&mut session);
    }
}
