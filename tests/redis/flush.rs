//! `vcache_flush`: it frees vcache's entries, and nobody else's keys.

use std::time::{Duration, Instant};

use harness::{Redis, RedisCluster, Scripted, Stand, until};
use redis::Commands;

use crate::cluster::all_slots;
use crate::{assert_searches, prepared, waits};

#[test]
fn it_frees_the_entries_and_touches_no_other_key() {
    // What means something in a pattern, and a prefix of the others.
    for prefix in ["vcache", "app*", "a?b", "[ab]", "a\\b", "x^y-z", ""] {
        let stand = Stand::with_redis_alone_with(|setup| setup.set("vcache.key_prefix", prefix));
        let digits = "0123456789abcdef0123456789abcdef";
        let mut others = vec![
            format!("{prefix}x:{digits}"),
            format!("x{prefix}:{digits}"),
            format!("{prefix}:{}", &digits[1..]),
            format!("{prefix}:{digits}0"),
            format!("{prefix}:{}", digits.to_uppercase()),
            format!("{prefix}:{}-", &digits[1..]),
            format!("{prefix}:{}\n", &digits[1..]),
            format!("{prefix}::{digits}"),
            format!("apple:{digits}"),
            format!("aab:{digits}"),
            format!("a:{digits}"),
            format!("b:{digits}"),
            format!("ab:{digits}"),
            prefix.to_owned(),
            "theirs".to_owned(),
        ];
        others.sort();
        others.dedup();
        for key in &others {
            stand.redis.set(key, b"theirs");
        }
        let database = stand.database();
        let (mut session, source) = prepared(&database);
        assert_searches(&mut session, &source, 0..30);
        assert_eq!(stand.redis.keys().len(), others.len() + 30, "{prefix}");
        assert_eq!(session.number("SELECT vcache_flush()"), 30, "{prefix}");
        assert_eq!(stand.redis.keys(), others, "{prefix}");
        assert!(others.iter().all(|key| stand.redis.get(key).as_deref() == Some(b"theirs".as_slice())));
        assert_eq!(session.number("SELECT vcache_flush()"), 0);
        assert_searches(&mut session, &source, [1, 1]);
        assert_eq!(database.stats("docs").hits, 1);
    }
}

#[test]
fn it_frees_many_in_bounded_steps() {
    let stand = Stand::with_redis_alone();
    let mut pipe = redis::pipe();
    for number in 0..20_000 {
        pipe.set(format!("vcache:{number:032x}"), "x").ignore();
        pipe.set(format!("other:{number:032x}"), "x").ignore();
    }
    pipe.query::<()>(&mut stand.redis.connection(0)).expect("SET");
    let database = stand.database();
    assert_eq!(database.session().number("SELECT vcache_flush()"), 20_000);
    let size: usize = redis::cmd("DBSIZE").query(&mut stand.redis.connection(0)).expect("DBSIZE");
    assert_eq!(size, 20_000);
    let (scans, unlinks) = (stand.redis.calls("scan"), stand.redis.calls("unlink"));
    assert!(scans >= 40 && unlinks >= 40, "{scans} scans, {unlinks} unlinks: the steps are too long");
    assert!(scans < 1000 && unlinks < 1000, "{scans} scans, {unlinks} unlinks: the steps are too short");
}

#[test]
fn a_node_of_a_cluster_frees_the_keys_of_one_slot_at_once() {
    let node = Redis::start_cluster_of_one(&[]);
    let mut connection = node.connection(0);
    for thousand in 0..60 {
        let mut pipe = redis::pipe();
        for number in thousand * 1000..(thousand + 1) * 1000 {
            pipe.set(format!("vcache:{number:032x}"), "x").ignore();
        }
        pipe.query::<()>(&mut connection).expect("SET");
    }
    let server = Stand::setup(&format!("redis-cluster://127.0.0.1:{}", node.port())).start();
    let database = server.database();
    assert_eq!(database.session().number("SELECT vcache_flush()"), 60_000);
    assert_eq!(node.keys().len(), 0);
    // There are 16,384 slots; the keys are gathered twice, the second time few.
    let unlinks = node.calls("unlink");
    assert!(unlinks < 30_000, "{unlinks} unlinks");
}

#[test]
fn it_frees_its_own_database_of_redis_and_none_where_redis_is_off() {
    let redis = Redis::start();
    let server = Stand::setup(&format!("redis://127.0.0.1:{}/3", redis.port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let key = &redis.keys_of(3)[0];
    redis.set(key, b"of another server");
    assert_eq!(session.number("SELECT vcache_flush()"), 1);
    assert_eq!((redis.keys_of(0).len(), redis.keys_of(3).len()), (1, 0));
    server.reload_with("vcache.redis_url", "");
    assert_eq!(database.session().number("SELECT vcache_flush()"), 0);
}

#[test]
fn it_is_not_for_everyone_and_says_what_is_wrong() {
    let redis = Redis::start_with(&["--user", "few", "on", ">p4ss", "~vcache:*", "+get", "+set"], None);
    let server = Stand::setup(&format!("redis://few:p4ss@127.0.0.1:{}/0", redis.port())).start();
    let database = server.database();
    let role = database.role("role", "");
    database.session_as(&role).fails("SELECT vcache_flush()").assert("42501", &["vcache_flush"]);
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let failure = session.fails("SELECT vcache_flush()");
    failure.assert("58000", &["could not free the entries in Redis", "NOPERM", "0 entries"]);
    assert!(failure.hint.contains("+scan +unlink"), "{failure:?}");
    // Searches go on.
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").hits, 1);
    let allow = || {
        let mut connection = redis.connection(0);
        let acl = ["SETUSER", "few", "+scan", "+unlink"];
        redis::cmd("ACL").arg(&acl).query::<()>(&mut connection).expect("ACL SETUSER");
    };
    allow();
    session.run(&format!("GRANT EXECUTE ON FUNCTION vcache_flush() TO {role}"));
    assert_eq!(database.session_as(&role).number("SELECT vcache_flush()"), 1);

    redis.stop();
    let failure = database.session_as(&role).fails("SELECT vcache_flush()");
    failure.assert("58000", &["could not free the entries in Redis", "refused"]);
    assert!(failure.hint.contains("vcache_health") && !format!("{failure:?}").contains("127.0.0.1"), "{failure:?}");
    // It asks even where the breaker keeps searches from asking.
    assert_searches(&mut session, &source, 0..5);
    redis.start_again();
    allow();
    assert_eq!(session.number("SELECT vcache_flush()"), 0);
    assert!(database.redis().1.contains("breaker closed"));
}

#[test]
fn a_cancel_acts_and_a_transaction_takes_nothing_back() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set("vcache.redis_timeout", "60s"));
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    session.run("BEGIN; SELECT vcache_flush(); ROLLBACK");
    assert_eq!(stand.redis.keys().len(), 0);
    stand.redis.pause();
    let mut other = database.session();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let pid = session.pid();
        let flushing = scope.spawn(move || session.fails("SELECT vcache_flush()"));
        until("it waits for Redis", || waits(&mut other, pid));
        other.run(&format!("SELECT pg_cancel_backend({pid})"));
        flushing.join().expect("thread").assert("57014", &["canceling statement"]);
    });
    // The bound is on hanging.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    stand.redis.resume();
    assert_searches(&mut database.session(), &source, [1, 1]);
}

#[test]
fn values_of_other_types_under_an_entrys_name_are_freed_with_the_rest() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let mut connection = stand.redis.connection(0);
    let _: () = connection.rpush(format!("vcache:{:032x}", 1), "x").expect("RPUSH");
    assert_eq!(database.session().number("SELECT vcache_flush()"), 1);
    assert_eq!(stand.redis.keys().len(), 0);
}

#[test]
fn while_slots_of_a_cluster_move() {
    let cluster = RedisCluster::start();
    // All keys in one slot.
    let server = Stand::setup(&cluster.url(&[0])).set("vcache.key_prefix", "{vcache}").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    // Before, in the middle of it, and when all keys are there but the slot is not.
    for when in 1..=5 {
        assert_searches(&mut session, &source, 0..30);
        let from = cluster.nodes().iter().position(|node| node.is_master() && !node.keys().is_empty()).expect("keys");
        let (mut pauses, mut freed) = (0, String::new());
        cluster.move_slots(from, (from + 1) % 3, || {
            pauses += 1;
            if pauses == when {
                freed = session.value("SELECT vcache_flush()");
            }
        });
        assert_eq!(freed, "30", "at pause {when} of {pauses}");
        assert_eq!(cluster.keys().iter().sum::<usize>(), 0);
        cluster.wait();
    }
}

/// What a node says, one that has all slots, of which one with two entries of vcache's is on its way to another.
fn moving(command: &[String], port: u16, never_done: bool) -> Vec<u8> {
    let first = format!("{{vcache}}:{:032x}", 1);
    let second = format!("{{vcache}}:{:032x}", 2);
    match &*command[0] {
        "CLUSTER" => all_slots("127.0.0.1", port),
        "SCAN" => format!("*2\r\n$1\r\n0\r\n*2\r\n$41\r\n{first}\r\n$41\r\n{second}\r\n").into_bytes(),
        _ if never_done || command.len() > 2 => {
            b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_vec()
        }
        _ => b":1\r\n".to_vec(),
    }
}

#[test]
fn keys_of_a_slot_that_is_half_way() {
    for (never_done, wanted) in [(false, Ok("2")), (true, Err("slots of the cluster are being moved"))] {
        let node = Scripted::start(move |command, port| moving(command, port, never_done));
        let url = format!("redis-cluster://127.0.0.1:{}", node.port());
        let server = Stand::setup(&url).set("vcache.key_prefix", "{vcache}").start();
        let database = server.database();
        match wanted {
            Ok(freed) => assert_eq!(database.session().value("SELECT vcache_flush()"), freed),
            Err(why) => database.session().fails("SELECT vcache_flush()").assert("58000", &[why, "0 entries"]),
        }
        assert!(node.commands() < 100, "{} commands", node.commands());
    }
}

#[test]
fn a_master_that_does_not_tell_its_address_is_not_left_out_in_silence() {
    let node = Scripted::start(|command, port| match &*command[0] {
        "CLUSTER" => {
            let range =
                |slots: &str, host: &str, port| format!("*3\r\n{slots}*2\r\n${}\r\n{host}\r\n:{port}\r\n", host.len());
            let (told, untold) = (range(":0\r\n:99\r\n", "127.0.0.1", port), range(":100\r\n:16383\r\n", "?", port));
            format!("*2\r\n{untold}{told}").into_bytes()
        }
        "SCAN" => format!("*2\r\n$1\r\n0\r\n*1\r\n$39\r\nvcache:{:032x}\r\n", 1).into_bytes(),
        _ => b":1\r\n".to_vec(),
    });
    let server = Stand::setup(&format!("redis-cluster://127.0.0.1:{}", node.port())).start();
    let failure = server.database().session().fails("SELECT vcache_flush()");
    failure.assert("58000", &["a master of the cluster does not tell its address", "1 entries were freed before"]);
}
