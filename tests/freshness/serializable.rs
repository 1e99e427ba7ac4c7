//! SERIALIZABLE: searches are bypasses, so serializable snapshot isolation sees what they read. What it refuses is what it refuses of the plain
//! query, and nothing else.

use std::fmt::Write;

use harness::{Database, Generator, Session, Stand, VECTOR};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene, stand};

#[test]
fn searches_are_bypasses_and_store_nothing() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    for begin in ["BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"] {
        session.run(begin);
        scene.bypass(&mut session, "serializable");
        scene.bypass(&mut session, "serializable");
        session.run("COMMIT");
    }
    assert!(stand.redis.keys().is_empty());
    scene.warm(&mut other);
    session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
    assert!(!has(&scene.bypass(&mut session, "serializable"), "1000"));
    other.run(NEAREST);
    assert!(!has(&scene.bypass(&mut session, "serializable"), "1000"));
    session.run("COMMIT");
    // As a session's default.
    session.run("SET default_transaction_isolation = serializable");
    assert!(has(&scene.bypass(&mut session, "serializable"), "1000"));
}

/// Tables that two kinds of databases have: one searches by vcache, the other asks the plain query.
fn tables(session: &mut Session) {
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, title text, n int, embedding {VECTOR}(3)); \
         INSERT INTO docs SELECT i, 'title ' || i, 0, '[8,8,8]' FROM generate_series(1, 20) i; \
         CREATE TABLE b (id int PRIMARY KEY, n int); INSERT INTO b VALUES (1, 0), (2, 0); \
         CREATE TABLE c (id int PRIMARY KEY, n int); INSERT INTO c VALUES (1, 0), (2, 0)"
    ));
}

/// What a transaction may do. `{s}` is its number.
const STEPS: [&str; 6] = [
    "SEARCH",
    "INSERT INTO docs VALUES (100 + {s}, 'new', 0, '[9,9,9]')",
    "UPDATE docs SET embedding = '[7,7,7]' WHERE id = {s}",
    "UPDATE b SET n = n + 1 WHERE id = {s}",
    "UPDATE c SET n = n + 1 WHERE id = {s}",
    "SELECT sum(n) FROM b",
];

const PLAIN: &str = "SELECT id::text FROM docs ORDER BY embedding <-> '[9,9,9]'::VECTOR LIMIT 30";

/// Two or three transactions' steps, interleaved.
struct History {
    levels: Vec<&'static str>,
    /// Whose turn it is, and what is done: a step, or the commit.
    moves: Vec<(usize, Option<usize>)>,
}

fn history(generator: &mut Generator) -> History {
    let sessions = 2 + generator.below(2) as usize;
    // The third is a writer of another level.
    let levels = (0..sessions).map(|number| {
        if number < 2 { "SERIALIZABLE" } else { ["READ COMMITTED", "REPEATABLE READ"][generator.below(2) as usize] }
    });
    let levels = levels.collect();
    let mut left: Vec<Vec<Option<usize>>> = (0..sessions)
        .map(|_| {
            let steps = 2 + generator.below(2);
            let mut steps: Vec<_> =
                (0..steps).map(|_| Some(generator.below(STEPS.len() as u64 + 2) as usize % STEPS.len())).collect();
            steps.insert(0, None);
            steps
        })
        .collect();
    let mut moves = Vec::new();
    while left.iter().any(|steps| !steps.is_empty()) {
        let number = generator.below(sessions as u64) as usize;
        if let Some(step) = left[number].pop() {
            moves.push((number, step));
        }
    }
    History { levels, moves }
}

/// How each move ended: the answer to a question, or an SQLSTATE.
fn play(history: &History, sessions: &mut [Session], search: &str) -> Vec<String> {
    let mut log = Vec::new();
    for (session, level) in sessions.iter_mut().zip(&history.levels) {
        session.run(&format!("BEGIN ISOLATION LEVEL {level}; SET LOCAL lock_timeout = '10ms'"));
    }
    for (number, step) in &history.moves {
        let sql = match step {
            Some(step) => STEPS[*step].replace("SEARCH", search).replace("{s}", &(number + 1).to_string()),
            None => "COMMIT".to_owned(),
        };
        let mut line = format!("{number} {sql}: ").replace(search, "SEARCH");
        match sessions[*number].try_rows(&sql) {
            Ok(mut rows) => {
                rows.sort();
                write!(line, "{rows:?}").expect("text");
            }
            Err(failure) => {
                assert_ne!(failure.sqlstate, "", "{sql}: {failure:?}");
                line.push_str(&failure.sqlstate);
            }
        }
        log.push(line);
    }
    for session in sessions {
        session.run("ROLLBACK");
    }
    log
}

fn reset(session: &mut Session) {
    session.run("UPDATE b SET n = 0; UPDATE c SET n = 0; DELETE FROM docs WHERE id > 100; UPDATE docs SET embedding = '[8,8,8]' WHERE embedding::text <> '[8,8,8]'");
}

fn sessions(database: &Database, count: usize) -> Vec<Session> {
    (0..count).map(|_| database.session()).collect()
}

#[test]
fn race_14_and_15_histories_end_as_those_of_the_plain_query() {
    let (cached, plain) = (stand().database(), stand().database());
    let mut owners = [cached.session(), plain.session()];
    for session in &mut owners {
        tables(session);
    }
    owners[0].run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact')");
    let (mut searching, mut asking) = (sessions(&cached, 3), sessions(&plain, 3));
    let search = format!("SELECT id FROM vcache_search('docs', '{QUERY}', 30)");
    let query = PLAIN.replace("VECTOR", &VECTOR.to_string());
    let (mut refused, mut passed) = (0, 0);
    for seed in 0..400 {
        let history = history(&mut Generator::new(seed));
        for session in &mut owners {
            reset(session);
        }
        // Somebody has searched before: there is an entry.
        owners[0].run(&search);
        let log = play(&history, &mut searching[..history.levels.len()], &search);
        let wanted = play(&history, &mut asking[..history.levels.len()], &query);
        assert_eq!(log, wanted, "seed {seed}");
        if log.iter().any(|line| line.ends_with("40001")) { refused += 1 } else { passed += 1 }
    }
    assert!(refused > 20 && passed > 20, "{refused} were refused, {passed} were not");
}

#[test]
fn race_14_a_write_skew_between_a_reader_that_would_hit_and_writers_of_other_levels() {
    let database = stand().database();
    let mut owner = database.session();
    tables(&mut owner);
    owner.run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', freshness => 'exact')");
    let search = format!("SELECT id FROM vcache_search('docs', '{QUERY}', 5)");
    // Each must be refused, as PostgreSQL refuses it of the plain query: the two see each other's absence.
    let mut all = sessions(&database, 3);
    let [first, second, third] = all.as_mut_slice() else { unreachable!("three") };
    owner.run(&search);
    for session in [&mut *first, &mut *second] {
        session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
        session.run(&search);
    }
    // The clock's slot is taken by a writer of another level in between, and by a serializable one again.
    third.run("UPDATE docs SET title = 'x' WHERE id = 9");
    first.run("INSERT INTO docs VALUES (201, '', 0, '[9,9,9]')");
    second.run("INSERT INTO docs VALUES (202, '', 0, '[9,9,9]')");
    first.run("COMMIT");
    second.fails("COMMIT").assert("40001", &[]);
    second.run("ROLLBACK");
    assert_eq!(owner.number("SELECT count(*) FROM docs WHERE id > 200"), 1);
}

#[test]
fn race_15_two_that_search_one_source_and_write_others_pass() {
    let database = stand().database();
    let mut owner = database.session();
    tables(&mut owner);
    owner.run("CREATE TABLE d AS TABLE docs; ALTER TABLE d ADD PRIMARY KEY (id); CREATE TABLE e AS TABLE docs; ALTER TABLE e ADD PRIMARY KEY (id)");
    for source in ["docs", "d", "e"] {
        owner.run(&format!(
            "SELECT vcache_create_namespace('{source}', '{source}', 'embedding', metric => 'l2', freshness => 'exact')"
        ));
    }
    let mut all = sessions(&database, 2);
    // Their clocks stand on one page of one index, which is nobody's business.
    for round in 0..20 {
        for session in &mut all {
            session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
            session.run(&format!("SELECT id FROM vcache_search('docs', '{QUERY}', 5)"));
        }
        for (session, source) in all.iter_mut().zip(["d", "e"]) {
            session.run(&format!(
                "INSERT INTO {source} VALUES ({}, '', 0, '[9,9,9]'); DELETE FROM {source} WHERE id = 1",
                1000 + round
            ));
        }
        for session in &mut all {
            session.run("COMMIT");
        }
    }
    // The first search of a session, which finds out what the source is, and one that may be as old as its ttl.
    owner.run(&format!(
        "CREATE TABLE parts (id int, embedding {VECTOR}(3)) PARTITION BY RANGE (id); \
         CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (100); INSERT INTO parts VALUES (1, '[1,1,1]')"
    ));
    for freshness in ["exact", "ttl"] {
        owner.run(&format!(
            "SELECT vcache_create_namespace('parts {freshness}', 'parts', 'embedding', id_column => 'id', metric => 'l2', \
             freshness => '{freshness}')"
        ));
        let mut new = sessions(&database, 2);
        for (session, source) in new.iter_mut().zip(["d", "e"]) {
            session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
            session.run(&format!("SELECT id FROM vcache_search('parts {freshness}', '{QUERY}', 5)"));
            // As many changes as make an entry in the index of the clocks.
            owner.run(&format!("DO $$ BEGIN FOR i IN 1..14 LOOP INSERT INTO {source} VALUES (-i, '', 0, '[1,1,1]'); COMMIT; END LOOP; END $$"));
        }
        let read = "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation::regclass::text ~ 'vcache_source_clock'";
        assert_eq!(owner.number(read), 0, "{freshness}");
        for (session, source) in new.iter_mut().zip(["d", "e"]) {
            session.run(&format!("INSERT INTO {source} VALUES (3000, '', 0, '[9,9,9]')"));
        }
        for session in &mut new {
            session.run("COMMIT");
        }
        owner.run("DELETE FROM d WHERE id NOT BETWEEN 0 AND 2000; DELETE FROM e WHERE id NOT BETWEEN 0 AND 2000");
    }
    // Both write what nobody has read.
    for session in &mut all {
        session.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM pg_class");
    }
    for (number, session) in all.iter_mut().enumerate() {
        session.run(&format!("INSERT INTO d VALUES ({}, '', 0, '[9,9,9]')", 2000 + number));
    }
    for session in &mut all {
        session.run("COMMIT");
    }
}
