//! What people are shown of tier 1: vcache_entries, vcache_health, vcache_explain.

use harness::{Session, Source};

use crate::scene::{prepared, stand, without_redis};

fn shown(session: &mut Session, columns: &str) -> Vec<String> {
    session.column(&format!("SELECT concat_ws(' ', {columns}) FROM vcache_entries ORDER BY namespace, hits"))
}

#[test]
fn entries_are_shown_with_what_is_known_of_them() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    source.register(&mut session, "tähler \"x\"", "ttl => '1 hour', payload_columns => '{title}'");
    assert!(shown(&mut session, "namespace").is_empty());
    for (vector, times) in [("[1,2,3]", 1), ("[3,2,1]", 4)] {
        for _ in 0..times {
            source.assert_search(&mut session, "docs", vector, 5);
        }
    }
    session.search("tähler \"x\"", "[1,2,3]", 5);
    assert_eq!(shown(&mut session, "namespace, hits"), ["docs 0", "docs 3", "tähler \"x\" 0"]);
    let key = session.value("SELECT key FROM vcache_explain('docs', '[3,2,1]')");
    assert_eq!(session.value("SELECT key FROM vcache_entries WHERE hits = 3"), key);
    session.run("SELECT pg_sleep(0.02)");
    let right = "bytes BETWEEN 200 AND 4000 AND age BETWEEN '20 ms' AND '1 min' AND expires_in > CASE namespace WHEN 'docs' THEN interval '4 min' ELSE '50 min' END";
    assert_eq!(shown(&mut session, right), ["t", "t", "t"]);
    // To look is not to use.
    assert_eq!(shown(&mut session, "hits"), ["0", "3", "0"]);
    // One that is of an earlier version stands until a search takes its place.
    session.run("UPDATE docs SET title = 'renamed' WHERE id = 1");
    assert_eq!(shown(&mut session, "namespace").len(), 3);
    source.assert_search(&mut session, "docs", "[3,2,1]", 5);
    assert_eq!(shown(&mut session, "namespace, hits"), ["docs 0", "docs 0", "tähler \"x\" 0"]);
}

#[test]
fn entries_of_the_own_database_and_for_those_they_were_granted_to() {
    let (one, two) = (stand().database(), stand().database());
    let (mut session, source) = prepared(&one, 30, "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert_eq!(shown(&mut session, "namespace"), ["docs"]);
    assert!(shown(&mut two.session(), "namespace").is_empty());
    let role = one.role("role", "");
    let mut roles = one.session_as(&role);
    for statement in ["SELECT * FROM vcache_entries", "SELECT * FROM vcache_entry_rows()"] {
        roles.fails(statement).assert("42501", &["vcache_entr"]);
    }
    session.run(&format!("GRANT SELECT ON vcache_entries TO {role}"));
    // Of a view, the function is its owner's to call; on any account, no answer is shown, and no vector.
    let columns =
        session.column("SELECT attname FROM pg_attribute WHERE attrelid = 'vcache_entries'::regclass AND attnum > 0");
    assert_eq!(columns, ["namespace", "key", "bytes", "age", "expires_in", "hits"]);
}

#[test]
fn many_entries_are_each_shown_once() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, _) = prepared(&database, 10, "");
    session.run("SELECT count(*) FROM generate_series(1, 3000) n, vcache_search('docs', ARRAY[n, 1, 1]::real[], 2)");
    assert_eq!(session.number("SELECT count(*) FROM vcache_entries"), 3000);
    assert_eq!(session.number("SELECT count(DISTINCT key) FROM vcache_entries"), 3000);
    assert_eq!(session.number("SELECT count(*) FROM vcache_entries LIMIT 1"), 3000);
    let detail = session.value("SELECT detail FROM vcache_health() WHERE component = 'shared memory'");
    assert!(detail.starts_with("3000 entries take "), "{detail}");
}

#[test]
fn health_tells_how_full_it_is() {
    let server = without_redis().start();
    let database = server.database();
    let (mut session, source) = prepared(&database, 50, "");
    let health = |session: &mut Session| {
        session.value("SELECT status || ': ' || detail FROM vcache_health() WHERE component = 'shared memory'")
    };
    let statistics = "statistics of 0 of at most 1000 namespaces";
    assert_eq!(
        health(&mut session),
        format!("ok: 0 entries take 0 % of 8MB; 0 have made room for others; {statistics}")
    );
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert!(health(&mut session).starts_with("ok: 1 entries take 0 % of 8MB; "), "{}", health(&mut session));
    session.run("SELECT count(*) FROM generate_series(1, 20000) n, vcache_search('docs', ARRAY[n, 1, 1]::real[], 2)");
    let full = health(&mut session);
    let number = |before: &str, after: &str| -> i64 {
        let rest = full.split_once(before).unwrap_or_else(|| panic!("{full}")).1;
        rest.split_once(after).unwrap_or_else(|| panic!("{full}")).0.trim().parse().expect("a number")
    };
    let (entries, percent) = (number("ok: ", " entries take"), number("entries take", "%"));
    assert!(entries > 2000 && percent > 50 && percent <= 100, "{full}");
    let stats = database.stats("docs");
    assert_eq!(number("8MB; ", "have made room"), stats.evictions);
    assert_eq!(entries, stats.stores - stats.evictions);
    // Redis is off, and that is no fault.
    assert_eq!(session.column("SELECT component FROM vcache_health() WHERE status NOT IN ('ok', 'off')"), [""; 0]);
}

#[test]
fn explain_tells_the_tier_and_leaves_no_trace() {
    let database = stand().database();
    let (mut session, source) = prepared(&database, 30, "");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    let before = (session.column("SELECT hits FROM vcache_entries"), database.stats("docs"));
    for _ in 0..3 {
        let rows = session.rows(
            "SELECT outcome, tier, reason, age > '0' AND age < '1 min', expires_in > '4 min' FROM vcache_explain('docs', '[1,2,3]', 5)",
        );
        assert_eq!(
            rows,
            [["hit", "shared", "an entry for 20 rows answers", "t", "t"].map(|value| Some(value.to_owned()))]
        );
    }
    assert_eq!((session.column("SELECT hits FROM vcache_entries"), database.stats("docs")), before);
    let longer = session.value("SELECT reason FROM vcache_explain('docs', '[1,2,3]', 25)");
    assert_eq!(longer, "the entry under this key has fewer rows than top_k");
    let source = Source { table: "docs".to_owned(), dimensions: 3, metric: harness::Metric::L2 };
    session.run("DELETE FROM docs WHERE id = 1");
    let stale = session.value("SELECT reason FROM vcache_explain('docs', '[1,2,3]', 5)");
    assert!(stale.starts_with("the rows have changed since the entry under this key was stored"), "{stale}");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
}
