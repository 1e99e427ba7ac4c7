//! vcache_explain: it says what the search with the same arguments then does, and does nothing itself.

use harness::{Database, Session, Source, Stand, Stop, VECTOR, brackets, digits17};

use crate::stand;

/// `outcome tier reason`, for the arguments of a search.
fn explain(session: &mut Session, arguments: &str) -> String {
    let rows = session.rows(&format!("SELECT outcome, tier, reason FROM vcache_explain({arguments})"));
    assert_eq!(rows.len(), 1, "rows");
    rows[0].iter().flatten().cloned().collect::<Vec<_>>().join(": ")
}

fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    (session, source)
}

#[test]
fn it_says_what_the_search_then_does() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, _) = prepared(&database);
    let search = "'docs', '[1,2,3]', 5";
    let expect = |session: &mut Session, arguments: &str, explained: &str, counted: &str| {
        session.run("SELECT vcache_stats_reset()");
        assert_eq!(explain(session, arguments), explained);
        let nothing = session.rows("SELECT 1 FROM vcache_stats WHERE lookups + redis_errors + redis_timeouts > 0");
        assert!(nothing.is_empty(), "it counted");
        session.search_by(arguments);
        assert_eq!(session.number(&format!("SELECT {counted} FROM vcache_stats")), 1, "{explained}: {counted}");
    };
    expect(&mut session, search, "miss: there is no entry under this key", "misses_cold");
    expect(&mut session, search, "hit: shared: an entry for 20 rows answers", "shared_hits");
    expect(
        &mut session,
        "'docs', '[1,2,3]', 21",
        "miss: the entry under this key has fewer rows than top_k",
        "misses_short",
    );
    session.run("SELECT pg_sleep(1.1)");
    expect(
        &mut session,
        "'docs', '[1,2,3]', 5, ttl => '1 s'",
        "miss: the entry under this key is older than the ttl",
        "misses_expired",
    );
    expect(&mut session, "'docs', '[1,2,3]', 5, ttl => '0'", "bypass: the ttl is 0", "bypasses_ttl");
    session.run("SET vcache.enabled = off");
    expect(&mut session, search, "bypass: vcache.enabled is off", "bypasses_disabled");
    session.run("RESET vcache.enabled");
    session.run("BEGIN");
    session.run("DELETE FROM docs WHERE false");
    expect(&mut session, search, "bypass: the transaction has written to the source", "bypasses_written");
    session.run("ROLLBACK");
    let reader = database.role("reader", "");
    session.run(&format!("GRANT SELECT ON docs TO {reader}; ALTER TABLE docs ENABLE ROW LEVEL SECURITY"));
    let row_security =
        "bypass: row-level security is in force for the current role, and the namespace declares no rls_settings";
    assert_eq!(explain(&mut database.session_as(&reader), search), row_security);
    session.run("ALTER TABLE docs DISABLE ROW LEVEL SECURITY");

    session.search_by(search);
    // What Redis holds, once the server has been restarted and shared memory is empty.
    stand.server.restart(Stop::Fast);
    let mut session = database.session();
    expect(&mut session, search, "hit: redis: an entry for 20 rows answers", "redis_hits");
    expect(&mut session, search, "hit: shared: an entry for 20 rows answers", "shared_hits");
    stand.server.restart(Stop::Fast);
    let mut session = database.session();
    let key = stand.redis.only_key();
    stand.redis.set(&key, b"no entry");
    let expected = "miss: what stands under this key is not an entry";
    assert_eq!(explain(&mut session, search), expected);
    assert_eq!(stand.redis.get(&key).as_deref(), Some(b"no entry".as_slice()), "it changed something");
    stand.redis.stop();
    expect(&mut session, search, "miss: Redis cannot be reached", "misses_unreachable");
    stand.redis.start_again();
    let server = &stand.server;
    server.reload_with("vcache.redis_url", "");
    let mut session = database.session();
    let other = "'docs', '[3,2,1]', 5";
    assert_eq!(explain(&mut session, other), "miss: there is no entry under this key");
    server.set("vcache.shared_memory_size", "0");
    server.restart(Stop::Fast);
    assert_eq!(
        explain(&mut database.session(), other),
        "miss: there is no tier: vcache.redis_url is empty, and there is no shared memory"
    );
}

#[test]
fn it_asks_no_engine_and_stores_nothing() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut session, _) = prepared(&database);
    session.run("SELECT pg_stat_statements_reset()");
    for arguments in ["'docs', '[1,2,3]'", "'docs', '[1,2,3]', ttl => '0'", "'docs', '[4,5,6]', 1000"] {
        explain(&mut session, arguments);
    }
    assert_eq!((database.engine_executions("docs"), stand.redis.keys().len()), (0, 0));
    // In a transaction that may write nothing, too.
    session.run("BEGIN READ ONLY");
    explain(&mut session, "'docs', '[1,2,3]'");
    session.run("COMMIT");
}

#[test]
fn age_and_expiry_are_the_entrys() {
    let database = stand().database();
    let (mut session, _) = prepared(&database);
    let query = "'docs', '[1,2,3]', 5, ttl => '1 hour'";
    session.search_by(query);
    session.run("SELECT pg_sleep(0.02)");
    let shown = session.rows(&format!(
        "SELECT age BETWEEN '20 ms' AND '10 min', expires_in BETWEEN '50 min' AND '1 hour', \
                age + expires_in = '1 hour' FROM vcache_explain({query})"
    ));
    assert_eq!(shown, [[Some("t"), Some("t"), Some("t")].map(|value| value.map(str::to_owned))]);
    let miss = session.rows("SELECT age, expires_in, tier FROM vcache_explain('docs', '[9,9,9]')");
    assert_eq!(miss, [[None, None, None]]);
}

#[test]
fn equal_keys_have_equal_parts_and_others_show_the_difference() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    let part = |session: &mut Session, arguments: &str| {
        let rows = session.rows(&format!("SELECT key, key_parts FROM vcache_explain({arguments})"));
        (rows[0][0].clone().expect("a key"), rows[0][1].clone().expect("its parts"))
    };
    let vector = harness::Generator::new(1).vector(3);
    let first = part(&mut session, &format!("'docs', '{}'", brackets(&vector)));
    // top_k and ttl are not in the key; how the vector is written is not either.
    for arguments in [
        format!("'docs', '{}', 3, ttl => '1 s'", digits17(&vector)),
        format!("'docs', '{}'::{VECTOR}", brackets(&vector)),
        format!("'docs', array{}::real[]", brackets(&vector)),
    ] {
        assert_eq!(part(&mut session, &arguments), first, "{arguments}");
    }
    // The parts that differ are named, and no other.
    let differing = |session: &mut Session, other: &(String, String)| {
        assert_ne!(other.0, first.0, "the key");
        session.column(&format!(
            "SELECT coalesce(a.key, b.key) FROM jsonb_each('{}') a FULL JOIN jsonb_each('{}') b USING (key) \
             WHERE a.value IS DISTINCT FROM b.value ORDER BY 1",
            first.1, other.1
        ))
    };
    let other = part(&mut session, "'docs', '[1,2,3]'");
    assert_eq!(differing(&mut session, &other), ["vector"]);
    source.register(&mut session, "more", "");
    let other = part(&mut session, &format!("'more', '{}'", brackets(&vector)));
    assert_eq!(differing(&mut session, &other), ["namespace", "revision"]);
    session.run("SET enable_seqscan = off");
    let other = part(&mut session, &format!("'docs', '{}'", brackets(&vector)));
    assert_eq!(differing(&mut session, &other), ["settings"]);
    assert!(other.1.contains(r#""enable_seqscan": "off""#), "{}", other.1);
}

#[test]
fn what_the_search_refuses_it_refuses() {
    let database = stand().database();
    let (mut session, _) = prepared(&database);
    let other = database.role("other", "");
    let mut others = database.session_as(&other);
    for (arguments, sqlstate) in [
        ("'nothing', '[1,2,3]'", "42704"),
        ("'docs', '[1,2]'", "22000"),
        ("'docs', '[1,2,x]'", "22P02"),
        ("'docs', '[1,2,3]', 0", "22023"),
        ("'docs', '[1,2,3]', ttl => '-1 s'", "22023"),
        ("NULL, '[1,2,3]'", "22004"),
    ] {
        let searched = session.fails(&format!("SELECT * FROM vcache_search({arguments})"));
        let explained = session.fails(&format!("SELECT * FROM vcache_explain({arguments})"));
        assert_eq!((&explained.sqlstate, &explained.message), (&searched.sqlstate, &searched.message), "{arguments}");
        assert_eq!(explained.hint, searched.hint, "{arguments}");
        assert_eq!(explained.sqlstate, sqlstate, "{arguments}");
    }
    others.fails("SELECT * FROM vcache_explain('docs', '[1,2,3]')").assert("42501", &["docs"]);
    assert_eq!(database.stats("docs").lookups, 0);
}
