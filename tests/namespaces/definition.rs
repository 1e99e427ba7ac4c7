//! vcache_create_namespace: what it takes, what it works out, what it refuses, and what vcache_namespaces says of it.

use harness::{Engine, Metric, Session, Source, VECTOR};

use crate::stand;

fn refused(session: &mut Session, arguments: &str, sqlstate: &str, words: &[&str]) -> harness::Failure {
    let failure = session.fails(&format!("SELECT vcache_create_namespace({arguments})"));
    failure.assert(sqlstate, words);
    failure
}

#[test]
fn the_metric_comes_from_the_columns_index() {
    let database = stand().database();
    let mut session = database.session();
    for metric in Engine::under_test().metrics().iter().copied() {
        let table = metric.name();
        let source = Source::create(&mut session, table, 100, 64).by(metric);
        source.index(&mut session);
        session.run(&format!("SELECT vcache_create_namespace('{table}', '{table}', 'embedding')"));
        source.assert_search(&mut session, table, &source.query(1), 10);
        let row =
            session.rows(&format!("SELECT metric, index::text FROM vcache_namespaces WHERE namespace = '{table}'"));
        assert_eq!(row[0][0].as_deref(), Some(table));
        assert!(row[0][1].as_ref().is_some_and(|index| index.ends_with(&format!("{table}_embedding_idx"))), "{row:?}");
    }
}

#[test]
fn without_an_index_the_metric_must_be_said() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 64);
    let failure = refused(&mut session, "'docs', 'docs', 'embedding'", "42P17", &["metric"]);
    assert!(failure.hint.contains("metric"), "{failure:?}");
    // An index that is no vector's says nothing.
    session.run("CREATE INDEX ON docs (title)");
    refused(&mut session, "'docs', 'docs', 'embedding'", "42", &[]);
    for (namespace, metric) in [
        ("l2", Metric::L2),
        ("<->", Metric::L2),
        ("cosine", Metric::Cosine),
        ("<=>", Metric::Cosine),
        ("inner_product", Metric::InnerProduct),
        ("<#>", Metric::InnerProduct),
    ] {
        session.run(&format!(
            "SELECT vcache_create_namespace('{namespace}', 'docs', 'embedding', metric => '{namespace}')"
        ));
        let source = source.clone().by(metric);
        source.assert_search(&mut session, namespace, &source.query(1), 10);
    }
    let without_index = session.number("SELECT count(*) FROM vcache_namespaces WHERE index IS NULL");
    assert_eq!(without_index, 6);
}

#[test]
fn indexes_of_two_metrics_need_a_choice() {
    let database = stand().database();
    let mut session = database.session();
    let l2 = Source::docs(&mut session, 100, 64);
    l2.index(&mut session);
    l2.index(&mut session);
    session.run("SELECT vcache_create_namespace('same', 'docs', 'embedding')");
    let cosine = l2.clone().by(Metric::Cosine);
    cosine.index(&mut session);
    let failure = refused(&mut session, "'two', 'docs', 'embedding'", "42P17", &["metric"]);
    assert!(failure.hint.contains("metric"), "{failure:?}");
    for source in [&l2, &cosine] {
        let namespace = source.metric.name();
        source.register(&mut session, namespace, "");
        source.assert_search(&mut session, namespace, &source.query(1), 10);
    }
}

#[test]
fn the_id_is_the_primary_key_unless_another_column_is_named() {
    let database = stand().database();
    let mut session = database.session();
    session.run(
        &format!("CREATE TABLE named (a int, code text PRIMARY KEY, v {VECTOR}(3)); INSERT INTO named VALUES (1, 'x', '[1,2,3]');
         CREATE TABLE bare (a int, v {VECTOR}(3)); INSERT INTO bare VALUES (1, '[1,2,3]');
         CREATE TABLE twin (a int, b int, v {VECTOR}(3), PRIMARY KEY (a, b)); INSERT INTO twin VALUES (1, 2, '[1,2,3]')"),
    );
    session.run("SELECT vcache_create_namespace('named', 'named', 'v', metric => 'l2')");
    session.run("SELECT vcache_create_namespace('named a', 'named', 'v', 'a', 'l2')");
    assert_eq!(session.search("named", "[1,2,3]", 1)[0].id, "x");
    assert_eq!(session.search("named a", "[1,2,3]", 1)[0].id, "1");
    for table in ["bare", "twin"] {
        let failure =
            refused(&mut session, &format!("'{table}', '{table}', 'v', metric => 'l2'"), "42", &["primary key"]);
        assert!(failure.hint.contains("id_column"), "{failure:?}");
    }
    session.run("SELECT vcache_create_namespace('twin', 'twin', 'v', id_column => 'b', metric => 'l2')");
    assert_eq!(session.search("twin", "[1,2,3]", 1)[0].id, "2");
}

#[test]
fn what_is_no_definition_is_refused() {
    let database = stand().database();
    let mut session = database.session();
    Source::docs(&mut session, 5, 3);
    session
        .run(&format!("CREATE TEMP TABLE mine (id int PRIMARY KEY, embedding {VECTOR}(3)); CREATE SEQUENCE numbers"));
    let definitions: &[(&str, &str, &[&str])] = &[
        ("'n', 'docs', 'nothing', metric => 'l2'", "42703", &["nothing"]),
        ("'n', 'docs', 'title', metric => 'l2'", "42", &["title"]),
        ("'n', 'docs', 'ctid', metric => 'l2'", "42", &[]),
        ("'n', 'docs', 'embedding', metric => 'hamming'", "22023", &["hamming"]),
        ("'n', 'docs', 'embedding', metric => '<~>'", "", &["<~>"]),
        // An operator, but not one that measures.
        ("'n', 'docs', 'embedding', metric => '+'", "", &[]),
        ("'n', 'docs', 'embedding', metric => 'l2', id_column => 'nothing'", "42703", &["nothing"]),
        ("'n', 'docs', 'embedding', metric => 'l2', payload_columns => '{title,nothing}'", "42703", &["nothing"]),
        ("'n', 'docs', 'embedding', metric => 'l2', namespace_column => 'nothing'", "42703", &["nothing"]),
        ("'n', 'docs', 'embedding', metric => 'l2', freshness => 'sometimes'", "22023", &["sometimes"]),
        ("'n', 'docs', 'embedding', metric => 'l2', fetch_k => 0", "22023", &["fetch_k"]),
        ("'n', 'docs', 'embedding', metric => 'l2', fetch_k => -5", "22023", &["fetch_k"]),
        ("'n', 'mine', 'embedding', metric => 'l2'", "", &["temporary"]),
        ("'n', 'numbers', 'embedding', metric => 'l2'", "42", &[]),
        ("'n', 'docs_pkey', 'embedding', metric => 'l2'", "42", &[]),
        ("'n', 0::regclass, 'embedding', metric => 'l2'", "42", &[]),
        ("'n', 'absent', 'embedding', metric => 'l2'", "42P01", &["absent"]),
        ("NULL, 'docs', 'embedding', metric => 'l2'", "22", &["null"]),
        ("'n', NULL, 'embedding', metric => 'l2'", "22", &["null"]),
        ("'n', 'docs', NULL, metric => 'l2'", "22", &["null"]),
        ("'', 'docs', 'embedding', metric => 'l2'", "", &["empty"]),
    ];
    let create = |arguments: &str| format!("SELECT vcache_create_namespace({arguments})");
    session.refuses(definitions.iter().map(|(arguments, sqlstate, words)| (create(arguments), *sqlstate, *words)));
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 0);
}

#[test]
fn a_metric_without_an_operator_of_the_engine_is_refused() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3).by(Metric::L1);
    if session.engine().metrics().contains(&Metric::L1) {
        source.register(&mut session, "docs", "");
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    } else {
        refused(&mut session, "'docs', 'docs', 'embedding', metric => 'l1'", "22023", &["l1"]);
    }
}

#[test]
fn a_name_is_taken_once() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "ttl => '1 hour'");
    refused(&mut session, "'docs', 'docs', 'embedding', metric => 'l2'", "42710", &["docs"]);
    session.notices();
    session
        .run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'cosine', if_not_exists => true)");
    let notices = session.notices();
    assert!(notices.iter().any(|notice| notice.severity == "NOTICE" && notice.message.contains("docs")), "{notices:?}");
    // It stands as it was.
    let row = session.rows("SELECT metric, ttl FROM vcache_namespaces");
    assert_eq!(row, [[Some("l2".to_owned()), Some("01:00:00".to_owned())]]);
    session.run("SELECT vcache_create_namespace('other', 'docs', 'embedding', metric => 'l2', if_not_exists => true)");
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 2);
}

#[test]
fn the_view_says_what_is_registered() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE SCHEMA library; CREATE TABLE library.books (isbn text PRIMARY KEY, title text, shelf text, v {VECTOR}(3))"));
    session.run(&format!("CREATE INDEX books_v ON library.books USING hnsw (v {VECTOR}_cosine_ops)"));
    let ef_search = Engine::under_test().ef_search();
    session.run(&format!(
        "SELECT vcache_create_namespace('books/*', 'library.books', 'v', payload_columns => '{{title,shelf}}', filter_columns => '{{shelf}}', namespace_column => 'shelf',
             freshness => 'ttl', ttl => '90 seconds', fetch_k => 30, search_settings => '{{\"{ef_search}\": 200}}', rls_settings => '{{App.Shelf}}')"
    ));
    session.run("SELECT vcache_create_namespace('bare', 'library.books', 'v', 'isbn', 'cosine')");
    let columns = "namespace, source, vector_column, id_column, metric, payload_columns, filter_columns, metadata_column, namespace_column, index, freshness, ttl, fetch_k, search_settings, rls_settings";
    let names = session.column("SELECT attname FROM pg_attribute WHERE attrelid = 'vcache_namespaces'::regclass AND attnum > 0 ORDER BY attnum");
    assert_eq!(names.join(", "), columns);
    // A setting's value is text to PostgreSQL, so a number may come back as a string.
    let columns = columns.replace("search_settings", &format!("search_settings ->> '{ef_search}'"));
    let rows = session.rows(&format!("SELECT {columns} FROM vcache_namespaces ORDER BY namespace"));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(rows[0][..6], [some("bare"), some("library.books"), some("v"), some("isbn"), some("cosine"), None]);
    assert_eq!(rows[0][6..9], [None, None, None]);
    assert_eq!(rows[0][10..], [some("exact"), None, None, None, None]);
    assert_eq!(
        rows[1][..9],
        [
            some("books/*"),
            some("library.books"),
            some("v"),
            some("isbn"),
            some("cosine"),
            some("{title,shelf}"),
            some("{shelf}"),
            None,
            some("shelf")
        ]
    );
    assert_eq!(rows[1][10..], [some("ttl"), some("00:01:30"), some("30"), some("200"), some("{app.shelf}")]);
    assert!(rows.iter().all(|row| row[9].as_ref().is_some_and(|index| index.ends_with("books_v"))), "{rows:?}");
    // Everyone may read it.
    let reader = database.role("reader", "");
    assert_eq!(database.session_as(&reader).number("SELECT count(*) FROM vcache_namespaces"), 2);
    session.run("DROP INDEX library.books_v");
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces WHERE index IS NULL"), 2);
}
