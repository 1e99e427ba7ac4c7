//! A database of one test's own: its sessions, its roles, what vcache and pg_stat_statements counted in it.

use crate::postgres::Postgres;
use crate::session::{Session, literal};
use crate::wait::until;

/// See the head of this file.
pub struct Database<'server> {
    server: &'server Postgres,
    name: String,
}

/// A namespace's row of `vcache_stats`, all zero if it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Searches.
    pub lookups: i64,
    /// Searches answered from a tier.
    pub hits: i64,
    /// Those answered from shared memory.
    pub shared_hits: i64,
    /// Searches answered by the engine, to be stored.
    pub misses: i64,
    /// Searches answered by the engine that looked nothing up.
    pub bypasses: i64,
    /// Answers stored.
    pub stores: i64,
    /// Entries that made room for others in shared memory.
    pub evictions: i64,
    /// Failures of Redis.
    pub redis_errors: i64,
    /// Deadlines of Redis that passed.
    pub redis_timeouts: i64,
    /// Searches that the engine failed.
    pub engine_errors: i64,
}

impl Stats {
    /// Only the outcomes: hits, misses, bypasses.
    pub fn outcomes(&self) -> (i64, i64, i64) {
        assert_eq!(self.lookups, self.hits + self.misses + self.bypasses, "the identity of {self:?}");
        (self.hits, self.misses, self.bypasses)
    }
}

impl<'server> Database<'server> {
    pub(crate) fn new(server: &'server Postgres, name: String) -> Self {
        Self { server, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &'server Postgres {
        self.server
    }

    /// A session of the superuser.
    pub fn session(&self) -> Session {
        self.server.connect("postgres", &self.name)
    }

    /// A session of another role.
    pub fn session_as(&self, role: &str) -> Session {
        self.server.connect(role, &self.name)
    }

    /// Creates a role that is no other test's, with options of CREATE ROLE, and gives its name.
    pub fn role(&self, name: &str, options: &str) -> String {
        let role = format!("{name}_{}", self.name);
        self.session().run(&format!("CREATE ROLE {role} LOGIN {options}"));
        role
    }

    /// What vcache_health says of Redis: status and detail.
    pub fn redis(&self) -> (String, String) {
        let rows = self.session().rows("SELECT status, detail FROM vcache_health() WHERE component = 'redis'");
        let value = |column: usize| rows[0][column].clone().expect("a value");
        (value(0), value(1))
    }

    /// Frees all entries, in shared memory and in Redis.
    pub fn flush(&self) {
        self.session().run("SELECT vcache_flush()");
    }

    /// Waits until Redis, which is well, is asked again: the breaker takes its time.
    pub fn until_redis_is_used(&self) {
        until("Redis is used", || self.redis().0 != "down");
    }

    /// What vcache has counted for a namespace.
    pub fn stats(&self, namespace: &str) -> Stats {
        let rows = self.session().rows(&format!(
            "SELECT lookups, shared_hits + redis_hits, shared_hits, misses, bypasses, stores, evictions, \
                    redis_errors, redis_timeouts, engine_errors \
             FROM vcache_stats WHERE namespace = {}",
            literal(namespace)
        ));
        let Some(row) = rows.first() else {
            return Stats::default();
        };
        assert_eq!(rows.len(), 1, "rows of {namespace}");
        let count = |column: usize| row[column].as_deref().expect("a count").parse().expect("a number");
        Stats {
            lookups: count(0),
            hits: count(1),
            shared_hits: count(2),
            misses: count(3),
            bypasses: count(4),
            stores: count(5),
            evictions: count(6),
            redis_errors: count(7),
            redis_timeouts: count(8),
            engine_errors: count(9),
        }
    }

    /// How often the engine has searched a table inside vcache_search, as pg_stat_statements saw it: nested
    /// statements on the table that order by an operator. The tests' own plain queries are not nested.
    pub fn engine_executions(&self, table: &str) -> i64 {
        self.session().number(&format!(
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND NOT toplevel \
               AND query ILIKE '%order by%' AND query ~ {}",
            literal(&format!(r"FROM [^ ]*\y{table}\y"))
        ))
    }
}
