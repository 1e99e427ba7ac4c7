//! The indexes that serve a filter, as auto_explain sees the statement that is run: of a column, of the metadata, of an expression over it, and an HNSW index over
//! a part of the rows.

use harness::{Engine, Metric, Session, VECTOR};

use crate::{call, register, stand};

/// The plan of the statement that a search makes.
fn plan(session: &mut Session, filter: &str, top_k: usize) -> String {
    session.notices();
    session.run("SET client_min_messages = log");
    session.run(&format!("SELECT * FROM vcache_search('goods', '[0,1,1]', {top_k}, '{filter}', ttl => '0')"));
    session.run("SET client_min_messages = notice");
    let notices = session.notices();
    let plans: Vec<&str> = notices
        .iter()
        .map(|notice| notice.message.as_str())
        .filter(|message| message.contains("plan:") && message.contains("tableoid"))
        .collect();
    assert_eq!(plans.len(), 1, "{notices:#?}");
    assert!(!notices.iter().any(|notice| notice.severity == "WARNING"), "{notices:#?}");
    plans[0].to_owned()
}

#[test]
fn indexes_serve_filters() {
    let database = stand().database();
    let mut session = database.session();
    let class = Metric::L2.operator_class(session.engine());
    // Many rows, of which a filter leaves few.
    session.run(&format!(
        "CREATE TABLE goods (id int PRIMARY KEY, year int, lang text, meta jsonb, embedding {VECTOR}(3));
         INSERT INTO goods SELECT i, i, CASE WHEN i % 100 = 0 THEN 'is' ELSE 'en' END,
                jsonb_build_object('tag', 't' || i, 'size', i, 'in', jsonb_build_object('color', 'c' || i)), ('[' || i || ',1,1]')::{VECTOR}
         FROM generate_series(1, 20000) i;
         CREATE INDEX goods_year ON goods (year);
         CREATE INDEX goods_meta ON goods USING gin (meta jsonb_path_ops);
         CREATE INDEX goods_size ON goods ((meta -> 'size'));
         CREATE INDEX goods_is ON goods USING hnsw (embedding {class}) WHERE lang = 'is';
         VACUUM ANALYZE goods"
    ).replace("VACUUM", ""));
    session.run("VACUUM ANALYZE goods");
    register(&mut session, "filter_columns => '{year,lang}', metadata_column => 'meta'");
    session
        .run("LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on");
    // More often than PostgreSQL tries a plan for the values alone, and with a value that no index serves.
    for _ in 0..8 {
        plan(&mut session, "{\"lang\": \"en\"}", 5);
    }
    for turn in 0..8 {
        for (filter, index) in [
            (format!("{{\"year\": {turn}}}"), "goods_year"),
            (format!("{{\"year\": {{\"$gte\": 10, \"$lt\": {}}}}}", 20 + turn), "goods_year"),
            (format!("{{\"year\": {{\"$in\": [7, {turn}]}}}}"), "goods_year"),
            (format!("{{\"tag\": \"t{turn}\"}}"), "goods_meta"),
            (format!("{{\"tag\": {{\"$in\": [\"t{turn}\", \"t77\"]}}, \"size\": {{\"$gt\": 0}}}}"), "goods_meta"),
            (format!("{{\"in.color\": \"c{turn}\"}}"), "goods_meta"),
            (format!("{{\"size\": {{\"$gt\": {turn}, \"$lte\": 30}}}}"), "goods_size"),
            ("{\"lang\": \"is\"}".to_owned(), "goods_is"),
            ("{\"lang\": {\"$in\": [\"is\", \"is\"]}}".to_owned(), "goods_is"),
        ] {
            let plan = plan(&mut session, &filter, 5);
            assert!(plan.contains(index), "{filter} by {index}: {plan}");
        }
    }
    // The same shape with another value is planned for that one.
    let plan = plan(&mut session, "{\"lang\": \"en\"}", 5);
    assert!(!plan.contains("goods_is"), "{plan}");
    assert_eq!(session.rows(&format!("SELECT id FROM vcache_search({})", call("{\"tag\": \"t5\"}"))).len(), 1);
}

#[test]
fn an_approximate_index_gives_what_it_gives_and_explain_says_so() {
    let database = stand().database();
    let mut session = database.session();
    let class = Metric::L2.operator_class(session.engine());
    // The rows that the filter leaves are the farthest.
    session.run(&format!(
        "CREATE TABLE goods (id int PRIMARY KEY, lang text, embedding {VECTOR}(3));
         INSERT INTO goods SELECT i, CASE WHEN i > 2900 THEN 'is' ELSE 'en' END, ('[' || i || ',1,1]')::{VECTOR} FROM generate_series(1, 3000) i;
         CREATE INDEX goods_embedding ON goods USING hnsw (embedding {class}); ANALYZE goods;
         SET enable_seqscan = off; SET enable_sort = off"
    ));
    register(&mut session, "filter_columns => '{lang}'");
    let is = "{\"lang\": \"is\"}";
    let search = format!("'goods', '[0,1,1]', 5, '{is}'");
    let reason = |session: &mut Session| session.value(&format!("SELECT reason FROM vcache_explain({search})"));
    let told = "index goods_embedding gives the filter no more than its nearest candidates, so there may be fewer rows";
    assert!(reason(&mut session).contains(told), "{}", reason(&mut session));
    for _ in 0..2 {
        assert_eq!(session.search_by(&search).len(), 0);
    }
    let hit = reason(&mut session);
    assert!(hit.starts_with("an entry for 20 rows answers") && hit.contains(told), "{hit}");
    assert!(!session.value("SELECT reason FROM vcache_explain('goods', '[0,1,1]', 5)").contains(told));
    if session.engine() == Engine::Pgvector {
        assert!(hit.contains("hnsw.iterative_scan"), "{hit}");
        session.run("SELECT vcache_alter_namespace('goods', '{\"search_settings\": {\"hnsw.iterative_scan\": \"strict_order\"}}')");
        assert!(!reason(&mut session).contains(told), "{}", reason(&mut session));
        assert_eq!(session.search_by(&search).len(), 5);
    }
    // One for those rows, beside the other and in its place.
    session.run(&format!("CREATE INDEX goods_is ON goods USING hnsw (embedding {class}) WHERE lang = 'is'"));
    session.run("SELECT vcache_alter_namespace('goods', '{\"search_settings\": null}')");
    assert!(reason(&mut session).contains(told), "{}", reason(&mut session));
    session.run("DROP INDEX goods_embedding; ANALYZE goods");
    assert!(!reason(&mut session).contains(told), "{}", reason(&mut session));
    assert_eq!(session.search_by(&search).len(), 5);
}
