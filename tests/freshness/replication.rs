//! Logical replication, by real servers: what is published of a database with vcache, and searches where it is applied.

use harness::{Database, Failure, Postgres, Session, Source, Stand, until};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene};

fn publisher() -> Stand {
    Stand::start_with(|setup| setup.set("wal_level", "logical"))
}

/// Applied soon, and tried again soon if it fails.
fn subscriber() -> Stand {
    Stand::start_with(|setup| setup.set("wal_retrieve_retry_interval", "100ms"))
}

fn publish(database: &Database) {
    database.session().run("CREATE PUBLICATION everything FOR ALL TABLES");
}

/// Subscribes to it, under a name that is its database's.
fn subscribe(from: &Database, to: &Database) {
    try_subscribe(from, to).expect("CREATE SUBSCRIPTION");
}

fn try_subscribe(from: &Database, to: &Database) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let server: &Postgres = from.server();
    let (host, port, name) = (server.socket_directory().display(), server.port(), from.name());
    to.session().try_rows(&format!(
        "CREATE SUBSCRIPTION from_{name} CONNECTION 'host={host} port={port} user=postgres dbname={name}' PUBLICATION everything"
    ))
}

/// Waits until all that the publisher has committed is applied, and asserts that no worker has stopped for an error.
#[track_caller]
fn caught_up(from: &Database, to: &Database) {
    let (mut publisher, mut subscriber) = (from.session(), to.session());
    let written = publisher.value("SELECT pg_current_wal_lsn()");
    let errors =
        "SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::bigint FROM pg_stat_subscription_stats";
    until("the subscriber has caught up", || {
        assert_eq!(subscriber.number(errors), 0, "{}", complaints(to.server()));
        let ready =
            subscriber.number("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')") == 0;
        // The statistics are sent now and then; a worker that dies is told by its log at once.
        assert_eq!(complaints(to.server()), "");
        let behind = publisher.number(&format!(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= '{written}'"
        ));
        ready && behind >= 1
    });
}

/// What workers of a subscriber have logged as errors: those of a session stand with its statement.
fn complaints(server: &Postgres) -> String {
    let log = server.log();
    let lines: Vec<_> = log.lines().collect();
    let is_of_a_session = |number: usize| lines[number..].iter().take(4).any(|line| line.contains("STATEMENT: "));
    let errors = (0..lines.len()).filter(|number| lines[*number].contains("ERROR: ") && !is_of_a_session(*number));
    errors.map(|number| lines[number]).collect::<Vec<_>>().join("\n")
}

/// Everything that vcache writes for itself.
fn exercise(database: &Database, session: &mut Session, scene: &Scene) {
    scene.warm(session);
    let mut others: Vec<_> = (0..12).map(|_| database.session()).collect();
    for (number, other) in others.iter_mut().enumerate() {
        other.run(&format!("BEGIN; INSERT INTO docs VALUES ({}, 'many', 0, '[5,5,5]')", 500 + number));
    }
    for other in &mut others {
        other.run("COMMIT");
    }
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM docs WHERE id = 500; COMMIT");
    for id in 501..512 {
        session.run(&format!("DELETE FROM docs WHERE id = {id}"));
    }
    session.run("SELECT vcache_invalidate('docs'); SELECT vcache_invalidate()");
    session.run("CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood RENAME VALUE 'good' TO 'better'; DROP TYPE mood");
    session.run("SELECT vcache_alter_namespace('docs', '{\"ttl\": \"1 hour\"}'); SELECT vcache_alter_namespace('docs', '{\"ttl\": null}')");
    scene.seen_by("second", database.session()).register(session, "");
    session.run("SELECT vcache_drop_namespace('second')");
    scene.warm(session);
}

/// A table of the same definition, without rows.
fn empty_table(session: &mut Session) {
    Source::docs(session, 0, 3);
}

#[test]
fn race_17_all_tables_published_to_a_subscriber_without_vcache() {
    let (there, here) = (publisher(), subscriber());
    for before in [true, false] {
        let from = there.server.database_without_vcache();
        let to = here.server.database_without_vcache();
        let mut session = from.session();
        let source = Source::docs(&mut session, 30, 3);
        empty_table(&mut to.session());
        publish(&from);
        if before {
            subscribe(&from, &to);
            caught_up(&from, &to);
        }
        session.run("CREATE EXTENSION vcache");
        let scene = Scene::of(source, from.session());
        scene.register(&mut session, "");
        if !before {
            // Every table that is published must be there when one subscribes, and the registry is one. It stays empty.
            let failure = try_subscribe(&from, &to).expect_err("a table is missing");
            failure.assert("42P01", &["vcache_namespace"]);
            to.session().run("CREATE EXTENSION vcache");
            subscribe(&from, &to);
        }
        exercise(&from, &mut session, &scene);
        session.run(NEAREST);
        caught_up(&from, &to);
        assert_eq!(to.session().number("SELECT count(*) FROM docs"), 31, "before: {before}");
        session.run("UPDATE docs SET title = 'x'; DELETE FROM docs WHERE id < 10");
        session.run("DROP EXTENSION vcache; DELETE FROM docs WHERE id < 20");
        caught_up(&from, &to);
        assert_eq!(to.session().number("SELECT count(*) FROM docs"), 12, "before: {before}");
        to.session().run(&format!("DROP SUBSCRIPTION from_{}", from.name()));
    }
}

#[test]
fn race_17_all_tables_published_to_a_subscriber_with_vcache() {
    let (there, here) = (publisher(), subscriber());
    for before in [true, false] {
        let from = there.server.database_without_vcache();
        let to = here.server.database();
        let mut session = from.session();
        let source = Source::docs(&mut session, 30, 3);
        let mut reader = to.session();
        empty_table(&mut reader);
        let local = Scene::of(source.clone(), to.session());
        // A namespace of the same name, on the same relation: the registries are two.
        local.register(&mut reader, "");
        local.warm(&mut reader);
        let secret = reader.value("SELECT md5(string_agg(secret::text, '')) FROM vcache_secret");
        let revision = reader.value("SELECT string_agg(revision::text, ' ') FROM vcache_namespace");
        publish(&from);
        if before {
            subscribe(&from, &to);
            caught_up(&from, &to);
        }
        session.run("CREATE EXTENSION vcache");
        let scene = Scene::of(source, from.session());
        scene.register(&mut session, "");
        if !before {
            subscribe(&from, &to);
        }
        exercise(&from, &mut session, &scene);
        caught_up(&from, &to);
        // Rows that came by the copy at the start, and by changes.
        local.miss(&mut reader);
        local.hit(&mut reader);
        for write in [
            NEAREST,
            "UPDATE docs SET embedding = '[1,1,1]' WHERE id = 1000",
            "DELETE FROM docs WHERE id = 1000",
            "TRUNCATE docs",
        ] {
            println!("{write}");
            session.run(write);
            caught_up(&from, &to);
            local.stale(&mut reader);
            local.hit(&mut reader);
        }
        assert_eq!(reader.value("SELECT md5(string_agg(secret::text, '')) FROM vcache_secret"), secret);
        assert_eq!(reader.value("SELECT string_agg(revision::text, ' ') FROM vcache_namespace"), revision);
        // The subscriber's own writes.
        reader.run("INSERT INTO docs VALUES (2000, 'own', 0, '[9,9,9]')");
        assert!(has(&local.stale(&mut reader), "2000"));
        to.session().run(&format!("DROP SUBSCRIPTION from_{}", from.name()));
    }
}

#[test]
fn entries_of_before_the_subscription_are_stale_when_its_rows_have_come() {
    let (there, here) = (publisher(), subscriber());
    let (from, to) = (there.server.database_without_vcache(), here.server.database());
    let mut session = from.session();
    Source::docs(&mut session, 30, 3);
    session.run(NEAREST);
    let mut reader = to.session();
    let source = Source::docs(&mut reader, 0, 3);
    let scene = Scene::of(source, to.session());
    scene.register(&mut reader, "");
    scene.warm(&mut reader);
    publish(&from);
    subscribe(&from, &to);
    caught_up(&from, &to);
    assert!(has(&scene.stale(&mut reader), "1000"));
    scene.hit(&mut reader);
    // A change of no row, and of a column that is not read.
    session.run("UPDATE docs SET title = 'x' WHERE false");
    caught_up(&from, &to);
    scene.hit(&mut reader);
    // Large transactions, streamed and applied at their end.
    session.run("INSERT INTO docs SELECT i, 'many', 0, '[5,5,5]' FROM generate_series(2000, 7000) i; DELETE FROM docs WHERE id > 2000");
    caught_up(&from, &to);
    scene.right(&mut reader);
    scene.hit(&mut reader);
    reader.run(&format!("DROP SUBSCRIPTION from_{}", from.name()));
}

#[test]
fn changes_applied_to_partitions() {
    let (there, here) = (publisher(), subscriber());
    let (from, to) = (there.server.database_without_vcache(), here.server.database());
    let mut session = from.session();
    Source::docs(&mut session, 30, 3);
    let (scene, mut reader) = Scene::made_by(
        &to,
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
         CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (20000)",
    );
    scene.warm(&mut reader);
    publish(&from);
    subscribe(&from, &to);
    caught_up(&from, &to);
    scene.stale(&mut reader);
    for write in [
        NEAREST,
        "UPDATE docs SET id = 0 WHERE id = 1000; UPDATE docs SET id = 1015 WHERE id = 0",
        "UPDATE docs SET title = 'x'",
        "DELETE FROM docs WHERE id > 20",
        "TRUNCATE docs",
    ] {
        scene.right(&mut reader);
        scene.hit(&mut reader);
        println!("{write}");
        session.run(write);
        caught_up(&from, &to);
        scene.stale(&mut reader);
    }
    reader.run(&format!("DROP SUBSCRIPTION from_{}", from.name()));
}

#[test]
fn race_08_the_apply_worker_runs_a_users_row_trigger_that_searches() {
    let (there, here) = (publisher(), subscriber());
    for timing in ["BEFORE", "AFTER"] {
        for name in ["a", "zzz"] {
            let (from, to) = (there.server.database_without_vcache(), here.server.database());
            let mut session = from.session();
            Source::docs(&mut session, 30, 3);
            let mut reader = to.session();
            let source = Source::docs(&mut reader, 0, 3);
            let scene = Scene::of(source, to.session());
            scene.register(&mut reader, "");
            let kind = reader.engine().extension();
            reader.run(&format!(
                "CREATE TABLE seen (id int, found bigint, plain bigint); \
                 CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$ \
                 DECLARE found bigint; plain bigint; \
                 BEGIN \
                     SELECT count(*) INTO found FROM vcache_search('docs', '{QUERY}', 5) WHERE distance < 1; \
                     SELECT least(5, count(*)) INTO plain FROM docs WHERE embedding <-> '{QUERY}'::{kind} < 1; \
                     INSERT INTO seen VALUES (NEW.id, found, plain); RETURN NEW; \
                 END $$; \
                 CREATE TRIGGER {name} {timing} INSERT OR UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION look(); \
                 ALTER TABLE docs ENABLE ALWAYS TRIGGER {name}"
            ));
            publish(&from);
            subscribe(&from, &to);
            caught_up(&from, &to);
            scene.warm(&mut reader);
            for write in [
                "INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]'), (1001, '', 0, '[9,9,9]')",
                "UPDATE docs SET embedding = '[1,1,1]' WHERE id IN (1000, 1001)",
                "BEGIN; INSERT INTO docs VALUES (1002, '', 0, '[9,9,9]'); INSERT INTO docs VALUES (1003, '', 0, '[9,9,9]'); COMMIT",
            ] {
                scene.right(&mut reader);
                session.run(write);
                caught_up(&from, &to);
                assert_eq!(
                    reader.rows("SELECT * FROM seen WHERE found <> plain"),
                    Vec::<Vec<Option<String>>>::new(),
                    "{timing} {name} {write}"
                );
                scene.stale(&mut reader);
                scene.hit(&mut reader);
            }
            assert!(reader.number("SELECT count(*) FROM seen WHERE plain > 0") >= 3);
            reader.run(&format!("DROP SUBSCRIPTION from_{}", from.name()));
        }
    }
}

#[test]
fn writers_of_a_published_database_do_not_fail() {
    let there = publisher();
    for identity in ["", "ALTER TABLE vcache_namespace REPLICA IDENTITY FULL"] {
        let from = there.server.database();
        let (scene, mut session) = Scene::new(&from);
        publish(&from);
        if !identity.is_empty() {
            let _ = session.try_rows(identity);
        }
        exercise(&from, &mut session, &scene);
        session.run(NEAREST);
        assert!(has(&scene.stale(&mut session), "1000"));
    }
}
