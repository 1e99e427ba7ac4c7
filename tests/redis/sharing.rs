//! Who shares entries and who does not: databases, servers, standbys, clones; and what is left of them when Redis restarts.

use harness::{Redis, Stand, Stop};

use crate::{assert_searches, prepared};

#[test]
fn two_databases_and_two_servers_never_meet_each_others_entries() {
    let stand = Stand::with_redis_alone();
    // The servers' data directories are copies of one: even the identifier of the cluster is the same.
    let twin = Stand::setup(&stand.redis.url()).start();
    let databases = [stand.database(), stand.database(), twin.database(), twin.database()];
    let mut scenes = Vec::new();
    for (number, database) in databases.iter().enumerate() {
        let (mut session, source) = prepared(database);
        // The same namespace, other rows.
        session.run(&format!("DELETE FROM docs WHERE id % 4 = {number}"));
        scenes.push((session, source));
    }
    for round in 0..3 {
        for (session, source) in &mut scenes {
            assert_searches(session, source, 0..10);
        }
        assert_eq!(stand.redis.keys().len(), 40, "round {round}");
    }
    for database in &databases {
        assert_eq!(database.stats("docs").outcomes(), (20, 10, 0));
        assert_eq!(database.engine_executions("docs"), 10);
    }
    // One database's entry, put where another's would be.
    stand.redis.flush();
    let [(first, source), (second, _), ..] = scenes.as_mut_slice() else { unreachable!("four scenes") };
    assert_searches(second, source, [1]);
    let foreign = stand.redis.get(&stand.redis.only_key()).expect("an entry");
    stand.redis.flush();
    assert_searches(first, source, [1]);
    let key = stand.redis.only_key();
    stand.redis.set(&key, &foreign);
    let before = databases[0].stats("docs");
    assert_searches(first, source, [1]);
    let after = databases[0].stats("docs");
    assert_eq!((after.hits, after.redis_errors), (before.hits, before.redis_errors + 1));
}

#[test]
fn a_standby_shares_entries_with_its_primary() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    let standby = stand.server.standby();
    standby.catch_up(&stand.server);
    let mut reader = standby.connect("postgres", database.name());
    assert_eq!(reader.value("SELECT pg_is_in_recovery()"), "t");
    let counts = "SELECT redis_hits, misses, stores FROM vcache_stats WHERE namespace = 'docs'";
    let counted = |hits: i64, misses: i64, stores: i64| {
        vec![[hits, misses, stores].map(|count| Some(count.to_string())).to_vec()]
    };
    assert_searches(&mut reader, &source, 0..5);
    assert_eq!(reader.rows(counts), counted(5, 0, 0));
    // What the standby finds out, the primary need not.
    assert_searches(&mut reader, &source, 5..8);
    assert_eq!(reader.rows(counts), counted(5, 3, 3));
    assert_searches(&mut session, &source, 5..8);
    assert_eq!(database.stats("docs").outcomes(), (3, 5, 0));
    // While the standby is behind it may serve what it sees, and must not put that in a newer answer's place.
    let key = |session: &mut harness::Session| {
        session.value(&format!("SELECT key FROM vcache_explain('docs', '{}')", source.query(1)))
    };
    let name = format!("vcache:{}", key(&mut session));
    let before = stand.redis.get(&name);
    assert_eq!(name, format!("vcache:{}", key(&mut reader)));
    reader.search_by(&format!("'docs', '{}', 50", source.query(1)));
    assert_eq!(stand.redis.get(&name), before);
    assert_eq!(reader.number("SELECT vcache_flush()"), 8);
    assert_searches(&mut reader, &source, 0..3);
}

#[test]
fn a_clone_with_a_prefix_of_its_own_shares_nothing() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..5);
    let clone = stand.server.standby();
    clone.catch_up(&stand.server);
    // Before it leads a life of its own.
    clone.reload_with("vcache.key_prefix", "clone");
    let mut own = clone.connect("postgres", database.name());
    assert_eq!(own.value("SELECT pg_promote()"), "t");
    own.run("DELETE FROM docs WHERE id % 2 = 0");
    assert_searches(&mut own, &source, 0..5);
    assert_searches(&mut session, &source, 0..5);
    assert_searches(&mut own, &source, 0..5);
    let counts = "SELECT redis_hits, misses FROM vcache_stats WHERE namespace = 'docs'";
    assert_eq!(own.rows(counts), [["5", "5"].map(|count| Some(count.to_owned()))]);
    assert_eq!(database.stats("docs").outcomes(), (5, 5, 0));
    assert_eq!(own.number("SELECT vcache_flush()"), 5);
    assert_eq!(stand.redis.keys().len(), 5);
    clone.stop(Stop::Fast);
}

#[test]
fn after_a_restart_of_a_redis_that_saves_the_next_searches_are_hits() {
    let redis = Redis::start_with(&["--save", "3600 1"], None);
    let server = Stand::setup(&redis.url()).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..20);
    let asked = database.engine_executions("docs");
    redis.save_and_stop();
    redis.start_again();
    // In the session that was connected and in a new one; nothing has told them.
    assert_searches(&mut session, &source, 0..20);
    assert_searches(&mut database.session(), &source, 0..20);
    assert_eq!(database.stats("docs").outcomes(), (40, 20, 0));
    assert_eq!(database.engine_executions("docs"), asked);
    assert!(redis.keys().iter().all(|key| redis.lifetime(key) > 0), "an entry has lost its expiry");
    // PostgreSQL's own restart loses none either.
    server.restart(Stop::Immediate);
    assert_searches(&mut database.session(), &source, 0..20);
    assert_eq!(database.stats("docs").outcomes(), (20, 0, 0));
}
