//! vcache_search: what it answers, from which vectors, and what it keeps. A miss and a hit are told apart by what is
//! counted: by vcache, and by pg_stat_statements, which sees every execution of the engine's query.

mod answers;
mod entries;
mod forms;
mod inputs;
mod lifetimes;
mod rendering;
mod rewrites;
mod sessions;
mod transactions;

use std::sync::LazyLock;

use harness::Stand;

/// The servers of the tests that look at no keys and change no settings of the server.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}
