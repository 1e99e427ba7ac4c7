//! vcache_invalidate: what was cached is forgotten at commit, for every session, and nothing else is.

use harness::{Database, Session, Source, VECTOR};

use crate::stand;

fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    for namespace in ["one", "two"] {
        source.register(&mut session, namespace, "");
        source.assert_search(&mut session, namespace, "[1,2,3]", 5);
    }
    (session, source)
}

fn is_hit(session: &mut Session, namespace: &str) -> bool {
    session.value(&format!("SELECT outcome FROM vcache_explain('{namespace}', '[1,2,3]')")) == "hit"
}

#[test]
fn one_namespace_or_all() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    let mut other = database.session();
    assert!(is_hit(&mut other, "one") && is_hit(&mut other, "two"));
    session.run("SELECT vcache_invalidate('one')");
    assert!(!is_hit(&mut other, "one") && is_hit(&mut other, "two"));
    source.assert_search(&mut session, "one", "[1,2,3]", 5);
    assert!(is_hit(&mut other, "one"));
    session.run("SELECT vcache_invalidate()");
    assert!(!is_hit(&mut other, "one") && !is_hit(&mut other, "two"));
}

#[test]
fn it_takes_effect_at_commit_and_a_rollback_undoes_it() {
    let database = stand().database();
    let (mut session, _) = prepared(&database);
    let mut other = database.session();
    session.run("BEGIN");
    session.run("SELECT vcache_invalidate('one')");
    assert!(is_hit(&mut other, "one"), "before the commit");
    session.run("COMMIT");
    assert!(!is_hit(&mut other, "one"), "after it");
    session.run("BEGIN");
    session.run("SELECT vcache_invalidate('two')");
    session.run("ROLLBACK");
    assert!(is_hit(&mut session, "two") && is_hit(&mut other, "two"), "after a rollback");
    session.run("BEGIN");
    session.run("SAVEPOINT here");
    session.run("SELECT vcache_invalidate()");
    session.run("ROLLBACK TO here");
    session.run("COMMIT");
    assert!(is_hit(&mut session, "two"), "after a rollback to a savepoint");
}

#[test]
fn new_data_is_seen_after_it() {
    let database = stand().database();
    let (mut session, source) = prepared(&database);
    session.run("SELECT vcache_alter_namespace('one', '{\"freshness\": \"ttl\"}')");
    session.search("one", "[1,2,3]", 1);
    session.run("INSERT INTO docs VALUES (1000, 'new', 1, '[1,2,3]')");
    // Freshness 'ttl': the old answer stands until it is forgotten.
    assert_ne!(session.search("one", "[1,2,3]", 1)[0].id, "1000");
    session.run("SELECT vcache_invalidate('one')");
    assert_eq!(source.assert_search(&mut session, "one", "[1,2,3]", 1)[0].id, "1000");
}

#[test]
fn a_tenant_forgets_its_whole_pattern() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id int PRIMARY KEY, tenant text, embedding {VECTOR}(3))"));
    session.run("INSERT INTO docs SELECT i, 't' || i % 3, '[1,2,3]' FROM generate_series(1, 9) i");
    let create =
        "SELECT vcache_create_namespace('docs/*', 'docs', 'embedding', metric => 'l2', namespace_column => 'tenant')";
    session.run(create);
    for called in ["docs/t1", "docs/*"] {
        for tenant in ["docs/t0", "docs/t1"] {
            session.search(tenant, "[1,2,3]", 5);
            assert!(is_hit(&mut session, tenant));
        }
        session.run(&format!("SELECT vcache_invalidate('{called}')"));
        assert!(!is_hit(&mut session, "docs/t0") && !is_hit(&mut session, "docs/t1"), "{called}");
    }
}

#[test]
fn it_is_for_the_sources_owner_and_without_a_name_covers_what_one_owns() {
    let database = stand().database();
    let (owner, other) = (database.role("owner", ""), database.role("other", ""));
    let mut superuser = database.session();
    let source = Source::docs(&mut superuser, 30, 3);
    let owned = Source::create(&mut superuser, "owned", 30, 3);
    superuser.run(&format!("ALTER TABLE owned OWNER TO {owner}; GRANT SELECT ON docs, owned TO {owner}, {other}"));
    source.register(&mut superuser, "docs", "");
    owned.register(&mut superuser, "owned", "");
    for namespace in ["docs", "owned"] {
        superuser.search(namespace, "[1,2,3]", 5);
    }
    let (mut owners, mut others) = (database.session_as(&owner), database.session_as(&other));
    others.fails("SELECT vcache_invalidate('owned')").assert("42501", &["owned"]);
    others.run("SELECT vcache_invalidate()");
    assert!(is_hit(&mut others, "owned") && is_hit(&mut others, "docs"), "one who owns nothing");
    owners.run("SELECT vcache_invalidate()");
    assert!(!is_hit(&mut others, "owned") && is_hit(&mut others, "docs"), "the owner of one");
    superuser.run("SELECT vcache_invalidate()");
    assert!(!is_hit(&mut others, "docs"), "the superuser");
}

#[test]
fn an_unknown_name_is_an_error_that_tells_the_known_ones() {
    let database = stand().database();
    let (mut session, _) = prepared(&database);
    let failure = session.fails("SELECT vcache_invalidate('three')");
    failure.assert("42704", &["three"]);
    assert!(failure.hint.contains("one") && failure.hint.contains("two"), "{failure:?}");
    assert!(is_hit(&mut session, "one"));
}

#[test]
fn a_session_keeps_nothing_of_what_it_has_forgotten() {
    let database = stand().database();
    let (mut session, _) = prepared(&database);
    let mut other = database.session();
    let contexts = "SELECT count(*) FROM pg_backend_memory_contexts";
    let mut rounds = |number: usize| {
        for _ in 0..number {
            other.run("SELECT vcache_invalidate('one')");
            session.search("one", "[1,2,3]", 5);
        }
        session.number(contexts)
    };
    let before = rounds(20);
    let after = rounds(200);
    // Every kept plan has a context of its own.
    assert!(after < before + 100, "{before} contexts, {after} after 200 rounds");
}
