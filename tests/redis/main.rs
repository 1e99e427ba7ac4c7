//! vcache and Redis: whatever becomes of Redis, a search answers, and answers right.

mod access;
mod breaker;
mod cluster;
mod cluster_nodes;
mod descriptors;
mod entries;
mod faults;
mod flush;
mod hangs;
mod idle;
mod lies;
mod password_file;
mod sealed;
mod secrets;
mod sentinel;
mod sharing;
mod tls;
mod tls_files;

use harness::{Database, Session, Source};

/// A source of 100 rows registered as `docs`, and a session.
fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    (session, source)
}

/// Searches for vectors of these seeds and asserts every answer.
fn assert_searches(session: &mut Session, source: &Source, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let found = source.assert_search(session, "docs", &source.query(seed), 10);
        assert!(
            found.iter().all(|row| row.payload == Some(format!("{{\"title\": \"title {}\"}}", row.id))),
            "{found:?}"
        );
    }
}

/// What vcache_health says of Redis: its status and the detail.
fn health(session: &mut Session) -> String {
    session.value("SELECT status || ': ' || detail FROM vcache_health() WHERE component = 'redis'")
}

/// Asserts that Redis is down for this reason, which a search finds out, and that searches are answered all the same and
/// store nothing.
#[track_caller]
fn assert_down(database: &Database, session: &mut Session, source: &Source, why: &str) {
    let before = database.stats("docs");
    let failures = |stats: &harness::Stats| stats.redis_errors + stats.redis_timeouts;
    // Before it is asked again, an open breaker lets some time pass.
    harness::until(&format!("down for `{why}`"), || {
        assert_searches(session, source, [1, 1]);
        let said = health(session);
        println!("{said}");
        said.starts_with("down: ") && said.contains(why) && failures(&database.stats("docs")) > failures(&before)
    });
    let after = database.stats("docs");
    assert_eq!((after.hits, after.stores), (before.hits, before.stores), "{why}");
}

/// Asserts that Redis is well, and that a search is answered from it.
#[track_caller]
fn assert_up(database: &Database, session: &mut Session, source: &Source) {
    harness::until("Redis is well", || health(session).starts_with("ok: "));
    let before = database.stats("docs");
    assert_searches(session, source, [1, 1]);
    let after = database.stats("docs");
    assert!(after.hits > before.hits, "{before:?} {after:?}");
}

/// Whether a backend is in a statement and waits for something that is no lock.
fn waits(session: &mut Session, pid: i64) -> bool {
    session.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active' AND wait_event IS NOT NULL \
         AND wait_event_type NOT IN ('Lock', 'LWLock', 'IO')"
    )) == 1
}
