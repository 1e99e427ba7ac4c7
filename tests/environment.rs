//! The server's environment gives defaults: a setting goes before it, and what is malformed in it is told and ignored.

use harness::{Postgres, Redis, Session, Setup, Source};

/// With what a URL must escape, and what reads as if it were escaped.
const PASSWORD: &str = "p@ss w/rd:ü%41%";

/// A server whose settings say nothing of Redis.
fn setup() -> Setup {
    Postgres::setup()
}

fn shown(session: &mut Session) -> (String, String) {
    (session.value("SHOW vcache.redis_url"), session.value("SHOW vcache.ttl"))
}

#[test]
fn it_says_where_redis_is_and_how_long_answers_live() {
    let redis = Redis::start_with(&["--requirepass", PASSWORD], Some(PASSWORD));
    let server = setup()
        .environment("REDIS_HOST", "localhost")
        .environment("REDIS_PORT", &redis.port().to_string())
        .environment("REDIS_PASSWORD", PASSWORD)
        .environment("REDIS_DB", "3")
        .environment("REDIS_TTL", "77")
        .set("vcache.redis_connect_timeout", "5s")
        .set("vcache.redis_timeout", "5s")
        .start();
    let database = server.database();
    let mut session = database.session();
    assert_eq!(session.value("SHOW vcache.ttl"), "77s");
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(3).len()), (0, 1));
    // Ordinary roles see no more of it than of the setting.
    let role = database.role("role", "");
    database.session_as(&role).fails("SHOW vcache.redis_url").assert("42501", &["vcache.redis_url"]);
    assert!(!server.log().contains("p@ss") && !server.log().contains("p%40ss"), "a password in the log");
}

#[test]
fn a_setting_goes_before_it_and_a_reset_brings_it_back() {
    let server = setup()
        .environment("REDIS_HOST", "elsewhere")
        .environment("REDIS_TTL", "77")
        .set("vcache.redis_url", "redis://10.0.0.1:7000/1")
        .set("vcache.ttl", "10s")
        .start();
    let mut session = server.database().session();
    assert_eq!(shown(&mut session), ("redis://10.0.0.1:7000/1".to_owned(), "10s".to_owned()));
    session.run("SET vcache.ttl = '20s'");
    assert_eq!(session.value("SHOW vcache.ttl"), "20s");
    session.run("RESET vcache.ttl");
    assert_eq!(session.value("SHOW vcache.ttl"), "10s");
    // An empty setting turns Redis off, whatever the environment says.
    server.reload_with("vcache.redis_url", "");
    assert_eq!(server.connect("postgres", "postgres").value("SHOW vcache.redis_url"), "");
}

#[test]
fn what_is_empty_is_not_there() {
    let mut setup = setup();
    for variable in ["REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB", "REDIS_TTL"] {
        setup = setup.environment(variable, "");
    }
    let server = setup.start();
    let mut session = server.database().session();
    assert_eq!(shown(&mut session), ("redis://127.0.0.1:6379/0".to_owned(), "5min".to_owned()));
    assert!(!server.log().contains("malformed"), "{}", server.log());
}

#[test]
fn what_is_malformed_is_a_warning_at_start_and_the_default_holds() {
    let malformed = [("REDIS_HOST", "a host"), ("REDIS_PORT", "65536"), ("REDIS_DB", "-1"), ("REDIS_TTL", "5 minutes")];
    let mut setup = setup();
    for (variable, value) in malformed {
        setup = setup.environment(variable, value);
    }
    let server = setup.start();
    let mut session = server.database().session();
    assert_eq!(shown(&mut session), ("redis://127.0.0.1:6379/0".to_owned(), "5min".to_owned()));
    for (variable, _) in malformed {
        let warning = format!("WARNING:  environment variable {variable} is malformed");
        assert_eq!(server.log().matches(&warning).count(), 1, "{warning}\n{}", server.log());
    }
    // A session that loads nothing itself says nothing.
    assert!(session.notices().is_empty());
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let server = setup().environment("REDIS_HOST", "::1").environment("REDIS_PORT", "7000").start();
    assert_eq!(server.connect("postgres", "postgres").value("SHOW vcache.redis_url"), "redis://[::1]:7000/0");
}
