//! Upgrades: from the first version, step by step, to the objects that a fresh CREATE EXTENSION makes, with nothing lost.
//!
//! `tests/versions` keeps the first version's objects as they were; `make test` puts them into the installation under test.

use std::sync::LazyLock;

use harness::{Session, Source, Stand, ids};

const FIRST: &str = "0.1.0";

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// Every object of the extension, with all that its definition says.
fn objects(session: &mut Session) -> Vec<String> {
    session.column(
        "SELECT pg_describe_object(d.classid, d.objid, 0) || E'\n' || coalesce( \
           (SELECT pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') \
            FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid), \
           (SELECT c.relkind::text || coalesce(c.relacl::text, '') || coalesce(c.reloptions::text, '') || \
                   CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) ELSE '' END || E'\n' || \
                   (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), \
                                                a.attnotnull, pg_get_expr(f.adbin, f.adrelid)), E'\n' ORDER BY a.attnum) \
                    FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum \
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) || \
                   coalesce((SELECT string_agg(pg_get_constraintdef(n.oid), E'\n' ORDER BY n.conname) \
                             FROM pg_constraint n WHERE n.conrelid = c.oid), '') || \
                   coalesce((SELECT string_agg(pg_get_indexdef(i.indexrelid), E'\n' ORDER BY i.indexrelid::regclass::text) \
                             FROM pg_index i WHERE i.indrelid = c.oid), '') \
            FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid), '') \
         FROM pg_depend d \
         WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' \
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache') \
         ORDER BY 1",
    )
}

fn configuration(session: &mut Session) -> Vec<String> {
    session.column(
        "SELECT t::regclass::text || ' ' || c FROM pg_extension e, unnest(e.extconfig, e.extcondition) x (t, c) WHERE e.extname = 'vcache' ORDER BY 1",
    )
}

#[test]
fn the_walk_from_the_first_version_ends_where_a_fresh_one_begins() {
    let database = stand().server.database_without_vcache();
    let mut session = database.session();
    session.run(&format!("CREATE EXTENSION vcache VERSION '{FIRST}'"));
    let newest = session.value("SELECT default_version FROM pg_available_extensions WHERE name = 'vcache'");
    assert_ne!(newest, FIRST);
    let mut version = FIRST.to_owned();
    while version != newest {
        // One script at a time, so that each is run as it stands.
        let next = session.value(&format!(
            "SELECT target FROM pg_extension_update_paths('vcache') WHERE source = '{version}' AND path = source || '--' || target"
        ));
        session.run(&format!("ALTER EXTENSION vcache UPDATE TO '{next}'"));
        version = next;
    }
    let fresh = stand().database();
    let mut fresh = fresh.session();
    let (walked, made) = (objects(&mut session), objects(&mut fresh));
    assert!(made.len() > 15, "{made:#?}");
    for (walked, made) in walked.iter().zip(&made) {
        assert_eq!(walked, made);
    }
    assert_eq!(walked.len(), made.len());
    assert_eq!(configuration(&mut session), configuration(&mut fresh));
}

#[test]
fn namespaces_are_changed_and_forgotten_before_it() {
    let database = stand().server.database_without_vcache();
    let mut session = database.session();
    session.run(&format!("CREATE EXTENSION vcache VERSION '{FIRST}'; ALTER EXTENSION vcache UPDATE TO '0.3.0'"));
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "ttl => '1 hour'");
    let mut other = database.session();
    let outcome = "SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5)";
    for invalidate in ["SELECT vcache_invalidate('docs')", "SELECT vcache_invalidate()"] {
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        assert_eq!(other.value(outcome), "hit");
        session.run(&format!("BEGIN; UPDATE docs SET n = n + 1; {invalidate}; ROLLBACK"));
        assert_eq!(other.value(outcome), "hit", "{invalidate}, rolled back");
        session.run(&format!("BEGIN; UPDATE docs SET n = n + 1; {invalidate}; {invalidate}; COMMIT"));
        for session in [&mut session, &mut other] {
            assert_eq!(session.value(outcome), "miss", "{invalidate}");
        }
    }
    // There the fourth argument is the ttl.
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5, '0')"), "bypass");
    session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]', 5, '-1 hour')").assert("22023", &["ttl"]);
    let filters = session.fails("SELECT vcache_alter_namespace('docs', '{\"filter_columns\": [\"n\"]}')");
    filters.assert("55000", &["older version"]);
    session.run("SELECT vcache_alter_namespace('docs', '{\"ttl\": \"2 hours\"}')");
    assert_eq!(session.value("SELECT ttl FROM vcache_namespaces"), "02:00:00");
    let exact = session.fails("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')");
    exact.assert("55000", &["older version"]);
    assert!(exact.hint.contains("ALTER EXTENSION vcache UPDATE"), "{exact:?}");
    let declared = session.fails("SELECT vcache_alter_namespace('docs', '{\"rls_settings\": []}')");
    declared.assert("55000", &["older version"]);
    session.run("SELECT vcache_drop_namespace('docs')");
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 0);
    source.register(&mut session, "docs", "");
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
    session.run("ALTER EXTENSION vcache UPDATE; SELECT vcache_invalidate()");
    session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\", \"filter_columns\": [\"n\"]}')");
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
    assert_eq!(session.value(outcome), "hit");
    let filtered = other.column("SELECT id FROM vcache_search('docs', '[1,2,3]', 5, '{\"n\": 3}')");
    assert!(filtered.len() > 2, "{filtered:?}");
}

#[test]
fn searches_work_before_it_and_namespaces_are_there_after_it() {
    let database = stand().server.database_without_vcache();
    let mut session = database.session();
    session.run(&format!("CREATE EXTENSION vcache VERSION '{FIRST}'"));
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}', ttl => '1 hour'");
    let mut other = database.session();
    // The new library with the old objects: what a server runs between the install and the update.
    let before = source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    source.assert_search(&mut other, "docs", "[1,2,3]", 5);
    let counts = |session: &mut Session, hits: &str| {
        session.rows(&format!("SELECT concat_ws(' ', lookups, {hits}, misses, stores) FROM vcache_stats")).concat()
    };
    // They know of one tier.
    assert_eq!(counts(&mut session, "redis_hits"), [Some("2 1 1 1".to_owned())]);

    session.run("ALTER EXTENSION vcache UPDATE");
    assert_eq!(counts(&mut session, "shared_hits, redis_hits"), [Some("2 1 0 1 1".to_owned())]);
    for session in [&mut session, &mut other] {
        assert_eq!(ids(&session.search("docs", "[1,2,3]", 5)), ids(&before));
        assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[1,2,3]')"), "hit");
    }
    // What the older version cached is of no version of the source that it knew to tell: the first search caches it anew.
    assert_eq!(database.stats("docs").outcomes(), (2, 2, 0));
}
