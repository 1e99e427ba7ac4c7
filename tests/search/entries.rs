//! Entries: who shares one, which k it answers, what takes its place, and what is too large to be one.

use harness::{Engine, Source, Stand, Stop};

use crate::stand;

#[test]
fn sessions_share_entries() {
    let database = stand().database();
    let source = Source::docs(&mut database.session(), 50, 64);
    source.register(&mut database.session(), "docs", "");
    let first = database.session().search("docs", &source.query(1), 10);
    assert_eq!(database.session().search("docs", &source.query(1), 10), first);
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}

#[test]
fn an_entry_answers_smaller_k_and_a_larger_k_takes_its_place() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 300, 64);
    source.register(&mut session, "docs", "");
    let query = source.query(1);
    let mut outcomes = |top_k: usize| {
        source.assert_search(&mut session, "docs", &query, top_k);
        assert_eq!(stand.redis.keys().len(), 1);
        let (hits, misses, bypasses) = database.stats("docs").outcomes();
        assert_eq!(bypasses, 0);
        (hits, misses)
    };
    // vcache.fetch_k is 20, and K goes in steps of 10, 20, 50, 100.
    assert_eq!(outcomes(5), (0, 1));
    let first = stand.redis.get(&stand.redis.only_key());
    assert_eq!(outcomes(20), (1, 1));
    assert_eq!(stand.redis.get(&stand.redis.only_key()), first);
    assert_eq!(outcomes(21), (1, 2));
    assert_ne!(stand.redis.get(&stand.redis.only_key()), first);
    assert_eq!(outcomes(50), (2, 2));
    assert_eq!(outcomes(5), (3, 2));
    assert_eq!(outcomes(51), (3, 3));
    assert_eq!(outcomes(100), (4, 3));
    assert_eq!(outcomes(250), (4, 4));
    assert_eq!(outcomes(20), (5, 4));
}

#[test]
fn fetch_k_is_what_a_miss_asks_for_at_least() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 120, 64);
    source.register(&mut session, "setting", "");
    source.register(&mut session, "option", "fetch_k => 100");
    session.run("SET vcache.fetch_k = 1");
    for top_k in [1, 10] {
        source.assert_search(&mut session, "setting", &source.query(1), top_k);
    }
    assert_eq!(database.stats("setting").outcomes(), (1, 1, 0));
    source.assert_search(&mut session, "setting", &source.query(1), 11);
    assert_eq!(database.stats("setting").outcomes(), (1, 2, 0));
    for top_k in [1, 100] {
        source.assert_search(&mut session, "option", &source.query(1), top_k);
    }
    assert_eq!(database.stats("option").outcomes(), (1, 1, 0));
}

#[test]
fn a_huge_fetch_k_asks_for_no_more_than_max_top_k() {
    // Servers of its own: what this is about ended one.
    let stand = Stand::start();
    let database = stand.database();
    let mut owner = database.session();
    let source = Source::docs(&mut owner, 30, 3);
    source.register(&mut owner, "setting", "");
    source.register(&mut owner, "option", &format!("fetch_k => {}", i32::MAX));
    owner.run("GRANT SELECT ON docs TO PUBLIC");
    let role = database.role("role", "");
    for most in [1000, 50] {
        owner.run(&format!("ALTER ROLE {role} SET vcache.max_top_k = {most}"));
        let mut session = database.session_as(&role);
        session.run(&format!("SET vcache.fetch_k = {}", i32::MAX / 2));
        for namespace in ["setting", "option"] {
            database.flush();
            source.assert_search(&mut session, namespace, "[1,2,3]", 5);
            let reason = session.value(&format!("SELECT reason FROM vcache_explain('{namespace}', '[1,2,3]')"));
            assert_eq!(reason, format!("an entry for {most} rows answers"), "{namespace}");
        }
    }
    // Who may raise the bound gets what there is, as a miss, as a hit, as a bypass.
    let most = i32::MAX / 2;
    owner.run(&format!("SET vcache.max_top_k = {most}"));
    for rest in ["", "", ", ttl => '0'"] {
        assert_eq!(owner.search_by(&format!("'setting', '[3,2,1]', {most}{rest}")).len(), 30);
    }
    assert_eq!(database.stats("setting").outcomes(), (1, 3, 1));
    assert!(!stand.server.log().contains("terminated by signal"), "{}", stand.server.last_of_log());
}

#[test]
fn a_source_with_fewer_rows_than_asked_for_is_answered_from_its_entry() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 7, 64);
    source.register(&mut session, "docs", "");
    for top_k in [10, 10, 20, 3] {
        assert_eq!(source.assert_search(&mut session, "docs", &source.query(1), top_k).len(), top_k.min(7));
    }
    assert_eq!(database.stats("docs").outcomes(), (3, 1, 0));
}

#[test]
fn an_answer_larger_than_max_entry_size_is_given_and_not_kept() {
    let stand = Stand::start_with(|setup| setup.set("vcache.max_entry_size", "4kB"));
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "small", "");
    source.register(&mut session, "large", "payload_columns => '{*}'");
    session.run("UPDATE docs SET title = (SELECT string_agg(md5(n::text || id), '') FROM generate_series(1, 20) n)");
    for _ in 0..2 {
        let rows = source.assert_search(&mut session, "large", &source.query(1), 10);
        assert!(rows.iter().all(|row| row.payload.as_ref().is_some_and(|payload| payload.len() > 640)));
    }
    assert!(stand.redis.keys().is_empty());
    let stats = database.stats("large");
    assert_eq!((stats.outcomes(), stats.stores, stats.redis_errors), ((0, 2, 0), 0, 0));
    // Where all that was asked for is too large, what the caller wanted may not be.
    for top_k in [3, 3, 2] {
        source.assert_search(&mut session, "large", &source.query(2), top_k);
    }
    let stats = database.stats("large");
    assert_eq!((stats.outcomes(), stats.stores), ((2, 3, 0), 1));
    let explained = "SELECT outcome || ': ' || reason FROM vcache_explain('large', ";
    assert_eq!(session.value(&format!("{explained}'{}', 3)", source.query(2))), "hit: an entry for 3 rows answers");
    assert!(session.value(&format!("{explained}'{}', 4)", source.query(2))).starts_with("miss: "));
    database.flush();
    for _ in 0..2 {
        source.assert_search(&mut session, "small", &source.query(1), 10);
    }
    let stats = database.stats("small");
    assert_eq!((stats.outcomes(), stats.stores), ((1, 1, 0), 1));

    // A reload is enough to keep larger ones.
    stand.server.reload_with("vcache.max_entry_size", "1MB");
    let mut session = database.session();
    for _ in 0..2 {
        source.assert_search(&mut session, "large", &source.query(1), 10);
    }
    assert_eq!(database.stats("large").stores, 2);
    assert_eq!(stand.redis.keys().len(), 2);
}

#[test]
fn with_vcache_disabled_every_search_is_a_bypass() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    session.run("SET vcache.enabled = off");
    for _ in 0..3 {
        source.assert_search(&mut session, "docs", &source.query(1), 10);
    }
    assert_eq!(database.stats("docs").outcomes(), (0, 0, 3));
    assert_eq!((database.stats("docs").stores, stand.redis.keys().len()), (0, 0));
    assert_eq!((stand.redis.calls("get"), stand.redis.calls("set")), (0, 0));
    session.run("RESET vcache.enabled");
    source.assert_search(&mut session, "docs", &source.query(1), 10);
    assert_eq!(database.stats("docs").outcomes(), (0, 1, 3));
}

#[test]
fn a_hit_asks_redis_at_most_once_and_writes_nothing() {
    for (stand, asked) in [(Stand::start(), 0), (Stand::with_redis_alone(), 5)] {
        let database = stand.database();
        let mut session = database.session();
        let source = Source::docs(&mut session, 50, 64);
        source.register(&mut session, "docs", "");
        session.search("docs", &source.query(1), 10);
        assert_eq!((stand.redis.calls("get"), stand.redis.calls("set")), (1, 1));
        for _ in 0..5 {
            session.search("docs", &source.query(1), 10);
        }
        assert_eq!((stand.redis.calls("get"), stand.redis.calls("set")), (1 + asked, 1));
    }
}

#[test]
fn the_same_vector_in_two_namespaces_is_two_entries() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "one", "");
    source.register(&mut session, "two", "payload_columns => '{title}'");
    for namespace in ["one", "two", "one", "two"] {
        let rows = source.assert_search(&mut session, namespace, &source.query(1), 10);
        assert_eq!(rows[0].payload.is_some(), namespace == "two");
    }
    assert_eq!(stand.redis.keys().len(), 2);
    for namespace in ["one", "two"] {
        assert_eq!(database.stats(namespace).outcomes(), (1, 1, 0));
    }
}

#[test]
fn settings_that_change_the_engines_answer_are_part_of_the_key() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 200, 64);
    source.index(&mut session);
    source.register(&mut session, "docs", "");
    let query = source.query(1);
    source.assert_search(&mut session, "docs", &query, 10);
    let changes: &[&str] = match session.engine() {
        Engine::RuVector => &["ruvector.hnsw_ef_search = 300", "ruvector.ef_search = 77"],
        Engine::Pgvector => &["hnsw.ef_search = 300", "hnsw.iterative_scan = strict_order", "ivfflat.probes = 7"],
    };
    let planner = ["enable_indexscan = off", "enable_seqscan = off"];
    for (count, change) in changes.iter().chain(&planner).enumerate() {
        session.run(&format!("SET {change}"));
        for _ in 0..2 {
            source.assert_search(&mut session, "docs", &query, 10);
        }
        session.run("RESET ALL");
        let count = count as i64 + 1;
        assert_eq!(database.stats("docs").outcomes(), (count * 2 - 1, count + 1, 0), "{change}");
        source.assert_search(&mut session, "docs", &query, 10);
    }
}

#[test]
fn what_the_planner_compares_index_and_scan_by_is_part_of_the_key() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    for setting in ["seq_page_cost = 7", "effective_cache_size = '1MB'", "max_parallel_workers_per_gather = 0"] {
        session.run(&format!("SET {setting}"));
        assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5)"), "miss", "{setting}");
        session.run("RESET ALL");
    }
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5)"), "hit");
}

#[test]
fn an_entry_survives_the_server_and_is_shared_by_what_starts_again() {
    let stand = Stand::start();
    let database = stand.database();
    let source = Source::docs(&mut database.session(), 50, 64);
    source.register(&mut database.session(), "docs", "");
    let first = database.session().search("docs", &source.query(1), 10);
    stand.server.restart(Stop::Immediate);
    assert_eq!(database.session().search("docs", &source.query(1), 10), first);
    assert_eq!(database.stats("docs").outcomes(), (1, 0, 0));
}

#[test]
fn the_text_of_the_namespaces_name_is_told_apart_from_what_follows_it() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    for namespace in ["a", "A", "a ", "a[", "ä", "a\u{308}", "a''", "a:b", "🦀", "a%s{}"] {
        source.register(&mut session, namespace, "");
    }
    let names = session.column("SELECT namespace FROM vcache_namespaces");
    for namespace in &names {
        source.assert_search(&mut session, namespace, "[1,2,3]", 10);
        assert_eq!(database.stats(namespace).outcomes(), (0, 1, 0), "{namespace}");
    }
    assert_eq!((names.len(), stand.redis.keys().len()), (10, 10));
}
