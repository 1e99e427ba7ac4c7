//! Row-level security, views and foreign tables: a search gives what the plain query gives to the same role in the same place, whether it is answered
//! from the cache or not; and where it may be answered from there, it is.

mod callers;
mod foreign;
mod freshness;
mod hidden;
mod policies;
mod roles;
mod scene;
mod settings;
mod views;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use harness::Stand;

pub use crate::scene::{Outcome, Scene};

/// The servers of the tests that change no settings of them.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// One test at a time: roles are the whole server's, and an answer is not stored where what roles are to one another has changed meanwhile.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
