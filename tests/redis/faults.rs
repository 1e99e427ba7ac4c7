//! Redis that was never there, that goes away, comes back, refuses.

use harness::{Redis, Setup, Stand, Stop};

use crate::{assert_searches, prepared};

#[test]
fn never_started() {
    // A port that refuses, a socket that is not there, a host that does not exist.
    for url in ["redis://127.0.0.1:1/0", "redis+unix:///nonexistent/redis.sock", "redis://redis.invalid:6379/0"] {
        let brief =
            |setup: Setup| setup.set("vcache.redis_connect_timeout", "200ms").set("vcache.redis_timeout", "200ms");
        let server = brief(Stand::setup(url)).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        session.notices();
        assert_searches(&mut session, &source, [1, 1, 2]);
        let stats = database.stats("docs");
        let (hits, misses, bypasses) = stats.outcomes();
        assert_eq!((hits, misses + bypasses, stats.stores), (0, 3, 0), "{url}");
        assert!(stats.redis_errors + stats.redis_timeouts > 0, "{url}: {stats:?}");
        assert_eq!(database.engine_executions("docs"), 3);
        let notices = session.notices();
        assert!(notices.is_empty(), "a search is not the place to complain: {notices:?}");
    }
}

#[test]
fn without_a_url_redis_is_not_asked_and_nothing_is_an_error() {
    let server = Stand::setup("").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1, 2]);
    let stats = database.stats("docs");
    let (hits, misses, bypasses) = stats.outcomes();
    assert_eq!((hits, misses + bypasses), (0, 3));
    assert_eq!((stats.stores, stats.redis_errors, stats.redis_timeouts), (0, 0, 0));
}

#[test]
fn a_url_that_is_none_keeps_no_server_from_starting() {
    for url in ["http://127.0.0.1:80/", "nonsense", "redis://127.0.0.1:99999/0", "redis://127.0.0.1:6379/x", "rediss:/"]
    {
        // Refused at the start, or taken and no use: never a crash, never a failed search.
        let server = Stand::setup("").start();
        server.set("vcache.redis_url", url);
        server.reload_with("work_mem", "5MB");
        let database = server.database();
        let (mut session, source) = prepared(&database);
        if session.value("SHOW vcache.redis_url") == url {
            assert_searches(&mut session, &source, [1, 1]);
            assert_eq!(database.stats("docs").hits, 0, "{url}");
        } else {
            assert!(server.log().contains("vcache.redis_url"), "{url}");
        }
    }
}

#[test]
fn stopped_midway_and_started_again() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    let mut other = database.session();
    assert_searches(&mut session, &source, [1, 1, 2]);
    assert_searches(&mut other, &source, [1, 2]);
    assert_eq!(database.stats("docs").outcomes(), (3, 2, 0));

    for round in 0..2 {
        stand.redis.stop();
        let before = database.stats("docs");
        assert_searches(&mut session, &source, [1, 2, 3, 1]);
        assert_searches(&mut other, &source, [1]);
        assert_searches(&mut database.session(), &source, [2]);
        let after = database.stats("docs");
        assert_eq!((after.hits, after.stores), (before.hits, before.stores));
        assert!(after.redis_errors > before.redis_errors, "{after:?}");

        // It comes back empty.
        stand.redis.start_again();
        database.until_redis_is_used();
        assert_searches(&mut session, &source, [1, 2]);
        let before = database.stats("docs");
        assert_searches(&mut session, &source, [1, 2, 1]);
        assert_searches(&mut other, &source, [1, 2]);
        let after = database.stats("docs");
        assert!(after.hits >= before.hits + 3, "round {round}: {before:?} {after:?}");
    }
}

#[test]
fn restarted_between_two_searches_of_one_session() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    for _ in 0..3 {
        assert_searches(&mut session, &source, [1, 1]);
        stand.redis.stop();
        stand.redis.start_again();
    }
    // A connection that was closed behind a session's back costs no more than that search's hit.
    assert_searches(&mut session, &source, [1, 1]);
    let hits = database.stats("docs").hits;
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").hits, hits + 1);
}

#[test]
fn a_connection_that_redis_closes_is_made_again() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    for _ in 0..5 {
        let _: i64 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .query(&mut stand.redis.connection(0))
            .expect("CLIENT KILL");
        assert_searches(&mut session, &source, [1, 1, 2]);
    }
    let hits = database.stats("docs").hits;
    assert!(hits >= 5, "{hits} hits");
}

#[test]
fn a_redis_that_refuses_to_store() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    stand.redis.configure("maxmemory", "1");
    assert_searches(&mut session, &source, [1, 1]);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores), ((0, 2, 0), 0));
    assert!(stats.redis_errors > 0, "{stats:?}");
    stand.redis.configure("maxmemory", "0");
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!((database.stats("docs").hits, database.stats("docs").stores), (1, 1));
}

#[test]
fn another_url_after_a_reload() {
    let stand = Stand::with_redis_alone();
    let second = Redis::start();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    stand.server.reload_with("vcache.redis_url", &second.url());
    harness::until("the session has the new setting", || session.value("SHOW vcache.redis_url") == second.url());
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(database.stats("docs").outcomes(), (1, 2, 0));
    assert_eq!(second.keys(), stand.redis.keys());
    stand.server.reload_with("vcache.redis_url", "");
    harness::until("the session has the new setting", || session.value("SHOW vcache.redis_url").is_empty());
    assert_searches(&mut session, &source, [1]);
    assert_eq!(second.calls("get"), 2);
}

#[test]
fn searches_go_on_while_redis_comes_and_goes() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (_, source) = prepared(&database);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..4)
            .map(|number| {
                let (database, source) = (&database, &source);
                scope.spawn(move || {
                    let mut session = database.session();
                    assert_searches(&mut session, source, (0..60).map(|search| (search * (number + 1)) % 9));
                })
            })
            .collect();
        let done = &done;
        let redis = &stand.redis;
        let weather = scope.spawn(move || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                redis.stop();
                redis.start_again();
            }
        });
        let results: Vec<_> = sessions.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        weather.join().expect("weather");
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.lookups, stats.engine_errors), (240, 0));
    // A crash of the server would have ended the sessions; this says so in words.
    assert!(!stand.server.log().contains("terminated by signal"));
    stand.server.stop(Stop::Fast);
}
