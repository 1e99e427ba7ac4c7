//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// A bound on hanging, far beyond what any condition takes: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns as soon as the condition holds; panics with `what` if it never does.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
