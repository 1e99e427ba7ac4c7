//! Owns the choice of K, the rows that a miss asks the engine for.
//!
//! K stands in the engine's statement as a literal, so each K is a plan of its own: it is rounded up to the steps
//! 10, 20, 50, 100, 200, 500, 1000, … so that a backend keeps a handful of plans for a namespace, not one for each `top_k`.

/// The smallest step that is at least `rows`, which itself is at least 1.
///
/// ```
/// assert_eq!(vcache_core::ladder::step(1), 10);
/// assert_eq!(vcache_core::ladder::step(20), 20);
/// assert_eq!(vcache_core::ladder::step(21), 50);
/// assert_eq!(vcache_core::ladder::step(501), 1000);
/// ```
pub fn step(rows: u32) -> u32 {
    let rows = u64::from(rows);
    let mut decade = 10u64;
    loop {
        for factor in [1, 2, 5] {
            if factor * decade >= rows {
                return u32::try_from(factor * decade).unwrap_or(u32::MAX);
            }
        }
        decade *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::step;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_is_enough_and_stays(rows in 1u32..) {
            prop_assert!(step(rows) >= rows);
            prop_assert_eq!(step(step(rows)), step(rows));
        }
    }
}
