//! A table whose rows have readers, tenants and states; a role or two; and who tells how a search has ended, and whether it gave what the
//! plain query gives.

use harness::{Database, Failure, Row, Session, Source, assert_same};

/// How a search has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// From a tier.
    Hit,
    /// By the engine, to be stored.
    Miss,
    /// By the engine.
    Bypass,
}

use Outcome::{Bypass, Hit, Miss};

/// See the head of this file.
pub struct Scene<'d> {
    /// Where it is.
    pub database: &'d Database<'d>,
    /// The table `docs` of 30 rows, or what the namespace `docs` searches in its place.
    pub source: Source,
    /// A role that may read it.
    pub alice: String,
    /// Another.
    pub bob: String,
}

/// Where the tests look, for all rows that there are.
const SEARCH: &str = "'docs', '[1,2,3]', 30";

impl<'d> Scene<'d> {
    /// The table, with row-level security but no policy, and the session of its owner, a superuser.
    pub fn new(database: &'d Database<'d>) -> (Self, Session) {
        let mut owner = database.session();
        let source = Source::docs(&mut owner, 30, 3);
        let scene = Self { database, source, alice: database.role("alice", ""), bob: database.role("bob", "") };
        owner.run(&format!(
            "CREATE TYPE state AS ENUM ('open', 'closed');
             ALTER TABLE docs ADD COLUMN reader text, ADD COLUMN tenant int, ADD COLUMN state state DEFAULT 'open', ADD COLUMN made date DEFAULT '2020-01-01';
             UPDATE docs SET reader = (ARRAY['{}', '{}', 'nobody'])[id % 3 + 1], tenant = id % 4;
             ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
             GRANT SELECT ON docs TO PUBLIC",
            scene.alice, scene.bob
        ));
        (scene, owner)
    }

    /// The same with a namespace `docs`, and a policy `own`; `declared` is an array of settings.
    pub fn with_policy(database: &'d Database<'d>, declared: &str, policy: &str) -> (Self, Session) {
        let (scene, mut owner) = Self::new(database);
        scene.register(&mut owner, &format!("rls_settings => '{declared}'"));
        owner.run(&format!("CREATE POLICY own ON docs USING ({policy})"));
        (scene, owner)
    }

    /// Registers the source as `docs`.
    pub fn register(&self, owner: &mut Session, options: &str) {
        self.source.register(owner, "docs", options);
    }

    /// The same table's namespace over a view or something else, which `statements` make.
    pub fn over(mut self, owner: &mut Session, source: &str, statements: &str, options: &str) -> Self {
        owner.run(statements);
        owner.run(&format!("GRANT SELECT ON {source} TO PUBLIC"));
        source.clone_into(&mut self.source.table);
        self.register(owner, &format!("id_column => 'id', freshness => 'ttl'{options}"));
        self
    }

    /// How a search ends that gives what the plain query gives.
    #[track_caller]
    pub fn search(&self, session: &mut Session) -> Outcome {
        self.compared(session).0
    }

    /// The same, and how many rows there were.
    #[track_caller]
    pub fn compared(&self, session: &mut Session) -> (Outcome, usize) {
        self.compared_in(session, "docs", "true")
    }

    /// The same in another namespace of it, which has the rows that meet a condition.
    #[track_caller]
    pub fn compared_in(&self, session: &mut Session, namespace: &str, condition: &str) -> (Outcome, usize) {
        let (outcome, found) = self.ended_in(session, namespace);
        let found = found.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_same(&found, &self.source.plain_where(session, "[1,2,3]", 30, condition), 30);
        (outcome, found.len())
    }

    /// How a search ends, and with what.
    pub fn ended(&self, session: &mut Session) -> (Outcome, Result<Vec<Row>, Failure>) {
        self.ended_in(session, "docs")
    }

    fn ended_in(&self, session: &mut Session, namespace: &str) -> (Outcome, Result<Vec<Row>, Failure>) {
        let counted = || self.database.stats(namespace).outcomes();
        let before = counted();
        let found = session.try_answer(&format!("SELECT * FROM vcache_search('{namespace}', '[1,2,3]', 30)"));
        let after = counted();
        let outcome = match (after.0 - before.0, after.1 - before.1, after.2 - before.2) {
            (1, 0, 0) => Hit,
            (0, 1, 0) => Miss,
            (0, 0, 1) => Bypass,
            // An engine's error.
            (0, 0, 0) if found.is_err() => Bypass,
            other => panic!("{other:?}"),
        };
        (outcome, found)
    }

    /// Asserts that a search fails as the plain query does.
    #[track_caller]
    pub fn assert_fails_as_plain(&self, session: &mut Session, sqlstate: &str) {
        let kind = session.engine().extension();
        let plain = session
            .fails(&format!("SELECT id FROM {} ORDER BY embedding <-> '[1,2,3]'::{kind} LIMIT 30", self.source.table));
        let search = session.fails(&format!("SELECT * FROM vcache_search({SEARCH})"));
        assert_eq!((&search.sqlstate, &search.message), (&plain.sqlstate, &plain.message));
        assert_eq!(plain.sqlstate, sqlstate, "{plain:?}");
    }

    /// What vcache_explain says of the search: outcome and reason.
    pub fn explained(&self, session: &mut Session) -> (String, String) {
        let rows = session.rows(&format!("SELECT outcome, reason FROM vcache_explain({SEARCH})"));
        let value = |column: usize| rows[0][column].clone().expect("a value");
        (value(0), value(1))
    }

    /// One part of the search's key.
    pub fn key_part(&self, session: &mut Session, part: &str) -> Option<String> {
        let rows = session.rows(&format!("SELECT key_parts ->> '{part}' FROM vcache_explain({SEARCH})"));
        rows[0][0].clone()
    }

    /// Asserts that a search misses, and that the next one hits.
    #[track_caller]
    pub fn assert_fills(&self, session: &mut Session) {
        assert_eq!(self.search(session), Miss);
        assert_eq!(self.search(session), Hit);
    }

    /// Asserts that searches ask the engine for themselves, with these words in the reason.
    #[track_caller]
    pub fn assert_bypasses(&self, session: &mut Session, words: &str) {
        for _ in 0..2 {
            assert_eq!(self.search(session), Bypass);
        }
        let (outcome, reason) = self.explained(session);
        assert_eq!(outcome, "bypass");
        assert!(reason.contains(words), "{reason:?} does not say {words:?}");
    }
}
