//! What the integration tests share: real servers that a test owns, sessions on them, small sources to search, and
//! the plain query to compare with.
//!
//! `VCACHE_PG_PREFIX` names a relocated PostgreSQL with vcache, RuVector and pgvector installed, `VCACHE_PG_TEST_PREFIX` one
//! whose vcache was built with the feature `pg_test`, `VCACHE_TEST_ENGINE` the engine; `make test` sets them. Nothing here touches another server, and
//! nothing stays when the tests end, however they end.

mod account;
mod certificates;
mod cluster;
mod corpus;
mod database;
mod directory;
mod engine;
mod installation;
mod pgbouncer;
mod plain;
mod postgres;
mod proxy;
mod redis;
mod scripted;
mod sentinels;
mod session;
mod stand;
mod wait;

pub use crate::certificates::{Authority, Certificate, Valid};
pub use crate::cluster::RedisCluster;
pub use crate::corpus::{Generator, Metric, Source, braces, brackets, digits17};
pub use crate::database::{Database, Stats};
pub use crate::directory::Directory;
pub use crate::engine::{Engine, VECTOR};
pub use crate::installation::Installation;
pub use crate::pgbouncer::Pgbouncer;
pub use crate::plain::{Row, assert_same, ids};
pub use crate::postgres::{Postgres, Setup, Stop};
pub use crate::proxy::{BlackHole, Fault, Proxy};
pub use crate::redis::{Redis, free_port};
pub use crate::scripted::Scripted;
pub use crate::sentinels::Watched;
pub use crate::session::{Failure, Notice, Session, literal};
pub use crate::stand::{SHARED_MEMORY, Stand};
pub use crate::wait::{PATIENCE, until};
