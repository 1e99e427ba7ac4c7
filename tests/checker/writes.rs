//! Owns the statements that change rows: every kind that PostgreSQL has, on every target.

use harness::{VECTOR, literal};

use crate::scene::{TARGETS, Target, fill, row, vector};
use crate::script::{Script, Step};

/// A statement on any target.
pub fn any(script: &mut Script) -> Step {
    match script.generator.below(100) {
        0..4 => Step::Run(format!("SELECT written({})", literal(&simple(script)))),
        4..7 => Step::Run(format!("SELECT undone({})", literal(&simple(script)))),
        7..9 => {
            // Three tables are written to by a trigger's function.
            let (id, vector) = (script.generator.below(60), vector(&mut script.generator));
            Step::Run(format!("INSERT INTO feed VALUES ({id}, '{vector}')"))
        }
        9..14 => Step::Run(cascade(script)),
        14..17 => Step::Run(moving(script)),
        _ => {
            let target = &TARGETS[script.generator.below(TARGETS.len() as u64) as usize];
            any_of(script, target)
        }
    }
}

/// What a statement that also compares writes: a WITH's part that changes rows, or a function that does.
pub fn beside(script: &mut Script) -> String {
    if script.chance(40) {
        return format!("SELECT written({})", literal(&simple(script)));
    }
    format!("{} RETURNING 1", simple(script))
}

/// A row that was not there.
pub fn new_row(script: &mut Script, target: &Target) -> Step {
    let (id, tenant) = (fresh(script, target), tenant(script, target));
    let row = row(&mut script.generator, id, tenant);
    Step::Run(format!("INSERT INTO {} (id, n, tenant, title, embedding) VALUES {row}", target.name))
}

/// A statement on one target.
pub fn any_of(script: &mut Script, target: &Target) -> Step {
    if !target.is_table {
        return Step::Run(one_row(script, target));
    }
    match script.generator.below(100) {
        0..3 => {
            let only = if script.chance(20) { "ONLY " } else { "" };
            let only = if ["tree", "tree_a"].contains(&target.name) { only } else { "" };
            let cascade = if target.name == "owner" { " CASCADE" } else { "" };
            // Both statements are one transaction, unless they stand in one.
            let fill = fill(target, &mut script.generator);
            let refill = if script.chance(85) { format!("; INSERT INTO {fill}") } else { String::new() };
            Step::Run(format!("TRUNCATE {only}{}{cascade}{refill}", target.name))
        }
        3..9 => {
            let rows = 1 + script.generator.below(3);
            Step::Run(copy(script, target, rows, ""))
        }
        9..16 => Step::Run(merge(script, target)),
        16..20 => Step::Run(format!("DELETE FROM {} WHERE id > 1000 AND id % 2 = 0", target.name)),
        _ => Step::Run(one_row(script, target)),
    }
}

/// New rows by COPY, from a program: so it is a statement as any other.
pub fn copy(script: &mut Script, target: &Target, rows: u64, options: &str) -> String {
    let lines: String = (0..rows)
        .map(|_| {
            let (id, n, tenant) = (fresh(script, target), script.generator.below(100), tenant(script, target));
            format!(" \"{id};{n};{tenant};copied;{}\"", vector(&mut script.generator))
        })
        .collect();
    let Target { name, .. } = target;
    format!(
        "COPY {name} (id, n, tenant, title, embedding) FROM PROGRAM 'printf \"%s\\n\"{lines}' (DELIMITER ';'{options})"
    )
}

/// A statement that may stand anywhere: of few rows, on any target.
fn simple(script: &mut Script) -> String {
    let target = &TARGETS[script.generator.below(TARGETS.len() as u64) as usize];
    one_row(script, target)
}

fn one_row(script: &mut Script, target: &Target) -> String {
    let (name, id) = (target.name, known(script, target));
    let vector = vector(&mut script.generator);
    match script.generator.below(100) {
        0..20 => {
            let rows: Vec<String> = (0..1 + script.generator.below(2))
                .map(|_| {
                    let (id, tenant) = (fresh(script, target), tenant(script, target));
                    row(&mut script.generator, id, tenant)
                })
                .collect();
            format!("INSERT INTO {name} (id, n, tenant, title, embedding) VALUES {}", rows.join(", "))
        }
        20..36 => format!("UPDATE {name} SET embedding = '{vector}' WHERE id = {id}"),
        36..40 => format!("UPDATE {name} SET embedding = NULL WHERE id = {id}"),
        40..48 => format!("UPDATE {name} SET title = 'u{}' WHERE id = {id}", script.generator.below(1000)),
        48..54 => format!("UPDATE {name} SET n = n + 1 WHERE id BETWEEN {id} AND {id} + 3"),
        54..59 => format!("UPDATE {name} SET id = {} WHERE id = {id}", fresh(script, target)),
        59..64 => format!("UPDATE {name} SET tenant = '{}' WHERE id = {id}", tenant(script, target)),
        64..67 => format!("UPDATE {name} SET embedding = '{vector}' WHERE id = -12345678"),
        67..69 => format!("DELETE FROM {name} WHERE id = -12345678"),
        69..80 => format!("DELETE FROM {name} WHERE id = {id}"),
        80..84 => format!("DELETE FROM {name} WHERE id > 1000 AND id % 3 = {}", script.generator.below(3)),
        84..86 => {
            format!("UPDATE {name} SET embedding = '{vector}', title = 'moved' WHERE id % 10 = {}", id.rem_euclid(10))
        }
        _ => {
            let tenant = tenant(script, target);
            let row = row(&mut script.generator, id, tenant);
            let action = if script.chance(70) {
                "UPDATE SET embedding = excluded.embedding, title = excluded.title"
            } else {
                "NOTHING"
            };
            format!(
                "INSERT INTO {name} (id, n, tenant, title, embedding) VALUES {row} ON CONFLICT ({}) DO {action}",
                target.key
            )
        }
    }
}

fn merge(script: &mut Script, target: &Target) -> String {
    let first = known(script, target);
    let rows: Vec<String> = (0..3)
        .map(|n| {
            let tenant = tenant(script, target);
            row(&mut script.generator, first + n, tenant)
        })
        .collect();
    format!(
        "MERGE INTO {} t USING (VALUES {}) s (id, n, tenant, title, embedding) ON t.id = s.id AND t.tenant = s.tenant \
         WHEN MATCHED AND t.id % 3 = 0 THEN DELETE \
         WHEN MATCHED THEN UPDATE SET title = s.title, embedding = s.embedding \
         WHEN NOT MATCHED AND s.n < 50 THEN INSERT (id, n, tenant, title, embedding) \
         VALUES (s.id, s.n, s.tenant, s.title, s.embedding)",
        target.name,
        rows.join(", ")
    )
}

/// Rows that go because those go that they refer to.
fn cascade(script: &mut Script) -> String {
    let owner = script.generator.below(8);
    match script.generator.below(4) {
        0 => format!("DELETE FROM owner WHERE id % 8 = {owner}"),
        1 => format!("UPDATE owner SET id = id + 8 WHERE id = {owner}"),
        _ => format!(
            "INSERT INTO owner VALUES ({owner}) ON CONFLICT DO NOTHING; UPDATE owned SET owner = {owner} WHERE id % 8 = {owner}"
        ),
    }
}

/// Rows that go from one source to another in one statement.
fn moving(script: &mut Script) -> String {
    let (from, to) =
        (script.one_of(&["flat", "shop", "tree", "parts"]), script.one_of(&["shop", "rooms", "parts", "flat"]));
    let id = 1 + script.generator.below(60);
    format!(
        "WITH gone AS (DELETE FROM {from} WHERE id IN ({id}, {id} + 1) RETURNING id, n, tenant, title, embedding) \
         INSERT INTO {to} (id, n, tenant, title, embedding) SELECT id + {}, n, tenant, title, embedding::{VECTOR} FROM gone",
        1000 + script.generator.below(1_000_000_000)
    )
}

fn known(script: &mut Script, target: &Target) -> i64 {
    between(script, target.known)
}

fn fresh(script: &mut Script, target: &Target) -> i64 {
    between(script, target.fresh)
}

fn between(script: &mut Script, (from, to): (i64, i64)) -> i64 {
    from + script.generator.below((to - from) as u64) as i64
}

fn tenant(script: &mut Script, target: &Target) -> &'static str {
    script.one_of(target.tenants)
}
