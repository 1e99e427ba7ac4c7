//! vcache_stats: what is counted, for whom, and that it adds up.

use std::sync::LazyLock;
use std::thread;

use harness::{Generator, Session, Source, Stand, VECTOR};

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
    let counts = "lookups shared_hits redis_hits misses misses_cold misses_expired misses_stale misses_short misses_unreachable \
                  bypasses bypasses_disabled bypasses_ttl bypasses_row_security bypasses_written bypasses_serializable \
                  bypasses_replica bypasses_triggers bypasses_clock \
                  stores evictions redis_errors redis_timeouts engine_errors";
    let fractions = "total_hit_time total_miss_time total_bypass_time hit_rate";
    let expected: Vec<String> = std::iter::once("namespace text".to_owned())
        .chain(counts.split_whitespace().map(|count| format!("{count} bigint")))
        .chain(fractions.split_whitespace().map(|fraction| format!("{fraction} double precision")))
        .chain(["stats_reset timestamp with time zone".to_owned()])
        .collect();
    assert_eq!(columns, expected);
}

/// The counts of a namespace that are not 0, but without the times.
fn counted(session: &mut Session, namespace: &str) -> String {
    session.value(&format!(
        "SELECT string_agg(key || ' ' || value, ', ' ORDER BY key) FROM vcache_stats s, jsonb_each_text(to_jsonb(s)) \
         WHERE namespace = '{namespace}' AND value <> '0' AND key !~ '^(namespace|total_.*|hit_rate|stats_reset)$'"
    ))
}

#[test]
fn misses_and_bypasses_are_counted_by_reason() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    let search = "'docs', '[1,2,3]', 5";
    session.search_by(search);
    session.search_by(search);
    // Short: the entry has 20 rows. Expired: it is older than this call takes.
    session.search_by("'docs', '[1,2,3]', 30");
    session.run("SELECT pg_sleep(1.1)");
    session.search_by(&format!("{search}, ttl => '1 s'"));
    assert_eq!(
        counted(&mut session, "docs"),
        "lookups 4, misses 3, misses_cold 1, misses_expired 1, misses_short 1, shared_hits 1, stores 3"
    );

    session.run("SELECT vcache_stats_reset()");
    session.search_by(&format!("{search}, ttl => '0'"));
    session.run("SET vcache.enabled = off");
    session.search_by(search);
    session.run("RESET vcache.enabled");
    session.run("BEGIN; DELETE FROM docs WHERE false");
    session.search_by(search);
    session.run("ROLLBACK");
    let reader = database.role("reader", "");
    session.run(&format!("GRANT SELECT ON docs TO {reader}; ALTER TABLE docs ENABLE ROW LEVEL SECURITY"));
    database.session_as(&reader).search_by(search);
    session.run("ALTER TABLE docs DISABLE ROW LEVEL SECURITY");
    assert_eq!(
        counted(&mut session, "docs"),
        "bypasses 4, bypasses_disabled 1, bypasses_row_security 1, bypasses_ttl 1, bypasses_written 1, lookups 4"
    );

    session.run("SELECT vcache_stats_reset()");
    stand.redis.stop();
    session.search_by(search);
    session.search_by(search);
    assert_eq!(
        counted(&mut session, "docs"),
        "lookups 2, misses 1, misses_unreachable 1, redis_errors 1, shared_hits 1, stores 1"
    );
    assert!(session.try_rows("SELECT * FROM vcache_search('docs', '[1,2]')").is_err());
    assert_eq!(database.stats("docs").lookups, 2, "what is refused is no search");
}

#[test]
fn the_totals_are_the_sums() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    for (namespace, times) in [("one", 4), ("two", 2)] {
        source.register(&mut session, namespace, "");
        for _ in 0..times {
            source.assert_search(&mut session, namespace, "[1,2,3]", 5);
        }
    }
    session.search_by("'two', '[1,2,3]', 5, ttl => '0'");
    let total = session.rows(
        "SELECT lookups, shared_hits, misses, misses_cold, bypasses, bypasses_ttl, stores, round(hit_rate::numeric, 3) \
         FROM vcache_stats_total",
    );
    assert_eq!(total, [["7", "4", "2", "2", "1", "1", "2", "0.571"].map(|value| Some(value.to_owned()))]);
    // Column by column, whatever columns there are.
    let differing = session.rows(
        "SELECT t.key FROM vcache_stats_total total, jsonb_each_text(to_jsonb(total)) t \
         WHERE t.key NOT IN ('hit_rate', 'stats_reset') AND t.value::float8 IS DISTINCT FROM \
           (SELECT sum((to_jsonb(s) ->> t.key)::float8) FROM vcache_stats s)",
    );
    assert!(differing.is_empty(), "{differing:?}");
    let columns = |view: &str| {
        format!("SELECT attname FROM pg_attribute WHERE attrelid = '{view}'::regclass AND attnum > 0 ORDER BY attnum")
    };
    let mut expected = session.column(&columns("vcache_stats"));
    expected.remove(0);
    assert_eq!(session.column(&columns("vcache_stats_total")), expected);
    session.run("SELECT vcache_stats_reset()");
    let empty = session.rows("SELECT lookups, hit_rate FROM vcache_stats_total");
    assert_eq!(empty, [[Some("0".to_owned()), None]]);
}

#[test]
fn times_are_kept_by_outcome_and_only_while_they_are_tracked() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    let times = "SELECT total_hit_time > 0, total_miss_time > 0, total_bypass_time > 0 FROM vcache_stats";
    let took = |arguments: &str, session: &mut Session| {
        session.run("SELECT vcache_stats_reset()");
        session.search_by(arguments);
        session.rows(times).remove(0).into_iter().map(|value| value.expect("a time")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(took("'docs', '[1,2,3]'", &mut session), "f t f");
    assert_eq!(took("'docs', '[1,2,3]'", &mut session), "t f f");
    assert_eq!(took("'docs', '[1,2,3]', ttl => '0'", &mut session), "f f t");
    session.run("SET vcache.track_timing = off");
    assert_eq!(took("'docs', '[1,2,3]'", &mut session), "f f f");
    // Milliseconds, as in pg_stat_statements: no search takes less than a microsecond, none of these a minute.
    session.run("RESET vcache.track_timing");
    took("'docs', '[1,2,3]'", &mut session);
    assert_eq!(session.value("SELECT total_hit_time BETWEEN 0.001 AND 60000 FROM vcache_stats"), "t");
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
    assert_eq!(session.notices(), []);
    session.run("SELECT vcache_stats_reset('nope')");
    assert!(session.notices()[0].message.contains("no statistics of namespace \"nope\""));
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
fn what_is_only_explained_or_refused_takes_no_slot() {
    let stand = Stand::start_with(|setup| setup.set("vcache.stats_max", "3"));
    let database = stand.database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id int PRIMARY KEY, tenant int, embedding {VECTOR}(3)); INSERT INTO docs VALUES (1, 3, '[1,2,3]')"));
    session.run(
        "SELECT vcache_create_namespace('t/*', 'docs', 'embedding', metric => 'l2', namespace_column => 'tenant')",
    );
    let role = database.role("role", "");
    let mut roles = database.session_as(&role);
    let taken = "SELECT split_part(detail, '; ', 3) FROM vcache_health() WHERE component = 'shared memory'";
    for tenant in 0..9 {
        for rest in ["", ", ttl => '0'"] {
            session.rows(&format!("SELECT * FROM vcache_explain('t/{tenant}', '[1,2,3]', 5{rest})"));
        }
        for arguments in [
            format!("'t/{tenant}', '[1,2]'"),
            format!("'t/{tenant}', '[1,2,x]'"),
            format!("'t/{tenant}', '[1,2,3]', 0"),
            format!("'t/{tenant}', '[1,2,3]', ttl => '-1 s'"),
            format!("'t/{tenant} or so', '[1,2,3]'"),
        ] {
            session.fails(&format!("SELECT * FROM vcache_search({arguments})")).assert("22", &[]);
        }
        roles.fails(&format!("SELECT * FROM vcache_search('t/{tenant}', '[1,2,3]')")).assert("42501", &[]);
    }
    assert_eq!(session.value(taken), "statistics of 0 of at most 3 namespaces");
    session.search("t/3", "[1,2,3]", 5);
    assert_eq!(session.value(taken), "statistics of 1 of at most 3 namespaces");
}

#[test]
fn a_slot_is_one_databases() {
    let stand = Stand::start_with(|setup| setup.set("vcache.stats_max", "1"));
    let (one, two) = (stand.database(), stand.database());
    for (database, times) in [(&one, 3), (&two, 5)] {
        let source = Source::docs(&mut database.session(), 30, 3);
        source.register(&mut database.session(), "docs", "");
        for _ in 0..times {
            source.assert_search(&mut database.session(), "docs", "[1,2,3]", 5);
        }
    }
    assert_eq!((one.stats("docs").lookups, two.stats("docs").lookups), (3, 0));
    assert_eq!(two.stats("(others)").lookups, 5);
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
    let sums = session.rows("SELECT sum(lookups), sum(shared_hits), sum(misses), sum(stores) FROM vcache_stats");
    assert_eq!(sums, [["60", "30", "30", "30"].map(|value| Some(value.to_owned()))]);
    assert_eq!(database.stats("t/0").outcomes(), (1, 1, 0));
    session.run("SELECT vcache_stats_reset()");
    let left = session.number("SELECT coalesce(sum(lookups), 0) FROM vcache_stats");
    assert_eq!(left, 0);
}
