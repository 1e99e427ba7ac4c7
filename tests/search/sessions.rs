//! Searches inside other statements: joins, PL/pgSQL, prepared statements, cursors, parallel plans; and statements
//! that are interrupted.

use harness::{Engine, Session, Source, VECTOR, assert_same, ids, until};
use postgres::types::Type;

use crate::stand;

#[test]
fn the_function_is_declared_as_the_planner_should_see_it() {
    let database = stand().database();
    let declared = database.session().rows(
        "SELECT provolatile, proparallel, proretset, prorows, pronargs, pronargdefaults, proargnames, proallargtypes::regtype[] \
         FROM pg_proc WHERE proname = 'vcache_search' ORDER BY proallargtypes::regtype[]::text",
    );
    let row = |vector: &str| {
        let names = "{namespace,vector,top_k,filter,ttl,id,distance,payload}";
        let types = format!("{{text,{vector},integer,jsonb,interval,text,\"double precision\",jsonb}}");
        let row = ["s", "r", "t", "10", "5", "3", names, &types];
        row.map(|value| Some(value.to_owned())).to_vec()
    };
    assert_eq!(declared, [row("anyelement"), row("text")]);
}

#[test]
fn a_join_may_search_for_many_vectors() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "");
    session.run(&format!("CREATE TABLE queries (n int, v {VECTOR}(64))"));
    for n in 0..6 {
        // Each twice.
        session.run(&format!("INSERT INTO queries VALUES ({n}, '{}')", source.query(n / 2)));
    }
    let found = session.rows(
        "SELECT q.n, s.id, s.distance, s.payload FROM queries q, LATERAL vcache_search('docs', q.v, 3 + q.n) s ORDER BY q.n, s.distance",
    );
    for n in 0..6usize {
        let of_one: Vec<_> = found.iter().filter(|row| row[0] == Some(n.to_string())).collect();
        let plain = source.plain(&mut session, &source.query(n as u64 / 2), 3 + n);
        assert_eq!(of_one.len(), 3 + n);
        for (row, plain) in of_one.iter().zip(&plain) {
            assert_eq!(row[1].as_deref(), Some(plain.id.as_str()));
        }
    }
    assert_eq!(database.stats("docs").outcomes(), (3, 3, 0));
    // Two searches in one statement, and one in the select list.
    let count = session.number(
        "SELECT count(*) FROM vcache_search('docs', (SELECT v FROM queries WHERE n = 0), 3) a \
         JOIN vcache_search('docs', (SELECT v::text FROM queries WHERE n = 1), 3) b USING (id)",
    );
    assert_eq!(count, 3);
    assert_eq!(session.rows("SELECT (vcache_search('docs', v, 2)).id FROM queries WHERE n < 2").len(), 4);
}

#[test]
fn plpgsql_searches_in_loops_and_functions() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "");
    session.run(
        "CREATE FUNCTION nearest(v text, k int) RETURNS text LANGUAGE plpgsql STABLE AS $$
         DECLARE found text := ''; r record;
         BEGIN
             FOR i IN 1..3 LOOP
                 FOR r IN SELECT * FROM vcache_search('docs', v, k) LOOP found := found || ' ' || r.id; END LOOP;
                 EXIT WHEN i = 3;
                 found := '';
             END LOOP;
             BEGIN
                 PERFORM * FROM vcache_search('docs', '[1]', k);
             EXCEPTION WHEN data_exception THEN
                 found := found || ' caught';
             END;
             PERFORM * FROM vcache_search('docs', v, k);
             RETURN found;
         END $$",
    );
    for seed in [1, 2, 1] {
        let query = source.query(seed);
        let found = session.value(&format!("SELECT nearest('{query}', 5)"));
        let plain = source.plain(&mut session, &query, 5);
        assert_eq!(found, format!(" {} caught", ids(&plain)[..5].join(" ")));
    }
    let (hits, misses, _) = database.stats("docs").outcomes();
    assert_eq!((hits, misses), (10, 2));
}

#[test]
fn a_prepared_statement_answers_every_execution() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 200, 64);
    source.index(&mut session);
    source.register(&mut session, "docs", "");
    session.run("PREPARE search(text, int) AS SELECT id, distance, payload FROM vcache_search('docs', $1, $2)");
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        session.run(&format!("SET plan_cache_mode = {mode}"));
        for turn in 0..10 {
            // Five vectors as misses, then as hits; from the sixth execution on a kept plan may be generic.
            let query = source.query(turn % 5);
            let found = session.answer(&format!("EXECUTE search('{query}', {})", turn + 1));
            let plain = source.plain(&mut session, &query, turn as usize + 1);
            assert_same(&found, &plain, turn as usize + 1);
        }
    }
    let statement = session
        .client()
        .prepare_typed("SELECT id FROM vcache_search('docs', $1, 5)", &[Type::FLOAT4_ARRAY])
        .expect("prepare");
    for seed in 0..10 {
        let vector = harness::Generator::new(seed + 1_000_000).vector(64);
        let rows = session.client().query(&statement, &[&vector]).expect("query");
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ids(&source.plain(&mut session, &source.query(seed), 5))[..5]);
    }
    let stats = database.stats("docs");
    let (hits, misses, bypasses) = stats.outcomes();
    assert_eq!((hits + misses, bypasses), (40, 0));
    assert!(misses >= 10 && hits >= 20, "{stats:?}");
    assert_eq!(database.engine_executions("docs"), misses);
}

#[test]
fn the_kept_plan_follows_changes_of_the_source() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 200, 64);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    let mut seed = 0;
    let mut check = |session: &mut Session, change: &str| {
        database.session().run(change);
        for _ in 0..2 {
            seed += 1;
            source.assert_search(session, "docs", &source.query(seed), 10);
        }
    };
    check(&mut session, "SELECT 1");
    check(&mut session, &format!("CREATE INDEX docs_index ON docs USING hnsw (embedding {VECTOR}_l2_ops)"));
    check(&mut session, "DROP INDEX docs_index");
    check(&mut session, "ALTER TABLE docs DROP COLUMN n");
    check(&mut session, "ALTER TABLE docs ADD COLUMN extra text DEFAULT 'x'");
    check(&mut session, "ALTER TABLE docs ALTER COLUMN id TYPE bigint");
    check(&mut session, "TRUNCATE docs");
    check(&mut session, "ANALYZE docs");
}

#[test]
fn a_renamed_source_is_still_searched() {
    let database = stand().database();
    let mut session = database.session();
    let mut source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "payload_columns => '{title}'");
    source.assert_search(&mut session, "docs", &source.query(1), 10);
    session.run("CREATE SCHEMA archive; ALTER TABLE docs RENAME TO papers; ALTER TABLE papers SET SCHEMA archive");
    source.table = "archive.papers".to_owned();
    let mut other = database.session();
    for session in [&mut session, &mut other] {
        for seed in [1, 2] {
            source.assert_search(session, "docs", &source.query(seed), 10);
        }
    }
}

#[test]
fn a_source_whose_schema_is_renamed_is_still_searched() {
    let database = stand().database();
    let (mut session, mut other) = (database.session(), database.session());
    session.run("CREATE SCHEMA shelf");
    let mut source = Source::create(&mut session, "shelf.docs", 50, 64);
    session.run("SELECT vcache_create_namespace('docs', 'shelf.docs', 'embedding', metric => 'l2')");
    for session in [&mut session, &mut other] {
        source.assert_search(session, "docs", &source.query(1), 10);
    }
    // And another table takes the name that it had.
    session.run("ALTER SCHEMA shelf RENAME TO attic; CREATE SCHEMA shelf");
    Source::create(&mut session, "shelf.docs", 40, 64);
    source.table = "attic.docs".to_owned();
    for session in [&mut session, &mut other] {
        for seed in [1, 2, 3] {
            source.assert_search(session, "docs", &source.query(seed), 10);
            session.search_by(&format!("'docs', '{}', 10, ttl => '0'", source.query(seed)));
        }
    }
}

#[test]
fn an_engine_that_moves_to_another_schema_is_still_asked() {
    let database = stand().database();
    let (mut session, mut other) = (database.session(), database.session());
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    // Before anybody searches: a new schema alone is news enough.
    session.run("CREATE SCHEMA engine");
    let plain: Vec<_> = [1, 2].map(|seed| source.plain(&mut session, &source.query(seed), 10)).into();
    assert_same(&other.search("docs", &source.query(1), 10), &plain[0], 10);
    // RuVector's extension cannot be moved as a whole.
    let moved = match session.engine() {
        Engine::RuVector => {
            "ALTER TYPE ruvector SET SCHEMA engine; \
                             ALTER OPERATOR <-> (engine.ruvector, engine.ruvector) SET SCHEMA engine"
        }
        Engine::Pgvector => "ALTER EXTENSION vector SET SCHEMA engine",
    };
    session.run(moved);
    for session in [&mut other, &mut database.session()] {
        assert_same(&session.search("docs", &source.query(1), 10), &plain[0], 10);
        assert_same(&session.search("docs", &source.query(2), 10), &plain[1], 10);
        let asked = session.search_by(&format!("'docs', '{}', 10, ttl => '0'", source.query(1)));
        assert_same(&asked, &plain[0], 10);
    }
}

#[test]
fn a_cursor_fetches_an_answer_in_parts() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "");
    let query = source.query(1);
    let whole: Vec<String> = session.search("docs", &query, 10).into_iter().map(|row| row.id).collect();
    for seed in [1, 2] {
        let query = source.query(seed);
        session.run(&format!("BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM vcache_search('docs', '{query}', 10)"));
        let mut parts = session.column("FETCH 3 FROM c");
        // Another search between two fetches.
        session.search("docs", &source.query(3), 5);
        parts.extend(session.column("FETCH 4 FROM c"));
        assert_eq!(session.column("FETCH BACKWARD 2 FROM c").len(), 2);
        session.run("MOVE 2 FROM c");
        parts.extend(session.column("FETCH ALL FROM c"));
        session.run("COMMIT");
        let plain = source.plain(&mut session, &query, 10);
        assert_eq!(parts, ids(&plain)[..10]);
    }
    session.run(&format!(
        "BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM vcache_search('docs', '{query}', 10); COMMIT"
    ));
    assert_eq!(session.column("FETCH ALL FROM h"), whole);
    // Only the first rows are wanted.
    assert_eq!(session.column(&format!("SELECT id FROM vcache_search('docs', '{query}', 10) LIMIT 2")), whole[..2]);
    // The driver's portals.
    let mut transaction = session.client().transaction().expect("transaction");
    let portal = transaction.bind("SELECT id FROM vcache_search('docs', $1, 10)", &[&query]).expect("portal");
    let mut parts: Vec<String> = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 3).expect("rows of a portal");
        if rows.is_empty() {
            break;
        }
        parts.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    assert_eq!(parts, whole);
}

#[test]
fn a_parallel_plan_may_hold_a_search() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 100, 64);
    source.register(&mut session, "docs", "");
    session.run("SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0");
    for seed in [1, 1, 2] {
        source.assert_search(&mut session, "docs", &source.query(seed), 10);
    }
    let joined = session.number(&format!(
        "SELECT count(*) FROM docs d JOIN vcache_search('docs', '{}', 10) s ON d.id = s.id::int",
        source.query(1)
    ));
    assert_eq!(joined, 10);
}

#[test]
fn a_search_that_waits_for_a_lock_obeys_the_sessions_timeouts() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    source.assert_search(&mut session, "docs", &source.query(1), 10);
    let mut owner = database.session();
    owner.run("BEGIN; LOCK TABLE docs IN ACCESS EXCLUSIVE MODE");
    session.run("SET statement_timeout = '200ms'");
    let search = format!("SELECT * FROM vcache_search('docs', '{}', 10)", source.query(2));
    session.fails(&search).assert("57014", &["statement timeout"]);
    session.run("SET statement_timeout = 0; SET lock_timeout = '100ms'");
    session.fails(&search).assert("55P03", &[]);
    session.run("SET lock_timeout = 0");

    // A cancel of another session's.
    let pid = session.pid();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| session.fails(&search));
        until("the search waits for the lock", || {
            owner.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
        });
        owner.run(&format!("SELECT pg_cancel_backend({pid})"));
        waiting.join().expect("thread")
    });
    waiting.assert("57014", &[]);
    owner.run("ROLLBACK");
    source.assert_search(&mut session, "docs", &source.query(2), 10);
    let stats = database.stats("docs");
    stats.outcomes();
    assert_eq!(stats.stores, 2);
}
