//! vcache and Redis: whatever becomes of Redis, a search answers, and answers right.

mod access;
mod breaker;
mod entries;
mod faults;
mod flush;
mod hangs;
mod lies;
mod sharing;

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

/// Whether a backend is in a statement and waits for something that is no lock.
fn waits(session: &mut Session, pid: i64) -> bool {
    session.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active' AND wait_event IS NOT NULL \
         AND wait_event_type NOT IN ('Lock', 'LWLock', 'IO')"
    )) == 1
}
