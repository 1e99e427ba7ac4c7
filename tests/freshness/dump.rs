//! Dump and restore, and pg_upgrade: the namespaces and the triggers come back, the clocks and the secret do not.

use harness::{Database, Session, Source, Stand};

use crate::scene::{docs, has};
use crate::{NEAREST, Scene};

fn dumped(database: &Database, role: &str, options: &[&str]) -> String {
    let arguments = [options, &[database.name()]].concat();
    database.server().client_program("pg_dump", role, &arguments, "").expect("pg_dump")
}

fn restore(database: &Database, role: &str, dump: &str) {
    let arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.name()];
    database.server().client_program("psql", role, &arguments, dump).expect("psql");
}

/// Two sources with three namespaces: a table, and one with partitions.
fn prepared(database: &Database) -> (Scene, Session) {
    let (scene, mut session) = Scene::new(database);
    scene.seen_by("second", database.session()).register(&mut session, "ttl => '1 hour'");
    let vector = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE parts (id int PRIMARY KEY, title text, n int, embedding {vector}(3)) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (20); \
         CREATE TABLE high PARTITION OF parts FOR VALUES FROM (20) TO (2000); \
         INSERT INTO parts SELECT * FROM docs"
    ));
    let parts = Source { table: "parts".to_owned(), ..docs() };
    Scene::of(parts, database.session()).register(&mut session, "");
    (scene, session)
}

const NAMESPACES: &str = "SELECT string_agg(v::text, E'\n' ORDER BY namespace) FROM vcache_namespaces v";

const TRIGGERS: &str = "SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), E'\n' ORDER BY tgrelid::regclass::text, tgname) \
                        FROM pg_trigger WHERE tgname LIKE 'vcache%'";

const CURE: &str = "SELECT vcache_alter_namespace(namespace, '{}') FROM vcache_namespaces";

/// Asserts that a restored database caches, from nothing, and sees writes.
fn assert_works(database: &Database) {
    let mut session = database.session();
    for table in ["docs", "parts"] {
        let source = Source { table: table.to_owned(), ..docs() };
        let scene = Scene::of(source, database.session());
        scene.miss(&mut session);
        scene.hit(&mut session);
        session.run(&NEAREST.replace("docs", table));
        assert!(has(&scene.stale(&mut session), "1000"), "{table}");
        scene.hit(&mut session);
        session.run(&format!("DELETE FROM {table} WHERE id = 1000"));
        assert!(!has(&scene.stale(&mut session), "1000"), "{table}");
        assert_eq!(
            session.value(&format!("SELECT triggers_in_place FROM vcache_sources WHERE source = '{table}'::regclass")),
            "t"
        );
    }
}

#[test]
fn a_dump_brings_namespaces_and_triggers_back() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = prepared(&database);
    scene.warm(&mut session);
    // The clock has run.
    session.run(NEAREST);
    session.run("DELETE FROM docs WHERE id = 1000");
    scene.warm(&mut session);
    let (namespaces, triggers) = (session.value(NAMESPACES), session.value(TRIGGERS));
    let dump = dumped(&database, "postgres", &[]);
    let copy = stand.server.database_without_vcache();
    restore(&copy, "postgres", &dump);
    let mut restored = copy.session();
    assert_eq!(restored.value(NAMESPACES), namespaces);
    assert_eq!(restored.value(TRIGGERS), triggers);
    assert_ne!(
        restored.value("SELECT md5(string_agg(secret::text, '')) FROM vcache_secret"),
        session.value("SELECT md5(string_agg(secret::text, '')) FROM vcache_secret")
    );
    assert_works(&copy);
    // The first one is as it was.
    scene.hit(&mut session);
    // A dump of the copy is the dump again.
    let again = dumped(&copy, "postgres", &[]);
    let third = stand.server.database_without_vcache();
    restore(&third, "postgres", &again);
    assert_works(&third);
}

#[test]
fn dumps_in_parts_and_restores_in_other_orders() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = prepared(&database);
    let triggers = session.value(TRIGGERS);
    for (first, second) in [
        (&["--schema-only"][..], &["--data-only"][..]),
        (&["--section=pre-data", "--section=data"], &["--section=post-data"]),
        (&["--section=pre-data"], &["--section=data", "--section=post-data"]),
        (&["--schema-only"], &["--data-only", "--disable-triggers"]),
        (&["--inserts", "--clean", "--if-exists"], &[]),
    ] {
        let copy = stand.server.database_without_vcache();
        for part in [first, second] {
            if !part.is_empty() {
                restore(&copy, "postgres", &dumped(&database, "postgres", part));
            }
        }
        let mut restored = copy.session();
        println!("{first:?} {second:?}");
        let namespaces = restored.value("SELECT string_agg(namespace, ' ' ORDER BY namespace) FROM vcache_namespaces");
        assert_eq!(namespaces, "docs parts second", "{first:?} {second:?}");
        if second.contains(&"--disable-triggers") {
            // ENABLE TRIGGER ALL has left plain triggers behind: right, if not cached.
            let scene = Scene::of(docs(), copy.session());
            scene.right(&mut restored);
            restored.run(NEAREST);
            assert!(has(&scene.right(&mut restored), "1000"));
            restored.run("DELETE FROM docs WHERE id = 1000");
            // One statement puts all of them right, and whoever looks is told of it.
            let detail = restored.value("SELECT detail FROM vcache_health() WHERE component = 'triggers'");
            assert!(detail.contains(CURE), "{detail}");
            restored.run(CURE);
            restored.run("ALTER TABLE vcache_namespace ENABLE ALWAYS TRIGGER vcache_is_own");
        }
        assert_eq!(restored.value(TRIGGERS), triggers, "{first:?} {second:?}");
        assert_works(&copy);
    }
}

#[test]
fn an_archive_restored_by_pg_restore_with_jobs() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = prepared(&database);
    let triggers = session.value(TRIGGERS);
    let directory = session.value("SELECT current_setting('data_directory') || '/archive'");
    dumped(&database, "postgres", &["-Fd", "-j2", "-f", &directory]);
    let copy = stand.server.database_without_vcache();
    stand
        .server
        .client_program("pg_restore", "postgres", &["-j2", "--exit-on-error", "-d", copy.name(), &directory], "")
        .expect("pg_restore");
    assert_eq!(copy.session().value(TRIGGERS), triggers);
    assert_works(&copy);
}

#[test]
fn race_26_a_dump_by_a_role_with_few_rights() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = prepared(&database);
    let role = database.role("dumper", "");
    // It may read, and owns nothing.
    session.run(&format!("GRANT SELECT ON docs, parts, low, high TO {role}"));
    let dump = dumped(&database, &role, &[]);
    assert!(!dump.contains("vcache_secret") && !dump.contains("vcache_source_clock"), "{dump}");
    let copy = stand.server.database_without_vcache();
    restore(&copy, "postgres", &dump);
    assert_works(&copy);
    // It may not even read, and dumps a table of its own.
    session.run(&format!("REVOKE ALL ON docs, parts, low, high FROM {role}; GRANT CREATE ON SCHEMA public TO {role}"));
    database.session_as(&role).run("CREATE TABLE own (id int); INSERT INTO own VALUES (1)");
    assert!(dumped(&database, &role, &["-t", "own"]).contains("own"));
    assert!(dumped(&database, &role, &["-T", "docs", "-T", "parts", "-T", "low", "-T", "high"]).contains("own"));
}

#[test]
fn a_dump_restored_by_the_sources_owner() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = prepared(&database);
    let owner = database.role("owner", "");
    session.run(&format!("ALTER TABLE docs OWNER TO {owner}; ALTER TABLE parts OWNER TO {owner}; ALTER TABLE low OWNER TO {owner}; ALTER TABLE high OWNER TO {owner}"));
    // Only a superuser makes the extension; the tables are restored by their owner, without --disable-triggers.
    let dump = dumped(&database, "postgres", &["-t", "docs"]);
    let copy = stand.server.database();
    copy.session().run(&format!("GRANT ALL ON SCHEMA public TO {owner}"));
    restore(&copy, &owner, &dump);
    let mut restored = copy.session_as(&owner);
    let scene = Scene::of(docs(), copy.session());
    // Its triggers are there or not, the namespace is not: registering makes it whole.
    scene.register(&mut restored, "");
    scene.miss(&mut restored);
    scene.hit(&mut restored);
    restored.run(NEAREST);
    assert!(has(&scene.stale(&mut restored), "1000"));
}

#[test]
fn a_tables_dump_restored_where_there_is_no_vcache() {
    let stand = Stand::start();
    let database = stand.database();
    let (_, mut session) = prepared(&database);
    let archive = session.value("SELECT current_setting('data_directory') || '/table'");
    dumped(&database, "postgres", &["-Fc", "-t", "docs", "-f", &archive]);
    let copy = stand.server.database_without_vcache();
    copy.session().run("DROP EXTENSION IF EXISTS vcache");
    let restore = |options: &[&str]| {
        let arguments = [&["--exit-on-error", "-d", copy.name()], options, &[&archive]].concat();
        stand.server.client_program("pg_restore", "postgres", &arguments, "")
    };
    let refused = restore(&["--single-transaction"]).expect_err("triggers without their function");
    assert!(refused.contains("vcache_source_changed"), "{refused}");
    // Without the triggers, all else comes.
    let list = stand.server.client_program("pg_restore", "postgres", &["-l", &archive], "").expect("pg_restore -l");
    let kept: String = list
        .lines()
        .filter(|line| !line.contains(" TRIGGER ") || !line.contains(" vcache_"))
        .fold(String::new(), |kept, line| kept + line + "\n");
    assert_ne!(kept, list);
    let chosen = format!("{archive}.list");
    session.run(&format!("COPY (SELECT unnest(string_to_array({}, E'\n'))) TO '{chosen}'", harness::literal(&kept)));
    restore(&["-L", &chosen]).expect("pg_restore");
    assert_eq!(copy.session().number("SELECT count(*) FROM docs"), 30);
}

#[test]
fn a_copy_of_a_database_is_another() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    drop(session);
    drop(scene);
    let copy = format!("copy_of_{}", database.name());
    let mut postgres = stand.server.connect("postgres", "postgres");
    harness::until("nobody is in the database", || {
        postgres.number(&format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name())) == 0
    });
    postgres.run(&format!("CREATE DATABASE {copy} TEMPLATE {}", database.name()));
    let mut other = stand.server.connect("postgres", &copy);
    let there = Scene::of(docs(), stand.server.connect("postgres", &copy));
    there.miss(&mut other);
    other.run(NEAREST);
    assert!(has(&there.stale(&mut other), "1000"));
    let mut session = database.session();
    let here = Scene::of(docs(), database.session());
    assert!(!has(&here.hit(&mut session), "1000"));
}

#[test]
fn pg_upgrade() {
    let stand = Stand::start();
    stand.server.connect("postgres", "postgres").run("CREATE DATABASE kept TEMPLATE template0");
    let database = stand.server.database_named("kept");
    let engine = stand.server.engine().extension();
    database.session().run(&format!("CREATE EXTENSION {engine}; CREATE EXTENSION vcache"));
    let (scene, mut session) = prepared(&database);
    session.run(NEAREST);
    session.run("DELETE FROM docs WHERE id = 1000");
    scene.warm(&mut session);
    let (namespaces, triggers) = (session.value(NAMESPACES), session.value(TRIGGERS));
    drop(session);
    let upgraded = stand.server.upgraded();
    let database = upgraded.database_named(database.name());
    let mut session = database.session();
    assert_eq!(session.value(NAMESPACES), namespaces);
    assert_eq!(session.value(TRIGGERS), triggers);
    assert_eq!(
        session.number("SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'vcache%' AND evtenabled = 'A'"),
        1
    );
    assert_works(&database);
}
