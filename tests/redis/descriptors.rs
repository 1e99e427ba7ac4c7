//! A backend that may have no more files open: its searches do without Redis, and nobody else's do.

use harness::{Database, Redis, Session, Stand, literal, until};

use crate::{assert_searches, health, prepared};

/// Takes all the files that a session may have, with connections of dblink's.
fn exhaust(session: &mut Session, database: &Database) {
    session.run("CREATE EXTENSION IF NOT EXISTS dblink");
    let server = database.server();
    let target = literal(&format!(
        "host={} port={} user=postgres dbname=postgres",
        server.socket_directory().display(),
        server.port()
    ));
    let taken =
        (0..200).take_while(|number| session.try_rows(&format!("SELECT dblink_connect('{number}', {target})")).is_ok());
    assert!((1..200).contains(&taken.count()), "dblink never ran out of files");
}

#[test]
fn searches_go_on_without_a_connection() {
    let redis = Redis::start();
    // The second is asked of the DNS, which takes a file as well.
    for host in ["127.0.0.1", "redis.example"] {
        let setup = Stand::setup(&format!("redis://{host}:{}/0", redis.port())).set("max_files_per_process", "64");
        let server = setup.start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        exhaust(&mut session, &database);
        assert_searches(&mut session, &source, [1, 2]);
        let seen = health(&mut session);
        assert!(seen.starts_with("down: ") && seen.contains("too many open files"), "{host}: {seen}");
        // With one to be had, where a connection takes two.
        session.run("SELECT dblink_disconnect('0')");
        assert_searches(&mut session, &source, [1, 2]);
        assert_eq!(database.stats("docs").hits, 0);
    }
    assert_eq!(redis.keys().len(), 0);
}

#[test]
fn who_cannot_ask_does_not_say_that_redis_is_back() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set("max_files_per_process", "64"));
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    exhaust(&mut session, &database);
    stand.redis.stop();
    let mut other = database.session();
    assert_searches(&mut other, &source, 0..3);
    until("the breaker is open", || health(&mut other).contains("breaker open"));
    // Whenever a probe is due, this session is the one that may ask.
    for _ in 0..30 {
        assert_searches(&mut session, &source, [1]);
        session.run("SELECT pg_sleep(0.05)");
    }
    assert!(!stand.server.log().contains("uses Redis"), "{}", stand.server.log());
    assert!(health(&mut other).contains("breaker open"));
}
