//! Filters: which rows they leave, which of them share an entry, which indexes serve them, and what is refused.

mod answers;
mod fields;
mod indexes;
mod plans;
mod refused;
mod scope;

#[path = "../../crates/vcache-core/fuzz/checks/meaning.rs"]
mod meaning;

use std::sync::LazyLock;

use harness::{Session, Stand, VECTOR, literal};

fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// A table `goods` of these columns besides `id` and `embedding`, of which a row `n` has the vector `[n,1,1]`.
fn goods(session: &mut Session, columns: &str, rows: &[&str]) {
    session.run(&format!("CREATE TABLE goods (id int PRIMARY KEY, {columns}, embedding {VECTOR}(3))"));
    let rows: Vec<String> = rows.iter().enumerate().map(|(n, row)| format!("({n}, {row}, '[{n},1,1]')")).collect();
    if !rows.is_empty() {
        session.run(&format!("INSERT INTO goods VALUES {}", rows.join(", ")));
    }
}

/// Registers `goods` with these options.
fn register(session: &mut Session, options: &str) {
    session.run(&format!("SELECT vcache_create_namespace('goods', 'goods', 'embedding', metric => 'l2', {options})"));
}

/// The arguments of a search for all goods that a filter leaves, nearest to the first.
fn call(filter: &str) -> String {
    format!("'goods', '[0,1,1]', 1000, {}", literal(filter))
}

/// The ids of the goods that a filter leaves.
fn left(session: &mut Session, filter: &str) -> Vec<String> {
    session.column(&format!("SELECT id FROM vcache_search({})", call(filter)))
}

/// What a search with this filter would do, and its key.
fn explained(session: &mut Session, filter: &str) -> (String, String) {
    let row = session.rows(&format!("SELECT outcome, key FROM vcache_explain({})", call(filter))).remove(0);
    let [outcome, key] = [0, 1].map(|column| row[column].clone().expect("a value"));
    (outcome, key)
}
