//! Secrets stay secret: whatever is wrong with Redis, nothing that vcache says or shows holds a user's name or a password of it.

use harness::{Authority, Database, Directory, Postgres, Redis, Session, Stand, Stop, Valid, free_port};

use crate::{assert_searches, health, prepared};

/// A user's name and a password, of which no part may be seen.
const USER: &str = "n1ghtowl";
const PASSWORD: &str = "Tr0ub4dor-and-3";

/// URLs that fail, each in a way of its own; `redis` knows neither the user nor the password, `tls` is a port of TLS with a certificate that
/// nobody believes.
fn failing(redis: &Redis, tls: u16) -> Vec<String> {
    let (port, socket) = (redis.port(), redis.socket().display().to_string());
    let login = format!("{USER}:{PASSWORD}");
    vec![
        // Wrong: the password, the user, the address.
        format!("redis://{login}@127.0.0.1:{port}/0"),
        format!("redis://:{PASSWORD}@127.0.0.1:{port}/0"),
        format!("redis+unix://{socket}?user={USER}&pass={PASSWORD}"),
        format!("redis+unix:///nowhere/redis.sock?user={USER}&pass={PASSWORD}"),
        format!("redis://{login}@127.0.0.1:1/0"),
        format!("redis://{login}@no-such-host.invalid:{port}/0"),
        // TLS with nobody to believe, where none is spoken, and the other way around.
        format!("rediss://{login}@127.0.0.1:{tls}/0"),
        format!("rediss://{login}@127.0.0.1:{port}/0"),
        format!("redis://{login}@127.0.0.1:{tls}/0"),
        // Of several servers.
        format!("redis-cluster://{login}@127.0.0.1:{port},127.0.0.1:1"),
        format!("rediss-cluster://{login}@127.0.0.1:{tls}"),
        format!(
            "redis-sentinel://{login}@127.0.0.1:{port}/entries?sentinel_username={USER}&sentinel_password={PASSWORD}"
        ),
        format!("redis-sentinel://{login}@127.0.0.1:1,127.0.0.1:2/entries/0?sentinel_password={PASSWORD}"),
        // No URL, or one that says what none may say.
        format!("redis//{login}@127.0.0.1:1/0"),
        format!("{login}@127.0.0.1"),
        format!("http://{login}@127.0.0.1:1/0"),
        format!("redis://{login}@127.0.0.1:99999/0"),
        format!("redis://{login}@127.0.0.1:{port}/{PASSWORD}"),
        format!("redis://{login}@127.0.0.1:{port}/0?{PASSWORD}=1"),
        format!("redis://{login}@127.0.0.1:{port}/0?protocol={PASSWORD}"),
        format!("redis://{login}@127.0.0.1:{port}/0#{PASSWORD}"),
        format!("redis-cluster://{login}@127.0.0.1:{port}/{PASSWORD}"),
        format!("redis-sentinel://{login}@127.0.0.1:{port}/"),
        // What had to be escaped: read as a URL, the host, the database, the parameter or the master is a part of the password.
        format!("redis://{PASSWORD}/x@127.0.0.1:{port}/0"),
        format!("redis://{PASSWORD}?x@127.0.0.1:{port}/0"),
        format!("redis://{PASSWORD}#x@127.0.0.1:{port}/0"),
        format!("redis://{USER}:{PASSWORD}/{PASSWORD}@127.0.0.1:{port}/0"),
        format!("redis-cluster://{USER}:{PASSWORD}/{PASSWORD}@127.0.0.1:{port}"),
        format!("redis-sentinel://{USER}:{PASSWORD}?{PASSWORD}@127.0.0.1:{port}/entries"),
        format!("redis+unix://{PASSWORD}@/nowhere?pass={PASSWORD}"),
    ]
}

fn tells(text: &str) -> bool {
    [USER, PASSWORD].iter().any(|secret| text.contains(secret))
}

/// All that one can ask for, as text: rows, or the error.
fn asked(session: &mut Session) -> String {
    [
        "SELECT * FROM vcache_health()",
        "SELECT * FROM vcache_stats",
        "SELECT * FROM vcache_namespaces",
        "SELECT * FROM vcache_explain('docs', array_fill(1, array[64]))",
        "SELECT vcache_flush()",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_stat_statements",
        "EXPLAIN (ANALYZE, SETTINGS, VERBOSE) SELECT * FROM vcache_search('docs', array_fill(1, array[64]))",
    ]
    .map(|statement| format!("{:?}", session.try_rows(statement)))
    .concat()
}

/// What tells an ordinary role of settings.
fn asked_of_settings(session: &mut Session) -> String {
    [
        "SELECT * FROM pg_settings",
        "SHOW ALL",
        "SHOW vcache.redis_url",
        "SHOW vcache.redis_password_file",
        "SELECT current_setting('vcache.redis_url')",
        "SELECT current_setting('vcache.redis_url', true)",
        "SELECT set_config('vcache.redis_url', '', true)",
        "SELECT reset_val FROM pg_settings WHERE name ~ 'redis'",
        "SELECT * FROM pg_file_settings",
        "SELECT * FROM pg_show_all_file_settings()",
        "SELECT pg_read_file('postgresql.auto.conf')",
        "SELECT * FROM pg_db_role_setting",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ]
    .map(|statement| format!("{:?}", session.try_rows(statement)))
    .concat()
}

fn said(session: &mut Session) -> String {
    format!("{:?}", session.notices())
}

/// What the log tells of them in lines that are vcache's: PostgreSQL itself tells its log of a reload what a setting has become.
fn told(server: &Postgres) -> Vec<String> {
    let own = |line: &&str| !line.contains("parameter \"vcache.redis_url\" changed to");
    server.log().lines().filter(own).filter(|line| tells(line)).map(str::to_owned).collect()
}

/// A server that logs everything that PostgreSQL can log, without a Redis.
fn talkative() -> Postgres {
    Stand::setup("")
        .set("log_min_messages", "debug5")
        .set("log_error_verbosity", "verbose")
        .set("log_min_error_statement", "debug5")
        .set("vcache.redis_connect_timeout", "500ms")
        .set("vcache.redis_timeout", "500ms")
        .start()
}

#[test]
fn whatever_is_wrong_nothing_is_told() {
    let redis = Redis::start_with(&["--user", "reader", "on", ">another-password", "~vcache:*", "+get", "+set"], None);
    let (authority, port) = (Authority::new(), free_port());
    let options = authority.issue(&["localhost"], Valid::Now).options(port, &authority.file());
    let _tls = Redis::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let server = talkative();
    let database = server.database();
    let (mut owner, source) = prepared(&database);
    owner.run("GRANT SELECT ON docs TO PUBLIC; GRANT EXECUTE ON FUNCTION vcache_flush() TO PUBLIC");
    let role = database.role("role", "");
    for url in failing(&redis, port) {
        server.reload_with("vcache.redis_url", &url);
        let (mut session, mut roles) = (database.session(), database.session_as(&role));
        for session in [&mut session, &mut roles] {
            session.run("SET client_min_messages = debug5");
            // Until the breaker opens, and behind it.
            assert_searches(session, &source, [1, 2, 3, 4, 5]);
            let seen = [asked(session), said(session)].concat();
            assert!(!tells(&seen), "{url}: {seen}");
        }
        assert!(!health(&mut session).starts_with("ok"), "{url}");
        let seen = [asked_of_settings(&mut roles), said(&mut roles)].concat();
        assert!(!tells(&seen), "{url}: {seen}");
        // It is there to be found, by those who may.
        assert!(tells(&session.value("SHOW vcache.redis_url")));
        assert_eq!(told(&server), Vec::<String>::new(), "{url}");
    }
    let dump = server.client_program("pg_dumpall", &role, &["--no-role-passwords"], "");
    assert!(!tells(&format!("{dump:?}")));
    let dump = server.client_program("pg_dumpall", "postgres", &[], "").expect("a dump");
    assert!(!tells(&dump));
    server.stop(Stop::Fast);
    assert_eq!(told(&server), Vec::<String>::new());
}

/// A password in a file is in no setting, and so in none of PostgreSQL's own lines either.
#[test]
fn of_a_password_in_a_file_not_even_postgresql_tells() {
    let redis = Redis::start_with(&["--requirepass", PASSWORD], Some(PASSWORD));
    let directory = Directory::new("secrets");
    let file = directory.put("password", PASSWORD.as_bytes(), 0o600);
    let server = talkative();
    server.set("log_statement", "all");
    server.set("vcache.redis_password_file", file.to_str().expect("UTF-8"));
    server.reload_with("vcache.redis_url", &redis.url());
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(database.stats("docs").hits, 1);
    // Set by SQL, it is the file's name that is told.
    session.run(&format!("ALTER SYSTEM SET vcache.redis_password_file = '{}'", file.display()));
    let seen = [asked(&mut session), asked_of_settings(&mut session), said(&mut session)].concat();
    assert!(!tells(&seen), "{seen}");
    server.stop(Stop::Fast);
    assert!(!tells(&server.log()));
}

/// What PostgreSQL makes of a setting whose library nobody has loaded: text that everybody may read, and set for himself.
#[test]
fn without_preload_a_password_belongs_into_a_file() {
    let redis = Redis::start_with(&["--requirepass", PASSWORD], Some(PASSWORD));
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}/0", redis.port());
    let server = Stand::setup(&url).preload(false).start();
    let database = server.database();
    let (mut owner, source) = prepared(&database);
    owner.run("GRANT SELECT ON docs TO PUBLIC");
    let role = database.role("role", "");
    let shown =
        |server: &Postgres, database: &Database| server.connect(&role, database.name()).value("SHOW vcache.redis_url");
    assert!(tells(&shown(&server, &database)), "PostgreSQL hides it now: say so in the documents");
    // Once the library is there, it is hidden, and what somebody has set for himself before counts for nothing.
    let mut session = database.session_as(&role);
    session.run("SET vcache.redis_url = 'redis://127.0.0.1:1/0'; SET vcache.redis_authenticate_entries = on");
    assert_searches(&mut session, &source, [1, 1]);
    session.fails("SHOW vcache.redis_url").assert("42501", &["vcache.redis_url"]);
    assert_eq!(session.value("SHOW vcache.redis_authenticate_entries"), "off");
    assert_eq!(redis.keys().len(), 1);
    assert!(!tells(&said(&mut session)));
    // Loaded with each session, or with a file, it is never seen.
    server.reload_with("session_preload_libraries", "vcache");
    let failure = database.session_as(&role).fails("SHOW vcache.redis_url");
    failure.assert("42501", &["vcache.redis_url"]);
    assert!(!tells(&format!("{failure:?}")));
}
