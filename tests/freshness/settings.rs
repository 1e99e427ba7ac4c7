//! Sessions that show values in other ways share entries, and are given the same text.

use harness::Session;

use crate::{Scene, stand};

const SETTINGS: [&str; 9] = [
    "TimeZone = 'Asia/Tokyo'",
    "DateStyle = 'German, DMY'",
    "IntervalStyle = 'iso_8601'",
    "bytea_output = 'escape'",
    "extra_float_digits = -10",
    "search_path = 'pg_catalog'",
    "lc_monetary = 'C'",
    "xmlbinary = 'hex'",
    "client_encoding = 'LATIN1'",
];

const PAYLOAD: &str = "at timestamptz DEFAULT '2024-02-03 04:05:06+00', day date DEFAULT '2024-02-03', span interval DEFAULT '1 day 2 hours', \
                       raw bytea DEFAULT '\\x0102', measure float8 DEFAULT 0.1::float4, kind regtype DEFAULT 'mood'::regtype";

fn found(session: &mut Session) -> Vec<Vec<Option<String>>> {
    session.rows("SELECT id, payload FROM public.vcache_search('wide', '[9,9,9]', 5)")
}

#[test]
fn race_13_sessions_with_other_settings() {
    let database = stand().database();
    let (_, mut session) = Scene::new(&database);
    let columns = PAYLOAD.replace(", ", ", ADD ");
    session.run(&format!("CREATE TYPE mood AS ENUM ('good'); ALTER TABLE docs ADD {columns}"));
    session.run("SELECT vcache_create_namespace('wide', 'docs', 'embedding', metric => 'l2', payload_columns => '{*}', freshness => 'exact')");
    // Each fills the cache in its turn, each other reads: after a write, and in a transaction that has written.
    for writer in SETTINGS {
        session.run("UPDATE docs SET n = n + 1");
        let mut first = database.session();
        first.run(&format!("SET {writer}"));
        let expected = found(&mut first);
        let stores = database.stats("wide").stores;
        for reader in SETTINGS {
            let mut second = database.session();
            second.run(&format!("SET {reader}"));
            assert_eq!(found(&mut second), expected, "{writer}, then {reader}");
            second.run("BEGIN; UPDATE public.docs SET n = n");
            assert_eq!(found(&mut second), expected, "{writer}, then {reader}, which has written");
            second.run("ROLLBACK");
        }
        assert_eq!(database.stats("wide").stores, stores, "{writer}: all shared its entry");
    }
}
