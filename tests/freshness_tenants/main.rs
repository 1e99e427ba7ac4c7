//! Freshness 'exact' with a namespace_column: a write makes the entries of the tenants stale whose rows it changes, and of no others;
//! and whichever they are, a search is what the plain query answers.

mod apply;
mod families;
mod registrations;
mod scene;
mod snapshots;
mod tables;
mod types;
mod writes;

use std::sync::LazyLock;

use harness::Stand;

pub use crate::scene::Scene;

/// The servers of the tests that change no settings of them.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> =
        LazyLock::new(|| Stand::start_with(|setup| setup.set("max_prepared_transactions", "20")));
    &STAND
}
