//! A hot standby: exact for its own snapshot, however far it lags behind, out of the Redis that it shares; and what is cached when it takes over.

use harness::{Postgres, Session, Stand, until};

use crate::registering::CALLS;
use crate::scene::has;
use crate::{NEAREST, Scene};

fn pause(standby: &Postgres) {
    let mut session = standby.connect("postgres", "postgres");
    session.run("SELECT pg_wal_replay_pause()");
    until("the standby lags behind", || session.value("SELECT pg_get_wal_replay_pause_state()") == "paused");
}

fn resume(standby: &Postgres, primary: &Postgres) {
    standby.connect("postgres", "postgres").run("SELECT pg_wal_replay_resume()");
    standby.catch_up(primary);
}

#[test]
fn a_standby_that_lags_behind_answers_for_its_own_snapshot() {
    lags_behind(&Stand::start());
}

#[test]
fn a_standby_that_lags_behind_and_has_no_entries_of_its_own() {
    lags_behind(&Stand::with_redis_alone());
}

fn lags_behind(stand: &Stand) {
    let database = stand.database();
    let has_its_own = database.session().value("SHOW vcache.shared_memory_size") != "0";
    let (here, mut session) = Scene::new(&database);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    // What a newer entry in Redis leaves it: what it has in its own shared memory.
    let left_to_itself = |reader: &mut Session| if has_its_own { there.hit(reader) } else { there.stale(reader) };
    // Either's entries are the other's.
    here.warm(&mut session);
    there.hit(&mut reader);
    session.run("SELECT vcache_flush()");
    reader.run("SELECT vcache_flush()");
    there.miss(&mut reader);
    here.hit(&mut session);

    pause(&standby);
    session.run(NEAREST);
    // The entry that stands is right for the standby, and stale for the primary.
    assert!(!has(&there.hit(&mut reader), "1000"));
    assert!(has(&here.stale(&mut session), "1000"));
    // Now a newer one does in Redis: the standby neither uses it nor takes its place.
    for _ in 0..2 {
        assert!(!has(&left_to_itself(&mut reader), "1000"));
        assert!(has(&here.hit(&mut session), "1000"));
    }
    resume(&standby, &stand.server);
    assert!(has(&there.hit(&mut reader), "1000"));

    // Many versions behind, and at last at one.
    pause(&standby);
    for round in 0..50 {
        session.run(&format!("UPDATE docs SET title = '{round}' WHERE id = 1000"));
    }
    here.right(&mut session);
    left_to_itself(&mut reader);
    resume(&standby, &stand.server);
    there.hit(&mut reader);
    // A transaction of one snapshot that outlives the replay.
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let before = there.hit(&mut reader);
    session.run("DELETE FROM docs WHERE id = 1000");
    standby.catch_up(&stand.server);
    here.right(&mut session);
    assert_eq!(left_to_itself(&mut reader), before);
    reader.run("COMMIT");
    assert!(!has(&there.hit(&mut reader), "1000"));
}

#[test]
fn a_standby_replaces_what_it_has_outrun() {
    // Its own memory is nobody else's.
    let stand = Stand::start_with(|setup| setup.set("vcache.shared_memory_size", "0"));
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    there.warm(&mut reader);
    for id in 1000..1003 {
        session.run(&format!("INSERT INTO docs VALUES ({id}, 'nearest', 0, '[9,9,9]')"));
        standby.catch_up(&stand.server);
        assert!(has(&there.stale(&mut reader), &id.to_string()));
        there.hit(&mut reader);
        here.hit(&mut session);
    }
    // The same for an entry of too few rows. Until anything has been committed since, it may be as new as what the standby knows.
    let larger = "SELECT count(*) FROM vcache_search('docs', '[9,9,9]', 25)";
    let outcome = "SELECT outcome FROM vcache_explain('docs', '[9,9,9]', 25)";
    stand.redis.flush();
    there.warm(&mut reader);
    reader.run(larger);
    assert_eq!(reader.value(outcome), "miss");
    session.run("CREATE TABLE another (n int)");
    standby.catch_up(&stand.server);
    reader.run(larger);
    assert_eq!(reader.value(outcome), "hit");
}

#[test]
fn nothing_is_registered_on_a_standby() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, _session) = Scene::new(&database);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    for (call, function) in CALLS {
        reader.fails(call).assert("25006", &["cannot execute", function, "during recovery"]);
    }
}

#[test]
fn what_the_first_second_of_a_standby_is_called() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = Scene::new(&database);
    let standby = stand.server.standby();
    session.run("CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood RENAME VALUE 'good' TO 'better'");
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let rows = reader.rows(
        "SELECT outcome, reason, triggers_in_place, detail FROM vcache_explain('docs', '[9,9,9]'), vcache_sources, vcache_health() \
         WHERE component = 'triggers'",
    );
    let said: Vec<_> = rows[0].iter().flatten().cloned().collect();
    assert_eq!((said[0].as_str(), said[2].as_str()), ("bypass", "t"), "{said:?}");
    for text in [&said[1], &said[3]] {
        assert!(text.contains("a moment ago") && !text.contains("is being committed"), "{text}");
    }
}

#[test]
fn a_standby_with_a_delay() {
    let stand = Stand::start();
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    here.warm(&mut session);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    standby.reload_with("recovery_min_apply_delay", "1s");
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    for id in 1000..1003 {
        session.run(&format!("INSERT INTO docs VALUES ({id}, 'nearest', 0, '[9,9,9]')"));
        here.right(&mut session);
        // Whichever of the versions it has reached by now.
        for _ in 0..20 {
            there.right(&mut reader);
        }
    }
    standby.catch_up(&stand.server);
    assert!(has(&there.right(&mut reader), "1002"));
    there.hit(&mut reader);
}

#[test]
fn registering_dropping_and_altering_reach_a_standby() {
    let stand = Stand::start();
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    here.warm(&mut session);
    for change in [
        "ALTER TABLE docs DISABLE TRIGGER vcache_after",
        "ALTER TABLE docs ENABLE ALWAYS TRIGGER vcache_after",
        "SELECT vcache_invalidate('docs')",
        "SELECT vcache_drop_namespace('docs')",
    ] {
        println!("{change}");
        session.run(change);
        standby.catch_up(&stand.server);
        // A standby leaves alone what stands.
        database.flush();
        if change.contains("DISABLE") {
            session.run(NEAREST);
            standby.catch_up(&stand.server);
            assert!(has(&there.bypass(&mut reader, "triggers"), "1000"));
        } else if change.contains("drop_namespace") {
            reader.fails("SELECT * FROM vcache_search('docs', '[9,9,9]')").assert("42704", &["docs"]);
        } else {
            assert!(has(&there.miss(&mut reader), "1000"), "{change}");
            there.hit(&mut reader);
            here.hit(&mut session);
        }
    }
}

/// Ends the primary while the standby has not received its last commits, and promotes the standby.
fn promote_without_the_last(stand: &Stand, standby: &Postgres, last: impl FnOnce()) {
    let mut session = standby.connect("postgres", "postgres");
    session.run("ALTER SYSTEM SET primary_conninfo = ''");
    session.run("SELECT pg_reload_conf()");
    until("the standby receives no more", || {
        session.number("SELECT count(*) FROM pg_stat_wal_receiver") == 0
            && session.value("SELECT current_setting('primary_conninfo')").is_empty()
    });
    last();
    stand.server.stop(harness::Stop::Immediate);
    assert_eq!(session.value("SELECT pg_promote()"), "t");
    until("the standby has taken over", || session.value("SELECT pg_is_in_recovery()") == "f");
}

fn write(session: &mut Session, id: usize, title: &str) {
    session.run(&format!("INSERT INTO docs VALUES ({id}, '{title}', 0, '[9,9,9]')"));
}

#[test]
fn race_25_a_promoted_standby_that_lacked_the_last_commits() {
    let stand = Stand::start();
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    // The clock is one that has run.
    write(&mut session, 999, "common");
    here.warm(&mut session);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    there.hit(&mut reader);
    promote_without_the_last(&stand, &standby, || {
        // What only the old primary knows, cached at each of its versions: the one entry is the last one's.
        for id in 1000..1005 {
            write(&mut session, id, "lost");
            assert!(has(&here.stale(&mut session), &id.to_string()));
            here.hit(&mut session);
        }
    });
    // Its own entry is right for what it has.
    assert!(!has(&there.right(&mut reader), "1000"));
    there.hit(&mut reader);
    // As many versions on as the lost ones, one by one, with entries of the lost ones put back.
    for id in 2000..2010 {
        write(&mut reader, id, "kept");
        let found = there.stale(&mut reader);
        assert!(has(&found, &id.to_string()) && !has(&found, "1000"), "{found:?}");
        there.hit(&mut reader);
    }
}

#[test]
fn race_25_entries_of_lost_commits_are_served_at_no_later_version() {
    let stand = Stand::start();
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    write(&mut session, 999, "common");
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    let there = here.seen_by("docs", standby.connect("postgres", database.name()));
    let mut lost = Vec::new();
    let mut key = String::new();
    promote_without_the_last(&stand, &standby, || {
        for id in 1000..1008 {
            write(&mut session, id, "lost");
            here.right(&mut session);
            key = stand.redis.only_key();
            lost.push(stand.redis.get(&key).expect("an entry"));
        }
    });
    for id in 2000..2008 {
        for entry in &lost {
            reader.run("SELECT vcache_flush()");
            stand.redis.set(&key, entry);
            assert!(!has(&there.stale(&mut reader), "1000"));
        }
        there.hit(&mut reader);
        write(&mut reader, id, "kept");
    }
}

#[test]
fn a_new_session_on_a_standby_hits_at_once_when_ddl_for_all_was_long_ago() {
    let stand = Stand::start();
    let database = stand.database();
    let (here, mut session) = Scene::new(&database);
    let standby = stand.server.standby();
    session.run("CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood RENAME VALUE 'good' TO 'better'");
    standby.catch_up(&stand.server);
    here.warm(&mut session);
    until("a session's first search is a hit", || {
        let mut first = standby.connect("postgres", database.name());
        first.value("SELECT outcome FROM vcache_explain('docs', '[9,9,9]', 5)") == "hit"
    });
}
