//! Namespaces that are the rows of one value of a column, by exact name and by pattern.

use harness::{Database, Engine, Session, Source, VECTOR, assert_same, ids};

use crate::stand;

/// A table of 120 rows of several tenants, and rows of none.
fn notes(session: &mut Session, kind: &str, tenants: &[&str]) -> Source {
    let mut source = Source::create(session, "origin", 120, 64);
    session.run(&format!("CREATE TABLE notes (id int PRIMARY KEY, tenant {kind}, embedding {VECTOR}(64))"));
    let list: Vec<String> = tenants.iter().map(|tenant| format!("'{}'", tenant.replace('\'', "''"))).collect();
    session.run(&format!(
        "INSERT INTO notes SELECT id, (ARRAY[{}, NULL]::{kind}[])[id % {} + 1], embedding FROM origin",
        list.join(", "),
        tenants.len() + 1
    ));
    source.table = "notes".to_owned();
    source
}

fn register(session: &mut Session, namespace: &str) {
    session.run(&format!("SELECT vcache_create_namespace('{namespace}', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant')"));
}

/// Searches twice and asserts the rows of one tenant.
fn assert_tenant(session: &mut Session, source: &Source, namespace: &str, condition: &str) {
    for _ in 0..2 {
        let query = source.query(1);
        let found = session.search(namespace, &query, 10);
        assert!(!found.is_empty(), "{namespace}");
        assert_same(&found, &source.plain_where(session, &query, 10, condition), 10);
    }
}

fn outcomes(database: &Database, namespace: &str) -> (i64, i64, i64) {
    database.stats(namespace).outcomes()
}

#[test]
fn an_exact_name_is_the_rows_that_hold_it() {
    let database = stand().database();
    let mut session = database.session();
    let source = notes(&mut session, "text", &["acme", "globex", "O'Neil \"& co\""]);
    register(&mut session, "acme");
    register(&mut session, "O''Neil \"& co\"");
    assert_tenant(&mut session, &source, "acme", "tenant = 'acme'");
    assert_tenant(&mut session, &source, "O'Neil \"& co\"", "tenant = 'O''Neil \"& co\"'");
    assert_eq!(outcomes(&database, "acme"), (1, 1, 0));
    // Registered or not: only what is registered is searched.
    session.fails("SELECT * FROM vcache_search('globex', '[1]')").assert("42704", &["globex"]);
}

#[test]
fn a_pattern_is_all_names_that_begin_so() {
    let database = stand().database();
    let mut session = database.session();
    let tenants = ["acme", "acme/eu", "100%", "_", "*", "ü", "a\\b", "' OR true --"];
    let source = notes(&mut session, "text", &tenants);
    register(&mut session, "docs/*");
    for tenant in tenants {
        let literal = tenant.replace('\'', "''");
        assert_tenant(&mut session, &source, &format!("docs/{tenant}"), &format!("tenant = '{literal}'"));
        // Counted under the name that was called.
        assert_eq!(outcomes(&database, &format!("docs/{tenant}")), (1, 1, 0), "{tenant}");
    }
    for _ in 0..2 {
        assert!(session.search("docs/nobody", &source.query(1), 10).is_empty());
        assert!(session.search("docs/", &source.query(1), 10).is_empty());
    }
    for other in ["docs", "doc/acme", "Docs/acme", "acme"] {
        session.fails(&format!("SELECT * FROM vcache_search('{other}', '{}')", source.query(1))).assert("42704", &[]);
    }
}

#[test]
fn the_exact_name_wins_and_then_the_longest_pattern() {
    let database = stand().database();
    let mut session = database.session();
    let source = notes(&mut session, "text", &["acme", "a/acme", "a/b/acme", "a/b/c"]);
    register(&mut session, "*");
    assert_tenant(&mut session, &source, "a/b/acme", "tenant = 'a/b/acme'");
    assert_tenant(&mut session, &source, "acme", "tenant = 'acme'");
    register(&mut session, "a/*");
    assert_tenant(&mut session, &source, "acme", "tenant = 'acme'");
    assert_tenant(&mut session, &source, "a/acme", "tenant = 'acme'");
    assert!(session.search("a/b/acme", &source.query(1), 10).is_empty());
    register(&mut session, "a/b/*");
    assert_tenant(&mut session, &source, "a/b/acme", "tenant = 'acme'");
    register(&mut session, "a/b/c");
    assert_tenant(&mut session, &source, "a/b/c", "tenant = 'a/b/c'");
    // An exact one without a column is the whole table.
    session.run("SELECT vcache_create_namespace('a/b/acme', 'notes', 'embedding', metric => 'l2')");
    assert_tenant(&mut session, &source, "a/b/acme", "true");
    for gone in ["a/b/acme", "a/b/*"] {
        session.run(&format!("SELECT vcache_drop_namespace('{gone}')"));
    }
    assert!(session.search("a/b/acme", &source.query(1), 10).is_empty());
    session.run("SELECT vcache_drop_namespace('a/*')");
    assert_tenant(&mut session, &source, "a/b/acme", "tenant = 'a/b/acme'");
}

#[test]
fn the_rest_of_the_name_is_cast_to_the_columns_type() {
    let database = stand().database();
    let mut session = database.session();
    let source = notes(&mut session, "int", &["7", "-42"]);
    register(&mut session, "n/*");
    register(&mut session, "7");
    assert_tenant(&mut session, &source, "n/7", "tenant = 7");
    assert_tenant(&mut session, &source, "n/-42", "tenant = -42");
    assert_tenant(&mut session, &source, "7", "tenant = 7");
    for bad in ["n/seven", "n/", "n/7 OR true", "n/99999999999"] {
        let failure = session.fails(&format!("SELECT * FROM vcache_search('{bad}', '{}')", source.query(1)));
        failure.assert("22", &[]);
        // A mistyped name may be one that a pattern catches.
        let expected = format!(
            "Namespace \"{bad}\", by pattern \"n/*\", is the rows of a value of column \"tenant\", of type integer."
        );
        assert_eq!(failure.hint, expected);
    }
    // Of an exact name it is known when it is registered.
    let sql =
        "SELECT vcache_create_namespace('seven', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant')";
    let failure = session.fails(sql);
    failure.assert("22P02", &["integer", "seven"]);
    assert_eq!(failure.hint, "Namespace \"seven\" is the rows of a value of column \"tenant\", of type integer.");
    session.run("SELECT vcache_create_namespace('seven', 'notes', 'embedding', metric => 'l2')");
    session
        .fails("SELECT vcache_alter_namespace('seven', '{\"namespace_column\": \"tenant\"}')")
        .assert("22P02", &["seven"]);
    session.run("DROP TABLE notes, origin");

    let database = stand().database();
    let mut session = database.session();
    let source =
        notes(&mut session, "uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]);
    register(&mut session, "u:*");
    for name in [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
    ] {
        assert_tenant(&mut session, &source, &format!("u:{name}"), "tenant = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'");
    }
}

#[test]
fn tenants_never_meet_each_others_entries() {
    let database = stand().database();
    let mut session = database.session();
    let source = notes(&mut session, "text", &["a", "b"]);
    register(&mut session, "t/*");
    let query = source.query(5);
    let a = session.search("t/a", &query, 20);
    let b = session.search("t/b", &query, 20);
    assert!(ids(&a).iter().all(|id| !ids(&b).contains(id)));
    assert_eq!((session.search("t/a", &query, 20), session.search("t/b", &query, 20)), (a, b));
    assert_eq!((outcomes(&database, "t/a"), outcomes(&database, "t/b")), ((1, 1, 0), (1, 1, 0)));
}

#[test]
fn a_name_that_means_another_value_in_another_session_is_another_entry() {
    for (kind, tenants, setting, name) in [
        ("date", ["2024-01-02", "2024-02-01"], [("DateStyle", "ISO, MDY"), ("DateStyle", "ISO, DMY")], "01/02/2024"),
        (
            "timestamptz",
            ["2024-01-01 12:00:00+00", "2024-01-01 12:00:00+09"],
            [("TimeZone", "UTC"), ("TimeZone", "Asia/Tokyo")],
            "2024-01-01 12:00",
        ),
    ] {
        let database = stand().database();
        let source = notes(&mut database.session(), kind, &tenants);
        register(&mut database.session(), "at/*");
        for (tenant, (setting, value)) in tenants.iter().zip(setting) {
            let mut session = database.session();
            session.run(&format!("SET {setting} = '{value}'"));
            assert_tenant(&mut session, &source, &format!("at/{name}"), &format!("tenant = '{tenant}'"));
        }
        assert_eq!(outcomes(&database, &format!("at/{name}")), (2, 2, 0), "{kind}");
    }
}

#[test]
fn who_registers_tenants_over_one_index_of_ruvectors_is_told_what_comes_of_it() {
    let database = stand().database();
    let mut session = database.session();
    let tenants: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let source = notes(&mut session, "text", &tenants.iter().map(String::as_str).collect::<Vec<_>>());
    let class = source.metric.operator_class(session.engine());
    let told = |session: &mut Session, namespace: &str| {
        register(session, namespace);
        let notices = session.notices();
        assert!(notices.iter().all(|notice| notice.severity == "NOTICE"), "{notices:?}");
        !notices.is_empty()
    };
    assert!(!told(&mut session, "none/*"));
    source.index(&mut session);
    assert_eq!(told(&mut session, "shared/*"), session.engine() == Engine::RuVector);
    session.run("SELECT vcache_create_namespace('all', 'notes', 'embedding')");
    assert_eq!(session.notices(), []);

    // What the notice says to do instead: an index for each tenant, or a partition.
    session.run("DROP INDEX notes_embedding_idx");
    for tenant in &tenants {
        session.run(&format!("CREATE INDEX ON notes USING hnsw (embedding {class}) WHERE tenant = '{tenant}'"));
    }
    session.run(&format!(
        "CREATE TABLE parts (id int, tenant text, embedding {VECTOR}(64)) PARTITION BY LIST (tenant);
         CREATE INDEX ON parts USING hnsw (embedding {class});
         DO $$ BEGIN FOR n IN 0..9 LOOP
             EXECUTE format('CREATE TABLE %I PARTITION OF parts FOR VALUES IN (%L)', 'part_' || n, 't' || n);
         END LOOP; END $$;
         INSERT INTO parts SELECT id, tenant, embedding FROM notes WHERE tenant IS NOT NULL"
    ));
    assert!(!told(&mut session, "each/*"));
    session.run(
        "SELECT vcache_create_namespace('parts/*', 'parts', 'embedding', 'id', 'l2', namespace_column => 'tenant')",
    );
    assert_eq!(session.notices(), []);
    session.run("SET enable_seqscan = off");
    for tenant in &tenants {
        for namespace in ["each", "parts"] {
            assert_eq!(session.search(&format!("{namespace}/{tenant}"), &source.query(1), 10).len(), 10, "{namespace}");
        }
    }
    // An index of a part of the rows is not the one that serves a namespace.
    assert_eq!(session.number("SELECT count(index) FROM vcache_namespaces WHERE namespace = 'each/*'"), 0);
    assert_eq!(session.number("SELECT count(index) FROM vcache_namespaces WHERE namespace = 'parts/*'"), 1);
}
