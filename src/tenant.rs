//! Owns the tenants of a source: with a namespace_column, which of its rows are one clock's, and which such clocks a transaction's
//! changes belong to.
//!
//! The rows whose values of the column hash alike share a clock. A row that is changed is noted, as it was and as it is, by the
//! conditions of two triggers on the table that holds it. PostgreSQL asks a condition at once, while the row is being written, and keeps
//! an event only where it is true: these never are, so that a statement which changes many rows keeps nothing of them.
//! After the statement, the clocks of the noted tenants advance.
//!
//! The conditions are given the row's place, not its value: a trigger that names a column could not be left alone by ALTER TABLE … DROP
//! COLUMN and … ALTER COLUMN … TYPE, and which column it is would have to be told anew by every registration.

use crate::clock::Scope;
use crate::namespace::Registration;
use crate::pg::function::{Call, sql_function};
use crate::pg::hash::Hashing;
use crate::pg::scan::Table;
use crate::pg::transaction::{self, PerPart};
use crate::pg::{catalog, relation, row, trigger};
use crate::source::{self, Written};
use pgrx::pg_sys::{Datum, ItemPointerData, Oid};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

sql_function!(vcache_row_changed, pg_finfo_vcache_row_changed, row_changed);

/// How many clocks a column has at most. Tenants that share one make each other's entries stale, and no more.
const BUCKETS: u32 = 4096;
/// So many tenants' clocks a transaction advances, for each source. One that changes the rows of more is a change of all.
const MOST: usize = 32;

/// The column of a source whose value tells its tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divider {
    pub source: Oid,
    /// From 1.
    column: i16,
    hashing: Hashing,
}

impl Divider {
    /// `None` where the values of the column cannot be told apart by a hash: then all rows of the source are one clock's.
    pub fn new(source: Oid, column: &catalog::Column) -> Option<Self> {
        let hashing = Hashing::of(column.kind, column.collation)?;
        Some(Self { source, column: column.number, hashing })
    }

    /// That of a registration; `None` as well where it reads the rows of all tenants.
    pub fn of(registration: &Registration) -> Option<Self> {
        let name = registration.namespace_column.as_deref()?;
        Self::new(registration.source, &catalog::column_named(registration.source, name)?)
    }

    /// The clock of the rows that hold a value.
    pub fn scope(&self, value: Datum) -> Scope {
        let bucket = self.hashing.hash(value) % BUCKETS;
        Scope::Tenant { source: self.source, column: self.column, bucket: bucket as u16 }
    }
}

/// Where the value that divides a source stands in a table that holds rows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divided {
    pub by: Divider,
    /// From 1.
    column: i16,
}

impl Divided {
    /// A column that is inherited may stand elsewhere, and has the same name.
    pub fn of(table: Oid, registration: &Registration) -> Option<Self> {
        let by = Divider::of(registration)?;
        let name = registration.namespace_column.as_deref()?;
        Some(Self { by, column: catalog::column_named(table, name)?.number })
    }
}

thread_local! {
    /// Whose rows this transaction has changed.
    static NOTES: PerPart<Scope> = const { PerPart::new() };
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Whose rows of a source this transaction has changed, as clocks.
pub fn noted(source: Oid) -> Vec<Scope> {
    let mut scopes = Vec::new();
    NOTES.with(|notes| {
        notes.find(|scope| {
            if scope.tenants_of() == Some(source) {
                scopes.push(*scope);
            }
            None::<()>
        });
    });
    if scopes.contains(&Scope::Tenants(source)) { vec![Scope::Tenants(source)] } else { scopes }
}

fn is_noted(scope: Scope) -> bool {
    NOTES.with(|notes| notes.find(|other| (*other == scope).then_some(()))).is_some()
}

fn note(scope: Scope) {
    let Some(source) = scope.tenants_of() else { return };
    if is_noted(Scope::Tenants(source)) || is_noted(scope) {
        return;
    }
    if !IS_TOLD.replace(true) {
        transaction::at_end(|end| NOTES.with(|notes| notes.end(end)));
    }
    let scope = if noted(source).len() < MOST { scope } else { Scope::Tenants(source) };
    NOTES.with(|notes| notes.add(scope));
}

/// Notes whose a row is, by its table and its place there. Never true.
fn row_changed(call: &Call) -> Datum {
    if let Some((table, place)) = call.oid(0).zip(call.place(1)).filter(|_| trigger::is_condition(call)) {
        note_row(table, place, call);
    }
    Datum::from(false)
}

/// What a write to a table may change, if it is known already. Row by row, it is that of the same table.
fn kept_written(table: Oid) -> Option<Rc<Written>> {
    thread_local! {
        static LAST: RefCell<Option<(Oid, Rc<Written>)>> = const { RefCell::new(None) };
    }
    let last =
        LAST.with_borrow(|last| last.as_ref().filter(|(of, _)| *of == table).map(|(_, written)| Rc::clone(written)));
    last.filter(|written| written.is_current()).or_else(|| {
        let kept = source::kept_written(table)?;
        LAST.replace(Some((table, Rc::clone(&kept))));
        Some(kept)
    })
}

fn note_row(table: Oid, place: ItemPointerData, call: &Call) {
    // Beyond the first row of a statement, nothing is looked up but what this transaction has noted.
    let kept = kept_written(table);
    let is_full = |written: &Rc<Written>| written.divided.iter().all(|one| is_noted(Scope::Tenants(one.by.source)));
    if kept.as_ref().is_some_and(is_full) {
        return;
    }
    let open = Table::open_locked(table);
    let written = kept.unwrap_or_else(|| source::written(&open, call.schema()));
    if written.divided.is_empty() {
        return;
    }
    let read = relation::is_heap(&open).then(|| {
        row::at(&open, place, |value| {
            // A row that holds no value is nobody's.
            written.divided.iter().filter_map(|one| Some(one.by.scope(value(one.column)?))).for_each(note);
        })
    });
    if read.flatten().is_none() {
        written.divided.iter().for_each(|one| note(Scope::Tenants(one.by.source)));
    }
}
