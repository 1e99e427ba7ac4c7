//! Filters and options that are refused, with what exists and where in the filter.

use harness::literal;

use crate::{call, goods, register, stand};

type Case<'a> = (&'a str, &'a str, &'a [&'a str]);

#[test]
fn filters_that_are_none() {
    let database = stand().database();
    let mut session = database.session();
    goods(&mut session, "year int, lang text, ok boolean, at timestamptz, hidden int", &[]);
    register(&mut session, "filter_columns => '{year,lang,ok,at}'");
    let cases: &[Case<'_>] = &[
        ("[]", "22023", &["must be an object", "a list"]),
        ("\"x\"", "22023", &["must be an object"]),
        ("{\"yaer\": 1}", "42703", &["\"yaer\"", "At yaer"]),
        ("{\"hidden\": 1}", "42703", &["\"hidden\"", "filter_columns"]),
        ("{\"$and\": [{\"year\": 1}, {\"$or\": [{\"hidden\": 1}]}]}", "42703", &["At $and[1].$or[0].hidden"]),
        ("{\"year\": {\"$near\": 1}}", "42883", &["$near", "At year.$near"]),
        ("{\"$where\": \"1=1\"}", "42883", &["$where"]),
        ("{\"year\": {\"nested\": 1}}", "42883", &["nested"]),
        ("{\"$gt\": 1}", "22023", &["$gt", "field"]),
        ("{\"year\": {}}", "22023", &["no operator"]),
        ("{\"year\": \"x\"}", "22P02", &["integer", "x"]),
        ("{\"year\": 1.5}", "22P02", &["integer", "1.5"]),
        ("{\"year\": 3000000000}", "22003", &["integer", "3000000000"]),
        ("{\"year\": true}", "42804", &["year", "integer", "a boolean"]),
        ("{\"lang\": 1}", "42804", &["lang", "text", "a number", "At lang"]),
        ("{\"lang\": {\"$in\": [\"a\", 1]}}", "42804", &["At lang.$in[1]"]),
        ("{\"lang\": [\"a\"]}", "42804", &["a list", "At lang"]),
        ("{\"ok\": 1}", "42804", &["boolean", "a number"]),
        ("{\"at\": \"someday\"}", "22007", &["someday"]),
        ("{\"lang\": {\"$in\": \"a\"}}", "42804", &["a list", "At lang.$in"]),
        ("{\"lang\": {\"$exists\": 1}}", "42804", &["true or false"]),
        ("{\"lang\": {\"$not\": \"a\"}}", "22023", &["$not"]),
        ("{\"year\": {\"$lt\": null}}", "22023", &["null"]),
        ("{\"$or\": []}", "22023", &["at least one"]),
        ("{\"$and\": {\"year\": 1}}", "42804", &["a list"]),
        ("{\"$not\": [{\"year\": 1}]}", "22023", &["must be an object"]),
        ("{\"\": 1}", "22023", &["no name"]),
    ];
    session.refuses(cases.iter().flat_map(|(filter, code, words)| {
        ["vcache_search", "vcache_explain"]
            .map(|function| (format!("SELECT * FROM {function}({})", call(filter)), *code, *words))
    }));
    // Where in the filter a type's own error comes from stands in the hint, as the message is the type's.
    let failure = session
        .fails(&format!("SELECT * FROM vcache_search({})", call("{\"$or\": [{\"year\": {\"$in\": [1, \"x\"]}}]}")));
    assert!(failure.hint.contains("$or[0].year.$in[1]"), "{failure:?}");
    let failure = session.fails(&format!("SELECT * FROM vcache_search({})", call("{\"yaer\": 1}")));
    assert!(failure.hint.contains("\"year\", \"lang\", \"ok\", \"at\""), "{failure:?}");
    // What is refused counts as nothing.
    assert_eq!(database.stats("goods").outcomes(), (0, 0, 0));
}

#[test]
fn filters_that_are_too_much() {
    let database = stand().database();
    let mut session = database.session();
    goods(&mut session, "lang text, n int, meta jsonb", &["'en', 1, '{}'"]);
    register(&mut session, "filter_columns => '{lang,n}', metadata_column => 'meta'");
    let nested = |levels: usize| format!("{}{{}}{}", "{\"$not\": ".repeat(levels - 1), "}".repeat(levels - 1));
    let long = |bytes: usize| format!("{{\"lang\": \"{}\"}}", "x".repeat(bytes - 12));
    let numbers = |count: usize| format!("{{\"n\": {{\"$in\": {:?}}}}}", (0..count).collect::<Vec<_>>());
    let deep = "a.".repeat(63) + "a";
    for filter in [nested(64), long(65_536), numbers(9000), format!("{{\"{deep}\": 1}}")] {
        session.run(&format!("SELECT * FROM vcache_search({})", call(&filter)));
    }
    session.refuses([
        (format!("SELECT * FROM vcache_search({})", call(&nested(65))), "54000", &["64"][..]),
        (format!("SELECT * FROM vcache_search({})", call(&long(65_537))), "54000", &["65536"]),
        (format!("SELECT * FROM vcache_search({})", call(&numbers(300_000))), "54000", &["65536"]),
        ("SELECT * FROM vcache_search('goods', '[0,1,1]', 10, jsonb_build_object('n', (1::numeric || repeat('0', 100000))::numeric))".into(), "54000", &[]),
        (format!("SELECT * FROM vcache_search({})", call(&format!("{{\"{deep}.a\": {{\"$gt\": 1}}}}"))), "54000", &["64 keys"]),
        ("SELECT * FROM vcache_search('goods', '[0,1,1]', 10, (SELECT jsonb_build_object('n', jsonb_build_object('$in', jsonb_agg(('1e' || 131071 - i)::numeric))) \
          FROM generate_series(1, 7000) i))".into(), "54000", &["65536"]),
        (format!("SELECT * FROM vcache_search({})", call("{\"n\": {\"$serde_json::private::Number\": \"1\"}}")), "42883", &["private"]),
        (format!("SELECT * FROM vcache_search({})", call("{\"embedding\": 1}")), "42703", &["filter_columns"]),
        (format!("SELECT * FROM vcache_search({})", call("{\"a..b\": 1}")), "22023", &["without a name"]),
        (format!("SELECT * FROM vcache_search({})", call("{\".a\": 1}")), "22023", &["without a name"]),
    ]);
    // Many conditions, each with a plan's worth of work.
    let many: Vec<String> =
        (0..800).map(|n| format!("{{\"n\": {n}, \"lang\": {{\"$ne\": \"{n}\"}}, \"k{n}\": {n}}}")).collect();
    session.run(&format!("SELECT * FROM vcache_search({})", call(&format!("{{\"$or\": [{}]}}", many.join(", ")))));
}

#[test]
fn columns_that_cannot_be_declared() {
    let database = stand().database();
    let mut session = database.session();
    goods(&mut session, "place point, meta json, lang text, data jsonb", &[]);
    let create = |options: &str| {
        format!("SELECT vcache_create_namespace('goods', 'goods', 'embedding', metric => 'l2', {options})")
    };
    session.refuses([
        (create("filter_columns => '{place}'"), "42883", &["place", "point", "order"][..]),
        (create("filter_columns => '{nowhere}'"), "42703", &["nowhere"]),
        (create("metadata_column => 'meta'"), "42804", &["meta", "json"]),
        (create("metadata_column => 'lang'"), "42804", &["lang", "text"]),
        (create("metadata_column => 'nowhere'"), "42703", &["nowhere"]),
    ]);
    session.run(&create("filter_columns => '{lang}'"));
    let alter = |options: &str| format!("SELECT vcache_alter_namespace('goods', {})", literal(options));
    session.refuses([
        (alter("{\"filter_columns\": \"lang\"}"), "22023", &["filter_columns", "array"][..]),
        (alter("{\"metadata_column\": 1}"), "22023", &["metadata_column", "string"]),
        (alter("{\"metadata_column\": \"meta\"}"), "42804", &["meta"]),
    ]);
    session.run(&alter("{\"filter_columns\": null, \"metadata_column\": \"data\"}"));
    let shown = session.rows("SELECT filter_columns, metadata_column FROM vcache_namespaces");
    assert_eq!(shown, [[None, Some("data".to_owned())]]);
    session.run(&format!("SELECT * FROM vcache_search({})", call("{\"color\": 1}")));
    // A column is never taken for a key.
    session.fails(&format!("SELECT * FROM vcache_search({})", call("{\"lang\": 1}"))).assert("42703", &["lang"]);
    session.run(&alter("{\"metadata_column\": null}"));
    let failure = session.fails(&format!("SELECT * FROM vcache_search({})", call("{\"lang\": \"en\"}")));
    failure.assert("42703", &["lang"]);
    assert!(failure.hint.contains("filter_columns"), "{failure:?}");
}
