//! Redis behind sentinels: a master that dies or hangs under load, sentinels that do.

use harness::{Scripted, Setup, Stand, Watched, until};

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
        until("the first is a replica", || !first.is_master());
        // Asked to, the sentinels change it again while both live: once they know that the first is a replica, and a good one.
        let failover = || watched.sentinels()[1].try_command(&["SENTINEL", "FAILOVER", "entries"]).is_ok();
        until("a failover begins", failover);
        until("the first is the master", || first.is_master());
        until("the second is a replica", || !second.is_master());
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
