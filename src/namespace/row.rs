//! Owns writing the registry: who may, and the rows themselves.

use super::{Name, Registration, Registry};
use crate::error::Error;
use crate::pg::catalog::Class;
use crate::pg::function::{Call, interval_datum, sql_function};
use crate::pg::{access, array, table_write, trigger, varlena};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::CString;

sql_function!(vcache_namespace_is_own, pg_finfo_vcache_namespace_is_own, is_own);

/// Raises PostgreSQL's own error unless the current role owns the source.
pub fn check_owner(oid: Oid, class: &Class) {
    let name = CString::new(class.name.as_str()).unwrap_or_default();
    access::check_owner(oid, class.kind as std::ffi::c_char, &name);
}

/// Waits for others that change registrations, until they have committed.
pub fn take_turns(registry: &Registry) {
    table_write::take_turns(&registry.table);
}

pub fn insert(registry: &Registry, registration: &Registration) {
    let names = |names: &Option<Vec<String>>| names.as_deref().map(|names| array::texts_datum(names, pg_sys::NAMEOID));
    let settings = registration.search_settings.as_deref().map(|list| array::texts_datum(list, pg_sys::TEXTOID));
    table_write::insert(
        &registry.table,
        &[
            Some(registration.name.is_pattern.into()),
            Some(varlena::text_datum(&registration.name.prefix)),
            Some(registration.revision.into()),
            Some(registration.source.into()),
            Some(varlena::name_datum(&registration.vector_column)),
            Some(varlena::name_datum(&registration.id_column)),
            Some(varlena::text_datum(&registration.metric)),
            names(&registration.payload_columns),
            registration.namespace_column.as_deref().map(varlena::name_datum),
            Some(varlena::text_datum(&registration.freshness)),
            registration.ttl.map(interval_datum),
            registration.fetch_k.map(Datum::from),
            settings,
            names(&registration.filter_columns),
            registration.metadata_column.as_deref().map(varlena::name_datum),
            registration.rls_settings.as_deref().map(|list| array::texts_datum(list, pg_sys::TEXTOID)),
        ],
    );
}

/// # Errors
/// [`Error::Concurrently`], where this transaction's one snapshot is older than another's change.
pub fn delete(registry: &Registry, name: &Name) -> Result<(), Error> {
    let place = registry.place(name);
    match place.is_some_and(|place| table_write::delete(&registry.table, place)) {
        true => Ok(()),
        false => Err(Error::Concurrently),
    }
}

/// On the registry, before each row: what logical replication brings of another server's registry is not this one's.
fn is_own(call: &Call) -> Datum {
    trigger::row_unless_replicated(call).unwrap_or_else(|| Error::NotATrigger.raise())
}
