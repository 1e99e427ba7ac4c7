//! How long entries live, and how old an answer may be: the call's ttl before the namespace's before the setting's.

use std::ops::RangeInclusive;

use harness::{Redis, Source, Stand, until};

/// What is left of a lifetime that was just set: up to a tenth is taken off so that entries do not expire together,
/// and a minute may have passed.
fn just_set(seconds: i64) -> RangeInclusive<i64> {
    (seconds * 900 - 60_000)..=(seconds * 1000)
}

fn lifetime(redis: &Redis) -> i64 {
    redis.lifetime(&redis.only_key())
}

#[test]
fn the_calls_ttl_goes_before_the_namespaces_and_that_before_the_settings() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "plain", "");
    source.register(&mut session, "own", "ttl => '2 hours'");
    let mut lives = |setting: &str, call: &str| {
        database.flush();
        session.run(setting);
        session.search_by(call);
        lifetime(&stand.redis)
    };
    assert!(just_set(300).contains(&lives("RESET vcache.ttl", "'plain', '[1,2,3]'")));
    assert!(just_set(3600).contains(&lives("SET vcache.ttl = '1h'", "'plain', '[1,2,3]'")));
    assert!(just_set(7200).contains(&lives("SET vcache.ttl = '1h'", "'own', '[1,2,3]'")));
    assert!(just_set(10_800).contains(&lives("SET vcache.ttl = '1h'", "'own', '[1,2,3]', ttl => '3 hours'")));
    assert!(just_set(86_400).contains(&lives("SET vcache.ttl = '1h'", "'plain', '[1,2,3]', 5, ttl => '1 day'")));
}

#[test]
fn an_altered_ttl_holds_for_what_is_stored_next() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "ttl => '2 hours'");
    session.run(r#"SELECT vcache_alter_namespace('docs', '{"ttl": "10 hours"}')"#);
    session.search("docs", "[1,2,3]", 5);
    assert!(just_set(36_000).contains(&lifetime(&stand.redis)));
    database.flush();
    session.run(r#"SELECT vcache_alter_namespace('docs', '{"ttl": null}')"#);
    session.search("docs", "[1,2,3]", 5);
    assert!(just_set(300).contains(&lifetime(&stand.redis)));
}

#[test]
fn an_entry_expires_and_hits_do_not_extend_its_life() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '2 seconds'");
    let mut last = lifetime(&stand.redis);
    assert!(last > 0 && last <= 2000);
    until("the entry expires under hits", || {
        session.search_by("'docs', '[1,2,3]', 5, ttl => '2 seconds'");
        // Between the search and this look the entry may have gone.
        let left = stand.redis.keys().first().map_or(0, |key| stand.redis.lifetime(key));
        let expired = database.stats("docs").misses > 1;
        assert!(expired || left <= last, "a hit extended the life");
        last = left;
        expired
    });
}

#[test]
fn ttl_is_also_the_oldest_answer_that_a_call_accepts() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '1 day'");
    session.run("SELECT pg_sleep(0.2)");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '100 milliseconds'");
    assert_eq!(database.stats("docs").outcomes(), (0, 2, 0));
    session.search_by("'docs', '[3,2,1]', 5, ttl => '1 day'");
    session.search_by("'docs', '[3,2,1]', 5, ttl => '1 hour'");
    assert_eq!(database.stats("docs").outcomes(), (1, 3, 0));
}

#[test]
fn a_ttl_of_zero_is_a_bypass() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    session.search_by("'docs', '[1,2,3]', 5, ttl => '0'");
    assert_eq!(database.stats("docs").outcomes(), (0, 0, 1));
    assert!(stand.redis.keys().is_empty());
    session.search("docs", "[1,2,3]", 5);
    let entry = stand.redis.get(&stand.redis.only_key());
    let calls = (stand.redis.calls("get"), stand.redis.calls("set"));
    session.run("INSERT INTO docs VALUES (1000, 'new', 0, '[1,2,3]')");
    let fresh = session.search_by("'docs', '[1,2,3]', 5, ttl => '0'");
    assert_eq!(fresh[0].id, "1000");
    assert_eq!(database.stats("docs").outcomes(), (0, 1, 2));
    assert_eq!((stand.redis.calls("get"), stand.redis.calls("set")), calls);
    assert_eq!(stand.redis.get(&stand.redis.only_key()), entry);
}

#[test]
fn a_hit_may_be_as_old_as_its_ttl() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "freshness => 'ttl'");
    let old = session.search("docs", "[1,2,3]", 5);
    database.session().run("DELETE FROM docs");
    assert_eq!(session.search("docs", "[1,2,3]", 5), old);
    assert!(session.search_by("'docs', '[1,2,3]', 5, ttl => '0'").is_empty());
    database.flush();
    assert!(session.search("docs", "[1,2,3]", 5).is_empty());
}
