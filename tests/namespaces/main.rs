//! The registry: what a namespace may be, who may make it, what becomes of it with its transaction, its source, its
//! extension, its database.

mod definition;
mod extension;
mod identifiers;
mod invalidate;
mod lifecycle;
mod options;
mod ownership;
mod remembered;
mod search_path;
mod tenants;

use std::sync::LazyLock;

use harness::Stand;

/// The servers of the tests that look at no keys and change no settings of the server.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}
