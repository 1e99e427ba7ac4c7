//! Owns the marks: which tables this transaction has begun to write to.
//!
//! From the beginning of a statement that writes to a table, what the table holds is this transaction's alone: searches that read it
//! are neither answered from a tier nor stored. The clock would not tell: inside the statement, rows have changed and the clock
//! has not. A mark lasts until its (sub)transaction ends, and no longer: after a rollback to a savepoint the rows are again
//! everybody's.

use crate::pg::transaction::{self, End, Part};
use pgrx::pg_sys::Oid;
use std::cell::RefCell;

thread_local! {
    static MARKS: RefCell<Vec<Mark>> = const { RefCell::new(Vec::new()) };
}

struct Mark {
    /// The table; the invalid OID for all.
    table: Oid,
    part: Part,
    /// What had been counted as changed in the table, if changes are counted.
    baseline: Option<i64>,
}

/// Marks a table, or with the invalid OID all, unless it is. `baseline` is what PostgreSQL has counted as changed there.
pub fn set(table: Oid, baseline: impl FnOnce() -> Option<i64>) {
    if cfg!(feature = "fault-no-mark") {
        return;
    }
    transaction::at_end(on_end);
    if !MARKS.with_borrow(|marks| marks.iter().any(|mark| mark.table == table)) {
        let mark = Mark { table, part: Part::current(), baseline: baseline() };
        MARKS.with_borrow_mut(|marks| marks.push(mark));
    }
}

/// What had been counted when the table was marked.
pub fn baseline(table: Oid) -> Option<i64> {
    MARKS.with_borrow(|marks| marks.iter().find(|mark| mark.table == table).and_then(|mark| mark.baseline))
}

/// Whether one of the tables is marked.
pub fn is_on(tables: &[Oid]) -> bool {
    let all = pgrx::pg_sys::InvalidOid;
    MARKS.with_borrow(|marks| marks.iter().any(|mark| mark.table == all || tables.contains(&mark.table)))
}

fn on_end(end: End) {
    // Nothing here raises, and nobody holds the list while PostgreSQL's code runs.
    MARKS.with_borrow_mut(|marks| match end {
        End::Whole => marks.clear(),
        End::Undone(part) => marks.retain(|mark| mark.part != part),
        End::Merged { part, into } => {
            marks.iter_mut().filter(|mark| mark.part == part).for_each(|mark| mark.part = into);
        }
    });
}
