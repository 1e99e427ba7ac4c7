//! The vector engines that tests run with, and how they differ in SQL.
//!
//! Both are installed; they cannot share a database, because both create an access method `hnsw`. So a server has one
//! of them in its `template1`: the one under test, unless its setup says otherwise.

use std::fmt;

use crate::corpus::Metric;

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// `ruvector-postgres`, type `ruvector`.
    RuVector,
    /// pgvector, type `vector`.
    Pgvector,
}

impl Engine {
    /// The one that this run of the tests is for: RuVector, unless `VCACHE_TEST_ENGINE` says `pgvector`.
    pub fn under_test() -> Self {
        match std::env::var("VCACHE_TEST_ENGINE").as_deref() {
            Ok("pgvector") => Self::Pgvector,
            Ok("ruvector") | Err(_) => Self::RuVector,
            Ok(other) => panic!("VCACHE_TEST_ENGINE is {other}: neither ruvector nor pgvector"),
        }
    }

    /// Its extension, and its type of vectors: both bear one name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::RuVector => "ruvector",
            Self::Pgvector => "vector",
        }
    }

    /// What it can measure by.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::RuVector => &[Metric::L2, Metric::Cosine, Metric::InnerProduct],
            Self::Pgvector => &[Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1],
        }
    }

    /// Settings of the tests' servers with it.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::RuVector => &[],
            // Else its planner leaves out an index of the tests' small tables.
            Self::Pgvector => &[("random_page_cost", "0")],
        }
    }

    /// Its setting of how many candidates an HNSW index looks at.
    pub fn ef_search(self) -> &'static str {
        match self {
            Self::RuVector => "ruvector.hnsw_ef_search",
            Self::Pgvector => "hnsw.ef_search",
        }
    }
}

/// The type of vectors of the engine under test, for use in the text of SQL: `format!("SELECT '[1,2]'::{VECTOR}")`.
pub const VECTOR: VectorType = VectorType;

/// See [`VECTOR`].
#[derive(Clone, Copy, Debug)]
pub struct VectorType;

impl fmt::Display for VectorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Engine::under_test().extension())
    }
}
