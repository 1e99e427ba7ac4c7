//! Who owns the source owns the namespace.

use harness::{Source, VECTOR};

use crate::stand;

const CREATE: &str = "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')";
const ALTER: &str = r#"SELECT vcache_alter_namespace('docs', '{"ttl": "1 hour"}')"#;
const DROP: &str = "SELECT vcache_drop_namespace('docs')";

#[test]
fn only_the_owner_of_the_source_may_create_alter_and_drop() {
    let database = stand().database();
    let (owner, other) = (database.role("owner", ""), database.role("other", ""));
    let mut superuser = database.session();
    superuser.run(&format!("GRANT CREATE ON SCHEMA public TO {owner}"));
    let mut owners = database.session_as(&owner);
    let source = Source::docs(&mut owners, 30, 3);
    owners.run(&format!("GRANT ALL ON docs TO {other}"));

    let mut others = database.session_as(&other);
    others.fails(CREATE).assert("42501", &["docs"]);
    assert_eq!(superuser.number("SELECT count(*) FROM vcache_namespaces"), 0);
    owners.run(CREATE);
    others.fails(ALTER).assert("42501", &["docs"]);
    others.fails(DROP).assert("42501", &["docs"]);
    others.fails("SELECT vcache_drop_namespace('docs', if_exists => true)").assert("42501", &["docs"]);
    // Who may read may search.
    source.assert_search(&mut others, "docs", "[1,2,3]", 5);
    owners.run(ALTER);
    owners.run(DROP);

    // The superuser, and a member of the owner's role.
    superuser.run(CREATE);
    superuser.run(&format!("GRANT {owner} TO {other}"));
    others.run(ALTER);
    others.run(DROP);
    superuser.run(&format!("REVOKE {owner} FROM {other}"));

    // With the table goes the namespace.
    owners.run(CREATE);
    superuser.run(&format!("ALTER TABLE docs OWNER TO {other}"));
    owners.fails(ALTER).assert("42501", &[]);
    others.run(ALTER);
    others.run(DROP);
}

#[test]
fn names_that_a_pattern_covers_are_for_its_owner() {
    let database = stand().database();
    let (owner, other) = (database.role("owner", ""), database.role("other", ""));
    let mut superuser = database.session();
    superuser.run(&format!("GRANT CREATE ON SCHEMA public TO {owner}, {other}"));
    let create = |namespace: &str, table: &str| {
        format!(
            "SELECT vcache_create_namespace('{namespace}', '{table}', 'embedding', metric => 'l2', namespace_column => 'tenant', payload_columns => '{{tenant}}')"
        )
    };
    let notes = |table: &str| {
        format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, tenant text, embedding {VECTOR}(3));
             INSERT INTO {table} VALUES (1, 'acme', '[1,0,0]'), (2, 'eu/acme', '[1,0,0]'); GRANT SELECT ON {table} TO PUBLIC"
        )
    };
    let (mut owners, mut others) = (database.session_as(&owner), database.session_as(&other));
    owners.run(&notes("notes"));
    others.run(&notes("theirs"));
    owners.run(&create("notes/*", "notes"));
    // What it took would be searched by all who search the pattern, with the other's functions behind its columns.
    for namespace in ["notes/acme", "notes/eu/*", "notes/"] {
        others.fails(&create(namespace, "theirs")).assert("42501", &["notes"]);
    }
    assert_eq!(superuser.number("SELECT count(*) FROM vcache_namespaces"), 1);
    // What it does not cover is free, and so is all of it for its owner.
    for namespace in ["note", "notes", "n*"] {
        others.run(&create(namespace, "theirs"));
    }
    for namespace in ["notes/acme", "notes/eu/*"] {
        owners.run(&create(namespace, "notes"));
    }
    others.fails(&create("notes/eu/acme", "theirs")).assert("42501", &["notes"]);
    assert_eq!(others.search("notes/eu/acme", "[1,0,0]", 5).len(), 1);
}

#[test]
fn the_registry_is_written_through_its_functions_alone() {
    let database = stand().database();
    let role = database.role("role", "");
    let mut superuser = database.session();
    let tables = superuser.column(
        "SELECT c.oid::regclass::text FROM pg_depend d JOIN pg_class c ON c.oid = d.objid \
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND c.relkind IN ('r', 'v', 'S') \
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache') ORDER BY 1",
    );
    assert!(
        tables.contains(&"vcache_namespaces".to_owned()) && tables.contains(&"vcache_stats".to_owned()),
        "{tables:?}"
    );
    for table in tables {
        for privilege in ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"] {
            let may = superuser.value(&format!("SELECT has_table_privilege('{role}', '{table}', '{privilege}')"));
            assert_eq!(may, "f", "{privilege} on {table}");
        }
    }
    // The key's secret is nobody's to read.
    let secrets = superuser.rows(&format!(
        "SELECT attrelid::regclass FROM pg_attribute a JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = attrelid \
         AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache') \
         WHERE attname ~ 'secret|key$|identity' AND has_column_privilege('{role}', attrelid, attnum, 'SELECT')"
    ));
    assert!(secrets.is_empty(), "{secrets:?}");
}
