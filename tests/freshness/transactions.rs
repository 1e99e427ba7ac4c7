//! Isolation levels, a transaction's own writes, savepoints, prepared transactions.

use harness::{Stop, until};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene, stand};

#[test]
fn read_committed_a_commit_is_seen_and_nothing_before_it() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    let mut writer = database.session();
    scene.warm(&mut reader);
    writer.run("BEGIN");
    writer.run(NEAREST);
    assert!(!has(&scene.hit(&mut reader), "1000"));
    writer.run("COMMIT");
    assert!(has(&scene.stale(&mut reader), "1000"));
    assert!(has(&scene.hit(&mut reader), "1000"));
    // In the session that has written, and in a transaction of several statements, each with a snapshot of its own.
    scene.hit(&mut writer);
    reader.run("BEGIN");
    scene.hit(&mut reader);
    writer.run("DELETE FROM docs WHERE id = 1000");
    assert!(!has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    reader.run("COMMIT");
}

#[test]
fn a_rollback_leaves_entries_fresh() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    let mut writer = database.session();
    scene.warm(&mut reader);
    writer.run("BEGIN");
    writer.run(NEAREST);
    writer.run("ROLLBACK");
    scene.hit(&mut reader);
    scene.hit(&mut writer);
    writer.fails("INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]'), (1, '', 0, '[1,1,1]')").assert("23505", &[]);
    scene.hit(&mut writer);
    // A writer that has not ended when its session does.
    writer.run("BEGIN");
    writer.run(NEAREST);
    let pid = writer.pid();
    drop(writer);
    until("the writer has gone", || {
        reader.number(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")) == 0
    });
    scene.hit(&mut reader);
}

#[test]
fn repeatable_read_answers_for_its_own_snapshot_and_takes_no_newer_entrys_place() {
    let database = stand().database();
    let (scene, mut old) = Scene::new(&database);
    let mut other = database.session();
    scene.warm(&mut other);
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let before = scene.hit(&mut old);
    other.run(NEAREST);
    // The entry of its snapshot still stands.
    assert_eq!(scene.hit(&mut old), before);
    assert!(has(&scene.stale(&mut other), "1000"));
    // Now a newer one does.
    for _ in 0..2 {
        assert_eq!(scene.stale(&mut old), before);
        assert!(has(&scene.hit(&mut other), "1000"));
    }
    // Its own writes.
    old.run("INSERT INTO docs VALUES (1001, 'nearer', 0, '[9,9,9]')");
    let own = scene.bypass(&mut old, "written");
    assert!(has(&own, "1001") && !has(&own, "1000"), "{own:?}");
    scene.hit(&mut other);
    old.run("COMMIT");
    let both = scene.stale(&mut old);
    assert!(has(&both, "1001") && has(&both, "1000"), "{both:?}");
    scene.hit(&mut other);
}

#[test]
fn repeatable_read_stores_under_its_own_version() {
    let database = stand().database();
    let (scene, mut old) = Scene::new(&database);
    let mut other = database.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.run("SELECT FROM pg_class");
    other.run(NEAREST);
    // Nothing stands: the old answer is stored, for those of the old snapshot.
    scene.miss(&mut old);
    scene.hit(&mut old);
    assert!(has(&scene.stale(&mut other), "1000"));
    old.run("COMMIT");
    scene.hit(&mut old);
}

#[test]
fn own_uncommitted_writes_are_seen_by_oneself_alone_and_never_stored() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let mut reader = database.session();
    for end in ["ROLLBACK", "COMMIT"] {
        writer.run("BEGIN");
        scene.right(&mut writer);
        scene.hit(&mut writer);
        writer.run(NEAREST);
        assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
        assert!(!has(&scene.right(&mut reader), "1000"));
        writer.run("UPDATE docs SET title = 'changed' WHERE id = 1000");
        assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
        scene.hit(&mut reader);
        // Another table's rows are none of this source's.
        writer.run(end);
        assert_eq!(has(&scene.right(&mut reader), "1000"), end == "COMMIT");
        scene.hit(&mut reader);
        scene.hit(&mut writer);
    }
}

#[test]
fn writes_to_other_tables_mark_nothing() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    writer.run("CREATE TABLE unrelated (n int)");
    scene.warm(&mut writer);
    writer.run("BEGIN");
    writer.run("INSERT INTO unrelated VALUES (1); CREATE TEMP TABLE own (n int); SELECT pg_current_xact_id()");
    scene.hit(&mut writer);
    // A search in a transaction with an id is stored like any other.
    let mut other = database.session();
    writer.run("SELECT vcache_invalidate('docs')");
    scene.stale(&mut writer);
    writer.run("COMMIT");
    scene.hit(&mut other);
    writer.run("BEGIN; INSERT INTO unrelated VALUES (1)");
    other.run("SELECT vcache_invalidate('docs')");
    scene.stale(&mut writer);
    writer.run("COMMIT");
    scene.hit(&mut other);
}

#[test]
fn a_rollback_to_a_savepoint_takes_the_mark_back_with_the_rows() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    scene.warm(&mut writer);
    writer.run("BEGIN; SAVEPOINT a");
    writer.run(NEAREST);
    assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
    writer.run("SAVEPOINT b; DELETE FROM docs WHERE id = 1; ROLLBACK TO b");
    assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
    writer.run("ROLLBACK TO a");
    assert!(!has(&scene.hit(&mut writer), "1000"));
    // Again, released: the rows stay, and so does the mark.
    writer.run(NEAREST);
    writer.run("RELEASE a");
    assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
    writer.run("SAVEPOINT c; DELETE FROM docs WHERE id = 1; RELEASE c");
    writer.run("SAVEPOINT d; ROLLBACK TO d");
    assert!(has(&scene.bypass(&mut writer, "written"), "1000"));
    writer.run("COMMIT");
    assert!(has(&scene.stale(&mut writer), "1000"));
    scene.hit(&mut writer);
}

#[test]
fn what_a_subtransaction_wrote_after_a_rolled_back_one_is_not_forgotten() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    // The clock was advanced in the subtransaction that is gone, and must be again.
    writer.run("BEGIN; SAVEPOINT a; DELETE FROM docs WHERE id = 1; ROLLBACK TO a");
    writer.run(NEAREST);
    scene.hit(&mut reader);
    writer.run("COMMIT");
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    // The same deeper: the outer one is released, the inner rolled back, and the other way round.
    writer.run("BEGIN; SAVEPOINT a; SAVEPOINT b; DELETE FROM docs WHERE id = 2; ROLLBACK TO b; DELETE FROM docs WHERE id = 3; RELEASE a; COMMIT");
    scene.stale(&mut reader);
    scene.hit(&mut reader);
    writer.run("BEGIN; SAVEPOINT a; SAVEPOINT b; DELETE FROM docs WHERE id = 4; RELEASE b; ROLLBACK TO a; DELETE FROM docs WHERE id = 5; COMMIT");
    scene.stale(&mut reader);
    scene.hit(&mut reader);
    // A block of PL/pgSQL that catches its error is a subtransaction.
    writer.run(
        "DO $$ BEGIN \
           BEGIN DELETE FROM docs WHERE id = 6; RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END; \
           DELETE FROM docs WHERE id = 7; \
         END $$",
    );
    scene.stale(&mut reader);
    scene.hit(&mut reader);
}

#[test]
fn a_prepared_transaction_counts_when_it_commits() {
    let database = stand().database();
    let (scene, mut writer) = Scene::new(&database);
    let mut reader = database.session();
    scene.warm(&mut reader);
    let name = database.name();
    for (end, seen) in [("ROLLBACK", false), ("COMMIT", true)] {
        writer.run(&format!("BEGIN; {NEAREST}; PREPARE TRANSACTION '{name}'"));
        // The session's next transaction does not see the rows, so the entries are right for it.
        assert!(!has(&scene.hit(&mut writer), "1000"));
        assert!(!has(&scene.hit(&mut reader), "1000"));
        reader.run(&format!("{end} PREPARED '{name}'"));
        for session in [&mut reader, &mut writer] {
            assert_eq!(has(&scene.right(session), "1000"), seen, "{end}");
            scene.hit(session);
        }
    }
    // The mark goes with the transaction: the next one in this session is not the one that was prepared.
    writer.run(&format!("BEGIN; DELETE FROM docs WHERE id = 1000; PREPARE TRANSACTION '{name}'"));
    writer.run("BEGIN; SELECT pg_current_xact_id()");
    scene.hit(&mut writer);
    writer.run("COMMIT");
    writer.run(&format!("COMMIT PREPARED '{name}'"));
    assert!(!has(&scene.stale(&mut writer), "1000"));
}

#[test]
fn a_prepared_transaction_outlives_a_crash() {
    let stand = harness::Stand::start_with(|setup| setup.set("max_prepared_transactions", "20"));
    let database = stand.database();
    let (scene, mut writer) = Scene::new(&database);
    scene.warm(&mut writer);
    writer.run(&format!("BEGIN; {NEAREST}; PREPARE TRANSACTION 'kept'"));
    stand.server.restart(Stop::Immediate);
    let mut reader = database.session();
    let scene = scene.seen_by("docs", database.session());
    database.until_redis_is_used();
    assert!(!has(&scene.hit(&mut reader), "1000"));
    reader.run("COMMIT PREPARED 'kept'");
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
}

#[test]
fn writers_of_every_isolation_level_are_seen() {
    let database = stand().database();
    let (scene, mut reader) = Scene::new(&database);
    let mut writer = database.session();
    for (id, level) in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"].into_iter().enumerate() {
        scene.warm(&mut reader);
        writer.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        for part in 0..3 {
            writer.run(&format!("INSERT INTO docs VALUES ({}, 'near', 0, '{QUERY}')", 2000 + 10 * id + part));
        }
        scene.hit(&mut reader);
        writer.run("COMMIT");
        assert!(has(&scene.stale(&mut reader), &(2000 + 10 * id).to_string()), "{level}");
        scene.hit(&mut reader);
        writer.run("DELETE FROM docs WHERE id >= 2000");
        assert!(!has(&scene.stale(&mut reader), &(2000 + 10 * id).to_string()), "{level}");
    }
}

#[test]
fn an_imported_snapshot_is_answered_as_its_exporter() {
    let database = stand().database();
    let (scene, mut exporter) = Scene::new(&database);
    let mut importer = database.session();
    let mut writer = database.session();
    scene.warm(&mut writer);
    exporter.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let snapshot = exporter.value("SELECT pg_export_snapshot()");
    writer.run(NEAREST);
    importer.run(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'"));
    for session in [&mut exporter, &mut importer] {
        assert!(!has(&scene.hit(session), "1000"));
    }
    assert!(has(&scene.stale(&mut writer), "1000"));
    for session in [&mut exporter, &mut importer] {
        assert!(!has(&scene.stale(session), "1000"));
        session.run("COMMIT");
        assert!(has(&scene.hit(session), "1000"));
    }
}
