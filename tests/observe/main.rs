//! What a person asks: what a search would do and why, and how the parts are.

mod explain;
mod health;
mod privileges;

use std::sync::LazyLock;

use harness::Stand;

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}
