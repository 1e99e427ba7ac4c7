//! The rows: those of the plain query, nearest first, with their distances and payloads, from the engine and from
//! Redis alike.

use harness::{Engine, Metric, Source, VECTOR, assert_same, ids};

use crate::stand;

#[test]
fn answers_equal_the_plain_query_for_every_metric_with_and_without_an_index() {
    let database = stand().database();
    let mut session = database.session();
    for metric in Engine::under_test().metrics().iter().copied() {
        for indexed in [false, true] {
            let namespace = format!("{}_{indexed}", metric.name());
            let source = Source::create(&mut session, &namespace, 300, 64).by(metric);
            if indexed {
                source.index(&mut session);
            }
            source.register(&mut session, &namespace, "");
            for seed in 0..3 {
                let miss = source.assert_search(&mut session, &namespace, &source.query(seed), 10);
                let hit = source.assert_search(&mut session, &namespace, &source.query(seed), 10);
                assert_eq!((miss.len(), &hit), (10, &miss), "{namespace}");
            }
            assert_eq!(database.stats(&namespace).outcomes(), (3, 3, 0), "{namespace}");
            assert_eq!(database.engine_executions(&namespace), 3, "{namespace}");
        }
    }
}

#[test]
fn the_first_rows_of_an_entry_are_the_answer_for_every_smaller_k() {
    let database = stand().database();
    let mut session = database.session();
    for metric in Engine::under_test().metrics().iter().copied() {
        for indexed in [false, true] {
            let namespace = format!("{}_{indexed}", metric.name());
            let source = Source::create(&mut session, &namespace, 250, 384).by(metric);
            if indexed {
                source.index(&mut session);
            }
            source.register(&mut session, &namespace, "");
            let query = source.query(7);
            for top_k in [20, 1, 2, 3, 5, 9, 10, 11, 19] {
                assert_eq!(source.assert_search(&mut session, &namespace, &query, top_k).len(), top_k);
            }
            assert_eq!(database.stats(&namespace).outcomes(), (8, 1, 0), "{namespace}");
        }
    }
}

#[test]
fn the_engine_uses_the_index_of_the_source() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 300, 64).by(Metric::Cosine);
    source.index(&mut session);
    source.register(&mut session, "docs", "");
    // RuVector counts no scans of its indexes, but whoever reads an index reads its blocks.
    let mut blocks = || {
        session.number(
            "SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'docs_embedding_idx'",
        )
    };
    let mut searching = database.session();
    for seed in 0..8 {
        // Eight, because from the sixth execution on a kept plan may become generic.
        let before = blocks();
        searching.search("docs", &source.query(seed), 10);
        searching.run("SELECT pg_stat_force_next_flush()");
        harness::until("the index was read", || blocks() > before);
    }
}

#[test]
fn no_answer_comes_from_a_bitmap_scan_of_an_index_that_has_none() {
    let database = stand().database();
    let mut session = database.session();
    // Rows so wide, and a K so large, that to read the index in the order of the table is the cheapest that the planner knows.
    session.run(&format!(
        "CREATE TABLE docs (id bigint PRIMARY KEY, title text, tenant text, embedding {VECTOR}(3));
         INSERT INTO docs SELECT i, repeat('title ', 20), 'tenant ' || i % 3, ('[' || i || ',1,' || i % 17 || ']')::{VECTOR}
         FROM generate_series(1, 300) i;
         CREATE INDEX ON docs USING hnsw (embedding {}); ANALYZE docs;
         SELECT vcache_create_namespace('docs', 'docs', 'embedding');
         SELECT vcache_create_namespace('docs/*', 'docs', 'embedding', namespace_column => 'tenant')",
        Metric::L2.operator_class(session.engine())
    ));
    session.notices();
    for _ in 0..2 {
        assert_eq!(ids(&session.search("docs", "[1,1,1]", 2)), ["1", "2"]);
        assert!(session.search("docs", "[1,1,1]", 500).len() > 20);
        assert_eq!(ids(&session.search("docs/tenant 1", "[1,1,1]", 500))[..1], ["1"]);
    }
    assert_eq!(session.notices(), []);
    // The setting is the statement's alone.
    assert_eq!(session.value("SHOW enable_bitmapscan"), "on");
}

#[test]
fn a_hit_makes_no_execution_of_the_engine() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "");
    assert_eq!(database.engine_executions("docs"), 0);
    let first = session.search("docs", &source.query(1), 10);
    assert_eq!(database.engine_executions("docs"), 1);
    for _ in 0..20 {
        assert_eq!(session.search("docs", &source.query(1), 10), first);
        assert_eq!(database.session().search("docs", &source.query(1), 10), first);
    }
    assert_eq!(database.engine_executions("docs"), 1);
    assert_eq!(database.stats("docs").outcomes(), (40, 1, 0));
}

#[test]
fn rows_of_equal_distance_may_stand_in_any_order_but_none_is_lost_or_doubled() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 60, 64);
    // Every vector five times, so that ties lie across every limit.
    session.run("UPDATE docs SET embedding = (SELECT d.embedding FROM docs d WHERE d.id = docs.id % 12 + 1)");
    source.register(&mut session, "docs", "");
    for top_k in [20, 3, 7, 12, 17] {
        source.assert_search(&mut session, "docs", &source.query(2), top_k);
    }
    assert_eq!(database.stats("docs").outcomes(), (4, 1, 0));
}

#[test]
fn distances_are_what_the_operator_returns_and_rows_come_nearest_first() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id int PRIMARY KEY, embedding {VECTOR}(3))"));
    session.run("INSERT INTO docs VALUES (1, '[0,0,0.1]'), (2, '[3,4,0]'), (3, '[1,0,0]')");
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => '<->')");
    let distances = session.column("SELECT (embedding <-> '[0,0,0]')::float8 FROM docs ORDER BY 1");
    let distances: Vec<f64> = distances.iter().map(|distance| distance.parse().expect("a number")).collect();
    assert_eq!(distances[1..], [1.0, 5.0]);
    for _ in 0..2 {
        let rows = session.search("docs", "[0,0,0]", 3);
        assert_eq!(ids(&rows), ["1", "3", "2"]);
        // An operator that returns real is widened as PostgreSQL widens it.
        assert_eq!(rows.iter().map(|row| row.distance).collect::<Vec<_>>(), distances);
        assert!(rows.iter().all(|row| row.payload.is_none()));
    }
    let types = "SELECT pg_typeof(id) || ' ' || pg_typeof(distance) || ' ' || pg_typeof(payload) \
                 FROM vcache_search('docs', '[0,0,0]', 1)";
    assert_eq!(session.value(types), "text double precision jsonb");
}

#[test]
fn rows_without_a_vector_are_no_answer() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    session.run("UPDATE docs SET embedding = NULL WHERE id % 2 = 0");
    source.register(&mut session, "docs", "");
    for _ in 0..2 {
        let rows = source.assert_search(&mut session, "docs", &source.query(3), 40);
        assert_eq!(rows.len(), 25);
        assert!(rows.iter().all(|row| row.id.parse::<i32>().expect("number") % 2 == 1));
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}

#[test]
fn an_empty_answer_is_an_answer_and_is_kept() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 0, 64);
    source.register(&mut session, "docs", "");
    for _ in 0..4 {
        assert!(session.search("docs", &source.query(1), 10).is_empty());
    }
    assert_eq!(database.stats("docs").outcomes(), (3, 1, 0));
    assert_eq!(database.engine_executions("docs"), 1);
}

#[test]
fn payloads_hold_the_columns_of_the_namespace() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!(r#"CREATE TABLE docs (id int PRIMARY KEY, title text, "Odd ""name" numeric, note text, embedding {VECTOR}(3), tags text[])"#));
    session.run(r#"INSERT INTO docs VALUES (1, 'a "b" ü', 1.50, NULL, '[1,0,0]', '{x,"y z"}'), (2, NULL, NULL, 'n', '[2,0,0]', NULL)"#);
    session.run("SELECT vcache_create_namespace('none', 'docs', 'embedding', metric => 'l2')");
    session.run("SELECT vcache_create_namespace('some', 'docs', 'embedding', metric => 'l2', payload_columns => '{title,\"Odd \\\"name\"}')");
    session.run("SELECT vcache_create_namespace('all', 'docs', 'embedding', metric => 'l2', payload_columns => '{*}')");
    let expected = |session: &mut harness::Session, columns: &str| {
        session.rows(&format!("SELECT to_jsonb(t) FROM (SELECT {columns} FROM docs ORDER BY id) t")).concat()
    };
    let some = expected(&mut session, r#"title, "Odd ""name""#);
    let all = expected(&mut session, r#"id, title, "Odd ""name", note, tags"#);
    for _ in 0..2 {
        for (namespace, wanted) in [("none", &vec![None, None]), ("some", &some), ("all", &all)] {
            let found: Vec<_> = session.search(namespace, "[0,0,0]", 5).into_iter().map(|row| row.payload).collect();
            assert_eq!(&found, wanted, "{namespace}");
        }
    }
    assert_eq!(database.stats("all").outcomes(), (1, 1, 0));
}

#[test]
fn a_column_added_later_is_in_the_payload_of_all_columns() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 5, 3);
    source.register(&mut session, "docs", "payload_columns => '{*}'");
    session.search("docs", "[1,2,3]", 1);
    session.run("ALTER TABLE docs ADD COLUMN colour text DEFAULT 'red', DROP COLUMN n");
    // Whether there is an entry from before or not.
    for vector in ["[1,2,3]", "[3,2,1]"] {
        let row = &session.search("docs", vector, 1)[0];
        let payload = row.payload.as_deref().expect("a payload");
        assert!(payload.contains(r#""colour": "red""#) && !payload.contains(r#""n":"#), "{payload}");
    }
    session.run("ALTER TABLE docs ALTER COLUMN title TYPE int USING 7");
    let row = &session.search("docs", "[1,2,3]", 1)[0];
    assert!(row.payload.as_deref().is_some_and(|payload| payload.contains(r#""title": 7"#)), "{row:?}");
}

#[test]
fn a_partitioned_table_is_searched_as_a_whole() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id int PRIMARY KEY, embedding {VECTOR}(64)) PARTITION BY RANGE (id)"));
    session.run("CREATE TABLE docs_a PARTITION OF docs FOR VALUES FROM (0) TO (60); CREATE TABLE docs_b PARTITION OF docs DEFAULT");
    let mut source = Source::create(&mut session, "origin", 120, 64);
    session.run("INSERT INTO docs SELECT id, embedding FROM origin");
    source.table = "docs".to_owned();
    source.register(&mut session, "docs", "");
    for _ in 0..2 {
        source.assert_search(&mut session, "docs", &source.query(4), 30);
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}

#[test]
fn a_row_that_an_index_yields_twice_counts_once() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 90, 3);
    source.register(&mut session, "docs", "");
    let exact: Vec<_> = (0..4).map(|seed| source.plain(&mut session, &source.query(seed), 20)).collect();
    source.index(&mut session);
    // RuVector's index keeps its entries for rows that VACUUM has removed; here each row comes back to its old place.
    session.run("CREATE TABLE gone AS SELECT * FROM docs WHERE id > 10");
    session.run("DELETE FROM docs WHERE id > 10");
    session.run("VACUUM docs");
    session.run("INSERT INTO docs SELECT * FROM gone");
    session.run(&format!("SET enable_seqscan = off; SET {} = 400", session.engine().ef_search()));
    let mut yielded = source.plain(&mut session, &source.query(0), 10);
    yielded.dedup();
    assert_eq!(yielded.len() < 20, session.engine() == Engine::RuVector, "{:?}", ids(&yielded));
    // For one who may read all of a row, and for one who may read its columns only.
    let role = database.role("role", "");
    session.run(&format!("GRANT SELECT (id, embedding) ON docs TO {role}"));
    for (role, seeds) in [("postgres", [0, 1]), (&role, [2, 3])] {
        session.run(&format!("SET ROLE {role}"));
        for (seed, top_k) in [(seeds[0], 20), (seeds[1], 10)] {
            for rest in ["", "", ", ttl => '0'"] {
                let found = session.search_by(&format!("'docs', '{}', {top_k}{rest}", source.query(seed)));
                assert_same(&found, &exact[seed as usize], top_k);
            }
        }
    }
}

#[test]
fn rows_of_a_partition_that_have_no_place_are_all_different() {
    let database = stand().database();
    let mut session = database.session();
    let mut source = Source::create(&mut session, "origin", 120, 64);
    // A foreign table's rows come without a ctid, unless its wrapper says otherwise.
    let directory = harness::Directory::new("partition");
    let file = directory.path().join("rows");
    session.run(&format!(
        "COPY (SELECT id, embedding FROM origin WHERE id > 60) TO '{0}';
         CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE TABLE docs (id int, embedding {VECTOR}(64)) PARTITION BY RANGE (id);
         CREATE TABLE docs_a PARTITION OF docs FOR VALUES FROM (0) TO (61);
         INSERT INTO docs SELECT id, embedding FROM origin WHERE id <= 60;
         CREATE FOREIGN TABLE docs_b PARTITION OF docs DEFAULT SERVER files OPTIONS (filename '{0}')",
        file.display()
    ));
    source.table = "docs".to_owned();
    source.register(&mut session, "docs", "id_column => 'id', freshness => 'ttl'");
    for _ in 0..2 {
        assert_eq!(source.assert_search(&mut session, "docs", &source.query(4), 100).len(), 100);
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}

#[test]
fn a_namespace_searches_the_engine_wherever_its_extension_lives() {
    let database = stand().database();
    let mut session = database.session();
    let engine = session.engine().extension();
    session.run(&format!(
        "DROP EXTENSION {engine}; CREATE SCHEMA \"The Engine\"; CREATE EXTENSION {engine} SCHEMA \"The Engine\""
    ));
    session.run("SET search_path = public, \"The Engine\"");
    let source = Source::docs(&mut session, 100, 64).by(Metric::Cosine);
    source.index(&mut session);
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding')");
    let query = source.query(1);
    let plain = source.plain(&mut session, &query, 10);
    session.run("SET search_path = public");
    for _ in 0..2 {
        assert_same(&session.search("docs", &query, 10), &plain, 10);
    }
    assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
}
