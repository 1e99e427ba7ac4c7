//! Runs the extension's `#[pg_test]`s: what needs a backend's inside. They are functions without arguments in the
//! schema `tests` of a vcache that was built with the feature `pg_test`; each runs in a transaction of its own that
//! is rolled back.

use harness::{Installation, Redis, Stand};

#[test]
fn every_pg_test_passes() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).installation(Installation::with_pg_tests()).start();
    let database = server.database();
    let mut session = database.session();
    let tests = session.column(
        "SELECT p.oid::regproc::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = 'tests' AND p.pronargs = 0 AND p.prokind = 'f' ORDER BY p.proname",
    );
    assert!(!tests.is_empty(), "vcache in VCACHE_PG_TEST_PREFIX has no #[pg_test]");
    let mut failures = Vec::new();
    for test in &tests {
        // A session of its own: one test's settings and caches are not the next one's.
        let mut session = database.session();
        session.run("BEGIN");
        match session.try_rows(&format!("SELECT {test}()")) {
            Ok(_) => println!("{test} ... ok"),
            Err(failure) => {
                println!("{test} ... FAILED: {failure:?}");
                failures.push(test);
            }
        }
        session.run("ROLLBACK");
    }
    println!("{} #[pg_test]s ran", tests.len());
    assert!(failures.is_empty(), "failed: {failures:?}\n{}", server.last_of_log());
}
