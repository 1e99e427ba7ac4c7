//! Owns whose statistics a role may see: those of the namespaces that it may search, and of its own.

use crate::namespace::{Name, Registration};
use crate::pg::access::{self, RowSecurity};
use crate::pg::catalog;
use pgrx::pg_sys::Oid;
use std::collections::HashMap;

/// Whose statistics the current role may see: those of the namespaces that it may search, or that are its own; members of `pg_read_all_stats`
/// see all. It locks nothing, so that statistics can be read while a source is.
pub struct Statistics {
    is_all: bool,
    names: HashMap<Name, Seen>,
}

/// What of a registration's statistics may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Under row-level security: which values a pattern stands for is what the rows of others say.
    RegisteredName,
    EveryName,
}

impl Statistics {
    pub fn of(registrations: &[Registration]) -> Self {
        let is_all = access::may_see_all_statistics();
        let seen = |one: &Registration| (one.name.clone(), seen(one));
        let names = if is_all { HashMap::new() } else { registrations.iter().map(seen).collect() };
        Self { is_all, names }
    }

    /// Whether those of the whole server are among them.
    pub fn are_all(&self) -> bool {
        self.is_all
    }

    /// Whether those of what was searched for under this name are among them.
    pub fn show(&self, name: &str) -> bool {
        if self.is_all {
            return true;
        }
        let get = |is_pattern, prefix: &str| self.names.get(&Name { is_pattern, prefix: prefix.to_owned() }).copied();
        if let Some(seen) = get(false, name) {
            return seen != Seen::Nothing;
        }
        // As a search does, by the longest pattern.
        let mut prefixes = (0..=name.len()).rev().filter_map(|end| name.get(..end));
        prefixes.find_map(|prefix| get(true, prefix)) == Some(Seen::EveryName)
    }
}

/// Whether what is counted of a source is for the current role to see.
pub fn may_see_statistics_of(source: Oid, registrations: &[Registration]) -> bool {
    let mut of_it = registrations.iter().filter(|one| one.source == source);
    access::may_see_all_statistics() || of_it.any(|one| seen(one) != Seen::Nothing)
}

fn seen(registration: &Registration) -> Seen {
    let source = registration.source;
    if access::is_owner(source) {
        Seen::EveryName
    } else if !may_search(registration) {
        Seen::Nothing
    } else if access::row_security(source, true) == RowSecurity::InForce || !is_table(source) {
        Seen::RegisteredName
    } else {
        Seen::EveryName
    }
}

/// Whether it has rows of its own: behind a view or a foreign table there may be others' policies.
fn is_table(source: Oid) -> bool {
    catalog::class(source).is_some_and(|class| matches!(class.kind, b'r' | b'p' | b'm'))
}

/// As [`check`] would have it, by the registration alone and without an error.
fn may_search(registration: &Registration) -> bool {
    let source = registration.source;
    let named = registration.named_columns();
    access::may_use_schema_of(source)
        && (access::may_read_all_columns(source)
            || match named.contains(&"*") {
                true => access::may_read_each_column(source),
                false => named.iter().all(|name| {
                    let column = catalog::column_named(source, name);
                    column.is_some_and(|column| access::may_read_column(source, column.number))
                }),
            })
}
