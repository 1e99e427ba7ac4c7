//! Ids and payloads read the same whoever asks: the session's settings of time zone, dates, floats, binary strings
//! and search path change neither a miss, nor a hit, nor a bypass.

use harness::{Database, Row, Session, Stand, VECTOR, ids};

use crate::stand;

/// What vcache renders under.
const FIXED: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; \
                     SET extra_float_digits = 1; SET quote_all_identifiers = off; SET search_path = ''";

/// Sessions that would each render otherwise.
const ODD: [&str; 3] = [
    "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'postgres_verbose'; \
     SET bytea_output = 'escape'; SET extra_float_digits = -15; SET quote_all_identifiers = on; SET search_path = elsewhere, public",
    "SET TimeZone = 'America/St_Johns'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'; \
     SET bytea_output = 'escape'; SET extra_float_digits = 0; SET search_path = public",
    "SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = 'sql_standard'; \
     SET bytea_output = 'hex'; SET extra_float_digits = -2; SET quote_all_identifiers = on; SET search_path = ''",
];

/// Types of ids with three values of each.
const IDS: [(&str, [&str; 3]); 18] = [
    ("smallint", ["-1", "0", "32767"]),
    ("int", ["-2147483648", "7", "2147483647"]),
    ("bigint", ["-9223372036854775808", "0", "9223372036854775807"]),
    (
        "uuid",
        [
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    ("text", ["", "a 'quoted' \"id\" \\ ü 🦀", "line\nbreak\ttab"]),
    ("varchar(20)", ["a", "b ", "ç"]),
    ("char(5)", ["a", "bc", "defgh"]),
    ("date", ["2024-02-03", "0044-03-15 BC", "infinity"]),
    ("timestamp", ["2024-02-03 04:05:06.789", "-infinity", "0001-01-01 BC"]),
    ("timestamptz", ["2024-02-03 04:05:06.789+00", "2024-12-31 23:59:59-11", "infinity"]),
    ("time", ["00:00", "12:34:56.5", "24:00"]),
    ("interval", ["1 year 2 mons -3 days 04:05:06", "-1 hour", "0"]),
    ("bytea", ["", r"\x00ff", r"\x616263"]),
    ("numeric", ["0.10", "-12345678901234567890.123", "NaN"]),
    ("real", ["0.1", "1e20", "-Infinity"]),
    ("float8", ["0.1", "1e300", "0.30000000000000004"]),
    ("boolean", ["true", "false", "true"]),
    ("mood", ["sad", "so so", "happy"]),
];

/// Searches in every session, odd and fixed, as a miss (each session has a vector of its own), as a hit (a vector
/// that all ask for), and as a bypass; asserts that every answer is the expected one.
fn assert_rendering(database: &Database, namespace: &str, expected: &[(String, Option<String>)]) {
    let settings: Vec<&str> = ODD.into_iter().chain([FIXED]).collect();
    for (number, setting) in settings.iter().enumerate() {
        let mut session = database.session();
        session.run(setting);
        let own = format!("[0,0,-{}]", number + 1);
        for (vector, rest) in [("[0,0,-9]", ""), (&own, ""), (&own, ""), ("[0,0,-9]", ", ttl => '0'")] {
            let sql =
                format!("SELECT id, distance, payload FROM public.vcache_search('{namespace}', '{vector}', 3{rest})");
            let found: Vec<_> = rows(&mut session, &sql).into_iter().map(|row| (row.id, row.payload)).collect();
            assert_eq!(found, expected, "{namespace} under {setting}{rest}");
        }
    }
    // One miss of the shared vector, one of each own; the rest are hits and bypasses.
    assert_eq!(database.stats(namespace).outcomes(), (7, 5, 4), "{namespace}");
}

/// Rows whose distance is not of interest: `extra_float_digits` is the reader's when it prints a float8.
fn rows(session: &mut Session, sql: &str) -> Vec<Row> {
    session.answer(sql)
}

#[test]
fn ids_of_every_type() {
    let database = stand().database();
    let mut session = database.session();
    session.run("CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy')");
    let mut fixed = database.session();
    fixed.run(FIXED);
    for (number, (kind, values)) in IDS.into_iter().enumerate() {
        let table = format!("source_{number}");
        session.run(&format!("CREATE TABLE {table} (id {kind}, embedding {VECTOR}(3))"));
        for (place, value) in values.iter().enumerate() {
            let value = value.replace('\'', "''");
            session.run(&format!("INSERT INTO {table} VALUES ('{value}', '[0,0,{}]')", place + 1));
        }
        session.run(&format!(
            "SELECT vcache_create_namespace('{table}', '{table}', 'embedding', id_column => 'id', metric => 'l2')"
        ));
        let expected = fixed.column(&format!(
            "SELECT format('%s', id) FROM public.{table} ORDER BY embedding OPERATOR(public.<->) '[0,0,0]'::public.{VECTOR}"
        ));
        assert_eq!(expected.len(), 3);
        let expected: Vec<_> = expected.into_iter().map(|id| (id, None)).collect();
        assert_rendering(&database, &table, &expected);
    }
}

#[test]
fn payloads_of_every_type() {
    let database = stand().database();
    let mut session = database.session();
    session.run(
        &format!("CREATE TABLE docs (id int PRIMARY KEY, at timestamptz, plain timestamp, day date, span interval, bytes bytea, f4 real, f8 float8, \
             amount numeric, kind regclass, flag boolean, name text, list float8[], moments timestamptz[], doc jsonb, embedding {VECTOR}(3))"),
    );
    session.run(
        r#"INSERT INTO docs VALUES
           (1, '2024-02-03 04:05:06.789+05:45', '2024-02-03 04:05', '2024-02-03', '1 year 2 mons -3 days', '\x00ff', 0.1, 0.30000000000000004,
            0.10, 'docs', true, 'a "b" \ ü', '{0.1,1e300}', '{2024-01-01 00:00+00}', '{"b": [1, 2.50], "a": null}', '[0,0,1]'),
           (2, 'infinity', '-infinity', 'infinity', '-1 hour', '', 'NaN', '-Infinity', 'NaN', 'pg_class', NULL, '', '{}', '{}', '[]', '[0,0,2]'),
           (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[0,0,3]')"#,
    );
    // A regclass is shown by the name of another object: not with freshness 'exact'.
    session.run(
        "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{*}', freshness => 'ttl')",
    );
    let mut fixed = database.session();
    fixed.run(FIXED);
    let expected = fixed.column("SELECT (to_jsonb(d) - 'embedding')::text FROM public.docs d ORDER BY id");
    let expected: Vec<_> = (1..).zip(expected).map(|(id, payload)| (id.to_string(), Some(payload))).collect();
    assert!(expected[0].1.as_ref().is_some_and(|payload| payload.contains("public.docs")));
    assert_rendering(&database, "docs", &expected);
}

#[test]
fn the_session_keeps_its_settings() {
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id timestamptz PRIMARY KEY, embedding {VECTOR}(3)); INSERT INTO docs VALUES (now(), '[1,2,3]')"));
    let ef_search = session.engine().ef_search();
    session.run(&format!("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', search_settings => '{{\"{ef_search}\": 99}}')"));
    session.run(ODD[0]);
    session.run(&format!("SET {ef_search} = 41"));
    let names =
        ["TimeZone", "DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits", "search_path", ef_search];
    let shown = |session: &mut Session| names.map(|name| session.value(&format!("SHOW {name}")));
    let before = shown(&mut session);
    for rest in ["", "", ", ttl => '0'"] {
        session.search_by(&format!("'docs', '[1,2,3]', 3{rest}"));
        assert_eq!(shown(&mut session), before);
    }
    session.fails("SELECT * FROM vcache_search('docs', '[1,2]', 3)");
    assert_eq!(shown(&mut session), before);
    // A session whose settings are local to a transaction keeps them as such.
    session.run("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'");
    session.search_by("'docs', '[3,2,1]', 3");
    assert_eq!(session.value("SHOW TimeZone"), "Asia/Tokyo");
    session.run("COMMIT");
    assert_eq!(shown(&mut session), before);
}

#[test]
fn the_rows_of_one_statement_read_as_the_session_would_have_them() {
    // Only vcache's own rendering is fixed: columns of the same statement are the session's.
    let database = stand().database();
    let mut session = database.session();
    session.run(&format!("CREATE TABLE docs (id timestamptz PRIMARY KEY, embedding {VECTOR}(3)); INSERT INTO docs VALUES ('2024-01-01 00:00+00', '[1,2,3]')"));
    session.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')");
    session.run("SET TimeZone = 'Asia/Tokyo'");
    for _ in 0..2 {
        let found = session.rows("SELECT s.id, d.id::text FROM vcache_search('docs', '[1,2,3]', 3) s JOIN docs d ON d.id = s.id::timestamptz");
        assert_eq!(found, [[Some("2024-01-01 00:00:00+00".to_owned()), Some("2024-01-01 09:00:00+09".to_owned())]]);
        assert_eq!(ids(&session.search("docs", "[1,2,3]", 1)), ["2024-01-01 00:00:00+00"]);
    }
}

#[test]
fn a_payload_that_is_no_jsonb_is_an_error_and_is_not_kept() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, raw json, embedding {vector}(3)); \
         INSERT INTO docs VALUES (1, '{{\"a\": 1e999999}}', '[1,2,3]'); \
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{{raw}}')"
    ));
    for _ in 0..2 {
        session.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("22P05", &["jsonb"]);
    }
    assert!(stand.redis.keys().is_empty());
    let stats = database.stats("docs");
    assert_eq!((stats.lookups, stats.stores, stats.redis_errors), (0, 0, 0));
}

/// A locale that writes money unlike the C locale.
const LOCALE: &str = r#"LC_MONETARY
int_curr_symbol "CHF "
currency_symbol "Fr"
mon_decimal_point ","
mon_thousands_sep "."
mon_grouping 3
positive_sign ""
negative_sign "-"
int_frac_digits 2
frac_digits 2
p_cs_precedes 1
p_sep_by_space 1
n_cs_precedes 1
n_sep_by_space 1
p_sign_posn 1
n_sign_posn 1
END LC_MONETARY
"#;

#[test]
fn money_reads_the_same_in_every_locale() {
    let locales = harness::Directory::new("locales");
    let definition = locales.path().join("definition");
    std::fs::write(&definition, LOCALE).expect("the locale's definition");
    let mut localedef = std::process::Command::new("localedef");
    localedef.args(["--force", "--quiet", "--charmap=ANSI_X3.4-1968", "--inputfile"]).arg(&definition);
    // Its warnings that the other categories are missing make it fail; what counts is whether the server takes the locale.
    localedef.arg(locales.path().join("odd")).output().expect("localedef");
    let locales = locales.path().display().to_string();
    let stand = Stand::start_with(|setup| setup.environment("LOCPATH", &locales));
    let database = stand.database();
    let mut session = database.session();
    session.run(&format!(
        "CREATE TABLE docs (id money PRIMARY KEY, price money, embedding {VECTOR}(3));
         INSERT INTO docs VALUES ('1234.56', '-0.5', '[0,0,1]');
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{{price}}')"
    ));
    for (setting, vector) in [("odd", "[0,0,1]"), ("C", "[0,0,1]"), ("C", "[0,0,2]"), ("odd", "[0,0,2]")] {
        session.run(&format!("SET lc_monetary = '{setting}'"));
        let own = session.value("SELECT price FROM docs");
        assert_eq!(own == "-$0.50", setting == "C", "{own}");
        for rest in ["", ", ttl => '0'"] {
            let row = &session.search_by(&format!("'docs', '{vector}', 3{rest}"))[0];
            assert_eq!(
                (row.id.as_str(), row.payload.as_deref()),
                ("$1,234.56", Some(r#"{"price": "-$0.50"}"#)),
                "{setting}"
            );
        }
        assert_eq!(session.value("SHOW lc_monetary"), setting);
    }
}

#[test]
fn a_value_that_is_not_utf8_is_an_error_and_not_another_value() {
    // A server of its own: the name of the database is.
    let stand = Stand::start();
    let mut admin = stand.server.connect("postgres", "postgres");
    admin.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let mut session = stand.server.connect("postgres", "latin");
    session.run(&format!(
        "CREATE EXTENSION {VECTOR}; CREATE EXTENSION vcache;
         CREATE TABLE docs (id text PRIMARY KEY, title text, embedding {VECTOR}(3));
         INSERT INTO docs VALUES ('e', 'e', '[0,0,1]'), ('é', 'e', '[0,0,2]'), ('è', 'é', '[0,0,3]');
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2');
         SELECT vcache_create_namespace('titles', 'docs', 'embedding', metric => 'l2', id_column => 'title');
         SELECT vcache_create_namespace('payload', 'docs', 'embedding', metric => 'l2', id_column => 'title', payload_columns => '{{id}}')"
    ));
    for namespace in ["docs", "titles", "payload"] {
        for rest in ["", ", ttl => '0'"] {
            let failure = session.fails(&format!("SELECT * FROM vcache_search('{namespace}', '[0,0,0]', 3{rest})"));
            failure.assert("0A000", &["UTF8"]);
            assert!(failure.hint.contains("ENCODING 'UTF8'"), "{failure:?}");
        }
    }
    session.run("DELETE FROM docs WHERE id <> 'e'");
    for _ in 0..2 {
        assert_eq!(ids(&session.search("docs", "[0,0,0]", 3)), ["e"]);
    }
}
