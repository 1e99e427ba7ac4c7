//! vcache_alter_namespace, and the settings of a namespace's searches.

use harness::{Engine, Session, Source, until};

use crate::stand;

fn shown(session: &mut Session, column: &str) -> Option<String> {
    session.rows(&format!("SELECT {column} FROM vcache_namespaces WHERE namespace = 'docs'"))[0][0].clone()
}

#[test]
fn an_option_that_is_present_is_set_and_a_null_resets_it() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    let settings = format!(r#"{{"{}": "150"}}"#, session.engine().ef_search());
    for (option, value, expected) in [
        ("ttl", r#""1 hour""#, "01:00:00"),
        ("fetch_k", "50", "50"),
        ("payload_columns", r#"["title", "n"]"#, "{title,n}"),
        ("search_settings", &settings, &settings),
        ("rls_settings", r#"["App.Tenant", "app.claims"]"#, "{app.tenant,app.claims}"),
    ] {
        assert_eq!(shown(&mut session, option), None, "{option}");
        session.run(&format!("SELECT vcache_alter_namespace('docs', '{{\"{option}\": {value}}}')"));
        assert_eq!(shown(&mut session, option).as_deref(), Some(expected), "{option}");
        // Another option leaves it as it is.
        session.run("SELECT vcache_alter_namespace('docs', '{}')");
        assert_eq!(shown(&mut session, option).as_deref(), Some(expected), "{option}");
        source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        session.run(&format!("SELECT vcache_alter_namespace('docs', '{{\"{option}\": null}}')"));
        assert_eq!(shown(&mut session, option), None, "{option}");
    }
    session.run(r#"SELECT vcache_alter_namespace('docs', '{"ttl": "1 day", "fetch_k": 100}')"#);
    assert_eq!(
        (shown(&mut session, "ttl").as_deref(), shown(&mut session, "fetch_k").as_deref()),
        (Some("1 day"), Some("100"))
    );
}

#[test]
fn what_is_no_option_is_refused_and_changes_nothing() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "ttl => '1 hour'");
    for (options, sqlstate) in [
        (r#"'{"ttl": "2 hours", "colour": "red"}'"#, "22"),
        (r#"'{"ttl": "2 hours", "fetch_k": 0}'"#, "22"),
        (r#"'{"ttl": "2 hours", "fetch_k": "many"}'"#, "22"),
        (r#"'{"ttl": "soon"}'"#, "22"),
        (r#"'{"ttl": "-1 hour"}'"#, "22"),
        (r#"'{"ttl": "2 hours", "payload_columns": ["nothing"]}'"#, "42703"),
        (r#"'{"ttl": "2 hours", "freshness": "sometimes"}'"#, ""),
        (r#"'{"ttl": "2 hours", "search_settings": {"work_mem": "1GB"}}'"#, ""),
        ("'[]'", "22"),
        ("'\"ttl\"'", "22"),
        ("NULL", "22"),
    ] {
        let failure = session.fails(&format!("SELECT vcache_alter_namespace('docs', {options})"));
        assert!(failure.sqlstate.starts_with(sqlstate), "{options}: {failure:?}");
        assert_eq!(shown(&mut session, "ttl").as_deref(), Some("01:00:00"), "{options}");
    }
    session.fails(r#"SELECT vcache_alter_namespace('nowhere', '{"ttl": "1 hour"}')"#).assert("42704", &["nowhere"]);
}

#[test]
fn an_altered_namespace_meets_no_older_entry_and_every_session_sees_it_at_once() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    let mut other = database.session();
    assert_eq!(other.search("docs", "[1,2,3]", 1)[0].payload, None);
    session.run(r#"SELECT vcache_alter_namespace('docs', '{"payload_columns": ["id", "n"]}')"#);
    for session in [&mut other, &mut session] {
        let row = &session.search("docs", "[1,2,3]", 1)[0];
        let n = row.id.parse::<i64>().expect("number") % 7;
        assert_eq!(row.payload.as_deref(), Some(format!("{{\"n\": {n}, \"id\": {}}}", row.id).as_str()));
    }
    session.run(r#"SELECT vcache_alter_namespace('docs', '{"payload_columns": null}')"#);
    assert_eq!(other.search("docs", "[1,2,3]", 1)[0].payload, None);
}

#[test]
fn search_settings_hold_for_the_engines_query_alone() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 400, 64);
    source.index(&mut session);
    source.register(&mut session, "narrow", "");
    let ef_search = session.engine().ef_search();
    source.register(&mut session, "wide", &format!(r#"search_settings => '{{"{ef_search}": 400}}'"#));
    session.run("SET enable_seqscan = off");
    let query = source.query(1);
    // An index yields as many rows as it was told to search for; RuVector's at least 100.
    let least = match session.engine() {
        Engine::RuVector => 100,
        Engine::Pgvector => 40,
    };
    for _ in 0..2 {
        assert_eq!(session.search("narrow", &query, 300).len(), least);
        let wide = session.search("wide", &query, 300).len();
        assert!(wide > 200, "{wide} rows");
        assert_eq!(session.value(&format!("SHOW {ef_search}")), "40");
    }
    // They go before the session's own.
    session.run(&format!("SET {ef_search} = 120"));
    assert_eq!(session.search("narrow", &query, 300).len(), 120);
    assert!(session.search("wide", &query, 300).len() > 200);
    assert_eq!(session.value(&format!("SHOW {ef_search}")), "120");
}

#[test]
fn search_settings_are_the_engines_alone() {
    let database = stand().database();
    let mut session = database.session();
    Source::docs(&mut session, 5, 3);
    let refused = [
        r#"{"work_mem": "1GB"}"#,
        r#"{"search_path": "elsewhere"}"#,
        r#"{"role": "postgres"}"#,
        r#"{"session_authorization": "postgres"}"#,
        r#"{"row_security": "off"}"#,
        r#"{"vcache.enabled": "off"}"#,
        r#"{"pg_stat_statements.track": "none"}"#,
        r#"{"ruvector": "1"}"#,
        r#"{"ruvector.": "1"}"#,
        r#"{"ruvectorx.y": "1"}"#,
        r#"{"vector.ef_search": "1"}"#,
        r#"{"hnsw": "1"}"#,
        r#"{"ruvector.hnsw_ef_search": 200, "session_replication_role": "replica"}"#,
        r#"{"ruvector.hnsw_ef_search": [200]}"#,
        r#"{"ruvector.hnsw_ef_search": null}"#,
        "[]",
        "200",
        r#""ruvector.hnsw_ef_search""#,
    ];
    let create = |settings: &str| {
        format!(
            "SELECT vcache_create_namespace('n', 'docs', 'embedding', metric => 'l2', search_settings => '{settings}')"
        )
    };
    session.refuses(refused.iter().map(|settings| (create(settings), "", [].as_slice())));
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 0);
}

#[test]
fn a_change_that_waited_for_another_loses_nothing_of_it() {
    let database = stand().database();
    let mut first = database.session();
    let source = Source::docs(&mut first, 30, 3);
    source.register(&mut first, "docs", "");
    let mut second = database.session();
    let pid = second.pid();
    first.run("BEGIN");
    first.run(r#"SELECT vcache_alter_namespace('docs', '{"ttl": "1 hour"}')"#);
    std::thread::scope(|scope| {
        let altered = scope.spawn(|| second.run(r#"SELECT vcache_alter_namespace('docs', '{"fetch_k": 50}')"#));
        until("the second waits", || {
            first.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
        });
        first.run("COMMIT");
        altered.join().expect("thread");
    });
    let options = "SELECT ttl, fetch_k, payload_columns FROM vcache_namespaces";
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(first.rows(options), [[some("01:00:00"), some("50"), None]]);
    // In one statement, and under REPEATABLE READ.
    first.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    first.run(
        r#"SELECT vcache_alter_namespace('docs', '{"ttl": "2 hours"}'), vcache_alter_namespace('docs', '{"payload_columns": ["title"]}')"#,
    );
    first.run("COMMIT");
    assert_eq!(first.rows(options), [[some("02:00:00"), some("50"), some("{title}")]]);
}

#[test]
fn a_name_is_taken_once_in_one_statement_too() {
    let database = stand().database();
    let mut session = database.session();
    Source::docs(&mut session, 30, 3);
    let create = "vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')";
    session.fails(&format!("SELECT {create}, {create}")).assert("42710", &["docs"]);
    session.run(&format!("SELECT {create}, {}", create.replace("'l2'", "'l2', if_not_exists => true")));
}

#[test]
fn search_settings_that_are_no_object_are_refused() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    for settings in ["[1]", "1", "null", r#""hnsw.ef_search""#] {
        let create = format!(
            "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', search_settings => '{settings}')"
        );
        session.fails(&create).assert("22023", &["search_settings", "object"]);
    }
    source.register(&mut session, "docs", "");
}
