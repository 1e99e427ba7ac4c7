//! Whose statistics one sees: those of what one may search or owns, and all of them as a member of pg_read_all_stats.

use harness::{Database, Session, Source, Stand, VECTOR};

use crate::stand;

/// What a session sees: in `vcache_stats` and behind it, in `vcache_sources` and behind it, and the sum of lookups.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    namespaces: String,
    sources: String,
    lookups: i64,
}

fn seen(session: &mut Session) -> Seen {
    let mut names = |select: &str| {
        let mut names = session.column(select);
        names.sort();
        names.join(" ")
    };
    let namespaces = names("SELECT namespace FROM vcache_stats WHERE lookups > 0");
    // The function is not the way around the view.
    let counted = "shared_hits + misses_cold + bypasses_row_security > 0";
    let behind = format!("SELECT coalesce(namespace, '(others)') FROM vcache_stats_rows() WHERE {counted}");
    assert_eq!(names(&behind), namespaces, "vcache_stats_rows()");
    let sources = names("SELECT source::text FROM vcache_sources");
    assert_eq!(names("SELECT source::regclass::text FROM vcache_source_rows()"), sources, "vcache_source_rows()");
    Seen { namespaces, sources, lookups: session.number("SELECT lookups FROM vcache_stats_total") }
}

#[track_caller]
fn assert_seen(session: &mut Session, namespaces: &str, sources: &str, lookups: i64) {
    let expected = Seen { namespaces: namespaces.to_owned(), sources: sources.to_owned(), lookups };
    assert_eq!(seen(session), expected);
}

/// Namespaces `docs` with a payload and `bare` without one over a table, `hidden` over one in a closed schema; each searched once, `docs`
/// twice.
fn prepared(database: &Database, owner: &str) -> Session {
    let mut superuser = database.session();
    superuser.run(&format!("GRANT CREATE ON SCHEMA public TO {owner}; CREATE SCHEMA closed"));
    let mut owners = database.session_as(owner);
    let docs = Source::docs(&mut owners, 30, 3);
    docs.register(&mut owners, "docs", "payload_columns => '{title}'");
    docs.register(&mut owners, "bare", "");
    Source::create(&mut superuser, "closed.docs", 30, 3).register(&mut superuser, "hidden", "");
    for namespace in ["docs", "docs", "bare", "hidden"] {
        superuser.search(namespace, "[1,2,3]", 5);
    }
    superuser
}

#[test]
fn one_sees_what_one_may_search_or_owns() {
    let database = stand().database();
    let [owner, reader, nobody, auditor] = ["owner", "reader", "nobody", "auditor"].map(|name| database.role(name, ""));
    let mut superuser = prepared(&database, &owner);
    assert_seen(&mut superuser, "bare docs hidden", "closed.docs docs", 4);
    assert_seen(&mut database.session_as(&owner), "bare docs", "docs", 3);
    let mut readers = database.session_as(&reader);
    assert_seen(&mut readers, "", "", 0);
    // By columns: all of those that a search of the namespace reads.
    superuser.run(&format!("GRANT SELECT (id) ON docs TO {reader}"));
    assert_seen(&mut readers, "", "", 0);
    superuser.run(&format!("GRANT SELECT (embedding) ON docs TO {reader}"));
    assert_seen(&mut readers, "bare", "docs", 1);
    superuser.run(&format!("GRANT SELECT (title) ON docs TO {reader}"));
    assert_seen(&mut readers, "bare docs", "docs", 3);
    superuser.run(&format!(
        "REVOKE SELECT (id, title, embedding) ON docs FROM {reader}; GRANT SELECT ON docs, closed.docs TO {reader}"
    ));
    assert_seen(&mut readers, "bare docs", "docs", 3);
    superuser.run(&format!("GRANT USAGE ON SCHEMA closed TO {reader}"));
    assert_seen(&mut readers, "bare docs hidden", "closed.docs docs", 4);
    // The very next call knows, and who the current role is, not the session's.
    superuser.run(&format!("REVOKE SELECT ON docs FROM {reader}; GRANT {nobody} TO {reader}"));
    assert_seen(&mut readers, "hidden", "closed.docs", 1);
    readers.run(&format!("SET ROLE {nobody}"));
    assert_seen(&mut readers, "", "", 0);
    superuser.run(&format!("SET ROLE {nobody}"));
    assert_seen(&mut superuser, "", "", 0);
    superuser.run("RESET ROLE");
    // An owner without a privilege of his own sees it all the same.
    superuser.run(&format!("REVOKE ALL ON docs FROM {owner}"));
    assert_seen(&mut database.session_as(&owner), "bare docs", "docs", 3);
    for role in ["pg_read_all_stats", "pg_monitor"] {
        superuser.run(&format!("GRANT {role} TO {auditor}"));
        assert_seen(&mut database.session_as(&auditor), "bare docs hidden", "closed.docs docs", 4);
        superuser.run(&format!("REVOKE {role} FROM {auditor}"));
        assert_seen(&mut database.session_as(&auditor), "", "", 0);
    }
    // What is counted of a search is not lost on who may not see it, and what is gone is nobody's.
    superuser.run("DROP SCHEMA closed CASCADE");
    assert_seen(&mut database.session_as(&nobody), "", "", 0);
    assert_eq!(database.stats("hidden").lookups, 1);
}

#[test]
fn a_view_and_a_function_of_somebody_show_what_he_or_she_sees() {
    let database = stand().database();
    let [owner, reader] = ["owner", "reader"].map(|name| database.role(name, ""));
    prepared(&database, &owner);
    let mut owners = database.session_as(&owner);
    owners.run(
        "CREATE VIEW shown AS SELECT namespace FROM vcache_stats; GRANT SELECT ON shown TO PUBLIC;
         CREATE FUNCTION lent() RETURNS SETOF text SECURITY DEFINER SET search_path = public
             LANGUAGE sql AS 'SELECT namespace FROM vcache_stats'",
    );
    let mut readers = database.session_as(&reader);
    // As with PostgreSQL's own: a function in a view runs as who asks, a security definer function as its owner.
    assert_eq!(readers.column("SELECT * FROM shown"), Vec::<String>::new());
    assert_eq!(readers.column("SELECT * FROM lent()"), ["bare", "docs"]);
}

#[test]
fn names_that_a_pattern_stands_for_are_hidden_where_row_level_security_hides_their_rows() {
    let database = stand().database();
    let [owner, reader, bypasser] =
        [("owner", ""), ("reader", ""), ("bypasser", "BYPASSRLS")].map(|(name, options)| database.role(name, options));
    let mut superuser = database.session();
    superuser.run(&format!(
        "CREATE TABLE notes (id int PRIMARY KEY, tenant text, embedding {VECTOR}(3));
         INSERT INTO notes VALUES (1, 'acme', '[1,0,0]'), (2, 'evil', '[1,0,0]');
         GRANT SELECT ON notes TO PUBLIC; ALTER TABLE notes OWNER TO {owner};
         SELECT vcache_create_namespace('notes/*', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant');
         SELECT vcache_create_namespace('acme', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant')"
    ));
    for namespace in ["notes/acme", "notes/evil", "acme"] {
        superuser.search(namespace, "[1,2,3]", 5);
    }
    let mut readers = database.session_as(&reader);
    assert_seen(&mut readers, "acme notes/acme notes/evil", "notes", 3);
    superuser
        .run("ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON notes USING (tenant = current_user)");
    // The name that is registered everybody sees in vcache_namespaces.
    for row_security in ["on", "off"] {
        readers.run(&format!("SET row_security = {row_security}"));
        assert_seen(&mut readers, "acme", "notes", 1);
    }
    for role in [&owner, &bypasser] {
        assert_seen(&mut database.session_as(role), "acme notes/acme notes/evil", "notes", 3);
    }
}

#[test]
fn what_is_the_whole_servers_is_for_those_who_see_all() {
    let stand = Stand::start_with(|setup| setup.set("vcache.stats_max", "1"));
    let database = stand.database();
    let owner = database.role("owner", "");
    prepared(&database, &owner);
    assert_seen(&mut database.session(), "(others) docs", "closed.docs docs", 4);
    assert_seen(&mut database.session_as(&owner), "docs", "docs", 2);
}

#[test]
fn how_often_a_source_changes_is_told_to_those_who_see_its_statistics() {
    let database = stand().database();
    let [owner, nobody] = ["owner", "nobody"].map(|name| database.role(name, ""));
    prepared(&database, &owner);
    let mut owners = database.session_as(&owner);
    for _ in 0..200 {
        owners.run("UPDATE docs SET embedding = embedding WHERE id = 1");
    }
    let triggers = "SELECT status || ': ' || detail FROM vcache_health() WHERE component = 'triggers'";
    let told = owners.value(triggers);
    assert!(told.contains("docs\" changes "), "{told}");
    let told = database.session_as(&nobody).value(triggers);
    assert_eq!(told, "ok: in place for all sources with freshness 'exact': 2");
}

#[test]
fn entries_and_freeing_them_are_for_superusers() {
    let database = stand().database();
    let owner = database.role("owner", "");
    prepared(&database, &owner);
    let mut superuser = database.session();
    superuser.run(&format!("GRANT pg_monitor TO {owner}"));
    let mut owners = database.session_as(&owner);
    for (statement, what) in [
        ("SELECT * FROM vcache_entries", "vcache_entries"),
        ("SELECT * FROM vcache_entry_rows()", "vcache_entry_rows"),
        ("SELECT vcache_flush()", "vcache_flush"),
        ("SELECT vcache_stats_reset()", "vcache_stats_reset"),
        ("SELECT * FROM vcache_secret", "vcache_secret"),
        ("SELECT * FROM vcache_source_clock", "vcache_source_clock"),
    ] {
        owners.fails(statement).assert("42501", &[what]);
    }
    // Who may read all data is given the secret with them.
    superuser.run(&format!("GRANT pg_read_all_data TO {owner}"));
    assert_eq!(owners.number("SELECT length(secret) FROM vcache_secret"), 192);
    // What is registered is no statistic: pg_dump of any role carries it.
    assert_eq!(owners.number("SELECT count(*) FROM vcache_namespaces"), 3);
    assert_eq!(superuser.number("SELECT count(*) FROM vcache_entries"), 3);
}

#[test]
fn names_that_a_pattern_stands_for_are_hidden_behind_a_view() {
    let database = stand().database();
    let mut owner = database.session();
    let [alice, bob] = ["alice", "bob"].map(|name| database.role(name, ""));
    owner.run(&format!(
        "CREATE TABLE kept (id int, tenant text, reader text, embedding {VECTOR}(3));
         INSERT INTO kept VALUES (1, 'zeta', '{bob}', '[1,2,3]'), (2, 'eta', '{alice}', '[1,2,3]');
         CREATE VIEW seen AS SELECT id, tenant, embedding FROM kept WHERE reader = current_user;
         GRANT SELECT ON seen TO PUBLIC;
         SELECT vcache_create_namespace('v/*', 'seen', 'embedding', id_column => 'id', metric => 'l2', namespace_column => 'tenant',
                                        freshness => 'ttl', rls_settings => '{{}}')"
    ));
    let [mut alice, mut bob] = [&alice, &bob].map(|role| database.session_as(role));
    assert_eq!(bob.column("SELECT id FROM vcache_search('v/zeta', '[1,2,3]')"), ["1"]);
    let names = "SELECT namespace FROM vcache_stats";
    assert_eq!(alice.column(names), Vec::<String>::new());
    assert_eq!(bob.column(names), Vec::<String>::new());
    assert_eq!(owner.column(names), ["v/zeta"]);
}
