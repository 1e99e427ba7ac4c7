//! Searches from inside triggers, and what triggers leave open behind them: there rows have changed and the clock has not.

use harness::{Session, Stand};

use crate::scene::has;
use crate::{NEAREST, QUERY, Scene};

/// A row trigger that opens a cursor `c` on the comparison of search and plain query.
fn open_in_a_row_trigger(scene: &Scene, session: &mut Session, name: &str, timing: &str) {
    let comparison = scene.comparison(session.engine(), QUERY);
    session.run(&format!(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ \
         DECLARE c CONSTANT refcursor := 'c'; BEGIN OPEN c FOR {comparison}; RETURN NEW; END $$; \
         CREATE TRIGGER {name} {timing} INSERT ON docs FOR EACH ROW EXECUTE FUNCTION look()"
    ));
}

#[test]
fn race_06_a_cursor_opened_in_a_row_trigger() {
    for (name, timing) in [("a", "BEFORE"), ("a", "AFTER"), ("zzz", "AFTER")] {
        for warm in [true, false] {
            let stand = Stand::start();
            let database = stand.database();
            let (scene, mut session) = Scene::new(&database);
            let mut other = database.session();
            open_in_a_row_trigger(&scene, &mut session, name, timing);
            if warm {
                scene.warm(&mut other);
            }
            session.run("BEGIN");
            session.run(NEAREST);
            // The cursor's snapshot sees the row and not the clock's change, which came after it.
            let rows = session.rows("FETCH ALL FROM c");
            let found = Scene::assert_equal(rows);
            assert!(has(&found, "1000"), "{name} {timing} {warm}");
            session.run("ROLLBACK");
            assert!(!has(&scene.right(&mut other), "1000"), "{name} {timing} {warm}: a poisoned entry");
            scene.hit(&mut other);
            // The same in a subtransaction, of which the cursor is the outer one's afterwards.
            session.run("BEGIN; SAVEPOINT a");
            session.run(NEAREST);
            session.run("RELEASE a");
            let rows = session.rows("FETCH ALL FROM c");
            Scene::assert_equal(rows);
            session.run("COMMIT");
            assert!(has(&scene.stale(&mut other), "1000"), "{name} {timing} {warm}");
        }
    }
}

#[test]
fn race_06_a_cursor_opened_in_a_trigger_of_another_tables_rows() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let comparison = scene.comparison(session.engine(), QUERY);
    // The cursor is opened in a statement on docs that is still on its way, from a cascade's depth.
    session.run(&format!(
        "CREATE TABLE log (id int); \
         CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END $$; \
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ \
         DECLARE c CONSTANT refcursor := 'c'; BEGIN OPEN c FOR {comparison}; RETURN NEW; END $$; \
         CREATE TRIGGER a AFTER INSERT ON docs FOR EACH ROW EXECUTE FUNCTION log(); \
         CREATE TRIGGER b BEFORE INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION look()"
    ));
    for warm in [true, false] {
        database.flush();
        if warm {
            scene.warm(&mut other);
        }
        session.run("BEGIN");
        session.run(NEAREST);
        let rows = session.rows("FETCH ALL FROM c");
        assert!(has(&Scene::assert_equal(rows), "1000"), "{warm}");
        session.run("ROLLBACK");
        assert!(!has(&scene.right(&mut other), "1000"), "{warm}");
        scene.hit(&mut other);
    }
}

/// Triggers `when` by a name that note in `seen` how many rows near the query the search finds, and the plain query.
fn look_in_triggers(session: &mut Session, first: &str, triggers: &[(&str, &str)]) {
    let kind = session.engine().extension();
    session.run(&format!(
        "CREATE TABLE seen (moment text, found bigint, plain bigint); \
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ \
         DECLARE found bigint; plain bigint; \
         BEGIN \
             {first}; \
             SELECT count(*) INTO found FROM vcache_search('docs', '{QUERY}', 5) WHERE distance < 1; \
             SELECT least(5, count(*)) INTO plain FROM docs WHERE embedding <-> '{QUERY}'::{kind} < 1; \
             INSERT INTO seen VALUES (concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_LEVEL), found, plain); \
             IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; \
         END $$"
    ));
    for (name, when) in triggers {
        session.run(&format!("CREATE TRIGGER {name} {when} EXECUTE FUNCTION look()"));
    }
}

fn assert_nothing_wrong(session: &mut Session, statement: &str, at_least: i64) {
    let wrong = session.rows("SELECT * FROM seen WHERE found <> plain");
    assert!(wrong.is_empty(), "{statement}: {wrong:?}");
    assert!(session.number("SELECT count(*) FROM seen") >= at_least, "{statement}");
}

const EVENTS: &str = "INSERT OR UPDATE OR DELETE ON docs FOR EACH";

#[test]
fn triggers_of_every_kind_whatever_their_names() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let mut triggers = Vec::new();
    for name in ["\"A\"", "vcache_b", "vcache_z", "zzz"] {
        for (number, when) in ["BEFORE", "AFTER"].into_iter().enumerate() {
            for level in ["ROW", "STATEMENT"] {
                let inside = name.trim_matches('"');
                triggers.push((format!("\"{inside}{number}{level}\""), format!("{when} {EVENTS} {level}")));
            }
        }
    }
    let triggers: Vec<_> = triggers.iter().map(|(name, when)| (name.as_str(), when.as_str())).collect();
    look_in_triggers(&mut session, "NULL", &triggers);
    for statement in [
        "INSERT INTO docs SELECT i, 'near', 0, '[9,9,9]' FROM generate_series(1000, 1002) i",
        "UPDATE docs SET embedding = '[9,9,9]' WHERE id IN (1, 2)",
        "UPDATE docs SET embedding = '[1,1,1]' WHERE id IN (1, 1000)",
        "UPDATE docs SET n = n + 1 WHERE id < 4",
        "INSERT INTO docs VALUES (1001, '', 0, '[1,1,1]'), (1003, '', 0, '[9,9,9]') ON CONFLICT (id) DO UPDATE SET embedding = '[1,1,1]'",
        "DELETE FROM docs WHERE id > 999",
    ] {
        for warm in [true, false] {
            if warm {
                scene.warm(&mut other)
            } else {
                Vec::new()
            };
            if !warm {
                database.flush();
            }
            for end in ["ROLLBACK", "ROLLBACK TO a; COMMIT"] {
                session.run("TRUNCATE seen; BEGIN; SAVEPOINT a");
                session.run(statement);
                assert_nothing_wrong(&mut session, statement, 10);
                scene.bypass(&mut session, "written");
                session.run(end);
                scene.right(&mut other);
            }
        }
        session.run(statement);
        scene.right(&mut other);
        scene.hit(&mut other);
    }
}

#[test]
fn race_07_a_row_trigger_whose_own_update_matches_nothing_and_that_searches_then() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let nothing = "UPDATE docs SET title = 'x' WHERE false; DELETE FROM docs WHERE id = -1; INSERT INTO docs SELECT * FROM docs WHERE false";
    look_in_triggers(
        &mut session,
        nothing,
        &[("a", "AFTER INSERT ON docs FOR EACH ROW"), ("b", "BEFORE INSERT ON docs FOR EACH ROW")],
    );
    for warm in [true, false] {
        database.flush();
        if warm {
            scene.warm(&mut other);
        }
        session.run("TRUNCATE seen; BEGIN");
        session.run("INSERT INTO docs VALUES (1000, '', 0, '[9,9,9]'), (1001, '', 0, '[9,9,9]')");
        assert_nothing_wrong(&mut session, "INSERT", 4);
        session.run("ROLLBACK");
        assert!(!has(&scene.right(&mut other), "1000"), "{warm}: a poisoned entry");
        scene.hit(&mut other);
    }
}

#[test]
fn a_trigger_that_writes_the_source_in_a_subtransaction_of_its_own() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    let inner = "BEGIN DELETE FROM docs WHERE id = 3; RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END";
    look_in_triggers(&mut session, inner, &[("a", "AFTER INSERT ON docs FOR EACH ROW")]);
    scene.warm(&mut other);
    session.run("BEGIN");
    session.run(NEAREST);
    assert_nothing_wrong(&mut session, "INSERT", 1);
    scene.bypass(&mut session, "written");
    session.run("COMMIT");
    assert!(has(&scene.stale(&mut other), "1000"));
}

#[test]
fn deferred_triggers_search_when_the_transaction_commits() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    look_in_triggers(&mut session, "NULL", &[]);
    session.run(
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT OR DELETE ON docs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()",
    );
    for write in [NEAREST, "DELETE FROM docs WHERE id = 1000"] {
        scene.warm(&mut other);
        session.run("TRUNCATE seen");
        session.run(write);
        assert_nothing_wrong(&mut session, write, 1);
        assert_eq!(has(&scene.stale(&mut other), "1000"), write == NEAREST);
    }
    // A statement fires it, not the commit.
    session.run("TRUNCATE seen; BEGIN");
    session.run(NEAREST);
    session.run("SET CONSTRAINTS ALL IMMEDIATE");
    assert_nothing_wrong(&mut session, "SET CONSTRAINTS", 1);
    session.run("ROLLBACK");
    scene.hit(&mut other);
}

#[test]
fn instead_of_triggers_and_statements_that_fail_half_way() {
    let stand = Stand::start();
    let database = stand.database();
    let (scene, mut session) = Scene::new(&database);
    let mut other = database.session();
    session.run(
        "CREATE VIEW seen_docs AS SELECT id, title FROM docs UNION ALL SELECT 0, ''; \
         CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO docs VALUES (NEW.id, NEW.title, 0, '[9,9,9]'); RETURN NEW; END $$; \
         CREATE TRIGGER instead INSTEAD OF INSERT ON seen_docs FOR EACH ROW EXECUTE FUNCTION instead()",
    );
    scene.warm(&mut other);
    session.run("INSERT INTO seen_docs VALUES (1000, 'by a view')");
    assert!(has(&scene.stale(&mut other), "1000"));
    scene.hit(&mut other);
    // Half of the rows are there when it fails: nothing of it counts, and nothing of it is left in the session.
    session.run("BEGIN; SAVEPOINT a");
    session
        .fails("INSERT INTO docs SELECT i, '', 0, '[9,9,9]' FROM generate_series(1003, 1000, -1) i")
        .assert("23505", &[]);
    session.run("ROLLBACK TO a");
    scene.hit(&mut session);
    session.run("COMMIT");
    scene.hit(&mut session);
    scene.hit(&mut other);
}
