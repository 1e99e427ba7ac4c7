//! Crashes: commits that are lost were never cached for anybody afterwards, unlogged tables are empty, and hits come back.

use harness::{Database, Postgres, Session, Stand, Stop, until};

use crate::scene::has;
use crate::{NEAREST, Scene};

/// Commits are written down so late that a crash loses them.
fn forgetful() -> Stand {
    Stand::start_with(|setup| {
        setup
            .set("synchronous_commit", "off")
            .set("wal_writer_delay", "10s")
            .set("wal_buffers", "16MB")
            .set("bgwriter_lru_maxpages", "0")
    })
}

fn write(session: &mut Session, id: usize, title: &str) {
    session.run(&format!("INSERT INTO docs VALUES ({id}, '{title}', 0, '[9,9,9]')"));
}

/// Has all until now outlive a crash.
fn put_on_disk(session: &mut Session) {
    session.run("SET synchronous_commit = on");
    session.run("UPDATE docs SET title = title || '.' WHERE id = 1");
    session.run("RESET synchronous_commit");
}

/// After a crash: a session, and the counters begin anew.
fn afterwards(database: &Database, scene: &Scene) -> (Scene, Session) {
    let session = database.session();
    database.until_redis_is_used();
    (scene.seen_by("docs", database.session()), session)
}

#[test]
fn race_25_commits_that_a_crash_has_lost() {
    let stand = forgetful();
    let database = stand.database();
    let (mut scene, mut session) = Scene::new(&database);
    for round in 1..=3 {
        write(&mut session, 100 * round, "kept");
        put_on_disk(&mut session);
        scene.warm(&mut session);
        // Until a crash has lost what was cached: something else may have written the log out.
        let mut lost = Vec::new();
        until("a crash has lost the last commits", || {
            session.run("DELETE FROM docs WHERE id >= 1000");
            put_on_disk(&mut session);
            for id in 1000..1006 {
                write(&mut session, id, "lost");
                scene.right(&mut session);
                scene.hit(&mut session);
                let key = stand.redis.only_key();
                lost.push((id.to_string(), stand.redis.get(&key).expect("an entry")));
            }
            stand.server.restart(Stop::Immediate);
            (scene, session) = afterwards(&database, &scene);
            let kept = session.column("SELECT id FROM docs WHERE id >= 1000");
            lost.retain(|(id, _)| !kept.contains(id));
            let all = lost.len() > 1;
            if !all {
                lost.clear();
            }
            all
        });
        scene.miss(&mut session);
        scene.hit(&mut session);
        let key = stand.redis.only_key();
        // A counter would come back, at one of the next versions, for other rows.
        for id in 2000..2008 {
            write(&mut session, id, "new");
            scene.stale(&mut session);
            for (_, entry) in &lost {
                database.flush();
                stand.redis.set(&key, entry);
                scene.stale(&mut session);
            }
            scene.hit(&mut session);
        }
        session.run("DELETE FROM docs WHERE id >= 1000");
    }
}

#[test]
fn after_a_crash_that_lost_nothing_the_entries_are_hits() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    write(&mut session, 1000, "kept");
    scene.warm(&mut session);
    let mut writer = database.session();
    writer.run("BEGIN");
    write(&mut writer, 1001, "uncommitted");
    stand.server.restart(Stop::Immediate);
    let (scene, mut session) = afterwards(&database, &scene);
    let found = scene.hit(&mut session);
    assert!(has(&found, "1000") && !has(&found, "1001"), "{found:?}");
    write(&mut session, 1001, "again");
    assert!(has(&scene.stale(&mut session), "1001"));
}

#[test]
fn a_namespace_that_a_crash_has_lost() {
    let stand = forgetful();
    let database = stand.database();
    let mut session = database.session();
    let source = harness::Source::docs(&mut session, 30, 3);
    put_on_disk(&mut session);
    for _ in 0..5 {
        let scene = Scene::of(source.clone(), database.session());
        scene.register(&mut session, "");
        scene.warm(&mut session);
        stand.server.restart(Stop::Immediate);
        session = database.session();
        database.until_redis_is_used();
        if session.number("SELECT count(*) FROM vcache_namespaces") == 0 {
            break;
        }
        session.run("SELECT vcache_drop_namespace('docs')");
    }
    // Unguarded meanwhile, and registered again under the same name.
    session.run(NEAREST);
    let scene = Scene::of(source, database.session());
    scene.register(&mut session, "");
    assert!(has(&scene.miss(&mut session), "1000"));
    scene.hit(&mut session);
}

/// Ends a backend that has begun to write as the kernel would.
fn kill_a_backend(server: &Postgres, database: &Database) {
    let mut victim = database.session();
    let pid = victim.pid();
    victim.run("BEGIN; SELECT pg_current_xact_id()");
    server.kill_backend(pid);
}

#[test]
fn race_11_an_unlogged_source_is_empty_after_a_backend_was_killed() {
    let stand = Stand::start();
    let database = stand.database();
    let vector = harness::VECTOR;
    let (scene, mut session) = Scene::made_by(
        &database,
        "CREATE UNLOGGED TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR); \
         INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i",
    );
    session.run(&format!(
        "CREATE TABLE parts (id int, title text, n int, embedding {vector}(3)); \
         CREATE UNLOGGED TABLE part () INHERITS (parts); ALTER TABLE parts ADD PRIMARY KEY (id); \
         INSERT INTO part SELECT * FROM docs; INSERT INTO parts VALUES (100, 'logged', 0, '[1,1,1]')"
    ));
    let parts = harness::Source { table: "parts".to_owned(), ..crate::scene::docs() };
    let parts = Scene::of(parts, database.session());
    parts.register(&mut session, "");
    assert_eq!(scene.warm(&mut session).len(), 5);
    assert_eq!(parts.warm(&mut session).len(), 5);
    let mut parts_scene = parts;
    let mut scene = scene;
    let started = session.value("SELECT pg_postmaster_start_time()");
    for _ in 0..2 {
        kill_a_backend(&stand.server, &database);
        (scene, session) = afterwards(&database, &scene);
        parts_scene = parts_scene.seen_by("parts", database.session());
        assert_eq!(session.value("SELECT pg_postmaster_start_time()"), started);
        assert_eq!(scene.miss(&mut session).len(), 0);
        assert_eq!(parts_scene.miss(&mut session).len(), 1);
        scene.hit(&mut session);
        parts_scene.hit(&mut session);
        // Filled again, with other rows.
        session.run("INSERT INTO docs SELECT i, 'again', 0, '[7,7,7]' FROM generate_series(1, 30) i; INSERT INTO part SELECT * FROM docs");
        assert_eq!(scene.stale(&mut session).len(), 5);
        assert_eq!(parts_scene.stale(&mut session).len(), 5);
        scene.hit(&mut session);
    }
    // A clean restart keeps the rows.
    stand.server.restart(Stop::Fast);
    (scene, session) = afterwards(&database, &scene);
    assert_eq!(scene.right(&mut session).len(), 5);
    scene.hit(&mut session);
}

#[test]
fn race_11_without_preload_an_unlogged_source_is_not_cached() {
    let redis = harness::Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    let mut session = database.session();
    session.run(&format!(
        "CREATE UNLOGGED TABLE docs (id int PRIMARY KEY, title text, embedding {}(3)); \
         INSERT INTO docs SELECT i, 'title', '[8,8,8]' FROM generate_series(1, 30) i; \
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact')",
        harness::VECTOR
    ));
    for _ in 0..2 {
        assert_eq!(session.search("docs", "[9,9,9]", 5).len(), 5);
        assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[9,9,9]', 5)"), "bypass");
    }
    assert!(redis.keys().is_empty());
    kill_a_backend(&server, &database);
    assert_eq!(database.session().search("docs", "[9,9,9]", 5).len(), 0);
    // A logged one is, without statistics.
    let mut session = database.session();
    session.run("ALTER TABLE docs SET LOGGED; INSERT INTO docs VALUES (1, '', '[8,8,8]')");
    for outcome in ["miss", "hit"] {
        assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[9,9,9]', 5)"), outcome);
        assert_eq!(session.search("docs", "[9,9,9]", 5).len(), 1);
    }
    session.run("INSERT INTO docs VALUES (2, '', '[8,8,8]')");
    assert_eq!(session.search("docs", "[9,9,9]", 5).len(), 2);
}

#[test]
fn a_killed_writer() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    let mut writer = database.session();
    writer.run("BEGIN");
    writer.run(NEAREST);
    let pid = writer.pid();
    stand.server.kill_backend(pid);
    let (scene, mut session) = afterwards(&database, &scene);
    assert!(!has(&scene.hit(&mut session), "1000"));
    session.run(NEAREST);
    assert!(has(&scene.stale(&mut session), "1000"));
}
