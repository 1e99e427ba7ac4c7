//! Registering with freshness 'exact': what it asks for, what it says, what it leaves alone; and what is left on tables when it ends.

use harness::{Database, Redis, Session, Source, Stand};

use crate::scene::{docs, has};
use crate::{NEAREST, Scene, stand};

/// What writes, with the name that PostgreSQL calls it by.
pub const CALLS: [(&str, &str); 5] = [
    ("SELECT vcache_create_namespace('more', 'docs', 'embedding', metric => 'l2')", "vcache_create_namespace()"),
    ("SELECT vcache_alter_namespace('docs', '{}')", "vcache_alter_namespace()"),
    ("SELECT vcache_drop_namespace('docs')", "vcache_drop_namespace()"),
    ("SELECT vcache_invalidate('docs')", "vcache_invalidate()"),
    ("SELECT vcache_invalidate()", "vcache_invalidate()"),
];

/// vcache's triggers by the tables that they stand on, `table name`.
fn triggers(session: &mut Session) -> Vec<String> {
    session.column(
        "SELECT concat_ws(' ', tgrelid::regclass, tgname) FROM pg_trigger \
         WHERE tgfoid = 'vcache_source_changed'::regproc ORDER BY 1",
    )
}

#[test]
fn a_read_only_transaction_changes_nothing() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    for (call, function) in CALLS {
        session.run("BEGIN READ ONLY");
        session.fails(call).assert("25006", &["cannot execute", function, "read-only"]);
        session.run("ROLLBACK; SET default_transaction_read_only = on");
        session.fails(call).assert("25006", &[function]);
        session.run("RESET default_transaction_read_only");
    }
    scene.hit(&mut session);
    assert_eq!(session.number("SELECT count(*) FROM vcache_namespaces"), 1);
}

const OWN: &str = "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; \
     CREATE TRIGGER vcache_before BEFORE INSERT ON docs FOR EACH ROW EXECUTE FUNCTION mine()";

#[test]
fn a_trigger_of_ones_own_stays_whatever_its_name() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 30, 3);
    let scene = Scene::of(source, database.session());
    session.run(OWN);
    let is_there = "SELECT count(*) FROM pg_trigger WHERE tgfoid = 'mine'::regproc";
    let create = "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')";
    let refused = session.fails(create);
    refused.assert("42710", &["vcache_before", "docs"]);
    assert!(refused.hint.contains("ALTER TRIGGER") && refused.hint.contains("RENAME"), "{refused:?}");
    assert_eq!(session.number(is_there), 1);
    session.run("ALTER TRIGGER vcache_before ON docs RENAME TO another");
    scene.register(&mut session, "");
    scene.warm(&mut session);
    // On a table that comes into the family it does not stand in the way of the one who brings it.
    session.run("CREATE TABLE child (LIKE docs INCLUDING ALL); ALTER TABLE child INHERIT docs");
    assert_eq!(triggers(&mut session).iter().filter(|trigger| trigger.starts_with("child ")).count(), 3);
    session.run("CREATE TABLE second (LIKE docs INCLUDING ALL)");
    session.run(
        &OWN.replace("FUNCTION mine() RETURNS", "OR REPLACE FUNCTION mine() RETURNS").replace("ON docs", "ON second"),
    );
    session.run("ALTER TABLE second INHERIT docs");
    assert_eq!(session.number(is_there), 2);
    session.run(&NEAREST.replace("docs", "second"));
    assert!(has(&scene.bypass(&mut session, "triggers"), "1000"));
    session.fails("SELECT vcache_alter_namespace('docs', '{}')").assert("42710", &["vcache_before", "second"]);
    session.run("ALTER TRIGGER vcache_before ON second RENAME TO another; SELECT vcache_alter_namespace('docs', '{}')");
    scene.warm(&mut session);
    assert_eq!(session.number(is_there), 2);
}

const PARTITIONED: &str = "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding VECTOR) PARTITION BY RANGE (id); \
     CREATE TABLE low PARTITION OF docs FOR VALUES FROM (0) TO (20); \
     CREATE TABLE high PARTITION OF docs FOR VALUES FROM (20) TO (2000); \
     INSERT INTO docs SELECT i, 'title ' || i, i % 7, '[8,8,8]' FROM generate_series(1, 30) i";

#[test]
fn a_detached_partition_is_left_without_triggers() {
    let database = stand().database();
    let (scene, mut session) = Scene::made_by(&database, PARTITIONED);
    let all = triggers(&mut session);
    assert!(all.contains(&"high vcache_row".to_owned()), "{all:?}");
    for concurrently in ["", " CONCURRENTLY"] {
        session.run(&format!("ALTER TABLE docs DETACH PARTITION high{concurrently}"));
        let left = triggers(&mut session);
        assert!(!left.is_empty() && left.iter().all(|trigger| !trigger.starts_with("high ")), "{left:?}");
        session.run("INSERT INTO high VALUES (1001, '', 0, '[1,1,1]'); DELETE FROM high WHERE id = 1001");
        session.run("ALTER TABLE docs ATTACH PARTITION high FOR VALUES FROM (20) TO (2000)");
        assert_eq!(triggers(&mut session), all);
        scene.warm(&mut session);
    }
    // What still has events to come keeps them, and the DETACH is no error on vcache's account.
    session.run(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER later AFTER INSERT ON high DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later(); \
         BEGIN; INSERT INTO high VALUES (1002, '', 0, '[1,1,1]'); ALTER TABLE docs DETACH PARTITION high; COMMIT",
    );
    scene.right(&mut session);
    session.run("SELECT vcache_drop_namespace('docs')");
    assert_eq!(triggers(&mut session), Vec::<String>::new());
    // Nor is an ATTACH: there they come when somebody puts them right.
    scene.register(&mut session, "");
    session.run(
        "BEGIN; INSERT INTO high VALUES (1003, '', 0, '[1,1,1]'); \
         ALTER TABLE docs ATTACH PARTITION high FOR VALUES FROM (20) TO (2000); COMMIT",
    );
    scene.bypass(&mut session, "triggers");
    session.run("SELECT vcache_alter_namespace('docs', '{}')");
    scene.warm(&mut session);
}

#[test]
fn a_child_that_inherits_no_more_and_one_that_another_source_needs() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    session.run("CREATE TABLE child (LIKE docs INCLUDING ALL); ALTER TABLE child INHERIT docs");
    session.run("CREATE TABLE other (LIKE docs INCLUDING ALL); ALTER TABLE other INHERIT docs");
    let other = Scene::of(Source { table: "other".to_owned(), ..docs() }, database.session());
    other.register(&mut session, "");
    session.run("ALTER TABLE child NO INHERIT docs; ALTER TABLE other NO INHERIT docs");
    let on = |session: &mut Session, table: &str| {
        triggers(session).iter().filter(|trigger| trigger.split(' ').next() == Some(table)).count()
    };
    assert_eq!(["docs", "child", "other"].map(|table| on(&mut session, table)), [3, 0, 3]);
    scene.warm(&mut session);
    other.warm(&mut session);
    session.run(&NEAREST.replace("docs", "other"));
    assert!(has(&other.stale(&mut session), "1000"));
    session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"ttl\"}')");
    assert_eq!(["docs", "child", "other"].map(|table| on(&mut session, table)), [0, 0, 3]);
    session.run("SELECT vcache_drop_namespace('other')");
    assert_eq!(triggers(&mut session), Vec::<String>::new());
}

#[test]
fn a_renamed_trigger_goes_when_its_place_is_taken_and_with_the_last_source() {
    let database = stand().database();
    let (scene, mut session) = Scene::new(&database);
    let all = triggers(&mut session);
    session.run("ALTER TRIGGER vcache_after ON docs RENAME TO zzz; ALTER TABLE docs DISABLE TRIGGER zzz");
    scene.bypass(&mut session, "triggers");
    session.run("SELECT vcache_alter_namespace('docs', '{}')");
    assert_eq!(triggers(&mut session), all);
    scene.warm(&mut session);
    session.run("ALTER TRIGGER vcache_row ON docs RENAME TO zzz; SELECT vcache_drop_namespace('docs')");
    assert_eq!(triggers(&mut session), Vec::<String>::new());
}

/// The table `docs` of the role that is given back, with a child `relc` that is another's.
fn mixed(database: &Database, session: &mut Session) -> String {
    let (owner, other) = (database.role("owner", ""), database.role("other", ""));
    Source::docs(session, 30, 3);
    session.run(&format!(
        "CREATE TABLE relc () INHERITS (docs); ALTER TABLE docs OWNER TO {owner}; ALTER TABLE relc OWNER TO {other}; \
         GRANT SELECT ON relc TO {owner}"
    ));
    owner
}

#[test]
fn every_relative_must_be_ones_own() {
    let database = stand().database();
    let mut session = database.session();
    let owner = mixed(&database, &mut session);
    let mut owners = database.session_as(&owner);
    let create = "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact')";
    let refused = owners.fails(create);
    refused.assert("42501", &["must be owner of table relc", "inherits", "docs"]);
    assert!(refused.hint.contains("freshness 'ttl'"), "{refused:?}");
    owners.run(&create.replace("exact", "ttl"));
    let refused = owners.fails("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')");
    refused.assert("42501", &["must be owner of table relc"]);
}

#[test]
fn what_a_superuser_has_registered_is_its_owners_to_change() {
    let database = stand().database();
    let mut session = database.session();
    let owner = mixed(&database, &mut session);
    let scene = Scene::of(docs(), database.session());
    scene.register(&mut session, "");
    let mut owners = database.session_as(&owner);
    // Where nothing is to be done on the other's table, none of it needs to be one's own.
    owners.run("SELECT vcache_alter_namespace('docs', '{\"ttl\": \"1 hour\"}')");
    scene.warm(&mut owners);
    session.run("ALTER TABLE relc DISABLE TRIGGER vcache_after");
    owners.fails("SELECT vcache_alter_namespace('docs', '{}')").assert("42501", &["must be owner of table relc"]);
    session.run("SELECT vcache_alter_namespace('docs', '{}')");
    for end in
        ["SELECT vcache_alter_namespace('docs', '{\"freshness\": \"ttl\"}')", "SELECT vcache_drop_namespace('docs')"]
    {
        owners.notices();
        session.run("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')");
        owners.run(end);
        let told = owners.notices();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].severity, "NOTICE");
        assert!(format!("{} {}", told[0].message, told[0].detail).contains("relc"), "{told:?}");
        assert!(triggers(&mut session).iter().all(|trigger| trigger.starts_with("relc ")));
        if end.contains("alter") {
            owners
                .fails("SELECT vcache_alter_namespace('docs', '{\"freshness\": \"exact\"}')")
                .assert("42501", &["must be owner of table relc"]);
        }
    }
    // Whoever may take them away, does when they do the like.
    docs().register(&mut session, "docs", "freshness => 'ttl'");
    session.run("SELECT vcache_drop_namespace('docs')");
    assert_eq!(triggers(&mut session), Vec::<String>::new());
}

/// Asserts that registering and searching both warn, with the same words of help, which hold these and promise nothing untrue.
fn assert_warns(database: &Database, create: &str, words: &[&str]) {
    let mut session = database.session();
    session.notices();
    session.run(create);
    let mut searching = database.session();
    for _ in 0..2 {
        searching.run("SELECT count(*) FROM vcache_search('docs', '[9,9,9]')");
    }
    for told in [session.notices(), searching.notices()] {
        let told: Vec<_> = told.into_iter().filter(|notice| notice.message.contains("from the cache")).collect();
        let [warning] = told.as_slice() else { panic!("{create}: {told:?}") };
        assert_eq!(warning.severity, "WARNING");
        let said = format!("{} {}", warning.detail, warning.hint);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(!said.contains("puts the triggers right"), "{said}");
    }
}

#[test]
fn members_that_keep_searches_from_the_cache_are_told_of_at_once() {
    let database = stand().database();
    let mut session = database.session();
    let create = "SELECT vcache_create_namespace('docs', 'docs', 'embedding', id_column => 'id', metric => 'l2')";
    Source::docs(&mut session, 30, 3);
    let mut holder = database.session();
    holder.run("CREATE TEMP TABLE mine () INHERITS (docs)");
    assert_warns(&database, create, &["mine", "temporary", "dropped"]);
    let alter = "SELECT vcache_alter_namespace('docs', '{}')";
    assert_warns(&database, alter, &["mine", "temporary"]);
    holder.run("DROP TABLE mine");
    session.run(
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE FOREIGN TABLE far () INHERITS (docs) SERVER files OPTIONS (filename '/dev/null')",
    );
    assert_warns(&database, alter, &["far", "freshness 'ttl'"]);
    session.run("DROP FOREIGN TABLE far; SELECT vcache_alter_namespace('docs', '{}')");
    assert_eq!(session.notices(), []);
    session.run("SELECT count(*) FROM vcache_search('docs', '[9,9,9]', 5)");
    assert_eq!(session.value("SELECT outcome FROM vcache_explain('docs', '[9,9,9]', 5)"), "hit");
}

#[test]
fn an_unlogged_source_without_preload_is_told_of_at_once() {
    let redis = Redis::start();
    let server = Stand::setup(&redis.url()).preload(false).start();
    let database = server.database();
    let mut session = database.session();
    Source::docs(&mut session, 30, 3);
    session.run("ALTER TABLE docs SET UNLOGGED");
    let create = "SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2')";
    assert_warns(&database, create, &["docs", "shared_preload_libraries", "SET LOGGED"]);
}
