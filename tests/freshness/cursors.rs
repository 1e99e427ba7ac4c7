//! Cursors, functions and common table expressions: searches whose snapshot is not the newest, or that run beside a write.

use harness::{Row, Session, Stand, until};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene};

/// Opens a cursor `c` that compares the search with the plain query.
fn declare(scene: &Scene, session: &mut Session, kind: &str) {
    let query = scene.comparison(session.engine(), QUERY);
    session.run(&format!("DECLARE c {kind} FOR {query}"));
}

#[track_caller]
fn fetch(session: &mut Session) -> Vec<Row> {
    let rows = session.rows("FETCH ALL FROM c");
    Scene::assert_equal(rows)
}

#[test]
fn a_cursor_answers_for_the_snapshot_that_it_was_opened_with() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    for warm in [true, false] {
        database.flush();
        if warm {
            scene.warm(&mut session);
        }
        session.run("BEGIN");
        declare(&scene, &mut session, "CURSOR");
        other.run(NEAREST);
        if warm {
            assert!(has(&scene.stale(&mut other), "1000"));
        }
        assert!(!has(&fetch(&mut session), "1000"), "warm: {warm}");
        // What it has stored, if anything, is for nobody of a later snapshot.
        assert!(has(&scene.right(&mut session), "1000"));
        assert!(has(&scene.hit(&mut other), "1000"));
        session.run("COMMIT");
        other.run("DELETE FROM docs WHERE id = 1000");
    }
}

#[test]
fn a_cursor_that_is_older_than_a_write_of_its_own_transaction() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    for kind in ["CURSOR", "CURSOR WITH HOLD", "SCROLL CURSOR", "INSENSITIVE CURSOR"] {
        for end in ["COMMIT", "ROLLBACK"] {
            database.flush();
            session.run("BEGIN");
            declare(&scene, &mut session, kind);
            session.run(NEAREST);
            assert!(!has(&fetch(&mut session), "1000"), "{kind}: it does not see later commands");
            session.run(end);
            for session in [&mut session, &mut other] {
                assert_eq!(has(&scene.right(session), "1000"), end == "COMMIT", "{kind} {end}");
                scene.hit(session);
            }
            session.run("CLOSE ALL; DELETE FROM docs WHERE id = 1000");
        }
    }
}

#[test]
fn a_cursor_with_hold_is_computed_at_commit_and_sees_what_it_saw_when_it_was_opened() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    for own in [true, false] {
        database.flush();
        session.run("BEGIN");
        declare(&scene, &mut session, "CURSOR WITH HOLD");
        if own {
            session.run(NEAREST)
        } else {
            other.run(NEAREST)
        }
        session.run("COMMIT");
        assert!(!has(&fetch(&mut session), "1000"), "own: {own}");
        assert!(has(&scene.right(&mut other), "1000"));
        assert!(has(&scene.hit(&mut session), "1000"));
        session.run("CLOSE c");
        other.run("DELETE FROM docs WHERE id = 1000");
    }
}

#[test]
fn a_cursor_opened_on_uncommitted_rows_that_are_gone_when_it_is_read() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    scene.warm(&mut session);
    session.run("BEGIN; SAVEPOINT a");
    declare(&scene, &mut session, "CURSOR");
    session.run("SAVEPOINT b");
    session.run(NEAREST);
    session.run("ROLLBACK TO b");
    assert!(!has(&fetch(&mut session), "1000"));
    session.run("COMMIT");
    scene.hit(&mut session);
}

#[test]
fn data_modifying_ctes_beside_a_search() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let compared = scene.comparison(session.engine(), QUERY);
    let writes = [
        "INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]') RETURNING id",
        "UPDATE docs SET embedding = '[9,9,9]' WHERE id = 1000 RETURNING id",
        "DELETE FROM docs WHERE id = 1000 RETURNING id",
    ];
    for warm in [true, false] {
        for write in writes {
            if warm {
                scene.warm(&mut session);
            } else {
                database.flush();
            }
            let before = scene.right(&mut session);
            if !warm {
                database.flush();
            }
            // All parts of a statement have one snapshot, whatever order they run in.
            for order in [
                format!(
                    "WITH w AS ({write}), s AS MATERIALIZED ({compared}) SELECT s.* FROM s, (SELECT count(*) FROM w) c"
                ),
                format!(
                    "WITH w AS MATERIALIZED ({write}), s AS ({compared}) SELECT s.* FROM (SELECT count(*) FROM w) c, s"
                ),
                format!("WITH w AS ({write}) {compared}"),
            ] {
                session.run("BEGIN");
                let rows = session.rows(&order);
                assert_eq!(Scene::assert_equal(rows), before, "{order}");
                session.run("ROLLBACK");
                assert_eq!(scene.right(&mut other), before, "{order}");
                if !warm {
                    database.flush();
                }
                session.run("BEGIN");
                let rows = session.rows(&order);
                assert_eq!(Scene::assert_equal(rows), before, "{order}");
                scene.bypass(&mut session, "written");
                session.run("ROLLBACK");
                assert_eq!(scene.right(&mut other), before, "{order}");
            }
            session.run(write);
            scene.miss(&mut session);
            scene.hit(&mut other);
        }
    }
}

#[test]
fn a_function_that_writes_and_searches_in_one_statement() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    session.run(&format!(
        "CREATE FUNCTION near() RETURNS bigint LANGUAGE sql STABLE AS \
           $$ SELECT count(*) FROM vcache_search('docs', '{QUERY}', 5) WHERE id = '1000' $$;
         CREATE FUNCTION near_now() RETURNS bigint LANGUAGE plpgsql VOLATILE AS \
           $$ BEGIN RETURN (SELECT count(*) FROM vcache_search('docs', '{QUERY}', 5) WHERE id = '1000'); END $$;
         CREATE FUNCTION write_and_look() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
         DECLARE before bigint := near(); BEGIN {NEAREST}; RETURN before || ' ' || near() || ' ' || near_now(); END $$"
    ));
    scene.warm(&mut session);
    assert_eq!(session.value("SELECT write_and_look()"), "0 1 1");
    assert!(has(&scene.stale(&mut other), "1000"));
    session.run("DELETE FROM docs WHERE id = 1000");
    // A stable function sees what its statement saw, a volatile one what was written meanwhile: as the plain query would.
    assert_eq!(
        session.rows("SELECT near(), write_and_look(), near(), near_now()"),
        [["0", "0 1 1", "0", "1"].map(|value| Some(value.to_owned()))]
    );
    assert!(has(&scene.right(&mut other), "1000"));
    scene.hit(&mut session);
}

#[test]
fn searches_inside_a_writing_statement_see_its_rows_as_the_plain_query_would() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let kind = session.engine().extension();
    // The number of rows near the query, by the search and by the plain query, while the statement is on its way.
    session.run(&format!(
        "CREATE TABLE seen (found bigint, plain bigint);
         CREATE FUNCTION look(id int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
         DECLARE found bigint; plain bigint;
         BEGIN
             SELECT count(*) INTO found FROM vcache_search('docs', '{QUERY}', 5) WHERE distance < 1;
             SELECT count(*) INTO plain FROM docs WHERE embedding <-> '{QUERY}'::{kind} < 1;
             INSERT INTO seen VALUES (found, plain);
             RETURN id;
         END $$"
    ));
    let statements = [
        "INSERT INTO docs SELECT look(i), 'near', 0, '[9,9,9]' FROM generate_series(1000, 1003) i",
        "UPDATE docs SET n = look(id) WHERE id >= 1000",
        "UPDATE docs SET embedding = '[9,9,8.5]', n = look(id) WHERE id >= 1000",
        "DELETE FROM docs WHERE id >= 1000 AND look(id) = id",
    ];
    for statement in statements {
        scene.warm(&mut other);
        for end in ["ROLLBACK", "COMMIT"] {
            session.run("TRUNCATE seen; BEGIN");
            session.run(statement);
            let wrong = session.rows("SELECT * FROM seen WHERE found <> plain");
            assert!(wrong.is_empty(), "{statement}: {wrong:?}");
            assert!(session.number("SELECT count(*) FROM seen") >= 4);
            session.run(end);
            scene.right(&mut other);
            scene.hit(&mut other);
        }
    }
}

#[test]
fn race_09_the_engine_runs_in_the_statements_snapshot_though_the_transaction_has_an_id() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut late) = Scene::new(&database);
    let mut other = database.session();
    let comparison = scene.comparison(late.engine(), QUERY);
    late.run(&format!(
        "CREATE TABLE unrelated (n int); \
         CREATE FUNCTION late() RETURNS TABLE (of_search bool, id text, distance float8, payload text, rank bigint) LANGUAGE plpgsql STABLE AS $$
         #variable_conflict use_column
         BEGIN PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1); RETURN QUERY {comparison}; END $$"
    ));
    let pid = late.pid();
    for warm in [true, false] {
        database.flush();
        if warm {
            scene.warm(&mut other);
        }
        late.run("BEGIN; INSERT INTO unrelated VALUES (1)");
        other.run("SELECT pg_advisory_lock(1)");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| late.rows("SELECT * FROM late()"));
            until("the statement waits", || {
                other.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
            });
            other.run(NEAREST);
            if warm {
                assert!(has(&scene.stale(&mut other), "1000"));
            }
            other.run("SELECT pg_advisory_unlock(1)");
            assert!(!has(&Scene::assert_equal(waiting.join().expect("thread")), "1000"), "warm: {warm}");
        });
        late.run("COMMIT");
        assert!(has(&scene.right(&mut other), "1000"));
        scene.hit(&mut late);
        other.run("DELETE FROM docs WHERE id = 1000");
    }
}
