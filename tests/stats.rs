//! vcache_stats: what is counted, for whom, and that it adds up.

use std::sync::LazyLock;
use std::thread;

use harness::{Generator, Source, Stand, VECTOR};

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

#[test]
fn the_counts_add_up_under_eight_sessions() {
    let database = stand().database();
    let source = Source::docs(&mut database.session(), 100, 64);
    for namespace in ["one", "two"] {
        source.register(&mut database.session(), namespace, "");
    }
    let (sessions, searches) = (8, 60);
    let bypasses: i64 = thread::scope(|scope| {
        let run = |seed: u64| {
            let (database, source) = (&database, &source);
            scope.spawn(move || {
                let mut session = database.session();
                let mut generator = Generator::new(seed);
                let mut bypasses = 0;
                for _ in 0..searches {
                    let namespace = ["one", "two"][generator.below(2) as usize];
                    let query = source.query(generator.below(15));
                    if generator.below(5) == 0 {
                        session.search_by(&format!("'{namespace}', '{query}', 5, ttl => '0'"));
                        bypasses += 1;
                    } else {
                        source.assert_search(&mut session, namespace, &query, 5);
                    }
                }
                bypasses
            })
        };
        let threads: Vec<_> = (0..sessions).map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("a session")).sum()
    });
    let [one, two] = ["one", "two"].map(|namespace| database.stats(namespace));
    let sum = |count: fn(&harness::Stats) -> i64| count(&one) + count(&two);
    one.outcomes();
    two.outcomes();
    assert_eq!(sum(|stats| stats.lookups), (sessions * searches) as i64);
    assert_eq!(sum(|stats| stats.bypasses), bypasses);
    assert_eq!(sum(|stats| stats.stores), sum(|stats| stats.misses));
    assert!(sum(|stats| stats.misses) >= 30 && sum(|stats| stats.hits) > 200, "{one:?} {two:?}");
    assert_eq!(sum(|stats| stats.redis_errors + stats.redis_timeouts + stats.engine_errors), 0);
    assert_eq!(database.engine_executions("docs"), sum(|stats| stats.misses + stats.bypasses));
}

#[test]
fn the_view_has_these_columns() {
    let database = stand().database();
    let columns = database.session().column(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = 'vcache_stats'::regclass AND attnum > 0 ORDER BY attnum",
    );
    let counts = "lookups redis_hits misses bypasses stores redis_errors redis_timeouts engine_errors".split(' ');
    let expected: Vec<String> = std::iter::once("namespace text".to_owned())
        .chain(counts.map(|count| format!("{count} bigint")))
        .chain(["hit_rate double precision".to_owned(), "stats_reset timestamp with time zone".to_owned()])
        .collect();
    assert_eq!(columns, expected);
}

#[test]
fn the_hit_rate_is_null_at_none_and_hits_by_lookups_after() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    let rate = "SELECT hit_rate FROM vcache_stats WHERE namespace = 'docs'";
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert_eq!(session.value(rate), "0");
    for _ in 0..3 {
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    }
    assert_eq!(session.value(rate), "0.75");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '0'");
    assert_eq!(session.value(rate), "0.6");
    session.run("SELECT vcache_stats_reset('docs')");
    let rows = session.rows("SELECT lookups, hit_rate FROM vcache_stats WHERE namespace = 'docs'");
    assert!(rows.is_empty() || rows == [[Some("0".to_owned()), None]], "{rows:?}");
}

#[test]
fn reset_by_name_and_for_all() {
    let database = stand().database();
    let other = stand().database();
    for database in [&database, &other] {
        let mut session = database.session();
        let source = Source::docs(&mut session, 30, 3);
        for namespace in ["one", "two"] {
            source.register(&mut session, namespace, "");
            source.assert_search(&mut session, namespace, "[1,2,3]", 5);
        }
    }
    let mut session = database.session();
    let before = session.value("SELECT stats_reset FROM vcache_stats WHERE namespace = 'two'");
    session.run("SELECT vcache_stats_reset('one')");
    assert_eq!((database.stats("one").lookups, database.stats("two").lookups), (0, 1));
    assert_eq!(session.value("SELECT stats_reset FROM vcache_stats WHERE namespace = 'two'"), before);
    session.run("SELECT pg_sleep(0.001)");
    let source = Source { table: "docs".to_owned(), dimensions: 3, metric: harness::Metric::L2 };
    source.assert_search(&mut session, "one", "[1,2,3]", 5);
    assert_eq!(database.stats("one").outcomes(), (1, 0, 0));
    let later = format!("SELECT stats_reset > '{before}' FROM vcache_stats WHERE namespace = 'one'");
    assert_eq!(session.value(&later), "t");
    session.run("SELECT vcache_stats_reset()");
    assert_eq!((database.stats("one").lookups, database.stats("two").lookups), (0, 0));
    // Only those of this database.
    assert_eq!((other.stats("one").lookups, other.stats("two").lookups), (1, 1));
    // A reset forgets no entry.
    source.assert_search(&mut session, "two", "[1,2,3]", 5);
    assert_eq!(database.stats("two").outcomes(), (1, 0, 0));
}

#[test]
fn databases_are_counted_apart_and_counts_outlive_sessions() {
    let (one, two) = (stand().database(), stand().database());
    for (database, times) in [(&one, 3), (&two, 5)] {
        let source = Source::docs(&mut database.session(), 30, 3);
        source.register(&mut database.session(), "docs", "");
        for _ in 0..times {
            source.assert_search(&mut database.session(), "docs", "[1,2,3]", 5);
        }
    }
    assert_eq!(one.stats("docs").outcomes(), (2, 1, 0));
    assert_eq!(two.stats("docs").outcomes(), (4, 1, 0));
    let foreign = one.session().number("SELECT count(*) FROM vcache_stats WHERE namespace <> 'docs'");
    assert_eq!(foreign, 0);
}

#[test]
fn counts_of_a_rolled_back_transaction_stay() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    session.run("BEGIN");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run("ROLLBACK");
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}

#[test]
fn reset_is_for_those_it_was_granted_to() {
    let database = stand().database();
    let role = database.role("role", "");
    let mut session = database.session_as(&role);
    for statement in ["SELECT vcache_stats_reset()", "SELECT vcache_stats_reset('docs')"] {
        session.fails(statement).assert("42501", &["vcache_stats_reset"]);
    }
    database.session().run(&format!("GRANT EXECUTE ON FUNCTION vcache_stats_reset(text) TO {role}"));
    session.run("SELECT vcache_stats_reset()");
}

#[test]
fn namespaces_beyond_stats_max_share_one_row() {
    let stand = Stand::start_with(|setup| setup.set("vcache.stats_max", "10"));
    let database = stand.database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id int PRIMARY KEY, tenant text, embedding {VECTOR}(3)); INSERT INTO docs VALUES (1, '3', '[1,2,3]')"));
    session.run(
        "SELECT vcache_create_namespace('t/*', 'docs', 'embedding', metric => 'l2', namespace_column => 'tenant')",
    );
    for _ in 0..2 {
        for tenant in 0..30 {
            assert_eq!(session.search(&format!("t/{tenant}"), "[1,2,3]", 5).len(), usize::from(tenant == 3));
        }
    }
    let rows = session.number("SELECT count(*) FROM vcache_stats WHERE namespace <> '(others)'");
    assert!((9..=10).contains(&rows), "{rows} rows");
    let others = database.stats("(others)");
    assert_eq!(others.outcomes(), (30 - rows, 30 - rows, 0));
    let sums = session.rows("SELECT sum(lookups), sum(redis_hits), sum(misses), sum(stores) FROM vcache_stats");
    assert_eq!(sums, [["60", "30", "30", "30"].map(|value| Some(value.to_owned()))]);
    assert_eq!(database.stats("t/0").outcomes(), (1, 1, 0));
    session.run("SELECT vcache_stats_reset()");
    let left = session.number("SELECT coalesce(sum(lookups), 0) FROM vcache_stats");
    assert_eq!(left, 0);
}
