//! The breaker: a Redis that fails is left alone by the whole server, but for one probe at a time, and used again when it is back.

use std::time::{Duration, Instant};

use harness::{BlackHole, Database, Fault, Postgres, Proxy, Redis, Setup, Stand, Stop, literal, until};

use crate::{assert_searches, health, prepared, waits};

/// A server that reaches its Redis through a proxy, and gives up on it soon, or only after a minute.
fn through_proxy(timeout: &str, more: impl FnOnce(Setup) -> Setup) -> (Redis, Proxy, Postgres) {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let setup =
        Stand::setup(&proxy.url()).set("vcache.redis_timeout", timeout).set("vcache.redis_connect_timeout", timeout);
    (redis, proxy, more(setup).start())
}

/// Has three commands fail at once.
fn open(proxy: &Proxy, database: &Database) {
    proxy.set(Fault::Reset);
    until("the breaker is open", || database.redis().1.contains("breaker open"));
}

fn log_lines(server: &Postgres, words: &str) -> usize {
    server.log().lines().filter(|line| line.contains(words)).count()
}

#[test]
fn an_outage_costs_the_server_a_few_deadlines_and_not_every_search_one() {
    let (_redis, proxy, server) = through_proxy("300ms", |setup| setup);
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    proxy.set(Fault::Stall(0));
    let (before, start) = (proxy.commands(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let (database, source) = (&database, &source);
            scope.spawn(move || assert_searches(&mut database.session(), source, (0..50).map(|search| search % 5)));
        }
    });
    let (asked, passed) = (proxy.commands() - before, start.elapsed());
    // Each of the 20 may have been on its way when it opened, and two of them for the second time; then one probe at a time, each with
    // its deadline.
    let probes = passed.as_millis() / 300 + 1;
    assert!(asked as u128 <= 22 + probes, "1000 searches asked {asked} times in {passed:?}");
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.engine_errors), ((0, 1005, 0), 0));
    assert_eq!(stats.redis_timeouts, asked as i64, "{stats:?}");
    let unreachable = "SELECT misses_unreachable FROM vcache_stats WHERE namespace = 'docs'";
    assert_eq!(session.number(unreachable), 1000);

    let (status, detail) = database.redis();
    assert!(status == "down" && detail.contains("no answer in time") && detail.contains("breaker open, next probe in"));
    assert_eq!(log_lines(&server, "leaves Redis at 127.0.0.1"), 1, "{}", server.log());
    proxy.set(Fault::None);
    database.until_redis_is_used();
    assert_searches(&mut session, &source, 0..5);
    assert_eq!(database.stats("docs").hits, 5);
    assert!(database.redis().1.contains("breaker closed"));
    assert_eq!(log_lines(&server, "uses Redis at 127.0.0.1"), 1, "{}", server.log());
    assert_eq!(log_lines(&server, "leaves Redis"), 1);
}

#[test]
fn searches_alone_find_out_that_redis_is_back() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 2]);
    stand.redis.stop();
    assert_searches(&mut session, &source, [1, 2, 3, 4, 5]);
    assert!(database.stats("docs").redis_errors >= 3);
    stand.redis.start_again();
    until("a search is a hit again", || {
        assert_searches(&mut session, &source, [1]);
        database.stats("docs").hits > 0
    });
}

#[test]
fn nobody_waits_while_another_probes() {
    let (_redis, proxy, server) = through_proxy("60s", |setup| setup);
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    open(&proxy, &database);
    proxy.set(Fault::Stall(0));
    let mut other = database.session();
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut prober = database.session();
        let pid = prober.pid();
        let search = format!("SELECT * FROM vcache_search('docs', {})", literal(&source.query(1)));
        let failure = std::thread::scope(|scope| {
            let probing = scope.spawn(move || {
                // Until it is the one that probes, its searches answer.
                loop {
                    if let Err(failure) = prober.try_rows(&search) {
                        return failure;
                    }
                }
            });
            until("it waits for Redis", || waits(&mut other, pid));
            let start = Instant::now();
            assert_searches(&mut session, &source, [1, 2, 3]);
            let (status, detail) = database.redis();
            assert!(status == "down" && detail.contains("breaker open"), "{detail}");
            // The bound is on hanging.
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
            // A cancel that comes between two searches ends none.
            until("it has ended", || {
                probing.is_finished() || {
                    other.run(&format!("SELECT {end}({pid})"));
                    false
                }
            });
            probing.join().expect("thread")
        });
        // The reason of a termination may be lost with the connection.
        assert!(failure.sqlstate.is_empty() || ["57014", "57P01"].contains(&&*failure.sqlstate), "{failure:?}");
    }
    // Neither left a lease behind, which would last for three minutes.
    proxy.set(Fault::None);
    database.until_redis_is_used();
    let hits = database.stats("docs").hits;
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").hits, hits + 1);
    assert!(!server.log().contains("terminated by signal"));
}

#[test]
fn a_statement_timeout_below_the_deadlines_opens_it_too() {
    let (_redis, proxy, server) = through_proxy("60s", |setup| setup);
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    proxy.set(Fault::Stall(0));
    session.run("SET statement_timeout = '200ms'");
    for _ in 0..3 {
        session
            .fails(&format!("SELECT * FROM vcache_search('docs', {})", literal(&source.query(1))))
            .assert("57014", &["statement timeout"]);
    }
    let detail = database.redis().1;
    assert!(detail.contains("ended while it waited") || detail.contains("no answer in time"), "{detail}");
    proxy.set(Fault::None);
    session.run("RESET statement_timeout");
    database.until_redis_is_used();
    assert_eq!(log_lines(&server, "leaves Redis at"), 1, "{}", server.log());
}

#[test]
fn a_refusal_to_write_keeps_nobody_from_reading() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    stand.redis.configure("maxmemory", "1");
    assert_searches(&mut session, &source, 100..110);
    assert_searches(&mut session, &source, 0..5);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.redis_errors), ((5, 15, 0), 10));
    // As of a replica.
    stand.redis.configure("maxmemory", "0");
    let second = Redis::start();
    let mut connection = stand.redis.connection(0);
    let port = second.port().to_string();
    let _: () = redis::cmd("REPLICAOF").arg(&["127.0.0.1", &port]).query(&mut connection).expect("REPLICAOF");
    until("it refuses to write", || {
        redis::cmd("SET")
            .arg(&["x", "y"])
            .query::<()>(&mut connection)
            .is_err_and(|error| error.code() == Some("READONLY"))
    });
    let before = database.stats("docs").hits;
    assert_searches(&mut session, &source, 200..210);
    assert_eq!(database.redis().0, "degraded");
    assert!(database.redis().1.contains("breaker closed"), "{:?}", database.redis());
    assert_eq!(database.stats("docs").hits, before);
    assert_eq!(log_lines(&stand.server, "leaves Redis"), 0);
}

#[test]
fn a_refusal_to_store_shows_until_something_is_stored() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    redis.configure("maxmemory-policy", "noeviction");
    redis.configure("maxmemory", "1");
    // What is there is found, what is not is asked for again and again.
    assert_searches(&mut session, &source, [1, 2, 2]);
    for session in [&mut session, &mut database.session()] {
        let said = health(session);
        assert!(said.starts_with("degraded: ") && said.contains("breaker closed"), "{said}");
        assert!(said.ends_with("nothing is stored: the last store was refused with OOM"), "{said}");
    }
    redis.configure("maxmemory", "0");
    assert_searches(&mut session, &source, [1]);
    assert!(health(&mut session).starts_with("degraded: "));
    assert_searches(&mut session, &source, [2]);
    assert!(health(&mut session).starts_with("ok: "));
    assert_eq!(database.stats("docs").stores, 2);
}

#[test]
fn a_redis_that_answers_and_stores_nothing_is_not_asked_to_store() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set("vcache.redis_timeout", "200ms"));
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    stand.redis.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let mut fresh = 100..;
    let lines = |words: &str| log_lines(&stand.server, words);
    until("stores are left alone", || {
        // The look-up between two stores is answered, and says nothing of storing.
        assert_searches(&mut session, &source, fresh.by_ref().take(1));
        lines("stores nothing in Redis at 127.0.0.1") == 1
    });
    let (before, gets) = (database.stats("docs"), stand.redis.calls("get"));
    assert_searches(&mut session, &source, (0..5).chain(fresh.by_ref().take(40)));
    let after = database.stats("docs");
    assert_eq!((after.hits - before.hits, after.stores), (5, before.stores), "{after:?}");
    assert!(stand.redis.calls("get") >= gets + 45 && after.redis_timeouts < before.redis_timeouts + 40, "{after:?}");
    let (status, detail) = database.redis();
    assert!(
        status == "degraded" && detail.contains("breaker closed; nothing is stored: no answer in time"),
        "{detail}"
    );

    stand.redis.command(&["CLIENT", "UNPAUSE"]);
    until("it is asked to store again", || {
        assert_searches(&mut session, &source, fresh.by_ref().take(1));
        database.redis().0 == "ok"
    });
    let stores = database.stats("docs").stores;
    assert_searches(&mut session, &source, fresh.take(5));
    assert_eq!(database.stats("docs").stores, stores + 5);
    assert_eq!((lines("stores nothing in"), lines("stores in Redis at 127.0.0.1")), (1, 1));
    assert_eq!((lines("leaves Redis"), lines("uses Redis")), (0, 0));
}

#[test]
fn another_url_has_a_breaker_of_its_own() {
    let redis = Redis::start();
    let server = Stand::setup("redis://127.0.0.1:1/0").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    assert!(database.redis().1.contains("breaker open"));
    server.reload_with("vcache.redis_url", &redis.url());
    until("the session has the new setting", || session.value("SHOW vcache.redis_url") == redis.url());
    // At once, without a probe.
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(database.stats("docs").hits, 1);
}

#[test]
fn without_preload_each_session_has_its_own() {
    let (redis, proxy, server) = through_proxy("5s", |setup| setup.preload(false));
    let database = server.database();
    let (mut session, source) = prepared(&database);
    proxy.set(Fault::Reset);
    assert_searches(&mut session, &source, [1, 1, 1]);
    let asked = proxy.commands();
    assert_eq!(asked, 3);
    let detail =
        |session: &mut harness::Session| session.value("SELECT detail FROM vcache_health() WHERE component = 'redis'");
    assert!(detail(&mut session).contains("breaker open"));
    let mut other = database.session();
    let asked = proxy.commands();
    assert_searches(&mut other, &source, [1, 1]);
    assert!(proxy.commands() >= asked + 2);
    proxy.set(Fault::None);
    for session in [&mut session, &mut other] {
        until("its breaker closes", || detail(session).contains("breaker closed"));
        assert_searches(session, &source, [1]);
    }
    assert_eq!(redis.keys().len(), 1);
}

#[test]
fn a_host_that_drops_everything() {
    let hole = BlackHole::start();
    let server = Stand::setup(&hole.url()).set("vcache.redis_connect_timeout", "200ms").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..20);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.engine_errors), ((0, 20, 0), 0));
    assert!(stats.redis_timeouts >= 3 && stats.redis_timeouts < 20, "{stats:?}");
    assert!(database.redis().1.contains("no answer in time"), "{:?}", database.redis());
    server.stop(Stop::Fast);
}
