//! What a search refuses, and how it says so.

use harness::{Engine, Generator, Session, Source, VECTOR, brackets};

use crate::stand;

/// Searches by these arguments are refused so.
#[track_caller]
fn refused(session: &mut Session, cases: &[(&str, &str, &[&str])]) {
    let search = |arguments: &str| format!("SELECT * FROM vcache_search({arguments})");
    session.refuses(cases.iter().map(|(arguments, sqlstate, words)| (search(arguments), *sqlstate, *words)));
}

#[test]
fn vectors_that_are_none() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    let vectors: &[(&str, &[&str])] = &[
        // The wrong dimension, said with both numbers.
        ("'[1,2]'", &["dimension", "2", "3"]),
        ("'[1,2,3,4]'", &["dimension", "4", "3"]),
        ("'{1,2}'::int[]", &["dimension", "2", "3"]),
        ("'{1,2}'::float8[]", &["dimension", "2", "3"]),
        (&format!("'[1,2]'::{VECTOR}"), &["dimension", "2", "3"]),
        // Not finite.
        ("'[1,NaN,3]'", &["nan"]),
        ("'{1,nan,3}'", &["nan"]),
        ("'{1,NaN,3}'::real[]", &["nan"]),
        ("'{1,NaN,3}'::float8[]", &["nan"]),
        ("'{1,NaN,3}'::numeric[]", &["nan"]),
        ("'[1,Infinity,3]'", &["infin"]),
        ("'[1,-inf,3]'", &["infin"]),
        ("'{1,-Infinity,3}'::real[]", &["infin"]),
        ("'{1,Infinity,3}'::float8[]", &["infin"]),
        ("'{1,Infinity,3}'::numeric[]", &["infin"]),
        // Beyond real.
        ("'[1,1e39,3]'", &[]),
        ("'{1,-1e300,3}'::float8[]", &[]),
        ("'{1,1e100,3}'::numeric[]", &[]),
        // Nulls.
        ("NULL::text", &["null"]),
        ("NULL::real[]", &["null"]),
        (&format!("NULL::{VECTOR}"), &["null"]),
        ("'{1,NULL,3}'::int[]", &["null"]),
        ("'{1,NULL,3}'::float8[]", &["null"]),
        // Empty.
        ("'[]'", &[]),
        ("'{}'", &[]),
        ("'{}'::int[]", &[]),
        ("''", &[]),
        (&format!("'[]'::{VECTOR}"), &[]),
        // Malformed.
        ("'1,2,3'", &[]),
        ("'[1,2,3'", &[]),
        ("'1,2,3]'", &[]),
        ("'[1,2,3}'", &[]),
        ("'[1,,3]'", &[]),
        ("'[1,2,3,]'", &[]),
        ("'[1 2 3]'", &[]),
        ("'[1,2,3] x'", &[]),
        ("'[1,two,3]'", &[]),
        ("'[1,0x10,3]'", &[]),
        ("'[[1,2,3]]'", &[]),
        ("'[1,2,3];'", &[]),
        ("'{1,NULL,3}'", &[]),
        ("'{{1,2,3}}'::int[]", &[]),
        ("'{{1,2},{3,4}}'::real[]", &[]),
    ];
    let search = |vector: &str| format!("SELECT * FROM vcache_search('docs', {vector}, 5)");
    session.refuses(vectors.iter().map(|(vector, words)| (search(vector), "22", *words)));
    // The session goes on, nothing was stored, and the counts add up.
    assert_eq!(session.search("docs", "[1,2,3]", 5).len(), 5);
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.stores, stats.hits), (1, 0));
}

#[test]
fn types_that_are_no_vectors() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    let vectors =
        ["1", "1.5", "true", "now()", "'{a,b,c}'::text[]", "'[1,2,3]'::jsonb", "'(1,2)'::point", "ROW(1,2,3)"];
    let search = |vector: &str| format!("SELECT * FROM vcache_search('docs', {vector}, 5)");
    session.refuses(vectors.iter().map(|vector| (search(vector), "42", [].as_slice())));
    assert_eq!(session.search("docs", "[1,2,3]", 5).len(), 5);
}

#[test]
fn a_vector_longer_than_any_engine_takes() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, embedding {VECTOR}); INSERT INTO docs VALUES (1, '[1,2,3]')"
    ));
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')");
    let long = brackets(&Generator::new(1).vector(20_000));
    let failure = session.fails(&format!("SELECT * FROM vcache_search('docs', '{long}')"));
    assert!(!failure.sqlstate.is_empty() && failure.message.len() < 1000, "{failure:?}");
    // Where the column has no dimension, the engine tells those that differ.
    let plain = session.fails(&format!("SELECT * FROM docs ORDER BY embedding <-> '[1,2]'::{VECTOR} LIMIT 1"));
    let search = session.fails("SELECT * FROM vcache_search('docs', '[1,2]')");
    assert_eq!((search.sqlstate, search.message), (plain.sqlstate, plain.message));
    assert_eq!(session.search("docs", "[1,2,3]", 5).len(), 1);
}

#[test]
fn the_longest_vector_that_the_engines_take() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 5, 16_000);
    source.register(&mut session, "docs", "");
    let query = source.query(1);
    for form in ["", "::text", &format!("::{VECTOR}"), &format!("::{VECTOR}::text::{VECTOR}")] {
        let found = session.search_by(&format!("'docs', '{query}'{form}, 5"));
        harness::assert_same(&found, &source.plain(&mut session, &query, 5), 5);
    }
    assert_eq!(database.stats("docs").outcomes(), (3, 1, 0));
    let longer = brackets(&Generator::new(1).vector(16_001));
    session.fails(&format!("SELECT * FROM vcache_search('docs', '{longer}')")).assert("54000", &["16000"]);
}

#[test]
fn numbers_of_rows_out_of_range() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    refused(
        &mut session,
        &[
            ("'docs', '[1,2,3]', 0", "22023", &["top_k"]),
            ("'docs', '[1,2,3]', -1", "22023", &["top_k"]),
            ("'docs', '[1,2,3]', 1001", "22023", &["top_k", "1000"]),
            ("'docs', '[1,2,3]', 2147483647", "22023", &["top_k"]),
            ("'docs', '[1,2,3]', NULL", "22", &["null"]),
        ],
    );
    assert_eq!(session.search("docs", "[1,2,3]", 1000).len(), 20);
    session.run("SET vcache.max_top_k = 15");
    refused(&mut session, &[("'docs', '[1,2,3]', 16", "22023", &["top_k", "15"])]);
    // What a miss fetches for later is not above the limit either, or is not anybody's business: the answer is right.
    assert_eq!(session.search("docs", "[1,2,3]", 15).len(), 15);
}

#[test]
fn namespaces_that_are_none() {
    let database = stand().database();
    let mut session = database.session();
    refused(
        &mut session,
        &[
            ("'nowhere', '[1,2,3]'", "42704", &["nowhere"]),
            ("'', '[1,2,3]'", "42", &[]),
            ("NULL, '[1,2,3]'", "22", &["null"]),
            // A vector is not looked at before the namespace is found.
            ("'nowhere', 'rubbish'", "42704", &["nowhere"]),
        ],
    );
    assert_eq!(session.number("SELECT count(*) FROM vcache_stats WHERE namespace = 'nowhere'"), 0);
}

#[test]
fn an_error_of_the_engine_is_the_engines_and_is_counted() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    let bad = match session.engine() {
        Engine::RuVector => {
            // Its index refuses a vector of zeros.
            source.index(&mut session);
            brackets(&[0.0; 64])
        }
        Engine::Pgvector => {
            // It tells vectors of another length where the column has none of its own.
            session.run("ALTER TABLE docs ALTER embedding TYPE vector");
            brackets(&[1.0; 63])
        }
    };
    source.register(&mut session, "docs", "");
    let plain = session.fails(&format!("SELECT id FROM docs ORDER BY embedding <-> '{bad}'::{VECTOR} LIMIT 10"));
    for _ in 0..2 {
        let search = session.fails(&format!("SELECT * FROM vcache_search('docs', '{bad}')"));
        assert_eq!((search.sqlstate, search.message), (plain.sqlstate.clone(), plain.message.clone()));
    }
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!((stats.engine_errors, stats.stores, stats.hits), (2, 0, 0));
    source.assert_search(&mut session, "docs", &source.query(1), 10);
}

#[test]
fn a_negative_ttl_is_refused() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "");
    refused(&mut session, &[("'docs', '[1,2,3]', 5, ttl => '-1 second'", "22", &["ttl"])]);
    session
        .fails("SELECT vcache_create_namespace('other', 'docs', 'embedding', metric => 'l2', ttl => '-1 second')")
        .assert("22", &["ttl"]);
}
