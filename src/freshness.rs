//! Owns the question of freshness: which version of its source a search must be answered for, or why that cannot be told.

use crate::clock::{self, Scope};
use crate::mark;
use crate::namespace::Definition;
use crate::outcome::Bypass;
use crate::pg::{time, transaction};
use crate::source::{self, Source, Unguarded};
use pgrx::pg_sys::{Datum, Oid, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use std::time::{Duration, Instant};
use vcache_core::codec::Version;
use vcache_core::digest::digest;

/// The version of its source that a search sees.
///
/// # Errors
/// Why it is not one that others share, or not one that can be told.
pub fn version(definition: &Definition, tenant: Option<Datum>, schema: Oid) -> Result<Version, Bypass> {
    if !definition.is_exact {
        if time::transaction_has_written() {
            return Err(Bypass::Written);
        }
        let clock = clock::read(schema, &scopes(definition, tenant)).ok_or(Bypass::Clock)?;
        return Ok(Version { clock, shape: 0 });
    }
    // PostgreSQL keeps books of what a serializable transaction reads: the plain query's reading is in them, a hit's would not be.
    if transaction::is_serializable() {
        return Err(Bypass::Serializable);
    }
    // Rows are applied without statements, so nothing marks their tables.
    if transaction::is_replica() {
        return Err(Bypass::Replica);
    }
    let source = source::of(definition.source, schema);
    if mark::is_on(&source.members) {
        return Err(Bypass::Written);
    }
    if let Some(why) = source.unguarded_for(definition.divider.is_some()) {
        warn(why, &definition.name.to_string());
        return Err(Bypass::Triggers);
    }
    if !source.is_seen() {
        return Err(Bypass::Clock);
    }
    let clock = clock::read(schema, &scopes(definition, tenant)).ok_or(Bypass::Clock)?;
    Ok(Version { clock, shape: shape(&source, schema).ok_or(Bypass::Clock)? })
}

/// The clocks of what a search reads; `tenant` is what the column of the namespace's value must hold.
pub fn scopes(definition: &Definition, tenant: Option<Datum>) -> Vec<Scope> {
    let registration = Scope::Registration(definition.revision);
    let source = definition.source;
    match definition.divider.zip(tenant) {
        _ if !definition.is_exact => vec![registration],
        Some((divider, value)) => vec![divider.scope(value), Scope::Tenants(source), registration],
        None => vec![Scope::Source(source), registration],
    }
}

/// Whether the source still has the shape of `version`, and is nobody's own: asked once the engine has read its rows.
pub fn is_still(version: Version, definition: &Definition, schema: Oid) -> bool {
    if !definition.is_exact {
        return true;
    }
    transaction::accept_changes_of_catalogs();
    let source = source::of(definition.source, schema);
    !mark::is_on(&source.members) && source.unguarded.is_none() && shape(&source, schema) == Some(version.shape)
}

/// All that a snapshot does not show: the shape, and changes of what all sources share.
fn shape(source: &Source, schema: Oid) -> Option<u128> {
    if cfg!(feature = "fault-no-shape") {
        return Some(0);
    }
    let shared = clock::read_latest(schema, Scope::Database)?;
    is_settled(schema, shared).then(|| digest(&[source.shape.to_le_bytes(), shared.to_le_bytes()].concat()))
}

/// Whether this backend knows of the change of the catalogs that a token of the database's clock stands for. A commit shows the token
/// first, and tells of the change a moment later.
fn is_settled(schema: Oid, shared: u128) -> bool {
    const MOMENT: Duration = Duration::from_secs(1);
    thread_local! {
        static SETTLED: Cell<Option<u128>> = const { Cell::new(None) };
        static FIRST_SEEN: Cell<Option<(u128, Instant)>> = const { Cell::new(None) };
    }
    if SETTLED.get() == Some(shared) {
        return true;
    }
    let is_told_of = if transaction::is_in_recovery() {
        // There are no such locks on a standby: what has been seen for a while has been told of.
        let first = FIRST_SEEN.get().filter(|(of, _)| *of == shared).map_or_else(Instant::now, |(_, since)| since);
        FIRST_SEEN.set(Some((shared, first)));
        first.elapsed() > MOMENT
    } else {
        clock::nobody_changes_all(schema)
    };
    if is_told_of {
        transaction::accept_changes_of_catalogs();
        SETTLED.set(Some(shared));
    }
    is_told_of
}

/// Once in a session, tells that searches are not answered from the cache though they were meant to be.
fn warn(why: &Unguarded, namespace: &str) {
    thread_local! {
        static TOLD: Cell<bool> = const { Cell::new(false) };
    }
    if !TOLD.replace(true) {
        let message = format!("vcache does not answer namespace \"{namespace}\" from the cache");
        ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "vcache")
            .set_detail(why.to_string())
            .set_hint("vcache_alter_namespace(namespace, '{}') puts the triggers right; freshness 'ttl' needs none.")
            .report(PgLogLevel::WARNING);
    }
}
