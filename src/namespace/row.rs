//! Owns writing the registry: who may, and the row itself, which belongs to the extension's owner.

use super::{Registration, Registry};
use crate::pg::catalog::{self, Class};
use crate::pg::spi::Connection;
use crate::pg::{access, array, varlena};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::CString;

/// Raises PostgreSQL's own error unless the current role owns the source.
pub fn check_owner(oid: Oid, class: &Class) {
    let name = CString::new(class.name.as_str()).unwrap_or_default();
    access::check_owner(oid, class.kind as std::ffi::c_char, &name);
}

/// Runs a statement over the registry; its parameters are a registration's columns, in the order of the table's.
pub fn write(registry: &Registry, statement: &str, registration: &Registration) {
    let class = catalog::class(registry.table.oid());
    let table = class.map_or_else(String::new, |class| {
        format!("{}.{}", catalog::quoted(&catalog::schema_name(class.schema)), catalog::quoted(&class.name))
    });
    let statement = CString::new(statement.replace("{table}", &table)).unwrap_or_default();
    let text = |value: &str| (pg_sys::TEXTOID, Some(varlena::text_datum(value)));
    let name = |value: Option<&str>| (pg_sys::NAMEOID, value.map(varlena::name_datum));
    let names = registration.payload_columns.as_deref().map(|names| array::texts_datum(names, pg_sys::NAMEOID));
    let settings = registration.search_settings.as_deref().map(|list| array::texts_datum(list, pg_sys::TEXTOID));
    let arguments = [
        (pg_sys::BOOLOID, Some(registration.name.is_pattern.into())),
        text(&registration.name.prefix),
        (pg_sys::INT8OID, Some(registration.revision.into())),
        (pg_sys::REGCLASSOID, Some(registration.source.into())),
        name(Some(&registration.vector_column)),
        name(Some(&registration.id_column)),
        text(&registration.metric),
        (pg_sys::NAMEARRAYOID, names),
        name(registration.namespace_column.as_deref()),
        text(&registration.freshness),
        (pg_sys::INTERVALOID, registration.ttl.map(crate::pg::function::interval_datum)),
        (pg_sys::INT4OID, registration.fetch_k.map(Datum::from)),
        (pg_sys::TEXTARRAYOID, settings),
    ];
    access::as_table_owner(registry.table.oid(), || {
        Connection::open().write(&statement, &arguments);
    });
}
