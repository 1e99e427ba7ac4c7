//! Owns the tests that need a backend's inside. They run in a build with feature `pg_test`, by tests/pg_tests.rs.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pg::guc::{self, Temporarily};
    use crate::pg::{random, time};
    use pgrx::prelude::*;

    /// A setting set for one statement is what it was afterwards.
    #[pg_test]
    fn settings_are_restored() {
        let before = guc::changed(|name| name == "enable_seqscan");
        {
            let temporarily = Temporarily::new();
            temporarily.set(c"enable_seqscan", c"off");
            let changed = guc::changed(|name| name == "enable_seqscan");
            assert_eq!(changed, [("enable_seqscan".to_owned(), "off".to_owned())]);
        }
        assert_eq!(guc::changed(|name| name == "enable_seqscan"), before);
    }

    /// A setting that is set to its default is not off its default.
    #[pg_test]
    fn a_default_is_no_change() {
        let temporarily = Temporarily::new();
        temporarily.set(c"enable_seqscan", c"on");
        assert_eq!(guc::changed(|name| name == "enable_seqscan"), []);
    }

    /// A snapshot's time lies behind the wall clock, and an idle transaction has written nothing.
    #[pg_test]
    fn a_snapshot_is_not_of_tomorrow() {
        assert!(time::snapshot_time() <= time::now());
        assert!(!time::transaction_has_written());
        assert!(Spi::run("CREATE TEMPORARY TABLE written (x int)").is_ok());
        assert!(time::transaction_has_written());
    }

    #[pg_test]
    fn random_fractions_are_fractions() {
        assert!((0..1000).map(|_| random::fraction()).all(|f| (0.0..1.0).contains(&f)));
        assert_ne!(random::bits(), random::bits());
    }

    /// What jsonb refuses is an answer, not the end of the transaction.
    #[pg_test]
    fn json_that_is_none_is_refused() {
        for text in ["", "{", "{\"a\": 1e999999}", "{\"a\": \"\\u0000\"}", "\"\u{0}\"", &"[".repeat(100_000)] {
            assert!(crate::pg::json::jsonb(text).is_err(), "{text:.20}");
        }
        assert!(crate::pg::json::jsonb("{\"a\": [1, null, \"ü\"]}").is_ok());
        assert_eq!(Spi::get_one::<i32>("SELECT 1"), Ok(Some(1)));
    }

    /// Text that the type's input refuses is the type's own error.
    #[pg_test]
    fn values_are_read_by_their_type() {
        let seven = crate::pg::catalog::value_of_text(pg_sys::INT4OID, -1, c"7");
        assert_eq!(seven.value() as i32, 7);
    }
}
