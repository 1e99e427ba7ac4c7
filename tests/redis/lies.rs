//! Redis behind a network, or in place of it a server, that does everything a search must survive.

use std::time::Duration;

use harness::{Database, Fault, Generator, Proxy, Redis, Session, Source, Stand, until};

use crate::{assert_searches, prepared};

/// What becomes of the breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaker {
    Opens,
    /// Whatever is searched for, Redis is of use.
    StaysClosed,
    /// Some searches fail, others do not.
    Either,
}
use Breaker::{Either, Opens, StaysClosed};

/// What is done to replies, and what becomes of the breaker.
fn faults(port: u16) -> Vec<(String, Fault, Breaker)> {
    let ms = Duration::from_millis;
    let mut faults: Vec<(String, Fault, Breaker)> = [
        ("a reset", Fault::Reset, Opens),
        ("silence", Fault::Stall(0), Opens),
        ("one byte and silence", Fault::Stall(1), Opens),
        ("a reply that breaks off", Fault::Stall(3), Opens),
        // That there is none comes whole.
        ("an entry that breaks off", Fault::Stall(20), Either),
        ("the end in place of a reply", Fault::Truncate(0), Opens),
        ("a reply cut short", Fault::Truncate(3), Opens),
        ("an entry cut short", Fault::Truncate(100), Either),
        // A miss' reply of five bytes may come in time, an entry does not.
        ("one byte each 10 ms", Fault::Trickle(ms(10)), Either),
        ("replies behind their deadline", Fault::Late(ms(600)), Opens),
        ("a second reply", Fault::Behind(b"$-1\r\n".to_vec()), Opens),
        ("a value behind the reply", Fault::Behind(b"$5\r\nhello\r\n".to_vec()), Opens),
        ("garbage behind the reply", Fault::Behind(b"\0\xff".to_vec()), Opens),
        // Found before the next command, which then goes over a new connection.
        ("a second reply a moment later", Fault::Afterwards(b"$5\r\nhello\r\n".to_vec()), Either),
        ("a push a moment later", Fault::Afterwards(b">2\r\n+invalidate\r\n*0\r\n".to_vec()), Either),
        // Taken for the reply, and found to be no entry; the reply itself is then one too many.
        ("a reply before the command", Fault::Unasked(b"$5\r\nhello\r\n".to_vec()), Either),
        ("nonsense before the command", Fault::Unasked(b"220 mail.example.com ESMTP\r\n".to_vec()), Opens),
    ]
    .map(|(what, fault, breaker)| (what.to_owned(), fault, breaker))
    .into();
    let moved = format!("-MOVED 0 127.0.0.1:{port}\r\n");
    let mut generator = Generator::new(4);
    let noise: Vec<u8> = (0..5000).map(|_| generator.bits() as u8 | 0x80).collect();
    let refusals = [
        "LOADING Redis is loading the dataset in memory",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN Hash slot not served",
        "BUSY Redis is busy running a script",
        "ERR max number of clients reached",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "MISCONF Errors writing to the RDB file",
        "",
        " \u{7} ",
    ];
    let replies: Vec<(String, Vec<u8>, Breaker)> = [
        // No deadline is lost on these two.
        ("an oversized bulk", b"$99999999999\r\n".to_vec(), StaysClosed),
        ("a bulk of more than 2^64 bytes", b"$99999999999999999999999\r\n".to_vec(), StaysClosed),
        ("a bulk of less than none", b"$-2\r\n".to_vec(), Opens),
        ("a bulk without a length", b"$\r\n\r\n".to_vec(), Opens),
        ("a bulk without its end", b"$3\r\nabcde\r\n".to_vec(), Opens),
        ("a bulk of another length", b"$100\r\nabc\r\n".to_vec(), Opens),
        ("an endless line", vec![b'+'; 100_000], Opens),
        ("arrays in arrays", b"*1\r\n".repeat(100_000), Opens),
        ("a large array", b"*2147483647\r\n".to_vec(), Opens),
        ("a push", b">2\r\n+message\r\n+hello\r\n".to_vec(), Opens),
        ("a map", b"%1\r\n+a\r\n+b\r\n".to_vec(), Opens),
        ("a null of RESP3", b"_\r\n".to_vec(), Opens),
        ("a streamed string", b"$?\r\n;4\r\nabcd\r\n;0\r\n".to_vec(), Opens),
        ("a number", b":1\r\n".to_vec(), Opens),
        ("OK", b"+OK\r\n".to_vec(), Opens),
        ("QUEUED", b"+QUEUED\r\n".to_vec(), Opens),
        ("an empty line", b"\r\n".to_vec(), Opens),
        ("a web server", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), Opens),
        ("zeros", vec![0; 5000], Opens),
        ("noise", noise, Opens),
        ("a long refusal", [b"-ERR ".as_slice(), &[b'x'; 100_000]].concat(), Opens),
        // To a GET these are answers: there is an entry that is none, or there is no entry.
        ("a value that is no entry", b"$5\r\nhello\r\n".to_vec(), StaysClosed),
        ("an empty value", b"$0\r\n\r\n".to_vec(), StaysClosed),
        ("no value", b"$-1\r\n".to_vec(), StaysClosed),
        ("MOVED in circles", moved.clone().into_bytes(), StaysClosed),
        ("ASK in circles", moved.replace("MOVED", "ASK").into_bytes(), StaysClosed),
        ("another type", b"-WRONGTYPE Operation against a key\r\n".to_vec(), StaysClosed),
    ]
    .map(|(what, reply, breaker)| (what.to_owned(), reply, breaker))
    .into();
    let refusals =
        refusals.map(|refusal| (format!("refused: {refusal}"), format!("-{refusal}\r\n").into_bytes(), Opens));
    let replies = replies.into_iter().chain(refusals);
    faults.extend(replies.map(|(what, reply, breaker)| (what, Fault::Instead(reply), breaker)));
    faults
}

struct Scene<'a> {
    database: &'a Database<'a>,
    proxy: &'a Proxy,
    source: &'a Source,
    session: Session,
}

impl Scene<'_> {
    /// Searches for what is there and for what is not, in an old session and in a new one, with the fault and after it.
    fn survives(&mut self, what: &str, fault: Fault, breaker: Breaker, fresh: u64) {
        let before = self.database.stats("docs");
        self.proxy.set(fault);
        assert_searches(&mut self.session, self.source, [1, fresh, 2]);
        assert_searches(&mut self.database.session(), self.source, [2, fresh, 1]);
        let after = self.database.stats("docs");
        after.outcomes();
        assert_eq!((after.lookups, after.engine_errors), (before.lookups + 6, 0), "{what}: {after:?}");
        let detail = self.database.redis().1;
        let is = |state: &str| detail.contains(state);
        assert!(breaker != Opens || is("breaker open"), "{what}: {detail}");
        assert!(breaker != StaysClosed || is("breaker closed"), "{what}: {detail}");
        self.proxy.set(Fault::None);
        self.database.until_redis_is_used();
        // What was overwritten or never stored is a miss once; on a busy machine a reply may be late.
        until("both are hits again", || {
            let before = self.database.stats("docs");
            assert_searches(&mut self.session, self.source, [1, 2]);
            self.database.stats("docs").hits == before.hits + 2
        });
    }
}

#[test]
fn whatever_comes_back_searches_answer_right_and_hits_come_again() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let server = Stand::setup(&proxy.url())
        .set("vcache.redis_connect_timeout", "250ms")
        .set("vcache.redis_timeout", "250ms")
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 2]);
    let mut scene = Scene { database: &database, proxy: &proxy, source: &source, session };
    for (number, (what, fault, breaker)) in faults(proxy.port()).into_iter().enumerate() {
        scene.survives(&what, fault, breaker, 100 + number as u64);
    }
    let log = server.log();
    assert!(!log.contains("terminated by signal") && !log.contains("panicked"), "{}", server.last_of_log());
}

#[test]
fn many_sessions_while_faults_come_and_go() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let server = Stand::setup(&proxy.url())
        .set("vcache.redis_connect_timeout", "250ms")
        .set("vcache.redis_timeout", "250ms")
        .start();
    let database = server.database();
    let (_, source) = prepared(&database);
    let faults = faults(proxy.port());
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..4)
            .map(|number| {
                let (database, source) = (&database, &source);
                scope.spawn(move || {
                    let seeds = (0..150).map(|search| (search * (number + 1)) % 13);
                    assert_searches(&mut database.session(), source, seeds);
                })
            })
            .collect();
        let mut generator = Generator::new(7);
        while !sessions.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let fault = &faults[generator.below(faults.len() as u64) as usize].1;
            // As often well as not, so that the breaker is closed half of the time.
            proxy.set(if generator.below(2) == 0 { Fault::None } else { fault.clone() });
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.lookups, stats.engine_errors), (600, 0));
    proxy.set(Fault::None);
    database.until_redis_is_used();
    let mut session = database.session();
    until("all are hits again", || {
        let hits = database.stats("docs").hits;
        assert_searches(&mut session, &source, 0..13);
        database.stats("docs").hits == hits + 13
    });
    let log = server.log();
    assert!(!log.contains("terminated by signal") && !log.contains("panicked"), "{}", server.last_of_log());
}

#[test]
fn a_redis_that_is_full_and_evicts() {
    let stand = Stand::with_redis_alone();
    let used: String = redis::cmd("INFO").arg("memory").query(&mut stand.redis.connection(0)).expect("INFO");
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("used_memory");
    let room = used.trim().parse::<u64>().expect("a number") + 200_000;
    stand.redis.configure("maxmemory", &room.to_string());
    stand.redis.configure("maxmemory-policy", "allkeys-lru");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    // More than there is room for, some of them again and again.
    assert_searches(&mut session, &source, (0..1500).map(|search| if search % 3 == 0 { search % 5 } else { search }));
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.redis_errors, stats.redis_timeouts, stats.engine_errors), (0, 0, 0), "{stats:?}");
    assert!(stats.hits >= 300, "{stats:?}");
    assert!(stand.redis.keys().len() < 900, "{} keys: nothing was evicted", stand.redis.keys().len());
    assert!(database.redis().1.contains("breaker closed"));
}

#[test]
fn what_a_server_says_in_its_own_words_is_shown_nowhere() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let server = Stand::setup(&proxy.url()).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    session.run("SET client_min_messages = 'log'");
    session.notices();
    // The first word is what a code stands for; the third is longer than any.
    for said in
        ["Swordfish is the password", "swordfish", &"SWORDFISH".repeat(4), "ERR swordfish", "WRONGTYPE swordfish"]
    {
        proxy.set(Fault::Instead(format!("-{said}\r\n").into_bytes()));
        assert_searches(&mut session, &source, 0..6);
        let seen = database.redis().1;
        assert!(seen.contains("refused with ") && !seen.to_lowercase().contains("swordfish"), "{said}: {seen}");
        proxy.set(Fault::None);
        database.until_redis_is_used();
    }
    let log = server.log();
    assert!(
        log.contains("vcache leaves Redis at 127.0.0.1") && log.contains("vcache uses Redis at 127.0.0.1"),
        "{log}"
    );
    assert!(!log.to_lowercase().contains("swordfish"), "{log}");
    // These lines are for the log alone, whatever a session sets.
    let notices = session.notices();
    assert!(!notices.iter().any(|notice| notice.message.contains("Redis")), "{notices:?}");
}
