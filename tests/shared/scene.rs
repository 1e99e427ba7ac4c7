//! A source whose engine can be held up: rows in a child table, which another session may lock as DDL does. A session that has searched before asks
//! for no lock on it until the engine does.

use std::sync::LazyLock;
use std::thread::{self, ScopedJoinHandle};

use harness::{
    Database, Failure, Row, SHARED_MEMORY, Session, Setup, Source, Stand, VECTOR, assert_same, literal, until,
};

/// A server with tier 1 and no Redis.
pub fn without_redis() -> Setup {
    Stand::setup("").set("vcache.shared_memory_size", SHARED_MEMORY)
}

/// A server with both tiers, for tests that change nothing of it.
pub fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// The table `docs` registered as `docs`, and a session.
pub fn prepared(database: &Database, rows: usize, options: &str) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, rows, 3);
    source.register(&mut session, "docs", options);
    (session, source)
}

/// How a search for a vector ends, as vcache_explain tells: `hit: shared`, `hit: redis`, `miss`, `bypass`.
pub fn told(session: &mut Session, vector: &str) -> String {
    session.value(&format!("SELECT concat_ws(': ', outcome, tier) FROM vcache_explain('docs', {}, 5)", literal(vector)))
}

/// Whether any search computes.
pub const COMPUTING: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3 AND granted";

/// The vector that the tests of the flight search for.
pub const COLD: &str = "[1,2,3]";

/// See the head of this file.
pub struct Held<'database> {
    pub database: &'database Database<'database>,
    pub source: Source,
}

impl<'database> Held<'database> {
    /// The table `docs` with the child `part`, registered as `docs`.
    pub fn new(database: &'database Database<'database>, options: &str) -> Self {
        let mut session = database.session();
        let source = Source::docs(&mut session, 0, 3);
        session.run(&format!(
            "CREATE TABLE part () INHERITS (docs); \
             INSERT INTO part SELECT n, 'title ' || n, n % 7, format('[%s,%s,%s]', n, n % 10, n % 3)::{VECTOR} \
             FROM generate_series(1, 100) n"
        ));
        source.register(&mut session, "docs", options);
        Self { database, source }
    }

    /// A session that has searched before, and waits for others for as long as it must.
    pub fn session(&self) -> Session {
        Self::ready(self.database.session())
    }

    /// The same of a session that is there.
    pub fn ready(mut session: Session) -> Session {
        session.run("SET vcache.flight_wait = '2min'");
        session.search("docs", "[7,7,7]", 5);
        session
    }

    /// Holds the engine up until the session rolls back.
    pub fn hold(&self) -> Session {
        let mut holder = self.database.session();
        holder.run("BEGIN; LOCK TABLE part IN ACCESS EXCLUSIVE MODE");
        holder
    }

    /// What the plain query answers.
    pub fn plain(&self, session: &mut Session) -> Vec<Row> {
        self.source.plain(session, COLD, 5)
    }
}

/// How many sessions are held up by somebody's lock on the table `part`.
pub fn in_engine(session: &mut Session) -> i64 {
    session.number("SELECT count(*) FROM pg_locks WHERE relation = 'part'::regclass AND NOT granted")
}

/// How many sessions wait for another's computation.
pub fn waiting(session: &mut Session) -> i64 {
    session.number(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type = 'Extension' \
         AND datname = current_database()",
    )
}

/// The one process that computes, once it does.
pub fn leader(session: &mut Session) -> i64 {
    let holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3 AND granted";
    let mut found = Vec::new();
    until("one session computes", || {
        found = session.column(holders);
        found.len() == 1
    });
    found[0].parse().expect("a process")
}

/// A search for [`COLD`] in a thread.
pub fn searching<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    session: Session,
) -> ScopedJoinHandle<'scope, (Session, Result<Vec<Row>, Failure>)> {
    scope.spawn(move || {
        let mut session = session;
        let found =
            session.try_answer(&format!("SELECT id, distance, payload FROM vcache_search('docs', '{COLD}', 5)"));
        (session, found)
    })
}

/// Asserts what a search in a thread has found.
#[track_caller]
pub fn assert_found(plain: &[Row], found: (Session, Result<Vec<Row>, Failure>)) -> Session {
    let (mut session, found) = found;
    assert_same(&found.expect("an answer"), plain, 5);
    assert_eq!(session.notices(), [], "what it was told");
    session
}
