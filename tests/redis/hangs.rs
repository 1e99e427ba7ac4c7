//! Redis that hangs: it accepts connections and never answers.

use std::time::{Duration, Instant};

use harness::{Stand, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::{assert_searches, prepared, waits};

/// A server whose searches give up on Redis soon, or only after a minute.
fn stand(timeout: &str) -> Stand {
    Stand::with_redis_alone_with(|setup| {
        setup.set("vcache.redis_timeout", timeout).set("vcache.redis_connect_timeout", timeout)
    })
}

#[test]
fn a_search_answers_within_its_deadlines() {
    let stand = stand("100ms");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    stand.redis.pause();
    let before = database.stats("docs");
    let mut fresh = database.session();
    let start = Instant::now();
    // A connection that stands and one that must be made; a vector that is kept and others.
    assert_searches(&mut session, &source, [1, 2, 3]);
    assert_searches(&mut fresh, &source, [1, 2, 3]);
    // Six searches of at most 0.2 s each; the bound is on hanging, for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let after = database.stats("docs");
    assert_eq!(after.hits, before.hits);
    assert!(after.redis_timeouts > before.redis_timeouts, "{after:?}");

    stand.redis.resume();
    database.until_redis_is_used();
    // What was asked of a connection that timed out is never taken for the answer to something else.
    assert_searches(&mut session, &source, [5, 4, 3, 2, 1, 2, 3, 4, 5]);
    assert_searches(&mut fresh, &source, [3, 2, 1, 4, 5]);
    assert!(database.stats("docs").hits > after.hits);
}

#[test]
fn a_redis_that_did_not_answer_is_not_asked_to_store() {
    let stand = stand("100ms");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let (before, sets) = (database.stats("docs"), stand.redis.calls("set"));
    stand.redis.pause();
    let mut fresh = database.session();
    assert_searches(&mut session, &source, [2, 3]);
    assert_searches(&mut fresh, &source, [2, 3]);
    let after = database.stats("docs");
    // One deadline each, until the breaker opens.
    assert_eq!(after.redis_timeouts + after.redis_errors, before.redis_timeouts + before.redis_errors + 3, "{after:?}");
    stand.redis.resume();
    // What had been sent would be obeyed now.
    assert_eq!((stand.redis.calls("set"), stand.redis.keys().len(), after.stores), (sets, 1, before.stores));
}

#[test]
fn replies_that_come_too_late_reach_nobody() {
    let stand = stand("100ms");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..6);
    for round in 0..6 {
        stand.redis.pause();
        assert_searches(&mut session, &source, [round]);
        stand.redis.resume();
        assert_searches(&mut session, &source, (0..6).chain([(round + 1) % 6, round]));
    }
    let stats = database.stats("docs");
    stats.outcomes();
    assert!(stats.hits >= 30, "{stats:?}");
}

#[test]
fn a_reply_that_is_there_counts_however_late_the_backend_runs() {
    const DEADLINE: Duration = Duration::from_secs(5);
    let stand = stand("5s");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let (before, gets) = (database.stats("docs"), stand.redis.calls("get"));
    let (pid, mut other) = (session.pid(), database.session());
    let backend = Pid::from_raw(pid.try_into().expect("a process")).expect("a process");
    stand.redis.pause();
    std::thread::scope(|scope| {
        let start = Instant::now();
        let searching = scope.spawn(|| assert_searches(&mut session, &source, [1]));
        until("the search waits for Redis", || waits(&mut other, pid));
        // With many more sessions than processors, a backend may not run until its deadline has passed.
        kill_process(backend, Signal::STOP).expect("signal to the backend");
        stand.redis.resume();
        until("Redis has answered", || stand.redis.calls("get") > gets);
        // Nor is what wakes it at last the reply: this is what tells it of a reload.
        kill_process(backend, Signal::HUP).expect("signal to the backend");
        std::thread::sleep((DEADLINE + Duration::from_millis(100)).saturating_sub(start.elapsed()));
        kill_process(backend, Signal::CONT).expect("signal to the backend");
        searching.join().expect("thread");
    });
    let after = database.stats("docs");
    assert_eq!((after.hits, after.redis_timeouts), (before.hits + 1, before.redis_timeouts), "{after:?}");
}

/// Starts a search that hangs in Redis for as long as a minute, ends it from elsewhere, and gives what became of it.
fn interrupted(stand: &Stand, end: &str) -> (harness::Failure, Duration) {
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let mut other = database.session();
    stand.redis.pause();
    let result = std::thread::scope(|scope| {
        let pid = session.pid();
        let query = source.query(2);
        let searching = scope.spawn(move || session.fails(&format!("SELECT * FROM vcache_search('docs', '{query}')")));
        until("the search waits for Redis", || waits(&mut other, pid));
        let start = Instant::now();
        assert_eq!(other.value(&format!("SELECT {end}({pid})")), "t");
        let failure = searching.join().expect("thread");
        until("the backend has obeyed", || !waits(&mut other, pid));
        (failure, start.elapsed())
    });
    stand.redis.resume();
    database.until_redis_is_used();
    let mut session = database.session();
    assert_searches(&mut session, &source, [1, 2, 2]);
    database.stats("docs").outcomes();
    result
}

#[test]
fn a_cancel_acts_at_once() {
    let stand = stand("60s");
    let (failure, passed) = interrupted(&stand, "pg_cancel_backend");
    failure.assert("57014", &["canceling statement"]);
    assert!(passed < Duration::from_secs(20), "{passed:?}");
}

#[test]
fn a_termination_acts_at_once() {
    let stand = stand("60s");
    let (failure, passed) = interrupted(&stand, "pg_terminate_backend");
    // The reason may be lost with the connection.
    assert!(failure.sqlstate == "57P01" || failure.sqlstate.is_empty(), "{failure:?}");
    assert!(passed < Duration::from_secs(20), "{passed:?}");
}

#[test]
fn a_statement_timeout_acts_at_once() {
    let stand = stand("60s");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    stand.redis.pause();
    session.run("SET statement_timeout = '300ms'");
    let start = Instant::now();
    session
        .fails(&format!("SELECT * FROM vcache_search('docs', '{}')", source.query(1)))
        .assert("57014", &["statement timeout"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    stand.redis.resume();
    session.run("RESET statement_timeout");
    assert_searches(&mut session, &source, [2, 1, 1, 2]);
}

#[test]
fn a_server_stops_while_searches_hang() {
    let stand = stand("60s");
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let mut other = database.session();
    stand.redis.pause();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let pid = session.pid();
        let query = source.query(2);
        let searching = scope.spawn(move || session.fails(&format!("SELECT * FROM vcache_search('docs', '{query}')")));
        until("the search waits for Redis", || waits(&mut other, pid));
        stand.server.stop(harness::Stop::Fast);
        searching.join().expect("thread");
    });
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    stand.redis.resume();
}
