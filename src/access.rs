//! Owns who may see what: on every call, hits included, under the current role.

use crate::namespace::Definition;
use crate::pg::access;
use crate::pg::scan::Table;

/// What a role that may search at all gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All rows: what is cached for one such role answers for every other.
    AllRows,
    /// The rows that row-level security leaves it: nothing is shared.
    OwnRows,
}

/// Raises PostgreSQL's own error unless the current role may run the plain query over the namespace's source.
///
/// `more` are columns (from 1) that this call reads besides.
pub fn check(definition: &Definition, more: impl Iterator<Item = i16>, source: &Table) -> Sight {
    // In the plain query's order: its names are looked up, its policies added, and only then its columns asked for.
    access::check_usage(source);
    let has_policies = access::row_security_in_force(definition.source);
    if !cfg!(feature = "fault-no-privileges") {
        access::check_select(source, definition.read_columns.iter().copied().chain(more));
    }
    if has_policies && !cfg!(feature = "fault-no-scope") { Sight::OwnRows } else { Sight::AllRows }
}
