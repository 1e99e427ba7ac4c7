//! Row-level security, views and foreign tables: a search gives what the plain query gives to the same role in the same place, whether it is answered
//! from the cache or not; and where it may be answered from there, it is.

mod callers;
mod foreign;
mod freshness;
mod policies;
mod roles;
mod scene;
mod settings;
mod views;

use std::sync::LazyLock;

use harness::Stand;

pub use crate::scene::{Outcome, Scene};

/// The servers of the tests that change no settings of them.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}
