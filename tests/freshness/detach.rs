//! ALTER TABLE … DETACH PARTITION CONCURRENTLY works in two transactions: between them the partition's rows are still seen by older
//! snapshots and no more by newer ones, while nobody has written a row.

use harness::{Database, Session, until};

use crate::scene::has;
use crate::{Scene, stand};

fn prepared(database: &Database) -> (Scene, Session) {
    Scene::made_by(
        database,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
         CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i; \
         INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')",
    )
}

const DETACH: &str = "ALTER TABLE docs DETACH PARTITION high CONCURRENTLY";

/// Starts detaching, which stops half-way for `holder`'s transaction; calls `meanwhile` there.
fn half_way(database: &Database, session: &mut Session, cancel: bool, meanwhile: impl FnOnce(&mut Session)) {
    let mut detaching = database.session();
    let pid = detaching.pid();
    let mut holder = database.session();
    holder.run("BEGIN; SELECT count(*) FROM docs");
    std::thread::scope(|scope| {
        let detached = scope.spawn(move || detaching.try_rows(DETACH));
        until("the first half is done", || {
            session.number("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 1
                && session.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
        });
        meanwhile(session);
        if cancel {
            session.run(&format!("SELECT pg_cancel_backend({pid})"));
            detached.join().expect("thread").expect_err("a cancelled DETACH");
            holder.run("COMMIT");
        } else {
            holder.run("COMMIT");
            detached.join().expect("thread").expect("DETACH");
        }
    });
}

#[test]
fn race_04_detach_partition_concurrently() {
    let database = stand().database();
    let (scene, mut session) = prepared(&database);
    let mut old = database.session();
    scene.warm(&mut session);
    half_way(&database, &mut session, false, |session| {
        // The partition's row is gone for a new snapshot, and the clock has not changed.
        assert!(!has(&scene.bypass(session, "triggers"), "1000"));
        session.run("UPDATE high SET title = 'changed'");
        assert!(!has(&scene.bypass(session, "triggers"), "1000"));
        // A transaction whose one snapshot is from now.
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let found = old.rows(&scene.comparison(old.engine(), crate::QUERY));
        Scene::assert_equal(found);
        old.run("COMMIT");
    });
    assert!(!has(&scene.miss(&mut session), "1000"));
    scene.hit(&mut session);
    session.run("ALTER TABLE docs ATTACH PARTITION high FOR VALUES FROM (20) TO (2000)");
    assert!(has(&scene.miss(&mut session), "1000"));
    scene.hit(&mut session);
    session.run("DELETE FROM high WHERE id = 1000");
    assert!(!has(&scene.miss(&mut session), "1000"));
}

#[test]
fn race_04_an_older_snapshot_still_sees_the_partition() {
    let database = stand().database();
    let (scene, mut session) = prepared(&database);
    let mut old = database.session();
    scene.warm(&mut session);
    for cancel in [true, false] {
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
        half_way(&database, &mut session, cancel, |_| {
            let rows = old.rows(&scene.comparison(old.engine(), crate::QUERY));
            // Whatever the plain query says, which is asked in the same statement.
            Scene::assert_equal(rows);
            old.run("COMMIT");
        });
        if cancel {
            scene.bypass(&mut session, "triggers");
            session.run("ALTER TABLE docs DETACH PARTITION high FINALIZE");
        }
        assert!(!has(&scene.miss(&mut session), "1000"));
        scene.hit(&mut session);
        session.run("ALTER TABLE docs ATTACH PARTITION high FOR VALUES FROM (20) TO (2000)");
        assert!(has(&scene.miss(&mut session), "1000"));
    }
}

#[test]
fn race_04_cancelled_half_way_it_stays_pending() {
    let database = stand().database();
    let (scene, mut session) = prepared(&database);
    let mut other = database.session();
    scene.warm(&mut session);
    half_way(&database, &mut session, true, |_| {});
    for session in [&mut session, &mut other] {
        session.notices();
        assert!(!has(&scene.bypass(session, "triggers"), "1000"));
        scene.bypass(session, "triggers");
        assert_eq!(session.notices().len(), 1);
    }
    // Its rows are nobody's to see through the parent, and nothing is cached until it is decided.
    session
        .run("INSERT INTO low VALUES (5 + 10, '', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET embedding = '[9,9,9]'");
    assert!(has(&scene.bypass(&mut other, "triggers"), "15"));
    session.run("ALTER TABLE docs DETACH PARTITION high FINALIZE");
    assert!(has(&scene.miss(&mut other), "15"));
    scene.hit(&mut session);
    session.run("DROP TABLE high; DELETE FROM docs WHERE id = 15");
    assert!(!has(&scene.miss(&mut other), "15"));
}
