//! Writers: they never wait for each other on vcache's account, and never fail for it. Every statement here runs with the shortest
//! lock_timeout there is.

use std::thread;

use harness::{Database, Session};

use crate::scene::has;
use crate::{QUERY, Scene, stand};

/// Sessions that wait for no lock. Where they write at the same time, the lock that makes a file longer is one that they wait for.
fn impatient(database: &Database, count: usize) -> Vec<Session> {
    let session = |_| {
        let mut session = database.session();
        session.run("SET lock_timeout = '1ms'");
        session
    };
    (0..count).map(session).collect()
}

#[test]
fn race_16_more_writers_at_a_time_than_there_are_slots() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let database = stand().database();
        let (scene, mut reader) = Scene::new(&database);
        scene.warm(&mut reader);
        let mut writers = impatient(&database, 40);
        for (number, writer) in writers.iter_mut().enumerate() {
            writer.run(&format!("BEGIN ISOLATION LEVEL {level}"));
            writer.run(&format!("INSERT INTO docs VALUES ({}, 'near', 0, '{QUERY}')", 1000 + number));
        }
        for writer in writers.iter_mut().filter(|_| level != "SERIALIZABLE") {
            writer.run("UPDATE docs SET title = 'again' WHERE id >= 1000");
        }
        assert_eq!(reader.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"), 0);
        scene.hit(&mut reader);
        // They end in another order, some of them by a rollback: each commit is met.
        for (number, writer) in writers.iter_mut().enumerate().rev() {
            if number % 3 == 0 {
                writer.run("ROLLBACK");
                scene.hit(&mut reader);
            } else {
                writer.run("COMMIT");
                scene.stale(&mut reader);
                scene.hit(&mut reader);
            }
        }
        // Afterwards the slots are few again.
        for number in 0..100 {
            writers[0].run(&format!("UPDATE docs SET title = '{number}' WHERE id = 1"));
        }
        scene.stale(&mut reader);
        let slots = reader.number("SELECT slots FROM vcache_sources WHERE source = 'docs'::regclass");
        assert!((1..=20).contains(&slots), "{level}: {slots} slots");
    }
}

#[test]
fn writers_of_older_snapshots_do_not_fail() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut writers = impatient(&database, 6);
        for writer in &mut writers {
            writer.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM pg_class"));
        }
        // The clock moves on behind their backs.
        for id in 1..5 {
            reader.run(&format!("UPDATE docs SET title = '{level}' WHERE id = {id}"));
        }
        scene.warm(&mut reader);
        for (number, writer) in writers.iter_mut().enumerate() {
            writer.run(&format!("INSERT INTO docs VALUES ({}, '', 0, '{QUERY}')", 1000 + number));
            writer.run("SAVEPOINT a; INSERT INTO docs VALUES (2000, '', 0, '[9,9,9]'); ROLLBACK TO a");
            if level == "REPEATABLE READ" {
                // Serializable transactions that read what others write are PostgreSQL's to refuse.
                writer.run(&format!(
                    "DELETE FROM docs WHERE id = {}; UPDATE docs SET title = 'x' WHERE id = {}",
                    10 + number,
                    1000 + number
                ));
            }
            writer.run("COMMIT");
            scene.stale(&mut reader);
            scene.hit(&mut reader);
        }
        reader.run("DELETE FROM docs WHERE id >= 1000");
    }
}

#[test]
fn race_19_invalidations_in_either_order_and_under_repeatable_read() {
    let database = stand().database();
    let (a, mut owner) = Scene::new(&database);
    let b = a.seen_by("b", database.session());
    b.register(&mut owner, "");
    let mut sessions = impatient(&database, 2);
    let [first, second] = sessions.as_mut_slice() else { unreachable!("two") };
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        a.warm(&mut owner);
        b.warm(&mut owner);
        for session in [&mut *first, &mut *second] {
            session.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM pg_class"));
        }
        first.run("SELECT vcache_invalidate('docs')");
        second.run("SELECT vcache_invalidate('b')");
        first.run("SELECT vcache_invalidate('b'); SELECT vcache_invalidate('docs')");
        second.run("SELECT vcache_invalidate('docs'); SELECT vcache_invalidate()");
        // Nothing of it before the commit.
        a.hit(&mut owner);
        first.run("COMMIT");
        a.miss(&mut owner);
        b.miss(&mut owner);
        a.hit(&mut owner);
        second.run("COMMIT");
        a.miss(&mut owner);
        b.miss(&mut owner);
        a.hit(&mut owner);
        // An older snapshot neither sees it nor fails for it; a rollback takes it back.
        first.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
        second.run("SELECT vcache_invalidate('docs')");
        a.right(first);
        first.run("SELECT vcache_invalidate('docs')");
        first.run("ROLLBACK");
        a.right(&mut owner);
        first.run("BEGIN; SAVEPOINT a; SELECT vcache_invalidate('docs'); ROLLBACK TO a; COMMIT");
        a.hit(&mut owner);
    }
}

#[test]
fn the_file_of_the_clocks_is_cut_off_where_a_session_remembers_a_row() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let (mut reader, mut old) = (database.session(), database.session());
    let pages = "SELECT pg_relation_size('vcache_source_clock') / current_setting('block_size')::int";
    let writes = |session: &mut Session, count: usize| {
        for number in 0..count {
            session.run(&format!("UPDATE docs SET title = 'title {number}' WHERE id = 1"));
        }
    };
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class";
    old.run(hold);
    writes(&mut session, 300);
    scene.warm(&mut reader);
    let before = session.number(pages);
    old.run("COMMIT");
    // The row goes to the front of the file, for lack of room where it is.
    session.run("VACUUM vcache_source_clock");
    old.run(hold);
    writes(&mut database.session(), 150);
    old.run("COMMIT");
    session.run("VACUUM vcache_source_clock");
    session.run("VACUUM (TRUNCATE) vcache_source_clock");
    assert!(session.number(pages) < before, "{before} pages before");
    scene.warm(&mut reader);
    writes(&mut session, 1);
    scene.stale(&mut reader);
}

#[test]
fn race_20_a_snapshot_held_open_during_many_writes() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    let buffers = |session: &mut Session| -> i64 {
        let plan = session.value(&format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF) SELECT * FROM vcache_search('docs', '{QUERY}', 5)"
        ));
        let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
        let count = |name: &str| plan[0]["Plan"][name].as_i64().expect(name);
        count("Shared Hit Blocks") + count("Shared Read Blocks")
    };
    let first = scene.warm(&mut reader);
    let usual = buffers(&mut reader);
    let mut old = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
    let write = |from: usize, to: usize| {
        // Rows that no search finds: only the clock's versions pile up.
        let mut writer = database.session();
        writer.run("SET synchronous_commit = off");
        writer.run(&format!(
            "DO $$ BEGIN FOR i IN {from}..{to} LOOP \
               IF i % 2 = 0 THEN INSERT INTO docs VALUES (i, '', 0, '[-9,-9,-9]'); ELSE DELETE FROM docs WHERE id = i - 1; END IF; \
               COMMIT; END LOOP; END $$"
        ));
    };
    thread::scope(|scope| {
        for part in 0..2 {
            scope.spawn(move || write(10_000 * (part + 1), 10_000 * (part + 1) + 9_999));
        }
    });
    // As cheap as before, for a new snapshot.
    scene.right(&mut reader);
    scene.hit(&mut reader);
    let after = buffers(&mut reader);
    assert!(after <= 3 * usual + 30, "{usual} buffers before, {after} after");
    // For the old one, its own answer, in some way.
    for _ in 0..3 {
        assert_eq!(scene.right(&mut old), first);
    }
    let old_buffers = buffers(&mut old);
    assert!(old_buffers <= 1000, "{usual} buffers before, {old_buffers} for the old snapshot");
    // Writing is as cheap as well, and seen.
    write(30_000, 30_009);
    scene.stale(&mut reader);
    old.run("COMMIT");
    scene.hit(&mut old);
    reader.run("VACUUM vcache_source_clock");
    write(40_000, 40_009);
    scene.stale(&mut reader);
    scene.hit(&mut old);
}

#[test]
fn many_writes_leave_few_slots() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    thread::scope(|scope| {
        for part in 0..6 {
            let database = &database;
            scope.spawn(move || {
                let mut writer = database.session();
                writer.run("SET synchronous_commit = off; SET lock_timeout = '1s'");
                for round in 0..150 {
                    let level = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][(round + part) % 3];
                    writer.run(&format!("BEGIN ISOLATION LEVEL {level}"));
                    writer.run(&format!("INSERT INTO docs VALUES ({}, '', 0, '{QUERY}')", 1000 * (part + 1) + round));
                    writer.run(if round % 5 == 4 { "ROLLBACK" } else { "COMMIT" });
                }
            });
        }
    });
    scene.miss(&mut reader);
    let mut writer = database.session();
    for round in 0..50 {
        writer.run(&format!("UPDATE docs SET title = '{round}' WHERE id = 1"));
    }
    let slots = reader.number("SELECT slots FROM vcache_sources WHERE source = 'docs'::regclass");
    assert!((1..=20).contains(&slots), "{slots} slots");
    scene.right(&mut reader);
    scene.hit(&mut reader);
}

#[test]
fn a_writer_that_is_cancelled_or_terminated() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    scene.warm(&mut reader);
    let mut writer = database.session();
    writer.run("SET statement_timeout = '20ms'");
    writer
        .fails("INSERT INTO docs SELECT 1000 + i, pg_sleep(0.01)::text, 0, '[9,9,9]' FROM generate_series(0, 100) i")
        .assert("57014", &[]);
    writer.run("RESET statement_timeout");
    scene.hit(&mut writer);
    scene.hit(&mut reader);
    writer.run("BEGIN; INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]')");
    let pid = writer.pid();
    reader.run(&format!("SELECT pg_terminate_backend({pid}, 10000)"));
    scene.hit(&mut reader);
    let mut another = database.session();
    another.run("INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]')");
    assert!(has(&scene.stale(&mut reader), "1000"));
}
