//! What a value means to a field: the types of columns, JSON's kinds, the caller's settings, and names of all sorts.

use harness::{VECTOR, literal};

use crate::{call, explained, goods, left, register, stand};

/// A column's type, three of its values in their order, and filters with the rows that they leave.
type Case<'a> = (&'a str, [&'a str; 3], &'a [(&'a str, &'a str)]);

#[test]
fn values_are_of_the_columns_type() {
    let database = stand().database();
    let mut session = database.session();
    session.run("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN small AS int CHECK (VALUE < 100)");
    session.run("CREATE TYPE pair AS (a int, b int)");
    session.run("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
    let cases: [Case<'_>; 18] = [
        ("smallint", ["1", "2", "32767"], &[("32767", "2"), ("{\"$gt\": 1}", "1 2"), ("\"2\"", "1")]),
        ("int", ["1", "2", "3"], &[("2.0", "1"), ("{\"$lt\": 3.00}", "0 1")]),
        (
            "bigint",
            ["1", "9007199254740993", "9223372036854775807"],
            &[("9007199254740993", "1"), ("\"9007199254740993\"", "1"), ("{\"$gte\": 9223372036854775807}", "2")],
        ),
        ("real", ["0.1", "0.5", "'Infinity'"], &[("0.1", "0"), ("{\"$gt\": \"0.5\"}", "2"), ("\"Infinity\"", "2")]),
        (
            "float8",
            ["-0.0", "1.5", "'NaN'"],
            &[("0", "0"), ("-0.0", "0"), ("\"NaN\"", "2"), ("{\"$lte\": 1.50}", "0 1")],
        ),
        ("numeric(10,2)", ["1", "1.50", "2"], &[("1.5", "1"), ("{\"$in\": [1.00, 2]}", "0 2"), ("1.501", "")]),
        (
            "boolean",
            ["false", "true", "NULL"],
            &[("true", "1"), ("{\"$ne\": true}", "0 2"), ("null", "2"), ("\"yes\"", "1")],
        ),
        ("text", ["''", "'1'", "'true'"], &[("\"\"", "0"), ("\"1\"", "1"), ("{\"$gte\": \"1\"}", "1 2")]),
        ("varchar(3)", ["'ab'", "'abc'", "NULL"], &[("\"abc\"", "1"), ("\"abcd\"", ""), ("{\"$ne\": \"ab\"}", "1 2")]),
        ("char(5)", ["'a'", "'b'", "'c'"], &[("\"b\"", "1"), ("\"b  \"", "1")]),
        ("text COLLATE nocase", ["'a'", "'B'", "'c'"], &[("\"b\"", "1"), ("{\"$in\": [\"A\", \"C\", \"c\"]}", "0 2")]),
        (
            "date",
            ["'2024-01-01'", "'2024-02-01'", "'infinity'"],
            &[("{\"$gt\": \"2024-01-31\"}", "1 2"), ("\"2024-02-01\"", "1"), ("\"infinity\"", "2")],
        ),
        (
            "timestamptz",
            ["'2024-01-01 00:00Z'", "'2024-01-01 12:00Z'", "'2024-01-02 00:00Z'"],
            &[("\"2024-01-01T14:00:00+02:00\"", "1"), ("{\"$gte\": \"2024-01-01T12:00:00Z\"}", "1 2")],
        ),
        (
            "uuid",
            [
                "'00000000-0000-0000-0000-000000000001'",
                "'00000000-0000-0000-0000-00000000000A'",
                "'ffffffff-0000-0000-0000-000000000000'",
            ],
            &[
                ("\"00000000-0000-0000-0000-00000000000a\"", "1"),
                ("{\"$lt\": \"f0000000-0000-0000-0000-000000000000\"}", "0 1"),
            ],
        ),
        ("mood", ["'sad'", "'ok'", "'happy'"], &[("{\"$gt\": \"sad\"}", "1 2"), ("{\"$in\": [\"happy\"]}", "2")]),
        ("small", ["1", "2", "3"], &[("2", "1"), ("{\"$lt\": 1000}", "0 1 2")]),
        (
            "pair",
            ["(1, 2)", "(1, NULL)", "(NULL, NULL)"],
            &[
                ("{\"$exists\": true}", "0 1 2"),
                ("{\"$exists\": false}", ""),
                ("\"(1,)\"", "1"),
                ("{\"$ne\": \"(1,2)\"}", "1 2"),
            ],
        ),
        ("text[]", ["'{a}'", "'{a,b}'", "'{}'"], &[("\"{a, b}\"", "1"), ("{\"$in\": [\"{}\", \"{a}\"]}", "0 2")]),
    ];
    for (kind, rows, filters) in cases {
        goods(&mut session, &format!("f {kind}"), &rows);
        register(&mut session, "filter_columns => '{f}'");
        for (filter, wanted) in filters {
            for _ in 0..2 {
                assert_eq!(left(&mut session, &format!("{{\"f\": {filter}}}")).join(" "), *wanted, "{kind} {filter}");
            }
        }
        session.run("SELECT vcache_drop_namespace('goods'); DROP TABLE goods");
    }
}

#[test]
fn spellings_of_one_value_share_an_entry_and_other_values_do_not() {
    let database = stand().database();
    let mut session = database.session();
    goods(
        &mut session,
        "n int, price numeric, score float8, code char(5), meta jsonb",
        &["1, 1, 1, 'a', '{\"m\": 1}'"],
    );
    register(&mut session, "filter_columns => '{n,price,score,code}', metadata_column => 'meta'");
    let groups: [&[&str]; 12] = [
        &[
            "{\"n\": 1}",
            "{\"n\": 1.0}",
            "{\"n\": \"1\"}",
            "{\"n\": {\"$gte\": 1, \"$lt\": 2}}",
            "{\"n\": {\"$in\": [1, 1.00]}}",
        ],
        &["{\"n\": {\"$gt\": 1}}", "{\"n\": {\"$gte\": 2}}", "{\"n\": {\"$exists\": true, \"$not\": {\"$lte\": 1}}}"],
        &["{\"n\": {\"$ne\": 1}}", "{\"$or\": [{\"n\": null}, {\"n\": {\"$lt\": 1}}, {\"n\": {\"$gt\": 1}}]}"],
        &["{\"price\": 1}", "{\"price\": 1.00}", "{\"price\": \"1.0\"}"],
        &["{\"price\": {\"$gt\": 1}}"],
        &["{\"price\": {\"$gte\": 2}}"],
        &["{\"score\": 0}", "{\"score\": -0.0}", "{\"score\": \"-0\"}"],
        &["{\"code\": \"a\"}", "{\"code\": \"a  \"}"],
        &["{\"m\": 1}", "{\"m\": 1.0}", "{\"m\": {\"$eq\": 1}}"],
        &["{\"m\": \"1\"}"],
        &["{\"m\": true}"],
        &["{}", "{\"$or\": [{\"n\": 1}, {\"n\": {\"$ne\": 1}}]}", "{\"m\": {\"$nin\": []}}"],
    ];
    let mut keys = Vec::new();
    for group in groups {
        let (_, key) = explained(&mut session, group[0]);
        for filter in group {
            assert_eq!(explained(&mut session, filter).1, key, "{filter} and {}", group[0]);
        }
        assert!(!keys.contains(&key), "{}", group[0]);
        keys.push(key);
    }
    // No filter at all is one more spelling of the last.
    let none = session.value("SELECT key FROM vcache_explain('goods', '[0,1,1]', 1000)");
    assert_eq!(Some(&none), keys.last());
    assert_eq!(session.value("SELECT key FROM vcache_explain('goods', '[0,1,1]', 1000, NULL)"), none);
}

#[test]
fn the_callers_settings_say_what_a_literal_means() {
    let database = stand().database();
    let mut session = database.session();
    goods(
        &mut session,
        "at timestamptz, day date",
        &["'2024-01-01 00:00Z', '2024-02-01'", "'2024-01-01 06:00Z', '2024-01-02'"],
    );
    register(&mut session, "filter_columns => '{at,day}'");
    for _ in 0..2 {
        for (set, filter, wanted) in [
            ("SET TimeZone = 'UTC'", "{\"at\": \"2024-01-01 00:00\"}", "0"),
            ("SET TimeZone = 'America/Chicago'", "{\"at\": \"2024-01-01 00:00\"}", "1"),
            ("SET DateStyle = 'ISO, DMY'", "{\"day\": \"01/02/2024\"}", "0"),
            ("SET DateStyle = 'ISO, MDY'", "{\"day\": \"01/02/2024\"}", "1"),
        ] {
            session.run(set);
            assert_eq!(left(&mut session, filter).join(" "), wanted, "{set}");
        }
    }
}

#[test]
fn a_key_may_have_any_name_and_a_value_any_text() {
    let database = stand().database();
    let mut session = database.session();
    let odd = [
        "it's",
        "a\"b",
        "back\\slash",
        "$1",
        "%s",
        "a; DROP TABLE goods; --",
        "ünï 🦀",
        "a\nb",
        "/*",
        "$$",
        "'||'",
        "\u{1}",
    ];
    let rows: Vec<String> = odd
        .iter()
        .map(|name| {
            let json = serde_json::json!({ "all": name, "in": { *name: 1 } });
            format!("{}, {}, {}", literal(name), literal(name), literal(&json.to_string()))
        })
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    goods(&mut session, "\"odd \"\"; DROP TABLE goods; --'\" text, \"dotted.name\" text, meta jsonb", &rows);
    register(
        &mut session,
        "filter_columns => ARRAY['odd \"; DROP TABLE goods; --''', 'dotted.name']::name[], metadata_column => 'meta'",
    );
    for (n, name) in odd.iter().enumerate() {
        let wanted = [n.to_string()];
        for filter in [
            serde_json::json!({ "odd \"; DROP TABLE goods; --'": name }),
            serde_json::json!({ "odd \"; DROP TABLE goods; --'": { "$in": [name, "nobody's"] } }),
            serde_json::json!({ "dotted.name": { "$gte": name, "$lte": name } }),
            serde_json::json!({ format!("in.{name}"): 1 }),
            serde_json::json!({ format!("in.{name}"): { "$in": [1, name] } }),
            serde_json::json!({ format!("in.{name}"): { "$gt": 0, "$lt": 2 } }),
            serde_json::json!({ format!("in.{name}"): { "$exists": true } }),
            serde_json::json!({ "all": name }),
        ] {
            let filter = filter.to_string();
            for _ in 0..2 {
                assert_eq!(left(&mut session, &filter), wanted, "{filter}");
            }
            session.run(&format!("SELECT FROM vcache_explain({})", call(&filter)));
        }
    }
    assert_eq!(session.number("SELECT count(*) FROM goods"), odd.len() as i64);
}

#[test]
fn a_declared_column_goes_before_a_key_of_its_name_and_numbers_are_keys_of_objects() {
    let database = stand().database();
    let mut session = database.session();
    goods(
        &mut session,
        "lang text, meta jsonb",
        &[
            "'en', '{\"lang\": \"de\", \"list\": [5], \"0\": {\"1\": 7}}'",
            "'de', '{\"lang\": \"en\", \"list\": {\"0\": 5}, \"0\": [6, 7]}'",
        ],
    );
    register(&mut session, "filter_columns => '{lang}', metadata_column => 'meta'");
    assert_eq!(left(&mut session, "{\"lang\": \"en\"}"), ["0"]);
    assert_eq!(left(&mut session, "{\"list.0\": 5}"), ["1"]);
    assert_eq!(left(&mut session, "{\"list.0\": {\"$gt\": 4}}"), ["1"]);
    assert_eq!(left(&mut session, "{\"0.1\": 7}"), ["0"]);
    assert_eq!(left(&mut session, "{\"list\": {\"$exists\": true}}"), ["0", "1"]);
    // A list equals no value, and is not less than one.
    assert_eq!(left(&mut session, "{\"list\": {\"$ne\": 5}}"), ["0", "1"]);
    assert_eq!(left(&mut session, "{\"list\": {\"$gt\": 0}}"), Vec::<String>::new());
}

#[test]
fn a_filter_narrows_a_tenants_rows_and_those_of_partitions() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!(
        "CREATE TABLE parted (id int, tenant int, lang text, embedding {VECTOR}(3)) PARTITION BY LIST (tenant);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
         CREATE TABLE parted_2 (lang text, tenant int, embedding {VECTOR}(3), id int);
         ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
         INSERT INTO parted SELECT i, 1 + i % 2, (ARRAY['en', 'de', NULL])[1 + i % 3], ('[' || i || ',1,1]')::{VECTOR} FROM generate_series(0, 11) i;
         SELECT vcache_create_namespace('p/*', 'parted', 'embedding', id_column => 'id', metric => 'l2',
                                        namespace_column => 'tenant', filter_columns => '{{lang}}');
         SELECT vcache_create_namespace('p', 'parted', 'embedding', id_column => 'id', metric => 'l2', filter_columns => '{{lang,tenant}}')"
    ));
    let mut ids = |name: &str, filter: &str| {
        session.column(&format!("SELECT id FROM vcache_search('{name}', '[0,1,1]', 20, '{filter}')")).join(" ")
    };
    for _ in 0..2 {
        assert_eq!(ids("p/1", "{\"lang\": \"en\"}"), "0 6");
        assert_eq!(ids("p/2", "{\"lang\": \"en\"}"), "3 9");
        assert_eq!(ids("p/2", "{\"lang\": {\"$ne\": \"en\"}}"), "1 5 7 11");
        assert_eq!(ids("p", "{\"lang\": \"en\"}"), "0 3 6 9");
        assert_eq!(ids("p", "{\"lang\": \"en\", \"tenant\": 2}"), "3 9");
    }
}
