//! vcache: a cache for vector searches, inside PostgreSQL.
//!
//! | file | owns |
//! | --- | --- |
//! | `search.rs` | the read path, top to bottom |
//! | `namespace/` | the registry: what a namespace is, and registering one |
//! | `engine.rs` | the uncached query |
//! | `filter/` | conditions on the rows: from jsonb to SQL |
//! | `tier/` | places that hold entries |
//! | `key.rs`, `vector.rs` | what names an entry; the vector in a call |
//! | `freshness.rs` | which version of its source a search must be answered for |
//! | `clock.rs`, `mark.rs`, `source.rs` | what snapshots see of a version; what is this transaction's alone; what the catalogs say |
//! | `tenant.rs` | whose rows a transaction has changed |
//! | `triggers.rs`, `sources.rs` | what a write does; the view of it |
//! | `flight.rs` | one computation for each key |
//! | `access/` | who may see what |
//! | `explain.rs`, `health.rs`, `entries.rs` | what a search would do and why; how the parts are; what tier 1 holds |
//! | `flush.rs` | freeing the tiers' memory |
//! | `outcome.rs`, `stats.rs` | how a search can end; counters |
//! | `settings.rs`, `error.rs` | settings, errors |
//! | `pg/` | everything that Rust cannot check |
//!
//! An arrow never points back up: `search` uses all the others, and none of them knows `search`. What needs no PostgreSQL is
//! in `crates/vcache-core`.

mod access;
mod clock;
mod engine;
mod entries;
mod error;
mod explain;
mod filter;
mod flight;
mod flush;
mod freshness;
mod health;
mod key;
mod mark;
mod namespace;
mod outcome;
mod pg;
mod search;
mod settings;
mod source;
mod sources;
mod stats;
mod tenant;
#[cfg(feature = "pg_test")]
mod tests;
mod tier;
mod triggers;
mod vector;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/catalog.sql", name = "catalog", bootstrap);
extension_sql_file!("../sql/functions.sql", name = "functions", requires = ["catalog"]);
extension_sql_file!("../sql/views.sql", name = "views", requires = ["functions"]);
extension_sql_file!("../sql/privileges.sql", name = "privileges", requires = ["views"]);

/// Called by PostgreSQL when it loads the library: at server start when preloaded, else in the first session's first call.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define(tier::redis::why_malformed);
    pg::planner::install();
    if pg::shmem::is_preloading() {
        stats::request();
        pg::nonce::request();
        clock::request();
        pg::clock_places::request();
        tier::redis::breaker::request();
        tier::shared::request();
        flight::request();
    }
}
