//! The extension comes and goes; databases and servers that share a Redis never meet.

use harness::{Redis, Source, Stand, VECTOR, ids};

use crate::stand;

#[test]
fn drop_extension_needs_no_cascade_and_a_new_one_meets_no_old_entry() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let mut other = database.session();
    let source = Source::docs(&mut session, 30, 3);
    source.register(&mut session, "docs", "");
    for round in 2..=3 {
        source.assert_search(&mut other, "docs", "[1,2,3]", 5);
        session.run(&format!("UPDATE docs SET embedding = embedding + '[1,1,1]'::{VECTOR}"));
        session.run("DROP EXTENSION vcache");
        other.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42883", &[]);
        session.run("CREATE EXTENSION vcache");
        assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 0);
        other.fails("SELECT * FROM vcache_search('docs', '[1,2,3]')").assert("42704", &["docs"]);
        source.register(&mut session, "docs", "");
        source.assert_search(&mut other, "docs", "[1,2,3]", 5);
        assert_eq!(stand.redis.keys().len(), round);
    }
    // A rolled back drop keeps all.
    session.run("BEGIN; DROP EXTENSION vcache; ROLLBACK");
    let misses = database.stats("docs").misses;
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert_eq!(database.stats("docs").misses, misses);
}

#[test]
fn a_column_that_somebody_has_added_to_the_registry_stays_empty() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    session.run("ALTER TABLE vcache_namespace ADD COLUMN x int, ADD COLUMN y text");
    source.register(&mut session, "docs", "");
    session.run("SELECT vcache_alter_namespace('docs', '{\"ttl\": \"1 hour\"}')");
    source.assert_search(&mut session, "docs", "[1,2,3]", 5);
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespace WHERE x IS NULL AND y IS NULL"), 1);
}

#[test]
fn databases_of_one_server_never_meet_in_redis() {
    let stand = Stand::start();
    let (one, two) = (stand.database(), stand.database());
    for (database, rows) in [(&one, 30), (&two, 40)] {
        let mut session = database.session();
        let source = Source::docs(&mut session, rows, 3);
        source.register(&mut session, "docs", "");
        for _ in 0..2 {
            source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        }
        assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
    }
    assert_eq!(stand.redis.keys().len(), 2);

    // A copy of a database has its secret, and is another database.
    let mut session = stand.server.connect("postgres", "postgres");
    session.run(&format!("CREATE DATABASE copy TEMPLATE {}", one.name()));
    let mut copy = stand.server.connect("postgres", "copy");
    copy.run("INSERT INTO docs VALUES (1000, '', 0, '[1,2,3]')");
    assert_eq!(copy.search("docs", "[1,2,3]", 1)[0].id, "1000");
    assert_ne!(one.session().search("docs", "[1,2,3]", 1)[0].id, "1000");
}

#[test]
fn servers_of_one_origin_never_meet_in_redis() {
    // Both servers are copies of one data directory: the same system identifier, the same OIDs, as restored base
    // backups have them.
    let redis = Redis::start();
    let (one, two) = (Stand::setup(&redis.url()).start(), Stand::setup(&redis.url()).start());
    for (server, rows) in [(&one, 30), (&two, 40)] {
        let database = server.database();
        let mut session = database.session();
        let source = Source::docs(&mut session, rows, 3);
        source.register(&mut session, "docs", "");
        for _ in 0..2 {
            source.assert_search(&mut session, "docs", "[1,2,3]", 5);
        }
        assert_eq!(database.stats("docs").outcomes(), (1, 1, 0));
    }
    assert_eq!(redis.keys().len(), 2);
}

#[test]
fn the_extension_lives_in_the_schema_it_was_created_in() {
    let database = stand().server.database_without_vcache();
    let mut session = database.session();
    session.run("CREATE SCHEMA \"The Cache\"; CREATE EXTENSION vcache SCHEMA \"The Cache\"");
    Source::docs(&mut session, 30, 3);
    session.run("SELECT \"The Cache\".vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')");
    let mut found = Vec::new();
    for path in ["public", "\"The Cache\", public", "''"] {
        session.run(&format!("SET search_path = {path}"));
        let rows =
            session.answer("SELECT id, distance, payload FROM \"The Cache\".vcache_search('docs', '[1,2,3]', 5)");
        found.push(ids(&rows).join(" "));
    }
    assert!(found.iter().all(|ids| *ids == found[0] && !ids.is_empty()), "{found:?}");
    let counts = session.rows("SELECT namespace, lookups, shared_hits FROM \"The Cache\".vcache_stats");
    assert_eq!(counts, [["docs", "3", "2"].map(|value| Some(value.to_owned()))]);
    let strays = session.rows(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d WHERE refclassid = 'pg_extension'::regclass \
         AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache') AND deptype = 'e' \
         AND ((classid = 'pg_proc'::regclass AND (SELECT proname !~ '^vcache_' FROM pg_proc WHERE oid = objid)) \
           OR (classid = 'pg_class'::regclass AND (SELECT relname !~ '^vcache_' FROM pg_class WHERE oid = objid)))",
    );
    assert!(strays.is_empty(), "every name begins with vcache_: {strays:?}");
    session.fails("ALTER EXTENSION vcache SET SCHEMA public").assert("0A000", &[]);
    session.run("DROP EXTENSION vcache; DROP SCHEMA \"The Cache\"");
}

#[test]
fn no_function_can_be_misled_by_the_callers_search_path() {
    let database = stand().database();
    // SECURITY DEFINER without a fixed search_path would run the caller's objects as the owner.
    let open = database.session().rows(
        "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid \
         WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache') \
         AND p.prosecdef AND NOT coalesce(p.proconfig::text ~ 'search_path', false)",
    );
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_dump_carries_the_namespaces_and_nothing_that_is_cached() {
    let database = stand().database();
    let mut session = database.session();
    for table in ["docs", "gone"] {
        Source::create(&mut session, table, 30, 3).register(
            &mut session,
            table,
            "ttl => '1 hour', payload_columns => '{title}'",
        );
    }
    let listed = "SELECT namespace, source, metric, payload_columns, ttl FROM vcache_namespaces ORDER BY 1";
    let before = session.rows(listed);
    session.search("docs", "[1,2,3]", 5);
    // What is not there any more would be dumped as a number, which may be some other table's where it is restored.
    session.run("DROP TABLE gone");
    let server = database.server();
    let program = |name: &str| {
        let mut command = std::process::Command::new(server.installation().program(name));
        command.arg("-h").arg(server.socket_directory()).args(["-p", &server.port().to_string(), "-U", "postgres"]);
        command
    };
    let dump = program("pg_dump").arg(database.name()).output().expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let restored = server.database_without_vcache();
    let mut psql = program("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.name()]).stdin(std::process::Stdio::piped());
    let mut child = psql.stdout(std::process::Stdio::null()).spawn().expect("psql");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), &dump.stdout).expect("psql reads");
    assert!(child.wait().expect("psql").success());

    let mut session = restored.session();
    assert_eq!(session.rows(listed), &before[..1]);
    let outcome = "SELECT outcome FROM vcache_explain('docs', '[1,2,3]', 5)";
    assert_eq!(session.value(outcome), "miss");
    session.search("docs", "[1,2,3]", 5);
    assert_eq!(session.value(outcome), "hit");
    assert_eq!(restored.stats("docs").outcomes(), (0, 1, 0));
}
