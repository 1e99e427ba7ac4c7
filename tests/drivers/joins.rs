//! From what a search found to the rows: by the primary key's index, or from the payload.

use harness::Session;

use crate::{documents, stand};

/// As on a server that knows nothing of the tests' own cost settings.
const COSTS: &str = "SET random_page_cost = 4";

fn plan(session: &mut Session, sql: &str) -> String {
    session.column(&format!("EXPLAIN (COSTS off) {sql}")).join("\n")
}

/// Asserts that a query finds the rows of `docs` by the primary key, once for each that the search found.
fn assert_by_primary_key(session: &mut Session, condition: &str) {
    let sql = format!(
        "SELECT d.title, s.distance FROM vcache_search('docs', '[1,2,3]', 5) s JOIN docs d ON {condition} ORDER BY s.distance"
    );
    let plan = plan(session, &sql);
    for node in ["Nested Loop", "Function Scan on vcache_search", "Index Scan using docs_pkey on docs d"] {
        assert!(plan.contains(node), "no {node}:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
    let joined = session.rows(&sql);
    assert_eq!(joined.len(), 5);
    let payloads = "SELECT payload->>'title', distance FROM vcache_search('docs', '[1,2,3]', 5)";
    assert_eq!(joined, session.rows(payloads));
}

/// Makes `docs` with ids of a type, given by an expression of `n`, and registers it.
fn create(session: &mut Session, kind: &str, id: &str) {
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE docs (id {kind} PRIMARY KEY, title text, embedding {vector}(3));
         INSERT INTO docs SELECT {id}, 'title ' || n, format('[%s,%s,%s]', sin(n), cos(n * n), n % 17)::{vector}
             FROM generate_series(1, 20000) n;
         ANALYZE docs;
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{{title}}')"
    ));
    session.run(COSTS);
}

#[test]
fn a_join_uses_the_primary_key() {
    for (kind, id) in
        [("bigint", "n * 1000003"), ("integer", "n"), ("uuid", "md5(n::text)::uuid"), ("text", "md5(n::text)")]
    {
        let database = stand().database();
        let mut session = database.session();
        create(&mut session, kind, id);
        assert_by_primary_key(&mut session, &format!("d.id = s.id::{kind}"));
        // As people write it who take all integers for bigint.
        if kind == "integer" {
            assert_by_primary_key(&mut session, "d.id = s.id::bigint");
        }
        assert_eq!(database.stats("docs").misses, 1);
    }
}

#[test]
fn a_join_in_a_prepared_statement_uses_the_primary_key() {
    let database = stand().database();
    let mut session = database.session();
    create(&mut session, "bigint", "n");
    session.run(
        "SET plan_cache_mode = force_generic_plan;
         PREPARE nearest AS SELECT d.* FROM vcache_search('docs', $1, $2) s JOIN docs d ON d.id = s.id::bigint ORDER BY s.distance",
    );
    let plan = plan(&mut session, "EXECUTE nearest('[1,2,3]', 100)");
    assert!(plan.contains("Index Scan using docs_pkey"), "{plan}");
    assert_eq!(session.rows("EXECUTE nearest('[1,2,3]', 100)").len(), 100);
}

#[test]
fn whole_rows_from_the_payload() {
    let (database, _) = documents();
    let mut session = database.session();
    let whole = "SELECT r.id, r.title, r.n, r.embedding IS NULL AS without
        FROM vcache_search('whole', '[1,2,3,4,5,6,7,8]', 60) s, jsonb_populate_record(NULL::docs, s.payload) r ORDER BY 1";
    let stored = session.rows("SELECT id, title, n, true FROM docs ORDER BY 1");
    assert_eq!(stored.len(), 60);
    for _ in 0..2 {
        assert_eq!(session.rows(whole), stored);
    }
    assert_eq!(database.stats("whole").outcomes(), (1, 1, 0));
}

#[test]
fn whole_rows_of_every_type() {
    let database = stand().database();
    let mut session = database.session();
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TYPE mood AS ENUM ('glad', 'so-so'); CREATE TYPE pair AS (a int, b text);
         CREATE TABLE docs (id uuid PRIMARY KEY, t text, c char(5), b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
             x numeric, at timestamptz, local timestamp, d date, clock time, span interval, bytes bytea, words text[], grid int[],
             j jsonb, js json, r int4range, m mood, p pair, ip inet, bits bit varying, embedding {vector}(3));
         INSERT INTO docs VALUES
             (gen_random_uuid(), E'quo\"te \\\\ \\n \u{fc}\u{1f600}', 'ab', true, -1, 9223372036854775807, 0.1, 0.1,
              123456789012345678901234567890.123456789, '2024-02-29 12:34:56.789012+02', '1999-12-31 23:59:59', '0044-03-15 BC',
              '12:34:56', '1 year 2 mons -3 days 04:05:06.7', '\\x00ff10', '{{a,NULL,\"b,c\",\"\"}}', '{{{{1,2}},{{3,4}}}}',
              '{{\"a\": [1, null, {{}}]}}', '{{\"b\" :1}}', '[1,5)', 'so-so', '(7,\"x,y\")', '10.1.2.3/8', B'101', '[1,2,3]'),
             (gen_random_uuid(), NULL, NULL, NULL, NULL, NULL, 'NaN', 'Infinity', 'NaN', 'infinity', '-infinity', 'infinity',
              NULL, NULL, NULL, '{{}}', NULL, 'null', NULL, 'empty', NULL, NULL, NULL, NULL, '[3,2,1]');
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{{*}}')"
    ));
    let whole = "SELECT to_jsonb(r) - 'embedding', r.* FROM vcache_search('docs', '[1,2,3]') s,
        jsonb_populate_record(NULL::docs, s.payload) r ORDER BY r.id";
    let stored = "SELECT to_jsonb(d) - 'embedding', d.* FROM docs d ORDER BY d.id";
    let without_vector =
        |rows: Vec<Vec<Option<String>>>| rows.into_iter().map(|mut row| (row.pop(), row).1).collect::<Vec<_>>();
    for settings in [
        "RESET ALL",
        "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET intervalstyle = 'sql_standard'",
        "SET timezone = 'UTC'; SET bytea_output = 'escape'; SET extra_float_digits = 0",
    ] {
        session.run(settings);
        assert_eq!(without_vector(session.rows(whole)), without_vector(session.rows(stored)), "{settings}");
    }
    assert_eq!(database.stats("docs").outcomes(), (2, 1, 0));
}
