//! What snapshots do not see in step: a transaction with an old snapshot meets the new files, the new partitions, the new columns. What it
//! then finds is PostgreSQL's own answer for it, and nobody else's.

use harness::{Database, Session, Stand, until};

use crate::scene::has;
use crate::{QUERY, Scene, stand};

const PARTITIONED: &str = "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
     CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
     CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000); \
     INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i; \
     CREATE TABLE later (LIKE docs); INSERT INTO later VALUES (2000, '', 0, '[9,9,9]')";

/// For plain tables.
const REWRITES: [&str; 8] = [
    "TRUNCATE docs",
    "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM docs WHERE id < 3; TRUNCATE docs; INSERT INTO docs TABLE kept",
    "COPY (SELECT 1000, 'frozen', 0, '[9,9,9]') TO 'FILE'; TRUNCATE docs; COPY docs FROM 'FILE' WITH (FREEZE)",
    "ALTER TABLE docs ALTER n TYPE bigint",
    "ALTER TABLE docs ALTER title TYPE text USING 'rewritten ' || id",
    "ALTER TABLE docs ADD random float8 DEFAULT random()",
    "DELETE FROM docs WHERE id > 20; CLUSTER docs USING docs_pkey",
    "ALTER TABLE docs SET UNLOGGED; INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]'); ALTER TABLE docs SET LOGGED",
];

/// For partitioned ones.
const MEMBERS: [&str; 4] = [
    "ALTER TABLE docs ATTACH PARTITION later FOR VALUES FROM (2000) TO (3000)",
    "ALTER TABLE docs DETACH PARTITION high",
    "DROP TABLE high",
    "TRUNCATE high; INSERT INTO high VALUES (1000, '', 0, '[9,9,9]')",
];

fn prepared(database: &Database, ddl: &str) -> (Scene, Session, String) {
    let (scene, mut session) =
        if MEMBERS.contains(&ddl) { Scene::made_by(database, PARTITIONED) } else { Scene::new(database) };
    let file = session.value("SELECT current_setting('data_directory') || '/frozen'");
    (scene, session, ddl.replace("FILE", &file))
}

#[test]
fn race_03_a_reader_older_than_a_rewrite_an_attach_or_a_detach() {
    let stand = Stand::start();
    for ddl in REWRITES.into_iter().chain(MEMBERS) {
        for warm in [true, false] {
            println!("{ddl} {warm}");
            let database = stand.database();
            let (scene, mut session, ddl) = prepared(&database, ddl);
            let mut old = database.session();
            if warm {
                scene.warm(&mut session);
            }
            old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
            session.run(&format!("BEGIN; {ddl}; COMMIT"));
            // The old snapshot is the older clock's, and the files are new: PostgreSQL's answer to it is an odd one.
            scene.right(&mut old);
            scene.right(&mut old);
            scene.right(&mut session);
            scene.right(&mut session);
            scene.right(&mut old);
            old.run("COMMIT");
            for session in [&mut old, &mut session] {
                scene.right(session);
                scene.hit(session);
            }
        }
    }
}

#[test]
fn race_03_what_such_a_reader_finds_is_not_for_a_standby_that_lags_behind() {
    let stand = Stand::start();
    for ddl in REWRITES.into_iter().chain(MEMBERS) {
        println!("{ddl}");
        let database = stand.database();
        let (scene, mut session, ddl) = prepared(&database, ddl);
        let standby = stand.server.standby();
        standby.catch_up(&stand.server);
        let mut behind = standby.connect("postgres", database.name());
        let there = scene.seen_by("docs", standby.connect("postgres", database.name()));
        behind.run("SELECT pg_wal_replay_pause()");
        until("the standby lags behind", || behind.value("SELECT pg_get_wal_replay_pause_state()") == "paused");
        let mut old = database.session();
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
        session.run(&format!("BEGIN; {ddl}; COMMIT"));
        // The very clock of the standby, and other rows.
        scene.right(&mut old);
        there.right(&mut behind);
        // Where nothing stands, the standby stores; and the reader of the old snapshot finds that.
        database.flush();
        behind.run("SELECT vcache_flush()");
        there.miss(&mut behind);
        there.hit(&mut behind);
        scene.right(&mut old);
        old.run("COMMIT");
        scene.right(&mut session);
        there.right(&mut behind);
        behind.run("SELECT pg_wal_replay_resume()");
        standby.catch_up(&stand.server);
        scene.right(&mut session);
        scene.hit(&mut session);
        // The primary's may stand in its shared memory alone: there, where nothing stood, the old snapshot was the first to store.
        there.right(&mut behind);
        there.hit(&mut behind);
    }
}

#[test]
fn race_03_a_statement_that_began_before_the_rewrite() {
    for ddl in REWRITES.into_iter().chain(MEMBERS) {
        println!("{ddl}");
        let database = stand().database();
        let (scene, mut session, ddl) = prepared(&database, ddl);
        let mut late = database.session();
        late.run(&format!(
            "CREATE FUNCTION late() RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$ BEGIN \
               PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1); \
               RETURN QUERY SELECT id FROM vcache_search('docs', '{QUERY}', 5); END $$"
        ));
        scene.warm(&mut session);
        let pid = late.pid();
        session.run("BEGIN; SELECT pg_advisory_xact_lock(1)");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| late.column("SELECT late()"));
            until("the statement waits", || {
                session.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
            });
            session.run(&ddl);
            session.run("COMMIT");
            waiting.join().expect("thread");
        });
        // Whatever that statement found: nobody else is given it.
        for session in [&mut session, &mut late] {
            scene.right(session);
            scene.hit(session);
        }
    }
}

#[test]
fn copy_freeze_is_seen_by_snapshots_that_are_older() {
    let database = stand().database();
    let (scene, mut session, ddl) = prepared(&database, REWRITES[2]);
    let mut old = database.session();
    scene.warm(&mut session);
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
    session.run(&format!("BEGIN; {ddl}; COMMIT"));
    // Frozen rows are visible to all: so they are to the search.
    assert!(has(&scene.right(&mut old), "1000"));
    assert!(has(&scene.miss(&mut session), "1000"));
    scene.hit(&mut session);
}

/// Ways to write rows of the source that nobody guards at that moment, and to have them guarded from then on.
const UNGUARDED: [(&str, &str, &str); 5] = [
    ("", "INSERT INTO later VALUES (2001, '', 0, '[9,9,9]')", MEMBERS[0]),
    (
        "ALTER TABLE docs DETACH PARTITION high",
        "UPDATE high SET embedding = '[9,9,9]' WHERE id = 25",
        "ALTER TABLE docs ATTACH PARTITION high FOR VALUES FROM (20) TO (2000)",
    ),
    (
        "ALTER TABLE low DISABLE TRIGGER vcache_after",
        "UPDATE low SET embedding = '[9,9,9]' WHERE id = 5",
        "ALTER TABLE low ENABLE ALWAYS TRIGGER vcache_after",
    ),
    (
        "SELECT vcache_alter_namespace('docs', '{\"freshness\": \"ttl\"}')",
        "UPDATE low SET embedding = '[9,9,9]' WHERE id = 5",
        "SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')",
    ),
    (
        "SELECT vcache_drop_namespace('docs')",
        "UPDATE low SET embedding = '[9,9,9]' WHERE id = 5",
        "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact', payload_columns => '{title}')",
    ),
];

#[test]
fn two_old_snapshots_with_a_write_between_them_that_nobody_guarded() {
    for (off, write, on) in UNGUARDED {
        println!("{off}; {write}; {on}");
        let database = stand().database();
        let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
        let mut readers = [database.session(), database.session()];
        scene.warm(&mut session);
        let open = |reader: &mut Session| reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
        session.run(off);
        open(&mut readers[0]);
        session.run(write);
        open(&mut readers[1]);
        session.run(on);
        // Both see the clock of before, and each its own rows. A registration that they do not see is as if it were not there.
        for (first, second) in [(0, 1), (1, 0)] {
            for number in [first, second, first] {
                let reader = &mut readers[number];
                if reader.number("SELECT count(*) FROM vcache_namespaces WHERE freshness = 'exact'") == 1 {
                    scene.right(reader);
                }
            }
        }
        for reader in &mut readers {
            reader.run("COMMIT");
            scene.right(reader);
            scene.hit(reader);
        }
        scene.hit(&mut session);
    }
}
