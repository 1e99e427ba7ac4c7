//! Who may see what: privileges are those of the plain query, asked on every call, for hits as for misses; row-level
//! security is never cached.

use std::sync::LazyLock;

use harness::{Database, Session, Source, Stand, VECTOR, assert_same, ids};

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// A namespace `docs` with the payload column `title`, and an entry for `[1,2,3]`.
fn prepared(database: &Database) -> (Session, Source) {
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    (session, source)
}

/// A cached search, one that the engine must answer, and a bypass.
const SEARCHES: [&str; 3] = [
    "SELECT * FROM vcache_search('docs', '[1,2,3]', 5)",
    "SELECT * FROM vcache_search('docs', '[7,7,7]', 5)",
    "SELECT * FROM vcache_search('docs', '[1,2,3]', 5, ttl => '0')",
];

#[track_caller]
fn assert_denied(session: &mut Session, what: &str) {
    for search in SEARCHES {
        session.fails(search).assert("42501", &[what]);
    }
}

#[test]
fn a_revoked_privilege_is_missed_on_the_very_next_call() {
    let database = stand().database();
    let (mut owner, source) = prepared(&database);
    let reader = database.role("reader", "");
    let mut readers = database.session_as(&reader);
    assert_denied(&mut readers, "docs");
    for _ in 0..3 {
        owner.run(&format!("GRANT SELECT ON docs TO {reader}"));
        source.assert_search(&mut readers, "docs", "[1,2,3]", 5);
        owner.run(&format!("REVOKE SELECT ON docs FROM {reader}"));
        assert_denied(&mut readers, "docs");
    }
    // By the name of a group, and of everybody.
    let group = database.role("group", "");
    owner.run(&format!("GRANT SELECT ON docs TO {group}; GRANT {group} TO {reader}"));
    source.assert_search(&mut readers, "docs", "[1,2,3]", 5);
    owner.run(&format!("REVOKE {group} FROM {reader}"));
    assert_denied(&mut readers, "docs");
    owner.run("GRANT SELECT ON docs TO PUBLIC");
    source.assert_search(&mut readers, "docs", "[1,2,3]", 5);
    // An entry is not a role's: one miss for all.
    assert_eq!(database.stats("docs").misses, 1);
}

#[test]
fn a_prepared_search_is_checked_on_every_execution() {
    let database = stand().database();
    let (mut owner, _) = prepared(&database);
    let reader = database.role("reader", "");
    let mut readers = database.session_as(&reader);
    owner.run(&format!("GRANT SELECT ON docs TO {reader}"));
    readers.run("PREPARE search AS SELECT * FROM vcache_search('docs', '[1,2,3]', 5)");
    for _ in 0..7 {
        assert_eq!(readers.rows("EXECUTE search").len(), 5);
    }
    owner.run(&format!("REVOKE SELECT ON docs FROM {reader}"));
    readers.fails("EXECUTE search").assert("42501", &["docs"]);
}

#[test]
fn columns_have_privileges_of_their_own() {
    let database = stand().database();
    let (mut owner, source) = prepared(&database);
    owner.run("ALTER TABLE docs ADD COLUMN tenant text DEFAULT 'bare tenant'");
    source.register(&mut owner, "bare", "");
    source.register(&mut owner, "bare tenant", "namespace_column => 'tenant'");
    source.register(&mut owner, "all", "payload_columns => '{*}'");
    let reader = database.role("reader", "");
    let mut readers = database.session_as(&reader);
    owner.run(&format!("GRANT SELECT (id, embedding) ON docs TO {reader}"));
    for (column, namespace) in [("title", "docs"), ("tenant", "bare tenant")] {
        owner.search(namespace, "[1,2,3]", 5);
        source.assert_search(&mut readers, "bare", "[1,2,3]", 5);
        readers.fails(&format!("SELECT * FROM vcache_search('{namespace}', '[1,2,3]', 5)")).assert("42501", &["docs"]);
        owner.run(&format!("GRANT SELECT ({column}) ON docs TO {reader}"));
        source.assert_search(&mut readers, namespace, "[1,2,3]", 5);
    }
    owner.search("all", "[1,2,3]", 5);
    readers.fails("SELECT * FROM vcache_search('all', '[1,2,3]', 5)").assert("42501", &["docs"]);
    for (column, namespace) in [("id", "bare"), ("embedding", "docs")] {
        owner.run(&format!("REVOKE SELECT ({column}) ON docs FROM {reader}"));
        readers.fails(&format!("SELECT * FROM vcache_search('{namespace}', '[1,2,3]', 5)")).assert("42501", &["docs"]);
    }
}

#[test]
fn rows_of_inheriting_tables_may_share_an_id_whatever_the_role_may_read() {
    let database = stand().database();
    let mut owner = database.session();
    owner.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, secret text, embedding {VECTOR}(3));
         INSERT INTO docs VALUES (1, '', '[1,0,0]'), (2, '', '[2,0,0]');
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')"
    ));
    let reader = database.role("reader", "");
    owner.run(&format!("GRANT SELECT (id, embedding) ON docs TO {reader}"));
    let mut readers = database.session_as(&reader);
    assert_eq!(ids(&readers.search("docs", "[0,0,0]", 5)), ["1", "2"]);
    // The primary key says nothing of the rows of other tables, be they a child's that came later.
    owner.run("CREATE TABLE more () INHERITS (docs); INSERT INTO more VALUES (1, '', '[3,0,0]'), (1, '', '[4,0,0]')");
    // A miss of the reader's is what the owner finds.
    for session in [&mut readers, &mut owner] {
        for rest in ["", ", ttl => '0'"] {
            assert_eq!(ids(&session.search_by(&format!("'docs', '[0,0,0.1]', 5{rest}"))), ["1", "2", "1", "1"]);
        }
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 2, 2));
}

#[test]
fn usage_on_the_schema_is_needed() {
    let database = stand().database();
    let mut owner = database.session();
    owner.run("CREATE SCHEMA closed");
    let source = Source::create(&mut owner, "closed.docs", 30, 3);
    owner.run("SELECT vcache_create_namespace('docs', 'closed.docs', 'embedding', metric => 'l2')");
    source.assert_search(&mut owner, "docs", "[1,2,3]", 5);
    let reader = database.role("reader", "");
    owner.run(&format!("GRANT SELECT ON closed.docs TO {reader}"));
    let mut readers = database.session_as(&reader);
    assert_denied(&mut readers, "closed");
    owner.run(&format!("GRANT USAGE ON SCHEMA closed TO {reader}"));
    source.assert_search(&mut readers, "docs", "[1,2,3]", 5);
    owner.run(&format!("REVOKE USAGE ON SCHEMA closed FROM {reader}"));
    assert_denied(&mut readers, "closed");
}

#[test]
fn the_current_role_counts_not_the_sessions() {
    let database = stand().database();
    let (mut owner, source) = prepared(&database);
    let (reader, nobody) = (database.role("reader", ""), database.role("nobody", ""));
    owner.run(&format!("GRANT SELECT ON docs TO {reader}; GRANT {nobody} TO {reader}"));
    let mut session = database.session_as(&reader);
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    session.run(&format!("SET ROLE {nobody}"));
    assert_denied(&mut session, "docs");
    session.run("RESET ROLE");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    // The superuser who becomes nobody is nobody.
    owner.run(&format!("SET ROLE {nobody}"));
    assert_denied(&mut owner, "docs");
}

#[test]
fn a_security_definer_function_lends_its_owners_rights() {
    let database = stand().database();
    let (mut owner, source) = prepared(&database);
    let (reader, nobody) = (database.role("reader", ""), database.role("nobody", ""));
    owner.run(&format!(
        "GRANT SELECT ON docs TO {reader};
         CREATE FUNCTION lent(v text) RETURNS TABLE (id text, distance float8, payload jsonb) SECURITY DEFINER SET search_path = public
             LANGUAGE sql AS $$ SELECT * FROM vcache_search('docs', v, 5) $$;
         CREATE FUNCTION not_lent(v text) RETURNS TABLE (id text, distance float8, payload jsonb)
             LANGUAGE sql AS $$ SELECT * FROM vcache_search('docs', v, 5) $$;
         ALTER FUNCTION lent OWNER TO {reader}"
    ));
    let mut session = database.session_as(&nobody);
    for vector in ["[1,2,3]", "[7,7,7]", "[7,7,7]"] {
        let found = session.answer(&format!("SELECT * FROM lent('{vector}')"));
        assert_same(&found, &source.plain(&mut owner, vector, 5), 5);
        session.fails(&format!("SELECT * FROM not_lent('{vector}')")).assert("42501", &["docs"]);
        assert_denied(&mut session, "docs");
    }
    owner.run(&format!("REVOKE SELECT ON docs FROM {reader}"));
    session.fails("SELECT * FROM lent('[1,2,3]')").assert("42501", &["docs"]);
}

/// A table of two tenants under a policy, with a namespace `docs` and an entry of the owner's for `[1,2,3]`.
fn guarded(database: &Database) -> (Session, Source) {
    let (mut owner, source) = prepared(database);
    owner.run(
        "ALTER TABLE docs ADD COLUMN reader text;
         UPDATE docs SET reader = (ARRAY['alice', 'bob', 'nobody'])[id % 3 + 1] || '_' || current_database();
         ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON docs USING (reader = current_user);
         GRANT SELECT ON docs TO PUBLIC",
    );
    (owner, source)
}

#[test]
fn under_row_level_security_a_role_sees_its_own_rows_and_nothing_is_cached() {
    let stand = Stand::start();
    let database = stand.database();
    let (mut owner, source) = guarded(&database);
    let (alice, bob) = (database.role("alice", ""), database.role("bob", ""));
    let before = (stand.redis.keys(), stand.redis.calls("get"), stand.redis.calls("set"));
    let (hits, misses, bypasses) = database.stats("docs").outcomes();
    for _ in 0..2 {
        for role in [&alice, &bob] {
            let mut session = database.session_as(role);
            let found = session.search("docs", "[1,2,3]", 30);
            assert_eq!(found.len(), 10, "{role}");
            assert_same(&found, &source.plain_where(&mut owner, "[1,2,3]", 30, &format!("reader = '{role}'")), 30);
        }
    }
    assert_eq!(database.stats("docs").outcomes(), (hits, misses, bypasses + 4));
    assert_eq!((stand.redis.keys(), stand.redis.calls("get"), stand.redis.calls("set")), before);

    // The owner is above the policy, and so is who may bypass it: both have the cache.
    let auditor = database.role("auditor", "BYPASSRLS");
    for session in [&mut owner, &mut database.session_as(&auditor)] {
        assert_eq!(source.assert_search(session, "docs", "[1,2,3]", 20).len(), 20);
    }
    // To put a table under row-level security is to alter it.
    assert_eq!(database.stats("docs").outcomes(), (hits + 1, misses + 1, bypasses + 4));

    // SET ROLE to who is under it, and the policy that goes away.
    owner.run(&format!("SET ROLE {alice}"));
    assert_eq!(owner.search("docs", "[1,2,3]", 30).len(), 10);
    owner.run("RESET ROLE; ALTER TABLE docs DISABLE ROW LEVEL SECURITY");
    assert_eq!(database.session_as(&alice).search("docs", "[1,2,3]", 20).len(), 20);
}

#[test]
fn forced_row_level_security_holds_for_the_owner() {
    let database = stand().database();
    let keeper = database.role("keeper", "");
    let (mut superuser, source) = guarded(&database);
    superuser.run(&format!("GRANT ALL ON SCHEMA public TO {keeper}; ALTER TABLE docs OWNER TO {keeper}"));
    let mut session = database.session_as(&keeper);
    source.assert_search(&mut session, "docs", "[1,2,3]", 20);
    let bypasses = database.stats("docs").bypasses;
    session.run("ALTER TABLE docs FORCE ROW LEVEL SECURITY");
    assert!(session.search("docs", "[1,2,3]", 20).is_empty());
    assert_eq!(database.stats("docs").bypasses, bypasses + 1);
    session.run("ALTER TABLE docs NO FORCE ROW LEVEL SECURITY");
    source.assert_search(&mut session, "docs", "[1,2,3]", 20);
}

#[test]
fn row_security_off_raises_what_the_plain_query_raises() {
    let database = stand().database();
    let (mut owner, source) = guarded(&database);
    let alice = database.role("alice", "");
    let mut session = database.session_as(&alice);
    session.run("SET row_security = off");
    let plain = session.fails("SELECT id FROM docs ORDER BY embedding <-> '[1,2,3]' LIMIT 5");
    plain.assert("42501", &["row-level security"]);
    for search in SEARCHES {
        let failure = session.fails(search);
        assert_eq!((failure.sqlstate, failure.message), (plain.sqlstate.clone(), plain.message.clone()));
        let explained = session.fails(&search.replace("vcache_search", "vcache_explain"));
        assert_eq!((explained.sqlstate, explained.message), (plain.sqlstate.clone(), plain.message.clone()));
    }
    // They are refused: no search that the engine failed.
    assert_eq!(database.stats("docs").engine_errors, 0);
    owner.run("SET row_security = off");
    source.assert_search(&mut owner, "docs", "[1,2,3]", 5);
}

#[test]
fn settings_belong_to_who_may_set_them() {
    let database = stand().database();
    let role = database.role("role", "");
    let mut session = database.session_as(&role);
    session.run("SET vcache.enabled = off; SET vcache.ttl = '1min'; SET vcache.fetch_k = 50");
    for setting in [
        "vcache.max_top_k = 5000",
        "vcache.stats_max = 5",
        "vcache.track_timing = off",
        "vcache.max_entry_size = '1MB'",
        "vcache.redis_url = ''",
        "vcache.redis_timeout = '1s'",
        "vcache.redis_connect_timeout = '1s'",
        "vcache.key_prefix = 'x'",
    ] {
        let failure = session.fails(&format!("SET {setting}"));
        assert!(["42501", "55P02"].contains(&failure.sqlstate.as_str()), "{setting}: {failure:?}");
    }
    // Where the entries are is nobody's business.
    let failure = session.fails("SHOW vcache.redis_url");
    failure.assert("42501", &["vcache.redis_url"]);
    assert_eq!(session.number("SELECT count(*) FROM pg_settings WHERE name = 'vcache.redis_url'"), 0);
    assert!(!failure.message.contains("127.0.0.1") && !failure.detail.contains("127.0.0.1"));
    assert!(database.session().value("SHOW vcache.redis_url").starts_with("redis://127.0.0.1"));
}

#[test]
fn defaults_are_as_documented() {
    let server = harness::Postgres::setup().start();
    let database = server.database();
    let mut session = database.session();
    let shown = session
        .rows("SELECT name, current_setting(name), context FROM pg_settings WHERE name LIKE 'vcache.%' ORDER BY name");
    let expected = [
        ["vcache.enabled", "on", "user"],
        ["vcache.fetch_k", "20", "user"],
        ["vcache.flight_wait", "1s", "user"],
        ["vcache.key_prefix", "vcache", "sighup"],
        ["vcache.max_entry_size", "256kB", "sighup"],
        ["vcache.max_top_k", "1000", "superuser"],
        ["vcache.redis_authenticate_entries", "off", "sighup"],
        ["vcache.redis_connect_timeout", "100ms", "sighup"],
        ["vcache.redis_idle_timeout", "5min", "sighup"],
        ["vcache.redis_password_file", "", "sighup"],
        ["vcache.redis_timeout", "50ms", "sighup"],
        ["vcache.redis_tls_ca_file", "", "sighup"],
        ["vcache.redis_tls_cert_file", "", "sighup"],
        ["vcache.redis_tls_key_file", "", "sighup"],
        ["vcache.redis_url", "redis://127.0.0.1:6379/0", "sighup"],
        ["vcache.shared_memory_size", "64MB", "postmaster"],
        ["vcache.stats_max", "1000", "postmaster"],
        ["vcache.track_timing", "on", "superuser"],
        ["vcache.ttl", "5min", "user"],
    ];
    let expected: Vec<Vec<_>> = expected.iter().map(|row| row.map(|value| Some(value.to_owned())).to_vec()).collect();
    assert_eq!(shown, expected);
    // The prefix is reserved: a setting that is misspelt is an error.
    session.fails("SET vcache.tll = '1min'").assert("42", &[]);
}
