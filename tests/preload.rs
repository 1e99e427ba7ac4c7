//! vcache without shared_preload_libraries: searches and Redis work, and what needs shared memory says what is
//! missing.

use harness::{Redis, Session, Source, Stand};

/// The warnings that say so.
fn warnings(session: &mut Session) -> usize {
    let warned = session.notices().into_iter().filter(|notice| notice.severity == "WARNING");
    warned
        .filter(|notice| notice.message.contains("shared_preload_libraries") || notice.message.contains("preload"))
        .count()
}

#[test]
fn searches_and_redis_work_with_one_warning_a_session() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    drop(session);
    for _ in 0..3 {
        let mut session = database.session();
        for _ in 0..3 {
            source.assert_search(&mut session, "docs", &source.query(1), 10);
        }
        session.search_by(&format!("'docs', '{}', 10, ttl => '0'", source.query(1)));
        assert_eq!(warnings(&mut session), 1);
    }
    // One miss and three bypasses.
    assert_eq!(database.engine_executions("docs"), 4);
    assert_eq!((redis.keys().len(), redis.calls("get"), redis.calls("set")), (1, 9, 1));
}

#[test]
fn the_statistics_raise_an_error_with_a_hint() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    let mut session = database.session();
    for statement in [
        "SELECT * FROM vcache_stats",
        "SELECT count(*) FROM vcache_stats",
        "SELECT vcache_stats_reset()",
        "SELECT vcache_stats_reset('docs')",
    ] {
        let failure = session.fails(statement);
        failure.assert("55000", &["vcache"]);
        assert!(
            failure.hint.contains("shared_preload_libraries") || failure.message.contains("shared_preload_libraries"),
            "{failure:?}"
        );
        assert!(!failure.hint.is_empty(), "{failure:?}");
    }
    // The view can be described, dumped and dropped nevertheless.
    session.rows("SELECT pg_get_viewdef('vcache_stats')");
    session.run("DROP EXTENSION vcache");
}

#[test]
fn without_redis_either() {
    for url in ["", "redis://127.0.0.1:1/0"] {
        let server = Stand::setup(url).preload(false).start();
        let database = server.database();
        let mut session = database.session();
        let source = Source::docs(&mut session, 50, 64);
        source.register(&mut session, "docs", "");
        for seed in [1, 1, 2] {
            source.assert_search(&mut session, "docs", &source.query(seed), 10);
        }
        assert_eq!(database.engine_executions("docs"), 3);
    }
}

#[test]
fn settings_of_the_server_hold_when_the_library_is_loaded_late() {
    let redis = Redis::start();
    let server =
        Stand::setup(&redis.url()).preload(false).set("vcache.key_prefix", "late").set("vcache.ttl", "1h").start();
    let database = server.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    let mut reader = database.session();
    source.assert_search(&mut reader, "docs", "[1,2,3]", 5);
    let key = redis.only_key();
    assert!(key.starts_with("late:"), "{key}");
    assert!(redis.lifetime(&key) > 3_000_000);
    let role = database.role("role", "");
    let mut roles = database.session_as(&role);
    session.run("GRANT SELECT ON docs TO PUBLIC");
    roles.search("docs", "[1,2,3]", 5);
    roles.fails("SHOW vcache.redis_url").assert("42501", &[]);
}
