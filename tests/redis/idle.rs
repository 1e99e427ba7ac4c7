//! Connections that lie idle, that die unseen, and servers with several addresses: what each may cost.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use harness::{Redis, Stand, until};

use crate::{assert_searches, assert_up, prepared};

/// The numbers of the connections whose last command was one of vcache's.
fn clients(redis: &Redis) -> Vec<String> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut redis.connection(0)).expect("CLIENT LIST");
    let ours = |line: &&str| line.contains("cmd=get") || line.contains("cmd=set");
    list.lines().filter(ours).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_connection_that_lay_idle_too_long_is_made_anew() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set("vcache.redis_idle_timeout", "1s"));
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let first = clients(&stand.redis);
    session.run("SELECT pg_sleep(1.2)");
    // Lazily: a backend has no timer.
    assert_eq!(clients(&stand.redis), first);
    assert_searches(&mut session, &source, [1]);
    let second = clients(&stand.redis);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));

    // 0: never. It applies to sessions that run.
    stand.server.reload_with("vcache.redis_idle_timeout", "0");
    until("the session has the new setting", || session.value("SHOW vcache.redis_idle_timeout") == "0");
    assert_searches(&mut session, &source, [1]);
    let third = clients(&stand.redis);
    session.run("SELECT pg_sleep(1.2)");
    assert_searches(&mut session, &source, [1]);
    assert_eq!(clients(&stand.redis), third);
    assert_eq!(database.stats("docs").redis_errors, 0);
}

/// Answers one command at a time: GET by nothing, SET by OK.
fn answer(stream: &mut TcpStream) -> bool {
    let mut command = [0; 1 << 16];
    match stream.read(&mut command) {
        Ok(length) if length > 0 => {
            let reply: &[u8] =
                if command.windows(3).take(length).any(|word| word == b"SET") { b"+OK\r\n" } else { b"$-1\r\n" };
            stream.write_all(reply).is_ok()
        }
        _ => false,
    }
}

#[test]
fn a_connection_that_closes_late_costs_no_second_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let url = format!("redis://127.0.0.1:{}/0", listener.local_addr().expect("address").port());
    let server = Stand::setup(&url).set("vcache.redis_timeout", "6s").set("vcache.redis_connect_timeout", "1s").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let passed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            assert!(answer(&mut stream) && answer(&mut stream));
            // The next command is left unanswered for nearly its deadline. Who connects again then meets silence.
            let _ = stream.read(&mut [0; 1 << 16]);
            std::thread::sleep(Duration::from_millis(5500));
        });
        assert_searches(&mut session, &source, [1]);
        let start = Instant::now();
        assert_searches(&mut session, &source, [1]);
        start.elapsed()
    });
    // 7 seconds at most, where each part with a deadline of its own would take 11.5; the bound is for a busy machine.
    assert!(passed < Duration::from_secs(10), "{passed:?}");
    assert_eq!(database.stats("docs").redis_timeouts, 1);
}

#[test]
fn an_address_from_which_nothing_comes_does_not_hide_the_next() {
    let redis = Redis::start();
    // `localhost` is ::1, too. There somebody listens whose queue is full: the system ignores who asks for a place.
    let Ok(listener) = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None) else { return };
    listener.set_only_v6(true).expect("IPv6 only");
    let address = std::net::SocketAddr::from((Ipv6Addr::LOCALHOST, redis.port()));
    if listener.bind(&address.into()).is_err() {
        return; // A machine without IPv6 has no second address.
    }
    listener.listen(0).expect("listen");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let server = Stand::setup(&format!("redis://localhost:{}/0", redis.port()))
        .set("vcache.redis_connect_timeout", "4s")
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);
    assert_eq!(database.stats("docs").redis_timeouts, 0);
}

#[test]
fn a_session_that_is_told_to_do_without_redis_closes_its_connection() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(clients(&stand.redis).len(), 1);
    stand.server.reload_with("vcache.redis_url", "");
    until("the session has the new setting", || session.value("SHOW vcache.redis_url").is_empty());
    assert_searches(&mut session, &source, [1]);
    // Redis sees the end in its own time.
    until("the connection is closed", || clients(&stand.redis).is_empty());
    stand.server.reload_with("vcache.redis_url", &stand.redis.url());
    until("the session has the new setting", || !session.value("SHOW vcache.redis_url").is_empty());
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").hits, 2);
}
