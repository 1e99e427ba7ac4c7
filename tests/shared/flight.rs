//! One session computes what many ask for at the same time, and the others wait for its entry: for as long as they want to, and where waiting is of use.

use std::thread;

use harness::{Postgres, Session, Stand, until};

use crate::scene::{COLD, COMPUTING, Held, assert_found, in_engine, leader, searching, told, waiting, without_redis};

const MANY: usize = 64;

/// Many sessions ask a server for the same at the same time.
fn asked_by_many(server: &Postgres) {
    let database = server.database();
    let held = Held::new(&database, "");
    let sessions: Vec<Session> = (0..MANY).map(|_| held.session()).collect();
    let mut session = database.session();
    let plain = held.plain(&mut session);
    session.run("SELECT vcache_stats_reset(); SELECT pg_stat_statements_reset()");
    thread::scope(|scope| {
        let mut holder = held.hold();
        let searches: Vec<_> = sessions.into_iter().map(|session| searching(scope, session)).collect();
        until("one is in the engine, and all others wait for it", || {
            in_engine(&mut session) == 1 && waiting(&mut session) == MANY as i64 - 1
        });
        leader(&mut session);
        assert_eq!(database.stats("docs").lookups, 0, "none has ended");
        holder.run("ROLLBACK");
        for search in searches {
            assert_found(&plain, search.join().expect("a session"));
        }
    });
    assert_eq!(database.stats("docs").outcomes(), (MANY as i64 - 1, 1, 0));
    assert_eq!((database.stats("docs").stores, database.engine_executions("docs")), (1, 1));
    assert_eq!(session.number(COMPUTING), 0);
}

#[test]
fn sixty_four_sessions_ask_the_engine_once() {
    asked_by_many(&Stand::start().server);
}

#[test]
fn sixty_four_sessions_ask_the_engine_once_with_shared_memory_alone() {
    asked_by_many(&without_redis().start());
}

#[test]
fn sixty_four_sessions_ask_the_engine_once_with_redis_alone() {
    asked_by_many(&Stand::with_redis_alone().server);
}

#[test]
fn without_a_tier_nobody_waits() {
    let server = Stand::setup("").start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let sessions = [held.session(), held.session(), held.session()];
    thread::scope(|scope| {
        let mut holder = held.hold();
        let searches = sessions.map(|session| searching(scope, session));
        until("all are in the engine", || in_engine(&mut session) == 3);
        assert_eq!(session.number(COMPUTING), 0);
        holder.run("ROLLBACK");
        for search in searches {
            assert_found(&plain, search.join().expect("a session"));
        }
    });
    assert_eq!(database.stats("docs").hits, 0);
}

#[test]
fn the_wait_is_bounded_and_0_is_none() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let plain = held.plain(&mut session);
    let [patient, mut impatient, mut hasty] = [held.session(), held.session(), held.session()];
    impatient.run("SET vcache.flight_wait = '100ms'");
    hasty.run("SET vcache.flight_wait = 0");
    thread::scope(|scope| {
        let mut holder = held.hold();
        let hasty = searching(scope, hasty);
        until("one is in the engine", || in_engine(&mut session) == 1);
        assert_eq!(session.number(COMPUTING), 0, "nobody waits for one who does not wait");
        let patient = searching(scope, patient);
        leader(&mut session);
        until("two are in the engine", || in_engine(&mut session) == 2);
        let impatient = searching(scope, impatient);
        until("all are in the engine", || in_engine(&mut session) == 3);
        assert_eq!(session.number(COMPUTING), 1);
        holder.run("ROLLBACK");
        for search in [hasty, patient, impatient] {
            assert_found(&plain, search.join().expect("a session"));
        }
    });
    assert_eq!(session.number(COMPUTING), 0);
    assert_eq!(told(&mut session, COLD), "hit: shared");
}

#[test]
fn who_asks_for_more_rows_than_are_computed_computes_next() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "fetch_k => 5");
    let mut session = database.session();
    let sessions = [held.session(), held.session()];
    thread::scope(|scope| {
        let mut holder = held.hold();
        let [first, mut second] = sessions;
        let first = searching(scope, first);
        leader(&mut session);
        let second = scope.spawn(move || second.search("docs", COLD, 60));
        until("the other waits", || waiting(&mut session) == 1);
        holder.run("ROLLBACK");
        let few = first.join().expect("a session").1.expect("an answer");
        let many = second.join().expect("a session");
        assert_eq!((few.len(), many.len()), (5, 60));
        assert_eq!(few, many[..5]);
    });
    assert_eq!(held.source.assert_search(&mut session, "docs", COLD, 60).len(), 60);
    assert_eq!(database.stats("docs").outcomes(), (2, 3, 0));
}

/// Of three sessions that search at the same time, how many are in the engine once none is on its way.
fn together(held: &Held, session: &mut Session) -> i64 {
    let plain = held.plain(session);
    let sessions = [held.session(), held.session(), held.session()];
    thread::scope(|scope| {
        let mut holder = held.hold();
        let searches = sessions.map(|session| searching(scope, session));
        let mut found = 0;
        until("none is on its way", || {
            found = in_engine(session);
            found + waiting(session) == 3
        });
        holder.run("ROLLBACK");
        for search in searches {
            assert_found(&plain, search.join().expect("a session"));
        }
        found
    })
}

#[test]
fn where_answers_are_too_large_to_be_stored_nobody_waits_for_the_next() {
    let server = without_redis().set("vcache.max_entry_size", "1kB").start();
    let database = server.database();
    let held = Held::new(&database, "payload_columns => '{title}'");
    let mut session = database.session();
    session.run("UPDATE part SET title = repeat(md5(id::text), 30)");
    // The first does not know. Those who have waited for it are told.
    assert_eq!(together(&held, &mut session), 1);
    assert_eq!(database.stats("docs").stores, 0);
    for _ in 0..2 {
        assert_eq!(together(&held, &mut session), 3);
    }
    // After a write they might be small enough.
    session.run("UPDATE part SET title = id::text");
    assert_eq!(together(&held, &mut session), 1);
    assert_eq!(told(&mut session, COLD), "hit: shared");
    session.run("UPDATE part SET title = 'another' WHERE id = 1");
    assert_eq!(together(&held, &mut session), 1);
}

#[test]
fn what_one_call_does_not_store_keeps_later_ones_from_nothing() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    for _ in 0..2 {
        // Over before it could be stored.
        session.search_by(&format!("'docs', '{COLD}', 5, ttl => '1 microsecond'"));
        assert_eq!(told(&mut session, COLD), "miss");
        session.search("docs", COLD, 5);
        assert_eq!(told(&mut session, COLD), "hit: shared");
        session.run("SELECT vcache_flush()");
        assert_eq!(together(&held, &mut session), 1);
        session.run("SELECT vcache_flush()");
    }
}

#[test]
fn where_an_entry_of_later_rows_stays_nobody_waits_for_the_next() {
    let server = without_redis().start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = database.session();
    let mut exporter = database.session();
    exporter.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let snapshot = exporter.value("SELECT pg_export_snapshot()");
    session.run("INSERT INTO part VALUES (1000, 'nearest', 0, '[1,2,3]')");
    session.search("docs", COLD, 5);
    assert_eq!(told(&mut session, COLD), "hit: shared");
    // Theirs is none that others find: who has waited for one is told.
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let old = [(); 3].map(|()| {
            let mut session = held.session();
            session.run(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'"));
            session
        });
        thread::scope(|scope| {
            let mut holder = held.hold();
            let searches = old.map(|session| searching(scope, session));
            until("none is on its way", || in_engine(&mut session) + waiting(&mut session) == 3);
            rounds.push(in_engine(&mut session));
            holder.run("ROLLBACK");
            for search in searches {
                assert_ne!(search.join().expect("a session").1.expect("an answer")[0].id, "1000");
            }
        });
    }
    assert_eq!(rounds, [1, 3]);
    assert_eq!(told(&mut session, COLD), "hit: shared");
}

#[test]
fn on_a_standby() {
    let stand = Stand::start();
    let database = stand.database();
    let held = Held::new(&database, "");
    let plain = held.plain(&mut database.session());
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let connect = || standby.connect("postgres", database.name());
    let sessions: Vec<Session> = (0..8).map(|_| Held::ready(connect())).collect();
    let mut session = connect();
    session.run("SELECT vcache_stats_reset()");
    thread::scope(|scope| {
        // The standby holds the locks that its primary does.
        let mut holder = held.hold();
        until("the standby holds it up", || {
            session.number("SELECT count(*) FROM pg_locks WHERE relation = 'part'::regclass AND granted") == 1
        });
        let searches: Vec<_> = sessions.into_iter().map(|session| searching(scope, session)).collect();
        until("one is in the engine, and all others wait for it", || {
            in_engine(&mut session) == 1 && waiting(&mut session) == 7
        });
        leader(&mut session);
        holder.run("ROLLBACK");
        for search in searches {
            assert_found(&plain, search.join().expect("a session"));
        }
    });
    let counted = session.rows("SELECT shared_hits, misses, bypasses FROM vcache_stats WHERE namespace = 'docs'");
    assert_eq!(counted, [["7", "1", "0"].map(|count| Some(count.to_owned()))]);
    assert_eq!(session.number(COMPUTING), 0);
}

#[test]
fn with_no_room_for_locks_searches_are_answered_all_the_same() {
    let server = without_redis().set("max_locks_per_transaction", "10").set("max_connections", "20").start();
    let database = server.database();
    let held = Held::new(&database, "");
    let mut session = held.session();
    session.run("SET vcache.flight_wait = '50ms'");
    let plain = held.plain(&mut session);
    let mut greedy = database.session();
    greedy.fails("SELECT pg_advisory_lock(n) FROM generate_series(1, 100000) n").assert("53200", &["shared memory"]);
    assert!(session.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") > 100);
    let found = session.search("docs", COLD, 5);
    harness::assert_same(&found, &plain, 5);
    assert_eq!(told(&mut session, COLD), "hit: shared");
    assert_eq!(session.search("docs", COLD, 5), found);
    assert_eq!(session.notices(), []);
}
