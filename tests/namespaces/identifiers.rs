//! Names that look like something else, and objects in the way of those that are meant.

use harness::{Source, VECTOR};

use crate::stand;

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[test]
fn any_identifier_is_only_a_name() {
    let database = stand().database();
    let mut session = database.session();
    let longest = "n".repeat(63);
    let names = [
        "Upper Case",
        "select",
        "a\"b",
        "a'b",
        "a\\b",
        "$1",
        "%I %s",
        "x; DROP TABLE victim; --",
        "ünï 🦀",
        "a.b",
        "a--b",
        "a/*b",
        "$$a$$",
        "$f$",
        "E'\\'; --",
        "U&\"\\0061\"",
        "\u{2018}a\u{2019} \u{ff07}b",
        "a\u{202e}b\u{200b}",
        "a\r\nb\tc",
        "a\nb",
        &longest,
    ];
    session.run("CREATE TABLE victim (n int)");
    for name in names {
        let beginning: String = name.chars().take(30).collect();
        let [id, payload, tenant] = ["id", "payload", "tenant"].map(|column| format!("{beginning} {column}"));
        let table = format!("{0}.{0}", identifier(name));
        session.run(&format!(
            "CREATE SCHEMA {}; CREATE TABLE {table} ({} {VECTOR}(3), {} text PRIMARY KEY, {} int, {} text)",
            identifier(name),
            identifier(name),
            identifier(&id),
            identifier(&payload),
            identifier(&tenant),
        ));
        session.run(&format!(
            "INSERT INTO {table} VALUES ('[1,2,3]', 'one', 1, {}), ('[3,2,1]', 'two', 2, NULL)",
            text(name)
        ));
        session.run(&format!(
            "SELECT vcache_create_namespace({}, {}, {}, id_column => {}, metric => 'l2', payload_columns => ARRAY[{}]::name[], namespace_column => {})",
            text(name),
            text(&table),
            text(name),
            text(&id),
            text(&payload),
            text(&tenant),
        ));
        for _ in 0..2 {
            let rows = session.search(name, "[1,2,3]", 5);
            assert_eq!((rows.len(), rows[0].id.as_str()), (1, "one"), "{name}");
            assert!(rows[0].payload.as_ref().is_some_and(|payload| payload.ends_with(" payload\": 1}")), "{rows:?}");
        }
        assert_eq!(database.stats(name).outcomes(), (1, 1, 0), "{name}");
    }
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), names.len() as i64);
    assert_eq!(session.number("SELECT count(*) FROM victim"), 0);
}

/// What somebody might hope to be read as SQL.
const INJECTIONS: [&str; 10] = [
    "'; DROP TABLE victim; --",
    "\"; DROP TABLE victim; --",
    "') FROM docs; DROP TABLE victim; --",
    "\\'; DROP TABLE victim; --",
    "$1; DROP TABLE victim",
    "$$; DROP TABLE victim; $$",
    "*/ DROP TABLE victim; /*",
    "a\n; DROP TABLE victim",
    "\u{2019}; DROP TABLE victim; --",
    "%s%n%I",
];

#[test]
fn any_value_is_only_a_value() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 20, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    session.run(&format!(
        "CREATE TABLE victim (n int);
         CREATE TABLE notes (id text PRIMARY KEY, tenant text, body text, embedding {VECTOR}(3));
         SELECT vcache_create_namespace('notes/*', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant', payload_columns => '{{body}}')"
    ));
    for value in INJECTIONS {
        let quoted = text(value);
        let json = serde_json::to_string(value).expect("JSON");
        let option = |option: &str| format!("SELECT vcache_alter_namespace('docs', {})", text(option));
        let create = |rest: &str| format!("SELECT vcache_create_namespace('new', 'docs', 'embedding', {rest})");
        let (unknown, invalid): (&[&str], _) = (&[value], "22023");
        session.refuses([
            (format!("SELECT * FROM vcache_search({quoted}, '[1,2,3]')"), "42704", unknown),
            (format!("SELECT * FROM vcache_explain({quoted}, '[1,2,3]')"), "42704", unknown),
            (format!("SELECT vcache_invalidate({quoted})"), "42704", unknown),
            (format!("SELECT vcache_drop_namespace({quoted})"), "42704", unknown),
            (format!("SELECT vcache_alter_namespace({quoted}, '{{}}')"), "42704", unknown),
            (format!("SELECT * FROM vcache_search('docs', {quoted})"), "22P02", &[]),
            (create(&format!("metric => {quoted}")), invalid, unknown),
            (create(&format!("metric => 'l2', id_column => {quoted}")), "42703", unknown),
            (create(&format!("metric => 'l2', payload_columns => array[{quoted}]::name[]")), "42703", unknown),
            (create(&format!("metric => 'l2', namespace_column => {quoted}")), "42703", unknown),
            (create(&format!("metric => 'l2', freshness => {quoted}")), invalid, unknown),
            (option(&format!("{{{json}: 1}}")), invalid, unknown),
            (option(&format!("{{\"metric\": {json}}}")), invalid, unknown),
            (option(&format!("{{\"id_column\": {json}}}")), "42703", unknown),
            (option(&format!("{{\"payload_columns\": [{json}]}}")), "42703", unknown),
            (option(&format!("{{\"search_settings\": {{{json}: 1}}}}")), invalid, unknown),
        ]);
        // An interval's own error.
        session.fails(&option(&format!("{{\"ttl\": {json}}}"))).assert("22", &[]);
        // RuVector knows no such setting, and PostgreSQL takes any text for it.
        let taken = session.try_rows(&option(&format!("{{\"search_settings\": {{\"hnsw.ef_search\": {json}}}}}")));
        assert!(taken.is_ok() || taken.is_err_and(|failure| failure.sqlstate == "22023"), "{value}");
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        session.run(&option("{\"search_settings\": null}"));
        session.run(&format!("SELECT vcache_stats_reset({quoted})"));

        // As an id, a payload and the value of a tenant it comes back as it is.
        session.run(&format!("INSERT INTO notes VALUES ({quoted}, {quoted}, {quoted}, '[1,2,3]')"));
        for _ in 0..2 {
            let rows = session.search(&format!("notes/{value}"), "[1,2,3]", 5);
            assert_eq!((rows.len(), rows[0].id.as_str()), (1, value));
            assert!(rows[0].payload.as_ref().is_some_and(|payload| payload.contains(&json)), "{rows:?}");
        }
        let shown = session.number(&format!("SELECT lookups FROM vcache_stats WHERE namespace = 'notes/' || {quoted}"));
        assert_eq!(shown, 2);
    }
    assert_eq!(session.number("SELECT count(*) FROM victim"), 0);
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 2);
}

#[test]
fn objects_ahead_in_the_search_path_are_not_called() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    session.run(
        &format!("CREATE SCHEMA evil;
         CREATE FUNCTION evil.distance({VECTOR}, {VECTOR}) RETURNS real LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil operator'; END $$;
         CREATE OPERATOR evil.<-> (LEFTARG = {VECTOR}, RIGHTARG = {VECTOR}, FUNCTION = evil.distance);
         CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil function'; END $$;
         CREATE FUNCTION evil.jsonb_build_object(VARIADIC \"any\") RETURNS jsonb LANGUAGE internal AS 'jsonb_build_object';
         CREATE FUNCTION evil.text(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil cast'; END $$;
         CREATE DOMAIN evil.{VECTOR} AS text CHECK (false);
         CREATE DOMAIN evil.text AS int;
         CREATE DOMAIN evil.float8 AS int CHECK (false);
         CREATE TABLE evil.docs (id int); CREATE TABLE evil.vcache_namespaces (n int)"),
    );
    let plain = source.plain(&mut session, "[1,2,3]", 10);
    session.run("CREATE TEMP TABLE docs (id int); SET search_path = evil, pg_temp, public, pg_catalog");
    for rest in ["", "", ", ttl => '0'"] {
        let found = session
            .answer(&format!("SELECT * FROM public.vcache_search('docs', '[1,2,3]'::pg_catalog.text, 10{rest})"));
        harness::assert_same(&found, &plain, 10);
    }
    session.run(r#"SELECT public.vcache_alter_namespace('docs', '{"ttl": "1 hour", "payload_columns": ["n"]}')"#);
    session.run("SELECT public.vcache_create_namespace('again', 'public.docs', 'embedding', metric => '<->')");
    let found = session.answer("SELECT * FROM public.vcache_search('again', '[1,2,3]'::pg_catalog.text, 10)");
    harness::assert_same(&found, &plain, 10);
    session.rows("SELECT * FROM public.vcache_stats");
    session.rows("SELECT * FROM public.vcache_namespaces");
    session.run("SELECT public.vcache_drop_namespace('again')");
}
