//! Owns the statements that change definitions and storage: what no snapshot sees in step.

use harness::Session;

use crate::actor::LOCK_TIMEOUT;
use crate::scene::{TARGETS, fill, row};
use crate::script::{End, Isolation, Script, Step, Work};
use crate::writes;

/// Statements that fail half-way may leave this behind; nobody else runs then.
pub fn mend(session: &mut Session) {
    let _ = session.try_rows("ALTER TABLE parts DETACH PARTITION parts_x FINALIZE");
    let _ = session.try_rows("ALTER TABLE parts ATTACH PARTITION parts_x FOR VALUES FROM (MINVALUE) TO (0)");
    let _ = session.try_rows("ALTER TABLE tree_b INHERIT tree");
}

const DETACH: &str = "ALTER TABLE parts DETACH PARTITION parts_x";
const ATTACH: &str = "ALTER TABLE parts ATTACH PARTITION parts_x FOR VALUES FROM (MINVALUE) TO (0)";

/// The next thing that an administrator does: a transaction of it, or a statement that must stand alone.
pub fn change(script: &mut Script) -> Work {
    let run = |text: &str| Step::Run(text.to_owned());
    let steps = match script.generator.below(17) {
        0 => vec![run(DETACH), beneath(script, "parts_x"), run(ATTACH)],
        1 => vec![run(DETACH)],
        2 => vec![run(ATTACH)],
        3 => {
            // It waits for those that read the table, and gives up half-way more often than not.
            let timeout = 1 + script.generator.below(60);
            return Work::Alone(vec![
                Step::Run(format!("SET lock_timeout = {timeout}")),
                Step::Run(format!("{DETACH} CONCURRENTLY")),
                Step::Run(format!("SET lock_timeout = {LOCK_TIMEOUT}")),
            ]);
        }
        4 => return Work::Alone(vec![Step::Run(format!("{DETACH} FINALIZE"))]),
        5 => vec![run("ALTER TABLE tree_b NO INHERIT tree"), beneath(script, "tree_b")],
        6 => vec![run("ALTER TABLE tree_b INHERIT tree")],
        7 => {
            let table = script.one_of(&["flat", "shop", "rooms_red", "parts_b", "tree_a", "owned"]);
            return Work::Alone(vec![Step::Run(format!("VACUUM FULL {table}"))]);
        }
        8 => {
            let index = script.one_of(&["REINDEX TABLE CONCURRENTLY", "VACUUM", "VACUUM", "ANALYZE"]);
            return Work::Alone(vec![Step::Run(format!("{index} vcache_source_clock"))]);
        }
        9 => {
            let kind = script.one_of(&["int", "bigint"]);
            let table = script.one_of(&["flat", "owned"]);
            if table == "flat" {
                // Its view is in the way.
                vec![run("ALTER TABLE flat ADD COLUMN extra int DEFAULT random()"), beneath(script, "flat")]
            } else {
                vec![Step::Run(format!("ALTER TABLE owned ALTER COLUMN n TYPE {kind}")), beneath(script, "owned")]
            }
        }
        10 => vec![run("ALTER TABLE flat DROP COLUMN IF EXISTS extra")],
        11 => {
            let table = script.one_of(&["flat", "shop", "parts_b", "rooms_red"]);
            let target = TARGETS.iter().find(|target| target.name == table).expect("a target");
            vec![Step::Run(format!("TRUNCATE {table}")), Step::Run(writes::copy(script, target, 5, ", FREEZE"))]
        }
        12 => {
            // One session's rows: they must not be cached for all.
            let filled = row(&mut script.generator, 777, "red");
            vec![
                run("CREATE TEMP TABLE mine () INHERITS (tree) ON COMMIT DROP"),
                Step::Run(format!("INSERT INTO mine (id, n, tenant, title, embedding) VALUES {filled}")),
            ]
        }
        13 => {
            let filled = row(&mut script.generator, 888, "blue");
            vec![
                run("DROP TABLE IF EXISTS tree_new"),
                run("CREATE TABLE tree_new (PRIMARY KEY (id)) INHERITS (tree)"),
                Step::Run(format!("INSERT INTO tree_new (id, n, tenant, title, embedding) VALUES {filled}")),
            ]
        }
        14 => {
            let target = TARGETS.iter().find(|target| target.name == "shop").expect("shop");
            let filled = fill(target, &mut script.generator);
            vec![run("TRUNCATE shop"), Step::Run(format!("INSERT INTO {filled}"))]
        }
        15 => vec![run("CREATE INDEX IF NOT EXISTS by_title ON flat (title)"), run("DROP INDEX by_title")],
        _ => {
            let rows = 20 + script.generator.below(2);
            vec![Step::Run(format!("SELECT vcache_alter_namespace('flat', '{{\"fetch_k\": {rows}}}')"))]
        }
    };
    within(script, steps)
}

/// Comparisons before and after, and an end of any kind.
fn within(script: &mut Script, changes: Vec<Step>) -> Work {
    let isolation = script.one_of(&[Isolation::ReadCommitted, Isolation::ReadCommitted, Isolation::RepeatableRead]);
    let mut steps = Vec::new();
    for change in changes {
        if script.chance(30) {
            steps.push(Step::Compare(script.comparison(isolation, false)));
        }
        steps.push(change);
    }
    steps.push(Step::Compare(script.comparison(isolation, false)));
    let end = if script.chance(75) { End::Commit } else { End::Rollback };
    Work::Transaction { isolation, steps, end }
}

/// A write to one table.
fn beneath(script: &mut Script, table: &str) -> Step {
    let target = TARGETS.iter().find(|target| target.name == table).expect("a target");
    writes::any_of(script, target)
}
