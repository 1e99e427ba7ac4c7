//! What a filter's entry depends on: changes of the columns that it reads, and who may read them.

use harness::{ids, literal};

use crate::{call, explained, goods, left, register, stand};

#[test]
fn a_change_of_what_a_filter_reads_is_seen() {
    let database = stand().database();
    let mut session = database.session();
    goods(&mut session, "lang text, other int, meta jsonb", &["'en', 1, '{\"a\": 1}'", "'de', 2, '{\"a\": 2}'"]);
    register(&mut session, "filter_columns => '{lang}', metadata_column => 'meta'");
    let (by_lang, by_key) = ("{\"lang\": \"en\"}", "{\"a\": 1}");
    assert_eq!((left(&mut session, by_lang), left(&mut session, by_key)), (vec!["0".to_owned()], vec!["0".to_owned()]));
    session.run("UPDATE goods SET lang = 'en' WHERE id = 1");
    assert_eq!(left(&mut session, by_lang), ["0", "1"]);
    session.run("UPDATE goods SET meta = '{\"a\": 1}' WHERE id = 1");
    assert_eq!(left(&mut session, by_key), ["0", "1"]);
    left(&mut session, by_lang);
    // No search reads it.
    session.run("UPDATE goods SET other = 3");
    assert_eq!(explained(&mut session, by_lang).0, "hit");
    // In a transaction of one's own, and after it was undone.
    session.run("BEGIN; UPDATE goods SET lang = 'de'");
    assert_eq!(left(&mut session, by_lang), Vec::<String>::new());
    session.run("ROLLBACK");
    assert_eq!(left(&mut session, by_lang), ["0", "1"]);
    // Under another collation, and with another type, the same filter is another one.
    session.run("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
    session.run("SELECT vcache_alter_namespace('goods', '{\"freshness\": \"ttl\"}')");
    assert_eq!(left(&mut session, "{\"lang\": \"EN\"}"), Vec::<String>::new());
    session.run("ALTER TABLE goods ALTER lang TYPE text COLLATE nocase");
    assert_eq!(left(&mut session, "{\"lang\": \"EN\"}"), ["0", "1"]);
    session.run("ALTER TABLE goods ALTER lang TYPE text COLLATE \"C\"");
    session.run("SELECT vcache_alter_namespace('goods', '{\"freshness\": \"ttl\"}'); UPDATE goods SET lang = '1'");
    assert_eq!(left(&mut session, "{\"lang\": \"01\"}"), Vec::<String>::new());
    session.run("ALTER TABLE goods ALTER lang TYPE int USING lang::int");
    assert_eq!(left(&mut session, "{\"lang\": \"01\"}"), ["0", "1"]);
}

#[test]
fn a_filter_needs_the_privilege_on_its_columns_and_no_other() {
    let database = stand().database();
    let mut owner = database.session();
    goods(&mut owner, "lang text, year int, meta jsonb", &["'en', 1, '{\"a\": 1}'", "'de', 2, '{\"a\": 2}'"]);
    register(&mut owner, "filter_columns => '{lang,year}', metadata_column => 'meta'");
    let reader = database.role("reader", "");
    owner.run(&format!("GRANT SELECT (id, embedding, lang) ON goods TO {reader}"));
    let mut readers = database.session_as(&reader);
    let denied = [
        "{\"year\": 1}",
        "{\"a\": 1}",
        "{\"$or\": [{\"lang\": \"en\"}, {\"year\": {\"$exists\": true}}]}",
        // It says nothing, but the plain query names the column all the same.
        "{\"$or\": [{\"year\": 1}, {\"year\": {\"$ne\": 1}}]}",
    ];
    for filter in denied {
        // As a miss, as a hit of another's entry, and as a bypass.
        for _ in 0..2 {
            readers.fails(&format!("SELECT * FROM vcache_search({})", call(filter))).assert("42501", &["goods"]);
            left(&mut owner, filter);
        }
        readers.fails(&format!("SELECT * FROM vcache_search({}, '0')", call(filter))).assert("42501", &["goods"]);
        readers.fails(&format!("SELECT * FROM vcache_explain({})", call(filter))).assert("42501", &["goods"]);
    }
    left(&mut owner, "{\"lang\": \"en\"}");
    assert_eq!(explained(&mut readers, "{\"lang\": \"en\"}").0, "hit");
    assert_eq!(left(&mut readers, "{\"lang\": \"en\"}"), ["0"]);
    owner.run(&format!("REVOKE SELECT (lang) ON goods FROM {reader}"));
    readers.fails(&format!("SELECT * FROM vcache_search({})", call("{\"lang\": \"en\"}"))).assert("42501", &["goods"]);
    assert_eq!(left(&mut readers, "{}"), ["0", "1"]);
}

#[test]
fn drivers_and_forms_of_a_call() {
    let database = stand().database();
    let mut session = database.session();
    goods(&mut session, "lang text", &["'en'", "'de'"]);
    register(&mut session, "filter_columns => '{lang}'");
    let filter = literal("{\"lang\": \"de\"}");
    for arguments in [
        format!("'goods', '[0,1,1]', 10, {filter}"),
        format!("'goods', '[0,1,1]', filter => {filter}"),
        format!("'goods', '{{0,1,1}}'::real[], 10, {filter}::jsonb, '1 hour'"),
        format!("vector => '[0,1,1]'::text, namespace => 'goods', filter => {filter}, ttl => '1 hour'"),
    ] {
        assert_eq!(ids(&session.search_by(&arguments)), ["1"], "{arguments}");
    }
    let statement = "SELECT id FROM vcache_search($1, $2, $3, $4)";
    let rows = session
        .client()
        .query(statement, &[&"goods", &"[0,1,1]", &10, &serde_json::json!({ "lang": "de" })])
        .expect("a search");
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["1"]);
    // Each row of a join brings its own.
    let joined = "SELECT f.lang || s.id FROM (VALUES ('en'), ('de')) f (lang), \
                  vcache_search('goods', '[0,1,1]', 10, jsonb_build_object('lang', f.lang)) s ORDER BY 1";
    for _ in 0..2 {
        assert_eq!(session.column(joined), ["de1", "en0"]);
    }
    assert_eq!(database.stats("goods").misses, 2);
}
