//! How Redis is reached: address, password, user, database.

use harness::{Redis, Stand};

use crate::{assert_down, assert_searches, assert_up, health, prepared};

/// A password with everything that a URL must escape.
const PASSWORD: &str = "p@ss:w/o?r#d%41&x=ü";
const ESCAPED: &str = "p%40ss%3Aw%2Fo%3Fr%23d%2541%26x%3D%C3%BC";

/// Searches through a URL; one miss and two hits, without an error.
fn assert_works(url: &str) {
    let server = Stand::setup(url).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    assert_searches(&mut database.session(), &source, [1]);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores, stats.redis_errors), ((2, 1, 0), 1, 0), "{url}");
}

/// A user that may do what vcache needs, and nothing else.
fn guarded() -> Redis {
    let password = format!(">{PASSWORD}");
    Redis::start_with(&["--user", "reader", "on", &password, "~vcache:*", "+get", "+set", "+select"], None)
}

#[test]
fn a_socket_that_is_not_there_or_not_for_everybody_is_said() {
    let redis = Redis::start_with(&["--unixsocketperm", "400"], None);
    let server = Stand::setup("redis+unix:///nowhere/redis.sock").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_down(&database, &mut session, &source, "/nowhere/redis.sock: there is no such socket");
    server.reload_with("vcache.redis_url", &format!("redis+unix://{}", redis.socket().display()));
    let why = "permission denied: the server's account may not connect to it";
    assert_down(&database, &mut database.session(), &source, why);
}

#[test]
fn over_tcp_and_over_a_unix_socket() {
    let redis = Redis::start();
    assert_works(&redis.url());
    assert_works(&format!("redis://127.0.0.1:{}", redis.port()));
    assert_works(&format!("redis://localhost:{}/0", redis.port()));
    assert_works(&format!("redis+unix://{}", redis.socket().display()));
}

#[test]
fn in_a_database_of_its_own() {
    let redis = Redis::start();
    assert_works(&format!("redis://127.0.0.1:{}/3", redis.port()));
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(3).len()), (0, 1));
    assert_works(&format!("redis+unix://{}?db=7", redis.socket().display()));
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(7).len()), (0, 1));
}

#[test]
fn with_a_password() {
    let redis = Redis::start_with(&["--requirepass", "plain-secret"], Some("plain-secret"));
    assert_works(&format!("redis://:plain-secret@127.0.0.1:{}/0", redis.port()));
    assert_works(&format!("redis://default:plain-secret@127.0.0.1:{}/2", redis.port()));
    assert_works(&format!("redis+unix://{}?pass=plain-secret", redis.socket().display()));
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(2).len()), (2, 1));
}

#[test]
fn as_a_user_with_few_rights_and_a_password_that_must_be_escaped() {
    let redis = guarded();
    assert_works(&format!("redis://reader:{ESCAPED}@127.0.0.1:{}/0", redis.port()));
    assert_works(&format!("redis://reader:{ESCAPED}@127.0.0.1:{}/5", redis.port()));
    assert_works(&format!("redis+unix://{}?user=reader&pass={ESCAPED}", redis.socket().display()));
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(5).len()), (2, 1));
}

#[test]
fn a_user_without_rights_fails_no_search() {
    let redis = Redis::start_with(&["--user", "nobody", "on", ">secret", "~*", "-@all"], None);
    let server = Stand::setup(&format!("redis://nobody:secret@127.0.0.1:{}/0", redis.port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    let stats = database.stats("docs");
    assert!(stats.redis_errors > 0, "{stats:?}");
    assert_eq!((stats.hits, stats.stores, stats.engine_errors), (0, 0, 0));
}

#[test]
fn a_user_without_a_password() {
    let redis = Redis::start_with(&["--user", "open", "on", "nopass", "~vcache:*", "+get", "+set"], None);
    assert_works(&format!("redis://open@127.0.0.1:{}/0", redis.port()));
    assert_works(&format!("redis+unix://{}?user=open", redis.socket().display()));
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query(&mut redis.connection(0)).expect("ACL USERS");
    assert_eq!(users.len(), 2);
}

/// What no URL may say, and what is said of it.
#[test]
fn what_is_not_known_is_refused_and_said() {
    let redis = Redis::start();
    let port = redis.port();
    let server = Stand::setup("").start();
    let database = server.database();
    let (_, source) = prepared(&database);
    for (url, why) in [
        (format!("rediss://127.0.0.1:{port}/0#insecure"), "#insecure is refused"),
        (format!("redis://127.0.0.1:{port}/0#insecure"), "#insecure is refused"),
        (format!("redis://user:half#other-half@127.0.0.1:{port}/0"), "not a URL"),
        (format!("redis://127.0.0.1:{port}/0#more"), "it has a #"),
        (format!("redis://127.0.0.1:{port}/0?protocol=resp3"), "its protocol is not 2"),
        (format!("redis://127.0.0.1:{port}/0?protocol=3"), "its protocol is not 2"),
        (format!("redis://127.0.0.1:{port}/0?db=1"), "a parameter that its scheme does not know"),
        (format!("redis://127.0.0.1:{port}/0?timeout=1"), "a parameter that its scheme does not know"),
        (format!("redis+unix://{}?database=1", redis.socket().display()), "a parameter that its scheme does not know"),
        (format!("redis+unix://{}?db=1&db=2", redis.socket().display()), "a parameter twice"),
        (format!("redis+unix://{}?db=-1", redis.socket().display()), "from 0 on"),
        (format!("redis://127.0.0.1:{port}/-1"), "from 0 on"),
        (format!("redis://127.0.0.1:{port}/0/1"), "not a URL"),
        (format!("redis://127.0.0.1:{port}/x"), "not a URL"),
        (format!("redis://127.0.0.1 :{port}/0"), "not a URL"),
        (format!("redis:127.0.0.1:{port}"), "not a URL"),
        (format!("http://127.0.0.1:{port}/0"), "its scheme is none of"),
        (format!("redis-other://127.0.0.1:{port}/0"), "its scheme is none of"),
        ("redis+unix://host/path".to_owned(), "not a URL"),
    ] {
        server.reload_with("vcache.redis_url", &url);
        assert_down(&database, &mut database.session(), &source, why);
        let said = health(&mut database.session());
        assert!(!said.contains("half") && !said.contains("127.0.0.1"), "{url}: {said}");
        // There is nobody to leave alone; the log is told at each reload.
        assert_searches(&mut database.session(), &source, [2, 2, 2, 2]);
        assert!(health(&mut database.session()).contains("breaker closed"), "{url}");
        let log = server.log();
        let told = log.lines().rfind(|line| line.contains("WARNING:")).expect("a warning");
        assert!(told.contains("vcache.redis_url cannot be used: ") && told.contains(why), "{told}");
    }
    assert!(!server.log().contains("leaves vcache.redis_url"), "{}", server.last_of_log());
    // Who sets it by SQL is told at once, and nobody else.
    let (mut session, mut other) = (database.session(), database.session());
    session.run("ALTER SYSTEM SET vcache.redis_url = 'redis://user:a/b@127.0.0.1/0'");
    assert_eq!(session.notices().len(), 1);
    session.run("SELECT pg_reload_conf()");
    session.run("ALTER SYSTEM RESET vcache.redis_url");
    session.run("SELECT pg_reload_conf()");
    assert_eq!((session.notices(), other.notices()), (vec![], vec![]));
    for url in [format!("redis://127.0.0.1:{port}/0?protocol=2"), format!("valkey://127.0.0.1:{port}")] {
        server.reload_with("vcache.redis_url", &url);
        assert_up(&database, &mut database.session(), &source);
    }
    for scheme in ["unix", "valkey+unix"] {
        let url = format!("{scheme}://{}?db=1&protocol=resp2", redis.socket().display());
        server.reload_with("vcache.redis_url", &url);
        assert_up(&database, &mut database.session(), &source);
    }
}
