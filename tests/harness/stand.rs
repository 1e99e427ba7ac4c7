//! A PostgreSQL server with a Redis of its own, which is what most tests stand on.

use crate::database::Database;
use crate::postgres::{Postgres, Setup};
use crate::redis::Redis;

/// Shared memory for the entries of a test's server.
pub const SHARED_MEMORY: &str = "8MB";

/// See the head of this file. The server goes first.
pub struct Stand {
    /// The server, with vcache preloaded.
    pub server: Postgres,
    /// Its Redis.
    pub redis: Redis,
}

impl Stand {
    /// Starts both. Redis's deadlines are wide: on a busy machine a slow answer must not turn a hit into a miss.
    pub fn start() -> Self {
        Self::start_with(|setup| setup)
    }

    /// Starts both, the server set up further. Entries stand in shared memory, little of it, and in Redis.
    pub fn start_with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        Self::with_redis_alone_with(|alone| setup(alone.set("vcache.shared_memory_size", SHARED_MEMORY)))
    }

    /// Starts both; no entry stands in shared memory.
    pub fn with_redis_alone() -> Self {
        Self::with_redis_alone_with(|setup| setup)
    }

    /// The same, the server set up further.
    pub fn with_redis_alone_with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = Redis::start();
        Self { server: setup(Self::setup(&redis.url())).start(), redis }
    }

    /// A server that uses a Redis by URL, with wide deadlines, and no shared memory for entries.
    pub fn setup(url: &str) -> Setup {
        Postgres::setup()
            .set("vcache.shared_memory_size", "0")
            .set("vcache.redis_url", url)
            .set("vcache.redis_connect_timeout", "5s")
            .set("vcache.redis_timeout", "5s")
    }

    /// A database of the test's own.
    pub fn database(&self) -> Database<'_> {
        self.server.database()
    }
}
