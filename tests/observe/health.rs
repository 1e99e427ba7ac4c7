//! vcache_health: a row per component, in words that help, without a secret.

use harness::{Redis, Session, Stand, VECTOR};

use crate::stand;

/// The rows as `component status: detail`.
fn health(session: &mut Session) -> Vec<String> {
    session.column("SELECT component || ' ' || status || ': ' || detail FROM vcache_health()")
}

#[track_caller]
fn assert_shows(session: &mut Session, row: &str, words: &str) {
    let rows = health(session);
    let found = rows.iter().any(|shown| shown.starts_with(row) && shown.contains(words));
    assert!(found, "no `{row}` with `{words}` in {rows:#?}");
}

#[test]
fn all_is_well() {
    let database = stand().database();
    let mut session = database.session();
    let components = session.column("SELECT component FROM vcache_health() WHERE status = 'ok'");
    assert_eq!(components, ["shared memory", "redis", "engine"]);
    let engine =
        session.value(&format!("SELECT extname || ' ' || extversion FROM pg_extension WHERE extname = '{VECTOR}'"));
    assert_shows(&mut session, "engine ok", &engine);
    assert_shows(&mut session, "redis ok", &format!("127.0.0.1:{}", stand().redis.port()));
    // It asked Redis, and counted nothing.
    assert_eq!(database.session().number("SELECT count(*) FROM vcache_stats WHERE lookups > 0"), 0);
}

#[test]
fn redis_that_is_away_is_down_until_it_is_back() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    assert_shows(&mut session, "redis ok", "answers in");
    stand.redis.stop();
    assert_shows(&mut session, "redis down", "refused");
    stand.redis.start_again();
    assert_shows(&mut session, "redis ok", "answers in");
    stand.server.reload_with("vcache.redis_timeout", "100ms");
    let mut session = database.session();
    stand.redis.pause();
    assert_shows(&mut session, "redis down", "no answer in time");
    stand.redis.resume();
    stand.server.reload_with("vcache.redis_url", "");
    assert_shows(&mut database.session(), "redis off", "vcache.redis_url is empty");
}

#[test]
fn secrets_stay_secret_and_the_address_is_for_those_who_may_see_the_setting() {
    let redis = Redis::start_with(&["--requirepass", "right-password"], Some("right-password"));
    let server = Stand::setup(&format!("redis://user:wrong-password@127.0.0.1:{}/0", redis.port())).start();
    let database = server.database();
    let role = database.role("role", "");
    assert_shows(&mut database.session(), "redis down", &format!("127.0.0.1:{}: refused with WRONGPASS", redis.port()));
    assert_shows(&mut database.session_as(&role), "redis down: Redis:", "WRONGPASS");
    for mut session in [database.session(), database.session_as(&role)] {
        assert!(!health(&mut session).concat().contains("password"));
    }
    server.reload_with("vcache.redis_url", &format!("redis://:right-password@127.0.0.1:{}/0", redis.port()));
    let shown = health(&mut database.session_as(&role)).concat();
    assert!(shown.contains("Redis answers") && !shown.contains("127.0.0.1") && !shown.contains("password"), "{shown}");
    // Malformed; and read as a URL, with a part of the password for a host.
    for url in [
        "redis://:right-password@127.0.0.1:port",
        "redis://right-password/1@127.0.0.1",
        "redis://right-password#1@127.0.0.1",
    ] {
        server.reload_with("vcache.redis_url", url);
        let shown = health(&mut database.session()).concat();
        assert!(shown.contains("redis down") && !shown.contains("right-password"), "{shown}");
    }
}

#[test]
fn a_user_with_few_rights_finds_redis_well() {
    let redis = Redis::start_with(&["--user", "few", "on", ">pass", "~vcache:*", "+get", "+set"], None);
    let server = Stand::setup(&format!("redis://few:pass@127.0.0.1:{}/0", redis.port())).start();
    assert_shows(&mut server.database().session(), "redis ok", "answers in");
}

#[test]
fn without_preload_and_without_an_engine() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    assert_shows(&mut database.session(), "shared memory off", "shared_preload_libraries");
    assert_shows(&mut database.session(), "redis ok", "answers in");
    database.session().run(&format!("DROP EXTENSION {VECTOR}"));
    assert_shows(&mut database.session(), "engine down", "neither RuVector nor pgvector");
}

#[test]
fn statistics_that_are_full_are_degraded() {
    let stand = Stand::start_with(|setup| setup.set("vcache.stats_max", "2"));
    let database = stand.database();
    let mut session = database.session();
    let source = harness::Source::docs(&mut session, 30, 3);
    for namespace in ["one", "two"] {
        assert_shows(&mut session, "shared memory ok", "of at most 2 namespaces");
        source.register(&mut session, namespace, "");
        session.search(namespace, "[1,2,3]", 5);
    }
    assert_shows(&mut session, "shared memory degraded", "raise vcache.stats_max");
}
