//! Redis behind sentinels: a master that dies or hangs under load, sentinels that do.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use harness::{Authority, Directory, Redis, Scripted, Setup, Stand, Valid, Watched, free_port, until};

use crate::cluster::{all_hit, under_load};
use crate::{assert_searches, health, prepared};

fn brief(setup: Setup) -> Setup {
    setup.set("vcache.redis_connect_timeout", "900ms").set("vcache.redis_timeout", "300ms")
}

#[test]
fn a_change_of_master_is_followed() {
    let watched = Watched::start(None);
    let [first, second] = watched.servers() else { panic!("two servers") };
    let server = brief(Stand::setup(&watched.url())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    assert_eq!(first.keys().len(), 30);
    let seen = health(&mut session);
    assert!(seen.starts_with(&format!("ok: 127.0.0.1:{}, the master entries", first.port())), "{seen}");

    under_load(&database, &source, || {
        first.stop();
        until("the replica is the master", || second.is_master());
        until("all hit", || all_hit(&mut session, &source));
        // It comes back as a master, and is made a replica.
        first.start_again();
        watched.wait();
        until("the first is a replica", || first.is_replica());
        // Asked to, the sentinels change it again while both live: once they know that the first is a replica, and a good one.
        let failover = || watched.sentinels()[1].try_command(&["SENTINEL", "FAILOVER", "entries"]).is_ok();
        until("a failover begins", failover);
        until("the first is the master", || first.is_master());
        until("the second is a replica", || second.is_replica());
        until("all hit", || all_hit(&mut session, &source));
    });
    assert!(database.stats("docs").redis_errors > 0);
    // The sentinels take some seconds to make a replica of a master that lives; until then it is one for those who are connected.
    let now = format!("ok: 127.0.0.1:{},", first.port());
    until("the session has followed", || health(&mut session).starts_with(&now));
    watched.wait();

    // One that hangs is replaced too; when it goes on, it is no longer asked.
    first.pause();
    until("the replica is the master", || second.is_master());
    until("all hit", || all_hit(&mut session, &source));
    first.resume();
    watched.wait();
    until("all hit", || all_hit(&mut database.session(), &source));
}

#[test]
fn sentinels_that_are_away_hang_or_know_nothing() {
    let watched = Watched::start(Some("se:cret"));
    let server = brief(Stand::setup(&watched.url())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    let [first, second, third] = watched.sentinels() else { panic!("three sentinels") };
    first.stop();
    second.pause();
    // Who is connected needs no sentinel; who is not finds the one that answers.
    assert!(all_hit(&mut session, &source));
    let mut fresh = database.session();
    until("all hit", || all_hit(&mut fresh, &source));
    third.stop();
    assert!(all_hit(&mut session, &source));
    let mut lost = database.session();
    assert_searches(&mut lost, &source, [1, 2]);
    let seen = health(&mut lost);
    assert!(seen.starts_with("down: the master entries by 3 sentinels"), "{seen}");
    second.resume();
    until("all hit", || all_hit(&mut lost, &source));
    assert!(!server.log().contains("cret"), "a secret in the log");

    // A name that they do not know, a password that is not theirs, a server that is no sentinel.
    third.start_again();
    let url = watched.url();
    for (url, words) in [
        (url.replace("/entries", "/others"), "know no master"),
        (url.replace("sentinel_password=se:cret", "sentinel_password=wrong"), "WRONGPASS"),
        (url.replace("?sentinel_password=se:cret", ""), "NOAUTH"),
        (format!("redis-sentinel://:se%3Acret@127.0.0.1:{}/entries", watched.servers()[0].port()), "no sentinel"),
    ] {
        server.reload_with("vcache.redis_url", &url);
        until("the session has the new setting", || session.value("SHOW vcache.redis_url") == url);
        let hits = database.stats("docs").hits;
        assert_searches(&mut session, &source, [1]);
        let seen = health(&mut session);
        assert!(seen.starts_with("down: ") && seen.contains(words), "{words}: {seen}");
        assert_eq!(database.stats("docs").hits, hits);
    }
}

#[test]
fn a_master_that_is_none_is_not_used() {
    // A sentinel that has not heard of the change names the replica.
    let watched = Watched::start(None);
    let replica = watched.servers()[1].port().to_string();
    let stale = Scripted::start(move |_, _| {
        format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{replica}\r\n", replica.len()).into_bytes()
    });
    let server = brief(Stand::setup(&format!("redis-sentinel://127.0.0.1:{}/entries", stale.port()))).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    let stats = database.stats("docs");
    assert_eq!((stats.hits, stats.stores), (0, 0), "{stats:?}");
    let seen = health(&mut session);
    assert!(seen.starts_with("down: ") && seen.contains("no master now"), "{seen}");
    // Nonsense in place of an address.
    for reply in
        ["*2\r\n$1\r\n?\r\n$1\r\n1\r\n", "*2\r\n$1\r\na\r\n$1\r\n0\r\n", "*3\r\n", "*1\r\n*1\r\n*1\r\n", "+OK\r\n"]
    {
        let hostile = Scripted::start(move |_, _| reply.as_bytes().to_vec());
        let url = format!("redis-sentinel://127.0.0.1:{}/entries", hostile.port());
        server.reload_with("vcache.redis_url", &url);
        until("the session has the new setting", || session.value("SHOW vcache.redis_url") == url);
        assert_searches(&mut session, &source, [1, 1]);
        assert_eq!(database.stats("docs").hits, 0, "{reply}");
    }
}

/// A sentinel that names a server as every master, and notes what it is asked.
fn naming(port: u16) -> (Scripted, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let words = Arc::clone(&heard);
    let sentinel = Scripted::start(move |command, _| {
        words.lock().expect("words").extend_from_slice(command);
        let port = port.to_string();
        format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes()
    });
    (sentinel, heard)
}

#[test]
fn sentinels_that_hang_leave_time_to_the_last() {
    let redis = Redis::start();
    let (sentinel, _) = naming(redis.port());
    // The system accepts connections for them, and nobody answers.
    let hanging = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let [first, second] = hanging.each_ref().map(|listener| listener.local_addr().expect("address"));
    let url = format!("redis-sentinel://{first},{second},127.0.0.1:{}/entries", sentinel.port());
    // Each of the two alone could take four of the six seconds.
    let setup = Stand::setup(&url).set("vcache.redis_connect_timeout", "2s").set("vcache.redis_timeout", "4s");
    let server = setup.start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores, stats.redis_timeouts), ((1, 1, 0), 1, 0), "{stats:?}");
}

#[test]
fn the_password_file_is_not_for_sentinels() {
    let redis = Redis::start_with(&["--requirepass", "masters-secret"], Some("masters-secret"));
    let (sentinel, heard) = naming(redis.port());
    let directory = Directory::new("password");
    let file = directory.put("password", b"masters-secret\n", 0o600);
    let server = Stand::setup(&format!("redis-sentinel://127.0.0.1:{}/entries", sentinel.port()))
        .set("vcache.redis_password_file", file.to_str().expect("UTF-8"))
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(database.stats("docs").hits, 1);
    let heard = heard.lock().expect("words");
    assert!(heard.iter().any(|word| word == "entries"), "{heard:?}");
    assert!(!heard.iter().any(|word| word == "AUTH" || word.contains("secret")), "{heard:?}");
}

#[test]
fn by_tls() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost", "127.0.0.1"], Valid::Now);
    let ports = [free_port(), free_port()];
    let options = ports.map(|port| certificate.options(port, &authority.file()));
    let [master, sentinel] = options.each_ref().map(|options| options.iter().map(String::as_str).collect::<Vec<_>>());
    let redis = Redis::start_with(&master, None);
    let sentinel = Redis::start_sentinel(&sentinel, None);
    sentinel.command(&["SENTINEL", "MONITOR", "entries", "127.0.0.1", &ports[0].to_string(), "1"]);
    let server = Stand::setup(&format!("rediss-sentinel://localhost:{}/entries", ports[1]))
        .set("vcache.redis_tls_ca_file", authority.file().to_str().expect("UTF-8"))
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    assert_eq!(redis.keys().len(), 30);
    let seen = health(&mut session);
    assert!(seen.starts_with(&format!("ok: 127.0.0.1:{}, the master entries", ports[0])), "{seen}");
    // A sentinel is not spoken to in plain words.
    server.reload_with("vcache.redis_url", &format!("rediss-sentinel://localhost:{}/entries", sentinel.port()));
    let seen = health(&mut database.session());
    assert!(seen.starts_with("down: "), "{seen}");
}
