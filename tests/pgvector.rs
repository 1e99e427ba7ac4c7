//! What is pgvector's own: its other types and indexes, its settings, and both engines in one server. All that it has in
//! common with RuVector is tested by the other programs, which run with each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use harness::{Database, Engine, Generator, Metric, Session, Source, Stand, assert_same, brackets, digits17, ids};

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(|| Stand::start_with(|setup| setup.engine(Engine::Pgvector)));
    &STAND
}

/// Searches in a session that has not loaded pgvector's library yet, and asserts the plain query's answer under the same
/// settings.
fn assert_search_in_new_session(
    database: &Database,
    source: &Source,
    set: &str,
    namespace: &str,
    top_k: usize,
) -> usize {
    let mut session = database.session();
    session.run(set);
    source.assert_search(&mut session, namespace, &source.query(1), top_k).len()
}

#[test]
fn both_engines_serve_databases_of_one_server_and_agree() {
    let stand = Stand::start_with(|setup| setup.engine(Engine::RuVector));
    let ours = stand.database();
    let mut admin = stand.server.connect("postgres", "postgres");
    admin.run("CREATE DATABASE other TEMPLATE template0");
    let mut other = stand.server.connect("postgres", "other");
    other.run("CREATE EXTENSION vector; CREATE EXTENSION vcache");
    let mut ours = ours.session();
    let source = Source::docs(&mut ours, 200, 64);
    other.run("CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding vector(64))");
    for row in ours.rows("SELECT id, title, n, embedding::text FROM docs") {
        let values: Vec<String> = row.into_iter().map(|value| format!("'{}'", value.expect("a value"))).collect();
        other.run(&format!("INSERT INTO docs VALUES ({})", values.join(",")));
    }
    // RuVector's inner product has the other sign.
    for metric in [Metric::L2, Metric::Cosine] {
        let source = source.clone().by(metric);
        for session in [&mut ours, &mut other] {
            source.register(session, metric.name(), "");
        }
        for seed in [1, 2, 1] {
            let query = source.query(seed);
            let [one, two] = [&mut ours, &mut other].map(|session| session.search(metric.name(), &query, 10));
            assert_eq!(ids(&one), ids(&two), "{metric:?}");
            for (one, two) in one.iter().zip(&two) {
                assert!((one.distance - two.distance).abs() < 1e-5, "{one:?} {two:?}");
            }
        }
        for session in [&mut ours, &mut other] {
            let counted = "SELECT shared_hits::text || misses FROM vcache_stats WHERE namespace = ";
            assert_eq!(session.value(&format!("{counted} '{}'", metric.name())), "12");
        }
    }
    assert_eq!(stand.redis.keys().len(), 8);
    drop((ours, other));
    admin.run("DROP DATABASE other");
}

#[test]
fn every_way_to_a_vector_is_one_entry() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    let forms = [
        "'[1,2,3]'",
        "'[1,2,3]'::vector",
        "'[1,2,3]'::vector(3)",
        "'{1,2,3}'::real[]::vector",
        "ARRAY[1,2,3]::vector",
        "ARRAY[1,2.0,3]::vector",
        "'[1,2,3]'::halfvec::vector",
        "'{1:1,2:2,3:3}/3'::sparsevec::vector",
        "subvector('[9,1,2,3]'::vector, 2, 3)",
        "'[0,1,2]'::vector + '[1,1,1]'",
        "(SELECT avg(v) FROM (VALUES ('[0,2,2]'::vector), ('[2,2,4]')) AS vectors (v))",
    ];
    let first = session.search_by(&format!("'docs', {}, 5", forms[0]));
    for form in forms {
        assert_eq!(session.search_by(&format!("'docs', {form}, 5")), first, "{form}");
    }
    assert_eq!(database.stats("docs").outcomes(), (forms.len() as i64, 1, 0));
}

#[test]
fn its_other_types_are_refused_by_name() {
    let database = stand().database();
    let mut session = database.session();
    session.run("CREATE TABLE docs (id int PRIMARY KEY, v vector(3), sparse sparsevec(3), bits bit(3))");
    session.run("INSERT INTO docs VALUES (1, '[1,2,3]', '{1:1}/3', '101')");
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'v', metric => 'l2')");
    for (column, metric, kind) in [("sparse", "l2", "sparsevec"), ("bits", "<~>", "bit")] {
        let create = format!("SELECT vcache_create_namespace('{column}', 'docs', '{column}', metric => '{metric}')");
        let failure = session.fails(&create);
        failure.assert("42804", &[column, kind]);
        assert!(failure.hint.contains("vector"), "{failure:?}");
        let failure = session.fails(&format!("SELECT s.* FROM docs, vcache_search('docs', {column}) s"));
        failure.assert("42804", &[kind]);
        assert!(failure.hint.contains("the column's own type"), "{failure:?}");
    }
    assert_eq!(session.search("docs", "[1,2,3]", 5).len(), 1);
}

#[test]
fn a_column_of_halves_is_searched_by_any_vector_rounded_to_halves() {
    let database = stand().database();
    let mut session = database.session();
    let origin = Source::create(&mut session, "origin", 200, 64);
    session.run("CREATE TABLE docs (id int PRIMARY KEY, embedding halfvec(64))");
    session.run("INSERT INTO docs SELECT id, embedding FROM origin");
    for metric in session.engine().metrics().iter().copied() {
        for indexed in [false, true] {
            let namespace = format!("{} {indexed}", metric.name());
            if indexed {
                let class = metric.operator_class(Engine::Pgvector).replace("vector", "halfvec");
                session.run(&format!("CREATE INDEX ON docs USING hnsw (embedding {class}); ANALYZE docs"));
            }
            let source = Source { table: "docs".to_owned(), dimensions: 64, metric };
            source.register(&mut session, &namespace, "");
            for seed in 0..3 {
                let query = source.query(seed);
                let long = digits17(&Generator::new(seed + 1_000_000).vector(64));
                let distance = format!("embedding {} '{query}'", metric.operator());
                let plain = session
                    .answer(&format!("SELECT id::text, {distance}, NULL FROM docs ORDER BY {distance} LIMIT 30"));
                let half = session.value(&format!("SELECT '{query}'::halfvec"));
                for form in [
                    format!("'{query}'"),
                    format!("'{half}'"),
                    format!("'{long}'"),
                    format!("'{query}'::halfvec"),
                    format!("'{query}'::vector"),
                    format!("'{half}'::vector"),
                    format!("array{query}::real[]"),
                    format!("array{long}::float8[]"),
                ] {
                    assert_same(&session.search_by(&format!("'{namespace}', {form}, 10")), &plain, 10);
                }
            }
            assert_eq!(database.stats(&namespace).outcomes(), (21, 3, 0), "{namespace}");
        }
        session.run("DROP INDEX docs_embedding_idx");
    }
    // The other way round: a column of singles is searched by halves.
    origin.register(&mut session, "origin", "");
    let half = session.value("SELECT embedding::halfvec FROM origin WHERE id = 7");
    let plain = origin.plain(&mut session, &half, 10);
    for form in ["::halfvec", ""] {
        assert_same(&session.search_by(&format!("'origin', '{half}'{form}, 10")), &plain, 10);
    }
    assert_eq!(database.stats("origin").outcomes(), (1, 1, 0));
    let large = brackets(&[65520.0; 64]);
    session.run("SELECT vcache_create_namespace('half', 'docs', 'embedding', metric => 'l2')");
    session.fails(&format!("SELECT '{large}'::halfvec")).assert("22003", &["halfvec"]);
    session.fails(&format!("SELECT * FROM vcache_search('half', '{large}')")).assert("22003", &["element 1", "half"]);
}

#[test]
fn indexes_over_expressions_and_other_columns_say_nothing_of_a_columns_metric() {
    let database = stand().database();
    let mut session = database.session();
    session.run("CREATE TABLE docs (id int PRIMARY KEY, v vector(3), other vector(3))");
    for index in [
        "hnsw ((v::halfvec(3)) halfvec_l2_ops)",
        "hnsw ((binary_quantize(v)::bit(3)) bit_hamming_ops)",
        "ivfflat (other vector_cosine_ops)",
    ] {
        session.run(&format!("CREATE INDEX ON docs USING {index}"));
        session.fails("SELECT vcache_create_namespace('docs', 'docs', 'v')").assert("42P17", &["metric"]);
    }
    session.run("CREATE INDEX chosen ON docs USING ivfflat (v vector_cosine_ops)");
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'v')");
    let row = session.rows("SELECT metric, index::text FROM vcache_namespaces");
    assert_eq!(row, [["cosine", "chosen"].map(|value| Some(value.to_owned()))]);
}

#[test]
fn an_ivfflat_index_answers_by_its_probes() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 400, 64);
    let query = source.query(1);
    let exact = source.plain(&mut session, &query, 20);
    session.run("CREATE INDEX ON docs USING ivfflat (embedding vector_l2_ops) WITH (lists = 20); ANALYZE docs");
    source.register(&mut session, "few", "");
    source.register(&mut session, "all", r#"search_settings => '{"ivfflat.probes": 20}'"#);
    // One list of twenty does not hold all of the nearest.
    for top_k in [20, 1, 5, 19] {
        source.assert_search(&mut session, "few", &query, top_k);
    }
    let few = session.search("few", &query, 20);
    assert_ne!(ids(&few), ids(&exact[..20]));
    assert_eq!(database.stats("few").outcomes(), (4, 1, 0));
    for top_k in [20, 7] {
        assert_same(&session.search("all", &query, top_k), &exact, top_k);
    }
    assert_eq!(database.stats("all").outcomes(), (1, 1, 0));
    // What a session sets holds for it alone.
    session.run("SET ivfflat.probes = 20");
    for _ in 0..2 {
        assert_same(&session.search("few", &query, 20), &exact, 20);
    }
    session.run("RESET ivfflat.probes");
    assert_eq!(session.search("few", &query, 20), few);
    assert_eq!(database.stats("few").outcomes(), (6, 2, 0));
}

#[test]
fn an_hnsw_index_answers_by_its_settings_in_sessions_that_have_not_loaded_it() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 400, 64);
    source.index(&mut session);
    let namespaces = BTreeMap::from([
        ("default", ("", 40)),
        ("ten", (r#"{"hnsw.ef_search": 10}"#, 10)),
        ("strict", (r#"{"hnsw.ef_search": 10, "hnsw.iterative_scan": "strict_order"}"#, 50)),
        ("relaxed", (r#"{"hnsw.ef_search": 10, "hnsw.iterative_scan": "relaxed_order"}"#, 50)),
    ]);
    for (namespace, (settings, expected)) in &namespaces {
        let option = if settings.is_empty() { String::new() } else { format!("search_settings => '{settings}'") };
        source.register(&mut session, namespace, &option);
        for top_k in [50, 50, 3, 9] {
            // The plain query under the same settings, in a session of its own.
            let mut plain = database.session();
            for (name, value) in pairs(&mut session, settings) {
                plain.run(&format!("SET {name} = '{value}'"));
            }
            let plain = source.plain(&mut plain, &source.query(1), top_k);
            let mut session = database.session();
            let found = session.search(namespace, &source.query(1), top_k);
            assert_eq!(found.len(), top_k.min(*expected), "{namespace}");
            assert_same(&found, &plain, top_k);
            // They held for the engine's query alone. A hit loads no library, and then there is nothing to show.
            for (name, default) in [("hnsw.ef_search", "40"), ("hnsw.iterative_scan", "off")] {
                let now = session.rows(&format!("SELECT current_setting('{name}', true)"));
                assert!(now == [[None]] || now == [[Some(default.to_owned())]], "{now:?}");
            }
        }
        assert_eq!(database.stats(namespace).outcomes(), (3, 1, 0), "{namespace}");
    }
}

/// The members of a JSON object.
fn pairs(session: &mut Session, json: &str) -> Vec<(String, String)> {
    let json = if json.is_empty() { "{}" } else { json };
    let rows = session.rows(&format!("SELECT key, value FROM jsonb_each_text('{json}')"));
    rows.into_iter().map(|mut row| (row.remove(0).expect("a key"), row.remove(0).expect("a value"))).collect()
}

#[test]
fn a_setting_is_part_of_the_key_before_and_after_the_library_is_loaded() {
    let database = stand().database();
    let source = Source::docs(&mut database.session(), 400, 64);
    source.index(&mut database.session());
    source.register(&mut database.session(), "docs", "");
    assert_eq!(assert_search_in_new_session(&database, &source, "", "docs", 50), 40);
    // A session that sets it before anything of pgvector's is loaded does not meet the entry of the default, and meets its
    // own afterwards.
    let set = "SET hnsw.ef_search = 10";
    assert_eq!(assert_search_in_new_session(&database, &source, set, "docs", 50), 10);
    assert_eq!(database.stats("docs").outcomes(), (0, 2, 0));
    let mut session = database.session();
    session.run(set);
    session.run("SELECT '[1]'::vector");
    assert_eq!(source.assert_search(&mut session, "docs", &source.query(1), 50).len(), 10);
    assert_eq!(database.stats("docs").outcomes(), (1, 2, 0));
    // Nor does one that has it from its database.
    database.session().run(&format!("ALTER DATABASE {} {set}", database.name()));
    assert_eq!(assert_search_in_new_session(&database, &source, "", "docs", 50), 10);
    assert_eq!(assert_search_in_new_session(&database, &source, "SET hnsw.ef_search = 40", "docs", 50), 40);
    let (hits, _, bypasses) = database.stats("docs").outcomes();
    assert_eq!((hits >= 2, bypasses), (true, 0));
}

#[test]
fn distances_that_are_no_finite_numbers_come_back_from_the_cache_as_they_were() {
    let database = stand().database();
    let mut session = database.session();
    session.run("CREATE TABLE docs (id int PRIMARY KEY, v vector(3))");
    session.run("INSERT INTO docs VALUES (1, '[1,0,0]'), (2, '[0,0,0]'), (3, '[3e38,3e38,0]')");
    for metric in ["l2", "cosine", "inner_product", "l1"] {
        session.run(&format!("SELECT vcache_create_namespace('{metric}', 'docs', 'v', metric => '{metric}')"));
        for vector in ["[0,0,0]", "[-3e38,3e38,0]"] {
            let search = format!("SELECT id, distance FROM vcache_search('{metric}', '{vector}', 3, ttl => ");
            let [miss, hit, bypass] = ["'1 day')", "'1 day')", "'0')"].map(|ttl| session.rows(&(search.clone() + ttl)));
            assert_eq!((&hit, &bypass), (&miss, &miss), "{metric} {vector}");
        }
        assert_eq!(database.stats(metric).outcomes(), (2, 2, 2), "{metric}");
    }
    let distances = |session: &mut Session, metric: &str, vector: &str| {
        session.column(&format!("SELECT distance FROM vcache_search('{metric}', '{vector}', 3)"))
    };
    assert_eq!(distances(&mut session, "cosine", "[0,0,0]"), ["NaN", "NaN", "NaN"]);
    assert_eq!(distances(&mut session, "l2", "[-3e38,3e38,0]"), ["Infinity", "Infinity", "Infinity"]);
}

#[test]
fn the_engine_and_its_version_are_told() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    let health = session.rows("SELECT status, detail FROM vcache_health() WHERE component = 'engine'");
    assert_eq!(health, [["ok", "vector 0.8.0"].map(|value| Some(value.to_owned()))]);
    let explain =
        "SELECT outcome, key_parts ->> 'engine', key_parts ->> 'engine_version' FROM vcache_explain('docs', '[1,2,3]')";
    for outcome in ["miss", "hit"] {
        let row = session.rows(explain);
        assert_eq!(row, [[outcome, "vector", "0.8.0"].map(|value| Some(value.to_owned()))]);
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    }
}

#[test]
fn rows_of_tenants_behind_an_index_are_those_of_the_plain_query() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 400, 64);
    session.run("ALTER TABLE docs ADD COLUMN tenant text; UPDATE docs SET tenant = n; ANALYZE docs");
    source.index(&mut session);
    let options = r#"namespace_column => 'tenant'"#;
    source.register(&mut session, "few/*", options);
    source.register(
        &mut session,
        "all/*",
        &format!(r#"{options}, search_settings => '{{"hnsw.iterative_scan": "strict_order"}}'"#),
    );
    let query = brackets(&Generator::new(77).vector(64));
    // An index finds its 40 candidates first and leaves out other tenants' rows then, unless it may go on.
    for _ in 0..2 {
        let few = session.search("few/3", &query, 20);
        assert_same(&few, &source.plain_where(&mut session, &query, 20, "tenant = '3'"), 20);
        assert!(few.len() < 20, "{} rows", few.len());
        let all = session.search("all/3", &query, 20);
        assert_eq!((all.len(), ids(&all).starts_with(&ids(&few))), (20, true));
    }
    assert_eq!(database.stats("few/3").outcomes(), (1, 1, 0));
    assert_eq!(database.stats("all/3").outcomes(), (1, 1, 0));
}
