//! Who computes does not come to an end: another one takes over at once. And nobody is in a circle with those who wait.

use std::thread;

use harness::{Session, until};

use crate::scene::{COLD, COMPUTING, Held, assert_found, in_engine, leader, searching, told, waiting, without_redis};

/// Of one who is terminated: the driver may find the connection closed before it reads why.
const GONE: &str = "";

/// How the one who computes is brought to an end, if not by what `settings` do: by the observer, who knows its process.
fn another_takes_over(settings: &str, end: impl FnOnce(&mut Session, i64), sqlstate: &str) {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let mut first = held.session();
    let others = [held.session(), held.session(), held.session()];
    first.run(settings);
    let pid = first.pid();
    session.run("SELECT vcache_stats_reset()");
    thread::scope(|scope| {
        let mut holder = held.hold();
        let first = searching(scope, first);
        assert_eq!(leader(&mut session), pid);
        let others = others.map(|other| searching(scope, other));
        end(&mut session, pid);
        first.join().expect("a session").1.expect_err("a failure").assert(sqlstate, &[]);
        // They wait for up to two minutes, but not for somebody who is gone.
        until("another computes", || in_engine(&mut session) == 1 && waiting(&mut session) == 2);
        assert_ne!(leader(&mut session), pid);
        holder.run("ROLLBACK");
        for search in others {
            assert_found(&plain, search.join().expect("a session"));
        }
    });
    let stats = database.stats("docs");
    assert_eq!((stats.outcomes(), stats.stores), ((2, 1, 0), 1));
    // Who is terminated counts no more.
    assert_eq!(stats.engine_errors, i64::from(sqlstate != GONE));
    assert_eq!(session.number(COMPUTING), 0);
}

/// Ends it once the others wait.
fn by(function: &'static str) -> impl FnOnce(&mut Session, i64) {
    move |session, pid| {
        until("the others wait", || waiting(session) == 3);
        assert_eq!(session.value(&format!("SELECT {function}({pid})")), "t");
    }
}

#[test]
fn cancelled() {
    another_takes_over("", by("pg_cancel_backend"), "57014");
}

#[test]
fn terminated() {
    another_takes_over("", by("pg_terminate_backend"), GONE);
}

#[test]
fn out_of_time() {
    another_takes_over("SET statement_timeout = '1s'", |_, _| {}, "57014");
}

#[test]
fn failed_in_the_engine() {
    another_takes_over("SET lock_timeout = '1s'", |_, _| {}, "55P03");
}

#[test]
fn failed_in_a_part_of_a_transaction_that_goes_on() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let (mut first, second) = (held.session(), held.session());
    first.run("BEGIN; SAVEPOINT s; SET LOCAL lock_timeout = '500ms'");
    thread::scope(|scope| {
        let mut holder = held.hold();
        let (mut first, failed) = searching(scope, first).join().expect("a session");
        failed.expect_err("a failure").assert("55P03", &[]);
        first.run("ROLLBACK TO SAVEPOINT s");
        assert_eq!(session.number(COMPUTING), 0);
        let second = searching(scope, second);
        leader(&mut session);
        // In its transaction, the first one waits for the second now.
        let first = searching(scope, first);
        until("the first waits", || waiting(&mut session) == 1);
        holder.run("ROLLBACK");
        for search in [first, second] {
            assert_found(&plain, search.join().expect("a session")).run("ROLLBACK");
        }
    });
    assert_eq!(database.stats("docs").outcomes(), (2, 2, 0));
}

#[test]
fn failed_in_a_cursor_or_a_function_whose_transaction_goes_on() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let (mut first, mut second, mut session) = (held.session(), held.session(), database.session());
    let plain = held.plain(&mut session);
    let search = format!("SELECT id, distance, payload FROM vcache_search('docs', '{COLD}', 5)");
    first.run(&format!("BEGIN; SET LOCAL lock_timeout = '200ms'; DECLARE c CURSOR FOR {search}; SAVEPOINT s"));
    second.run(&format!(
        "CREATE FUNCTION tries() RETURNS int LANGUAGE plpgsql AS $$ DECLARE found int; BEGIN \
         PERFORM set_config('lock_timeout', '200ms', true); \
         FOR i IN 1..3 LOOP BEGIN SELECT count(*) INTO found FROM ({search}) o; RETURN found; \
         EXCEPTION WHEN lock_not_available THEN found := -i; END; END LOOP; RETURN found; END $$; BEGIN"
    ));
    let mut holder = held.hold();
    first.fails("FETCH ALL FROM c").assert("55P03", &[]);
    assert_eq!(session.number(COMPUTING), 0);
    first.run("ROLLBACK TO SAVEPOINT s");
    assert_eq!(second.number("SELECT tries()"), -3);
    assert_eq!(session.number(COMPUTING), 0);
    holder.run("ROLLBACK");
    assert_eq!(second.number("SELECT tries()"), 5);
    second.run("COMMIT");
    harness::assert_same(&first.answer(&search), &plain, 5);
    first.run("COMMIT");
    let warnings = [first.notices(), second.notices()].concat();
    assert_eq!(warnings, [], "what they were told");
}

#[test]
fn a_waiter_who_is_cancelled_or_terminated_harms_nobody() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let (first, mut second, mut third) = (held.session(), held.session(), held.session());
    let (cancelled, terminated) = (second.pid(), third.pid());
    thread::scope(|scope| {
        let mut holder = held.hold();
        let first = searching(scope, first);
        leader(&mut session);
        let (second, third) = (searching(scope, second), searching(scope, third));
        until("the others wait", || waiting(&mut session) == 2);
        session.run(&format!("SELECT pg_cancel_backend({cancelled}), pg_terminate_backend({terminated})"));
        let (mut second, failure) = second.join().expect("a session");
        failure.expect_err("a cancel").assert("57014", &[]);
        third.join().expect("a session").1.expect_err("a termination").assert(GONE, &[]);
        assert_eq!((in_engine(&mut session), session.number(COMPUTING)), (1, 1));
        holder.run("ROLLBACK");
        assert_found(&plain, first.join().expect("a session"));
        harness::assert_same(&second.search("docs", COLD, 5), &plain, 5);
    });
    assert_eq!(told(&mut session, COLD), "hit: shared");
}

#[test]
fn race_18_a_waiter_who_holds_what_the_one_who_computes_needs() {
    let server = without_redis().set("deadlock_timeout", "10ms").start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let first = held.session();
    let mut second = held.session();
    second.run("SET vcache.flight_wait = '500ms'");
    let pid = second.pid();
    thread::scope(|scope| {
        second.run("BEGIN; LOCK TABLE part IN ACCESS EXCLUSIVE MODE");
        let first = searching(scope, first);
        until("the first is in the engine", || in_engine(&mut session) == 1);
        assert_ne!(leader(&mut session), pid);
        let second = searching(scope, second);
        until("the second waits", || waiting(&mut session) == 1);
        let mut second = assert_found(&plain, second.join().expect("a session"));
        assert_eq!(in_engine(&mut session), 1, "the first still waits");
        second.run("COMMIT");
        assert_found(&plain, first.join().expect("a session"));
    });
    assert!(!server.log().contains("deadlock"), "{}", server.last_of_log());
    assert_eq!((database.stats("docs").misses, session.number(COMPUTING)), (3, 0));
}
