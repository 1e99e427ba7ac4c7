//! From what a search found to the rows: by the primary key's index, or from the payload.

use harness::Session;

use crate::stand;

/// The rows of a search, by their ids.
const JOIN: &str = "
    SELECT d.title, s.distance
    FROM vcache_search('documents', '[1,2,3]', 5) s JOIN docs d ON d.id = s.id::bigint
    ORDER BY s.distance;
";

/// The rows of a search, from the payload.
const WHOLE: &str = "
    SELECT vcache_create_namespace('whole', 'docs', 'embedding', metric => 'cosine', payload_columns => '{*}');
    SELECT r.*
    FROM vcache_search('whole', '[1,2,3]', 5) s, jsonb_populate_record(NULL::docs, s.payload) r
    ORDER BY s.distance;
";

fn plan(session: &mut Session, sql: &str) -> String {
    session.column(&format!("EXPLAIN (COSTS off) {sql}")).join("\n")
}

/// Makes `docs` with ids of a type, given by an expression of `n`, and registers it.
fn create(session: &mut Session, kind: &str, id: &str) {
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE docs (id {kind} PRIMARY KEY, title text, embedding {vector}(3));
         INSERT INTO docs SELECT {id}, 'title ' || n, format('[%s,%s,%s]', sin(n), cos(n * n), n % 17)::{vector}
             FROM generate_series(1, 20000) n;
         ANALYZE docs;
         SELECT vcache_create_namespace('documents', 'docs', 'embedding', metric => 'l2', payload_columns => '{{title}}')"
    ));
    // PostgreSQL's own, where the harness has one that favours indexes.
    session.run("SET random_page_cost = 4");
}

/// Asserts that a query finds the rows of `docs` by the primary key, once for each that the search found.
fn assert_by_primary_key(session: &mut Session, sql: &str) {
    let plan = plan(session, sql);
    for node in ["Nested Loop", "Function Scan on vcache_search", "Index Scan using docs_pkey on docs d"] {
        assert!(plan.contains(node), "no {node}:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
    let joined = session.rows(sql);
    assert_eq!(joined.len(), 5);
    let payloads = "SELECT payload->>'title', distance FROM vcache_search('documents', '[1,2,3]', 5)";
    assert_eq!(joined, session.rows(payloads));
}

#[test]
fn a_join_uses_the_primary_key() {
    for (kind, id) in
        [("bigint", "n::bigint * 1000003"), ("integer", "n"), ("uuid", "md5(n::text)::uuid"), ("text", "md5(n::text)")]
    {
        let database = stand().database();
        let mut session = database.session();
        create(&mut session, kind, id);
        assert_by_primary_key(&mut session, &JOIN.replace("bigint", kind));
        // As people write it who take all integers for bigint.
        if kind == "integer" {
            assert_by_primary_key(&mut session, JOIN);
        }
        assert_eq!(database.stats("documents").misses, 1);
    }
}

#[test]
fn a_join_in_a_prepared_statement_uses_the_primary_key() {
    let database = stand().database();
    let mut session = database.session();
    create(&mut session, "bigint", "n");
    session.run("SET plan_cache_mode = force_generic_plan");
    session.run(&format!("PREPARE nearest AS {}", JOIN.replace("'[1,2,3]', 5", "$1, $2")));
    let plan = plan(&mut session, "EXECUTE nearest('[1,2,3]', 100)");
    assert!(plan.contains("Index Scan using docs_pkey"), "{plan}");
    assert_eq!(session.rows("EXECUTE nearest('[1,2,3]', 100)").len(), 100);
}

#[test]
fn whole_rows_from_the_payload() {
    let database = stand().database();
    let mut session = database.session();
    create(&mut session, "bigint", "n");
    let (register, search) = WHOLE.split_once(';').expect("two statements");
    session.run(register);
    let stored = session.rows("SELECT id, title, NULL FROM docs ORDER BY embedding <=> '[1,2,3]' LIMIT 5");
    for _ in 0..2 {
        assert_eq!(session.rows(search), stored);
    }
    assert_eq!(database.stats("whole").outcomes(), (1, 1, 0));
}

/// What jsonb does not keep is lost: the white space of a `json`, and the difference of a JSON null from NULL.
#[test]
fn whole_rows_of_every_type() {
    let database = stand().database();
    let mut session = database.session();
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TYPE mood AS ENUM ('glad', 'so-so'); CREATE TYPE pair AS (a int, b text);
         CREATE TABLE docs (id uuid PRIMARY KEY, t text, c char(5), b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
             x numeric, at timestamptz, local timestamp, day date, clock time, span interval, bytes bytea, words text[], grid int[],
             j jsonb, js json, span4 int4range, m mood, p pair, ip inet, bits bit varying, embedding {vector}(3));
         INSERT INTO docs VALUES
             (gen_random_uuid(), E'quo\"te \\\\ \\n \u{fc}\u{1f600}', 'ab', true, -1, 9223372036854775807, 0.1, 0.1,
              123456789012345678901234567890.123456789, '2024-02-29 12:34:56.789012+02', '1999-12-31 23:59:59', '0044-03-15 BC',
              '12:34:56', '1 year 2 mons -3 days 04:05:06.7', '\\x00ff10', '{{a,NULL,\"b,c\",\"\"}}', '{{{{1,2}},{{3,4}}}}',
              '{{\"a\": [1, null, {{}}]}}', '{{\"b\": 1}}', '[1,5)', 'so-so', '(7,\"x,y\")', '10.1.2.3/8', B'101', '[1,2,3]'),
             (gen_random_uuid(), NULL, NULL, NULL, NULL, NULL, 'NaN', 'Infinity', 'NaN', 'infinity', '-infinity', 'infinity',
              NULL, NULL, NULL, '{{}}', NULL, NULL, NULL, 'empty', NULL, NULL, NULL, NULL, '[3,2,1]');
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
