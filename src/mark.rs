//! Owns the marks: which tables this transaction has begun to write to.
//!
//! From the beginning of a statement that writes to a table, what the table holds is this transaction's alone: searches that read it
//! are neither answered from a tier nor stored. The clock would not tell: inside the statement, rows have changed and the clock
//! has not. A mark lasts until its (sub)transaction ends, and no longer: after a rollback to a savepoint the rows are again
//! everybody's.

use crate::pg::transaction::{self, PerPart};
use pgrx::pg_sys::{InvalidOid, Oid};
use std::cell::Cell;

thread_local! {
    static MARKS: PerPart<Mark> = const { PerPart::new() };
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
}

struct Mark {
    /// The table; the invalid OID for all.
    table: Oid,
    /// What had been counted as changed in the table, if changes are counted.
    baseline: Option<i64>,
}

/// Marks a table, or with the invalid OID all, unless it is. `baseline` is what PostgreSQL has counted as changed there.
pub fn set(table: Oid, baseline: impl FnOnce() -> Option<i64>) {
    if cfg!(feature = "fault-no-mark") {
        return;
    }
    if !IS_TOLD.replace(true) {
        transaction::at_end(|end| MARKS.with(|marks| marks.end(end)));
    }
    MARKS.with(|marks| {
        if marks.find(|mark| (mark.table == table).then_some(())).is_none() {
            let baseline = baseline();
            marks.add(Mark { table, baseline });
        }
    });
}

/// What had been counted when the table was marked.
pub fn baseline(table: Oid) -> Option<i64> {
    MARKS.with(|marks| marks.find(|mark| (mark.table == table).then_some(mark.baseline))).flatten()
}

/// Whether one of the tables is marked.
pub fn is_on(tables: &[Oid]) -> bool {
    let is_on = |mark: &Mark| (mark.table == InvalidOid || tables.contains(&mark.table)).then_some(());
    MARKS.with(|marks| marks.find(is_on)).is_some()
}
