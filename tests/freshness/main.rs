//! Freshness 'exact': whatever others write, and whatever the searcher's own transaction has written, a search is what the plain query
//! would have answered in the same snapshot. A test named `race_NN_…` is an interleaving that was shown to break a simpler rule.
//!
//! Three races are elsewhere: 1 and 2 are about views and policies, and 18 is about one computation per key; 24 is in
//! tests/namespaces/options.rs.

mod crash;
mod cursors;
mod ddl;
mod detach;
mod dump;
mod extension;
mod guard;
mod partitions;
mod registering;
mod replica_role;
mod replication;
mod scene;
mod serializable;
mod settings;
mod shapes;
mod sources;
mod standby;
mod tenants;
mod transactions;
mod triggers;
mod unchanged;
mod writers;
mod writes;

use std::sync::LazyLock;

use harness::Stand;

pub use crate::scene::{NEAREST, QUERY, Scene};

/// The servers of the tests that change no settings of them and read no keys.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> =
        LazyLock::new(|| Stand::start_with(|setup| setup.set("max_prepared_transactions", "20")));
    &STAND
}
