//! A full memory: what makes room is counted for whose it was, and what is asked for often stays.

use harness::{Session, Source, Stand};

use crate::scene::without_redis;

/// Entries of a namespace, as vcache_entries shows them.
fn held(session: &mut Session, namespace: &str) -> i64 {
    session.number(&format!("SELECT count(*) FROM vcache_entries WHERE namespace = '{namespace}'"))
}

fn search(session: &mut Session, source: &Source, namespace: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        source.assert_search(session, namespace, &source.query(seed), 5);
    }
}

#[test]
fn evictions_are_counted_for_whose_entry_it_was() {
    let server = without_redis().set("vcache.shared_memory_size", "256kB").start();
    let database = server.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    for namespace in ["often", "once", "before"] {
        source.register(&mut session, namespace, "payload_columns => '{title}'");
    }
    search(&mut session, &source, "before", 0..100);
    for _ in 0..5 {
        search(&mut session, &source, "often", 0..20);
    }
    search(&mut session, &source, "once", 0..1000);
    let mut evictions = 0;
    for namespace in ["often", "once", "before"] {
        let stats = database.stats(namespace);
        // Nothing was replaced, and nothing has expired.
        assert_eq!(stats.stores - stats.evictions, held(&mut session, namespace), "{namespace}: {stats:?}");
        evictions += stats.evictions;
    }
    assert!(database.stats("once").evictions > 500 && held(&mut session, "once") > 10, "{:?}", database.stats("once"));
    let detail = session.value("SELECT detail FROM vcache_health() WHERE component = 'shared memory'");
    assert!(detail.contains(&format!("; {evictions} have made room for others")), "{detail}");
    assert_eq!(session.number("SELECT evictions FROM vcache_stats_total"), evictions);

    // A scan has not driven out what is asked for often.
    let before = database.stats("often");
    search(&mut session, &source, "often", 0..20);
    let after = database.stats("often");
    assert!(after.shared_hits - before.shared_hits >= 18, "{before:?} {after:?}");
}

#[test]
fn what_has_made_room_is_found_in_redis() {
    let stand = Stand::start_with(|setup| setup.set("vcache.shared_memory_size", "64kB"));
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    search(&mut session, &source, "docs", 0..200);
    assert!(database.stats("docs").evictions > 50);
    search(&mut session, &source, "docs", 0..200);
    let stats = database.stats("docs");
    assert_eq!(stats.outcomes(), (200, 200, 0));
    assert!(stats.shared_hits > 0 && stats.shared_hits < 150, "{stats:?}");
}

#[test]
fn what_has_expired_makes_room_and_is_no_eviction() {
    let server = without_redis().set("vcache.shared_memory_size", "64kB").start();
    let database = server.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "brief", "ttl => '500 ms'");
    source.register(&mut session, "lasting", "");
    search(&mut session, &source, "brief", 0..10);
    session.run("SELECT pg_sleep(0.6)");
    search(&mut session, &source, "lasting", 0..200);
    let (brief, lasting) = (database.stats("brief"), database.stats("lasting"));
    assert_eq!((brief.stores, brief.evictions), (10, 0), "{brief:?}");
    assert!(lasting.evictions > 50, "{lasting:?}");
    assert_eq!(lasting.stores - lasting.evictions, held(&mut session, "lasting"), "{lasting:?}");
}

#[test]
fn of_databases_too() {
    let server = without_redis().set("vcache.shared_memory_size", "128kB").start();
    let (one, two) = (server.database(), server.database());
    for database in [&one, &two] {
        let mut session = database.session();
        let source = Source::docs(&mut session, 50, 3);
        source.register(&mut session, "docs", "");
        search(&mut session, &source, "docs", 0..300);
    }
    // The second one's have driven out the first one's: so it is told.
    for database in [&one, &two] {
        let stats = database.stats("docs");
        assert_eq!(stats.stores - stats.evictions, held(&mut database.session(), "docs"), "{stats:?}");
        assert!(stats.evictions > 0, "{stats:?}");
    }
    // A namespace that is gone, and a database that is gone.
    one.session().run("SELECT vcache_drop_namespace('docs')");
    let mut session = two.session();
    let name = one.name().to_owned();
    session.run(&format!("DROP DATABASE {name}"));
    let source = Source { table: "docs".to_owned(), dimensions: 3, metric: harness::Metric::L2 };
    search(&mut session, &source, "docs", 1000..1300);
    let stats = two.stats("docs");
    assert_eq!(stats.stores - stats.evictions, held(&mut session, "docs"), "{stats:?}");
}
