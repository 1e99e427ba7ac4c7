//! Redis Cluster: hits through it, a master that dies or hangs, slots that move, all of it down; and what no cluster would say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Database, Redis, RedisCluster, Scripted, Session, Setup, Source, Stand, Stats, Stop, until};

use crate::{assert_searches, health, prepared, waits};

/// Deadlines that pass soon enough for a test.
fn brief(setup: Setup) -> Setup {
    setup.set("vcache.redis_connect_timeout", "500ms").set("vcache.redis_timeout", "300ms")
}

/// Searches in several sessions until `weather` has passed; each search's answer is asserted, and none is an error.
pub fn under_load(database: &Database, source: &Source, weather: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let searches = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..3)
            .map(|number| {
                let (done, searches) = (&done, &searches);
                scope.spawn(move || {
                    let mut session = database.session();
                    for search in 0.. {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        assert_searches(&mut session, source, [(search * (number + 1)) % 30]);
                        searches.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // The load ends with the weather, even if that fails.
        struct End<'flag>(&'flag AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&done);
        until("there is a load", || searches.load(Ordering::Relaxed) > 60);
        weather();
        drop(end);
        for session in sessions {
            session.join().expect("a session under load");
        }
    });
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!(stats.engine_errors, 0);
    assert!(!database.server().log().contains("terminated by signal"));
}

/// Whether each of the 30 searches is a hit now; those that are not become one, unless something is wrong.
pub fn all_hit(session: &mut Session, source: &Source) -> bool {
    let hit = |seed| {
        let query = source.query(seed);
        let outcome = session.value(&format!("SELECT outcome FROM vcache_explain('docs', '{query}', 10)"));
        assert_searches(session, source, [seed]);
        outcome == "hit"
    };
    (0..30).map(hit).filter(|hit| *hit).count() == 30
}

#[test]
fn hits_by_way_of_a_user_with_few_rights() {
    let user = "on >sec:ret ~vcache:* +get +set +asking +cluster|slots";
    let cluster = RedisCluster::start_with(
        &[&["--user", "reader"], user.split(' ').collect::<Vec<_>>().as_slice()].concat(),
        "reader:sec%3Aret@",
    );
    let server = Stand::setup(&cluster.url(&[1, 4])).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..30);
    assert_searches(&mut session, &source, 0..30);
    assert_searches(&mut database.session(), &source, 0..30);
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores, stats.redis_errors, stats.redis_timeouts), ((60, 30, 0), 30, 0, 0));
    let keys = cluster.keys();
    assert_eq!(keys.iter().sum::<usize>(), 30);
    assert!(keys.iter().all(|keys| *keys > 0), "{keys:?}");
    // With the map there is nothing to be redirected.
    assert_eq!((cluster.errors("MOVED"), cluster.errors("ASK")), (0, 0));

    let seen = health(&mut session);
    assert!(seen.starts_with("ok: 127.0.0.1:") && seen.contains("of the cluster"), "{seen}");
    assert!(cluster.masters().iter().all(|master| seen.contains(&format!("127.0.0.1:{}", master.port()))), "{seen}");
    let role = database.role("reader", "");
    let seen = health(&mut database.session_as(&role));
    assert!(seen.starts_with("ok: Redis answers") && !seen.contains("127.0.0.1"), "{seen}");
    assert!(!server.log().contains("sec:ret") && !server.log().contains("sec%3Aret"), "a secret in the log");
}

#[test]
fn slots_that_move_under_load() {
    let cluster = RedisCluster::start();
    let server = Stand::setup(&cluster.url(&[0])).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..30);
    under_load(&database, &source, || {
        cluster.move_slots(0, 1, || std::thread::sleep(Duration::from_millis(60)));
        cluster.move_slots(1, 2, || std::thread::sleep(Duration::from_millis(20)));
    });
    assert!(cluster.errors("MOVED") > 0, "no MOVED was seen");
    assert!(cluster.errors("ASK") > 0, "no ASK was seen");
    let stats = database.stats("docs");
    assert_eq!((stats.redis_errors, stats.redis_timeouts), (0, 0));
    until("all hit", || all_hit(&mut session, &source));
    assert_eq!(cluster.nodes()[0].keys().len(), 0);

    // What is freed is freed on every master, and nobody else's.
    let others: Vec<_> = (0..30).map(|number| format!("other:{number}")).collect();
    let set = |key: &String| cluster.nodes().iter().find(|node| node.is_master() && node.try_set(key, b"kept"));
    assert!(others.iter().all(|key| set(key).is_some()));
    assert_eq!(session.value("SELECT vcache_flush()"), "30");
    assert_eq!(cluster.keys().iter().sum::<usize>(), 30, "the others' keys");
}

#[test]
fn a_master_that_is_killed_or_hangs_under_load() {
    let cluster = RedisCluster::start();
    let server = brief(Stand::setup(&cluster.url(&[0, 1, 2]))).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    under_load(&database, &source, || {
        // The dead are replaced by their replicas; hits come back while they are still dead.
        cluster.nodes()[0].stop();
        until("the replica is a master", || cluster.nodes()[3].is_master());
        until("all hit", || all_hit(&mut session, &source));
        cluster.nodes()[1].pause();
        until("the replica is a master", || cluster.nodes()[4].is_master());
        until("all hit", || all_hit(&mut session, &source));
        cluster.nodes()[1].resume();
        cluster.nodes()[0].start_again();
        cluster.wait();
    });
    assert!(database.stats("docs").redis_errors > 0);
    until("all hit", || all_hit(&mut session, &source));
    // The seeds need not be alive, once a backend has seen the others.
    let ports: Vec<_> = cluster.masters().iter().map(|master| master.port()).collect();
    assert!(ports.contains(&cluster.nodes()[3].port()), "{ports:?}");
}

#[test]
fn down_as_a_whole_and_back() {
    let cluster = RedisCluster::start();
    let server = brief(Stand::setup(&cluster.url(&[2, 3]))).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    cluster.nodes().iter().for_each(Redis::stop);
    let before = database.stats("docs");
    assert_searches(&mut session, &source, 0..5);
    assert_searches(&mut database.session(), &source, 0..5);
    let after = database.stats("docs");
    assert!(after.hits == before.hits && after.redis_errors > before.redis_errors, "{before:?} {after:?}");
    cluster.nodes().iter().for_each(Redis::start_again);
    cluster.wait();
    until("all hit", || all_hit(&mut session, &source));

    // One of three is away for good: the others' keys are hits, its own cost no search much.
    let master = cluster.nodes().iter().position(Redis::is_master).expect("a master");
    let config = |node: &Redis| node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    cluster.nodes().iter().for_each(config);
    cluster.nodes().iter().filter(|node| !node.is_master()).for_each(Redis::stop);
    cluster.nodes()[master].pause();
    let before = database.stats("docs");
    let start = Instant::now();
    (0..5).for_each(|_| assert_searches(&mut session, &source, 0..30));
    // 50 searches or so whose node hangs, of at most 0.8 s each for the look-up, and as much for the store: this is on hanging.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let after = database.stats("docs");
    assert!(after.hits > before.hits && after.redis_timeouts > before.redis_timeouts, "{before:?} {after:?}");
    cluster.nodes()[master].resume();
    until("all hit", || all_hit(&mut session, &source));
}

#[test]
fn a_cancel_acts_while_a_node_hangs() {
    let cluster = RedisCluster::start();
    let server = Stand::setup(&cluster.url(&[0, 1]))
        .set("vcache.redis_connect_timeout", "60s")
        .set("vcache.redis_timeout", "60s")
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..30);
    let mut other = database.session();
    // A connection that stands, and one that must be made for the map.
    for mut session in [session, database.session()] {
        cluster.nodes().iter().for_each(Redis::pause);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let (pid, session, query) = (session.pid(), &mut session, source.query(2));
            let searching =
                scope.spawn(move || session.fails(&format!("SELECT * FROM vcache_search('docs', '{query}')")));
            until("the search waits for Redis", || waits(&mut other, pid));
            assert_eq!(other.value(&format!("SELECT pg_cancel_backend({pid})")), "t");
            searching.join().expect("thread").assert("57014", &["canceling statement"]);
        });
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        cluster.nodes().iter().for_each(Redis::resume);
        cluster.wait();
        until("all hit", || all_hit(&mut session, &source));
    }
}

#[test]
fn urls_that_are_none() {
    let cluster = RedisCluster::start();
    let alone = Redis::start();
    let server = brief(Stand::setup("")).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let seeds = cluster.url(&[0, 1]);
    let hosts = seeds.strip_prefix("redis-cluster://").expect("a scheme");
    for (url, works, words) in [
        (format!("{seeds}/0"), true, ""),
        (format!("{seeds}/"), true, ""),
        // Seeds that refuse, and a port that is the default.
        (format!("redis-cluster://127.0.0.1:1,localhost,{hosts}"), true, ""),
        (format!("{seeds}/1"), false, "database 0 alone"),
        (format!("{seeds}/x"), false, "not a URL of the form redis-cluster"),
        (format!("redis-cluster://user:pa/ss@{hosts}"), false, "not a URL of the form redis-cluster"),
        (format!("redis-cluster://{hosts},"), false, "not a URL of the form redis-cluster"),
        (String::from("redis-cluster://"), false, "not a URL of the form redis-cluster"),
        (format!("redis-cluster://user:wrong@{hosts}"), false, "WRONGPASS"),
        (format!("redis-cluster://127.0.0.1:{}", alone.port()), false, "no node of a cluster"),
        (format!("redis-sentinel://{hosts}/entries"), false, "no sentinel"),
        (format!("redis-sentinel://{hosts}"), false, "not a URL of the form redis-sentinel"),
    ] {
        server.reload_with("vcache.redis_url", &url);
        until("the session has the new setting", || session.value("SHOW vcache.redis_url") == url);
        if works {
            until("all hit", || all_hit(&mut session, &source));
        } else {
            let hits = database.stats("docs").hits;
            assert_searches(&mut session, &source, [1]);
            let seen = health(&mut session);
            assert!(seen.starts_with("down: "), "{url}: {seen}");
            assert!(seen.contains(words) && !seen.contains("pa/ss") && !seen.contains("wrong@"), "{url}: {seen}");
            assert_eq!(database.stats("docs").hits, hits, "{url}");
        }
    }
}

/// The reply to CLUSTER SLOTS of one node that has all slots.
pub fn all_slots(host: &str, port: u16) -> Vec<u8> {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${}\r\n{host}\r\n:{port}\r\n$1\r\nx\r\n", host.len()).into_bytes()
}

/// For each of these servers: two searches, which answer right and have no hit, whatever it says.
fn assert_useless(cases: impl IntoIterator<Item = (&'static str, Scripted)>, most: u64) {
    let setup = Stand::setup("").set("vcache.redis_connect_timeout", "200ms").set("vcache.redis_timeout", "200ms");
    let server = setup.start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    for (name, scripted) in cases {
        let url = format!("redis-cluster://127.0.0.1:{}", scripted.port());
        server.reload_with("vcache.redis_url", &url);
        until("the session has the new setting", || session.value("SHOW vcache.redis_url") == url);
        let before = database.stats("docs");
        let start = Instant::now();
        assert_searches(&mut session, &source, [1, 1]);
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
        let after = database.stats("docs");
        assert_eq!((after.hits, after.stores), (0, 0), "{name}: {after:?}");
        let failures = |stats: Stats| stats.redis_errors + stats.redis_timeouts;
        assert!(failures(after) > failures(before), "{name}: {after:?}");
        assert!(scripted.commands() < most, "{name}: {} commands", scripted.commands());
    }
    assert!(!server.log().contains("terminated by signal"));
    server.stop(Stop::Fast);
}

#[test]
fn redirections_in_circles_end() {
    type Answer = fn(&[String], u16) -> String;
    let cases: [(&str, Answer); 5] = [
        ("to itself", |command, port| moved(command, "127.0.0.1", port)),
        ("to the same host", |command, port| moved(command, "", port)),
        ("by two names", |command, port| {
            static COUNT: AtomicU64 = AtomicU64::new(0);
            let host = if COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { "localhost" } else { "127.0.0.1" };
            moved(command, host, port)
        }),
        ("asking", |command, port| {
            if command[0] == "ASKING" { "+OK\r\n".into() } else { moved(command, "", port).replace("MOVED", "ASK") }
        }),
        ("of another slot", |_, port| format!("-MOVED 1 127.0.0.1:{port}\r\n")),
    ];
    let start = |(name, answer): (&'static str, Answer)| {
        let scripted = Scripted::start(move |command, port| {
            if command[0] == "CLUSTER" { all_slots("127.0.0.1", port) } else { answer(command, port).into_bytes() }
        });
        (name, scripted)
    };
    // Two look-ups and two stores, or more where a session prepares, of six commands at most; ASKING before each, and the map.
    assert_useless(cases.map(start), 100);
}

/// A redirection of the command's key.
pub fn moved(command: &[String], host: &str, port: u16) -> String {
    format!("-MOVED {} {host}:{port}\r\n", vcache_core::cluster::slot(command[1].as_bytes()))
}

#[test]
fn maps_that_are_none() {
    type Reply = fn(u16) -> Vec<u8>;
    let replies: [(&str, Reply); 16] = [
        ("nothing", |_| b"*0\r\n".to_vec()),
        ("a string", |_| b"+OK\r\n".to_vec()),
        ("many ranges", |_| b"*99999999\r\n".to_vec()),
        ("more than there are numbers for", |_| b"*99999999999999999999\r\n".to_vec()),
        ("a giant string", |_| b"*1\r\n$99999999999\r\n".to_vec()),
        ("many strings", |_| {
            let string = [b"$1000\r\n".as_slice(), &[b'x'; 1000], b"\r\n"].concat();
            [b"*90000\r\n".to_vec(), string.repeat(3000)].concat()
        }),
        ("deep", |_| b"*1\r\n".repeat(100_000)),
        ("deep and never done", |_| b"*2\r\n".repeat(4)),
        ("slots beyond the last", |port| replaced(port, "16383", "16384")),
        ("slots before the first", |port| replaced(port, ":0\r", ":-1\r")),
        ("the last before the first", |port| replaced(port, ":16383", ":-3")),
        ("no port", |port| replaced(port, &format!(":{port}\r"), ":0\r")),
        ("a port beyond the last", |port| replaced(port, &format!(":{port}\r"), ":65536\r")),
        ("a host that is none", |_| all_slots("a b/c@d", 1)),
        ("an unknown host", |_| all_slots("redis.invalid", 6379)),
        ("a map of RESP3", |_| b"%1\r\n+a\r\n+b\r\n".to_vec()),
    ];
    let start = |(name, reply): (&'static str, Reply)| {
        let scripted = Scripted::start(
            move |command, port| {
                if command[0] == "CLUSTER" { reply(port) } else { b"-ERR none\r\n".to_vec() }
            },
        );
        (name, scripted)
    };
    assert_useless(replies.map(start), 100);
}

fn replaced(port: u16, what: &str, by: &str) -> Vec<u8> {
    String::from_utf8(all_slots("127.0.0.1", port)).expect("text").replace(what, by).into_bytes()
}

#[test]
fn a_host_that_a_node_leaves_out_is_its_own() {
    let real = RedisCluster::start();
    let owner = real.nodes()[0].port();
    // A node that knows only that all is at its own host.
    let scripted =
        Scripted::start(
            move |command, _| {
                if command[0] == "CLUSTER" { all_slots("", owner) } else { b"-ERR none\r\n".to_vec() }
            },
        );
    let server = Stand::setup(&format!("redis-cluster://localhost:{}", scripted.port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    assert!(real.errors("MOVED") > 0);
}
