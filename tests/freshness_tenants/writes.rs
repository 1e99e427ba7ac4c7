//! Whose entries a statement, or a transaction of several, makes stale.

use crate::scene::near;
use crate::{Scene, stand};

#[test]
fn statements_make_those_stale_whose_rows_they_change() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    let (ann, bob, cid) = ("docs/ann", "docs/bob", "docs/cid");
    session.run("CREATE TABLE others (id int, who text); INSERT INTO others VALUES (15, 'bob'), (1, 'ann')");
    let cases: &[(&str, &[&str])] = &[
        (&near(100, "'ann'"), &[ann]),
        ("UPDATE notes SET title = 'x' WHERE tenant = 'bob'", &[bob]),
        ("UPDATE notes SET embedding = '[8,8,8]' WHERE id = 20", &[cid]),
        ("DELETE FROM notes WHERE id = 20", &[cid]),
        ("INSERT INTO notes SELECT id + 200, title, n, tenant, embedding FROM notes WHERE id IN (5, 15)", &[ann, bob]),
        // A row goes from one to another.
        ("UPDATE notes SET tenant = 'cid' WHERE id = 100", &[ann, cid]),
        ("UPDATE notes SET tenant = 'ann' WHERE id = 100", &[ann, cid]),
        // A row that was nobody's, and one of somebody whom nobody has searched.
        (&near(101, "NULL"), &[]),
        ("UPDATE notes SET tenant = 'bob' WHERE id = 101", &[bob]),
        ("UPDATE notes SET tenant = NULL WHERE id = 101", &[bob]),
        (&near(102, "'dan'"), &[]),
        ("UPDATE notes SET title = 'x' WHERE tenant = 'nobody'", &[]),
        // Columns that no namespace reads.
        ("UPDATE notes SET n = n + 1", &[]),
        (
            "INSERT INTO notes SELECT * FROM notes WHERE id IN (1, 11) ON CONFLICT (id) DO UPDATE SET title = 'y' WHERE notes.tenant = 'ann'",
            &[ann],
        ),
        ("INSERT INTO notes SELECT * FROM notes WHERE id = 11 ON CONFLICT DO NOTHING", &[]),
        (
            "INSERT INTO notes SELECT * FROM notes WHERE id = 11 ON CONFLICT (id) DO UPDATE SET tenant = 'cid'",
            &[bob, cid],
        ),
        (
            "MERGE INTO notes s USING others o ON s.id = o.id WHEN MATCHED AND who = 'ann' THEN DELETE WHEN MATCHED THEN UPDATE SET title = 'z'",
            &[ann, bob],
        ),
        (
            "MERGE INTO notes s USING others o ON s.id = o.id + 300 WHEN NOT MATCHED AND who = 'bob' THEN INSERT (id, tenant) VALUES (o.id + 300, who)",
            &[bob],
        ),
        (
            "WITH gone AS (DELETE FROM notes WHERE id = 22 RETURNING *) INSERT INTO notes SELECT id + 400, title, n, 'ann', embedding FROM gone",
            &[ann, cid],
        ),
        ("WITH gone AS (DELETE FROM notes WHERE id = 23 RETURNING id) SELECT * FROM gone", &[cid]),
        (
            "DO $$ BEGIN FOR i IN 500..510 LOOP INSERT INTO notes VALUES (i, '', 0, 'cid', '[9,9,8]'); END LOOP; END $$",
            &[cid],
        ),
        ("TRUNCATE notes", &[ann, bob, cid]),
    ];
    for (statement, stale) in cases {
        scene.changes(&mut session, statement, stale);
    }
}

#[test]
fn copy_is_told_apart_by_row() {
    use std::io::Write;
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    for (from, tenants, stale) in [
        (1000, vec!["bob"], vec!["docs/bob"]),
        (4000, vec!["ann", "cid"], vec!["docs/ann", "docs/cid"]),
        (7000, vec!["nobody"], vec![]),
    ] {
        scene.warm();
        let mut client = session.client().copy_in("COPY notes FROM STDIN").expect("COPY");
        for id in from..from + 2500 {
            let tenant = tenants[id % tenants.len()];
            writeln!(client, "{id}\ttitle\t0\t{tenant}\t[8,8,8.{id}]").expect("a row");
        }
        client.finish().expect("COPY");
        scene.assert_stale(&stale);
    }
}

#[test]
fn a_change_of_many_tenants_is_one_of_all() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    let many = |from: u32, count: u32| {
        format!(
            "INSERT INTO notes SELECT i, '', 0, 'other ' || i, '[9,9,9]' FROM generate_series({from}, {from} + {count} - 1) i"
        )
    };
    scene.changes(&mut session, &many(1000, 20), &[]);
    scene.changes(&mut session, &many(2000, 200), &["docs/ann", "docs/bob", "docs/cid"]);
    // One statement at a time, and not more of them at once than before: what a transaction does together counts.
    let statements: Vec<_> = (0..40).map(|i| many(3000 + i, 1)).collect();
    scene.changes(&mut session, &statements.join("; "), &["docs/ann", "docs/bob", "docs/cid"]);
    for statement in statements {
        scene.changes(&mut session, &statement.replace("30", "40"), &[]);
    }
    scene.changes(&mut session, "DELETE FROM notes WHERE id >= 1000", &["docs/ann", "docs/bob", "docs/cid"]);
}

#[test]
fn what_is_rolled_back_makes_nobody_stale_and_hides_nothing() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    let (ann, bob, cid) = (near(100, "'ann'"), near(101, "'bob'"), near(102, "'cid'"));
    scene.changes(&mut session, &format!("BEGIN; {ann}; ROLLBACK"), &[]);
    scene.changes(&mut session, &format!("BEGIN; {ann}; SAVEPOINT a; {bob}; ROLLBACK TO a; COMMIT"), &["docs/ann"]);
    session.run("DELETE FROM notes WHERE id >= 100");
    // The note goes with the savepoint; what is written again is noted again.
    scene.changes(&mut session, &format!("BEGIN; SAVEPOINT a; {bob}; ROLLBACK TO a; {ann}; COMMIT"), &["docs/ann"]);
    session.run("DELETE FROM notes WHERE id >= 100");
    let again = format!("BEGIN; SAVEPOINT a; {bob}; ROLLBACK TO a; {cid}; {bob}; COMMIT");
    scene.changes(&mut session, &again, &["docs/bob", "docs/cid"]);
    session.run("DELETE FROM notes WHERE id >= 100");
    let released = format!("BEGIN; SAVEPOINT a; {bob}; RELEASE a; SAVEPOINT b; {cid}; ROLLBACK TO b; COMMIT");
    scene.changes(&mut session, &released, &["docs/bob"]);
    // An outer statement's rows stay when what an inner one did is undone.
    session.run(
        "CREATE FUNCTION tries() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN \
           BEGIN \
             UPDATE notes SET title = 'inner' WHERE tenant = 'bob'; \
             PERFORM 1 / 0; \
           EXCEPTION WHEN division_by_zero THEN NULL; \
           END; \
           RETURN NULL; \
         END $$; \
         CREATE TRIGGER tries AFTER INSERT ON notes FOR EACH ROW WHEN (NEW.id >= 200) EXECUTE FUNCTION tries()",
    );
    scene.changes(&mut session, &near(200, "'ann'"), &["docs/ann"]);
    session.run("DROP TRIGGER tries ON notes; CREATE TRIGGER tries BEFORE INSERT ON notes FOR EACH STATEMENT EXECUTE FUNCTION tries()");
    scene.changes(&mut session, &near(201, "'ann'"), &["docs/ann"]);
}

#[test]
fn triggers_and_cascades_change_what_they_change() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    // What a row is when it is stored counts, not what the statement said.
    session.run(
        "CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.tenant := 'cid'; RETURN NEW; END $$; \
         CREATE TRIGGER moves BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION moves()",
    );
    scene.changes(&mut session, &near(100, "'ann'"), &["docs/cid"]);
    session.run("DROP TRIGGER moves ON notes");
    session.run(
        "CREATE TABLE owners (name text PRIMARY KEY); \
         INSERT INTO owners SELECT DISTINCT tenant FROM notes; INSERT INTO owners VALUES ('eve'); \
         ALTER TABLE notes ADD FOREIGN KEY (tenant) REFERENCES owners ON UPDATE CASCADE ON DELETE CASCADE",
    );
    scene.changes(&mut session, "DELETE FROM owners WHERE name = 'eve'", &[]);
    scene.changes(&mut session, "UPDATE owners SET name = 'eve' WHERE name = 'bob'", &["docs/bob"]);
    scene.view("docs/eve", "tenant = 'eve'");
    scene.changes(&mut session, "UPDATE owners SET name = 'bob' WHERE name = 'eve'", &["docs/bob", "docs/eve"]);
    scene.changes(&mut session, "DELETE FROM owners WHERE name = 'bob'", &["docs/bob"]);
}

#[test]
fn ones_own_writes_are_seen_and_kept_for_oneself() {
    let database = stand().database();
    let (mut scene, _) = Scene::new(&database);
    scene.warm();
    scene.searcher().run("BEGIN");
    scene.searcher().run(&near(100, "'ann'"));
    scene.assert_bypassed();
    scene.searcher().run("COMMIT");
    scene.assert_stale(&["docs/ann"]);
    scene.searcher().run("BEGIN; SAVEPOINT a");
    scene.searcher().run(&near(101, "'bob'"));
    scene.assert_bypassed();
    scene.searcher().run("ROLLBACK TO a");
    scene.assert_stale(&[]);
    scene.searcher().run("COMMIT");
    scene.assert_stale(&[]);
}

#[test]
fn all_isolation_levels_and_prepared_transactions_write_alike() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    for (id, level) in [(100, "READ COMMITTED"), (101, "REPEATABLE READ"), (102, "SERIALIZABLE")] {
        let write = near(id, "'bob'");
        scene.changes(&mut session, &format!("BEGIN ISOLATION LEVEL {level}; {write}; COMMIT"), &["docs/bob"]);
    }
    scene.changes(&mut session, &format!("BEGIN; {}; PREPARE TRANSACTION 'later'", near(103, "'cid'")), &[]);
    // A transaction that follows has notes of its own.
    scene.changes(&mut session, &near(104, "'ann'"), &["docs/ann"]);
    scene.changes(&mut session, "COMMIT PREPARED 'later'", &["docs/cid"]);
}

#[test]
fn writers_of_one_tenant_at_the_same_time_are_all_seen() {
    let database = stand().database();
    let (mut scene, mut session) = Scene::new(&database);
    let mut others: Vec<_> = (0..12).map(|_| database.session()).collect();
    scene.warm();
    for (number, other) in others.iter_mut().enumerate() {
        other.run(&format!("BEGIN; {}", near(100 + number as u32, "'bob'")));
    }
    for other in &mut others {
        scene.changes(other, "COMMIT", &["docs/bob"]);
    }
    scene.changes(&mut session, &near(200, "'bob'"), &["docs/bob"]);
}
