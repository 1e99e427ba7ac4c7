//! Owns the question of freshness: which version of its source a search must be answered for, or why that cannot be told.

use crate::clock::{self, Scope};
use crate::mark;
use crate::namespace::Definition;
use crate::outcome::Bypass;
use crate::pg::{time, transaction};
use crate::source::{self, Source, Unguarded};
use pgrx::pg_sys::{Oid, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use vcache_core::codec::Version;
use vcache_core::digest::digest;

/// The version of its source that a search sees.
///
/// # Errors
/// Why it is not one that others share, or not one that can be told.
pub fn version(definition: &Definition, schema: Oid) -> Result<Version, Bypass> {
    let registration = Scope::Registration(definition.revision);
    if !definition.is_exact {
        if time::transaction_has_written() {
            return Err(Bypass::Written);
        }
        let clock = clock::read(schema, &[registration]).ok_or(Bypass::Clock)?;
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
    if let Some(why) = &source.unguarded {
        warn(why, &definition.name.to_string());
        return Err(Bypass::Triggers);
    }
    let clock = clock::read(schema, &[Scope::Source(definition.source), registration]).ok_or(Bypass::Clock)?;
    Ok(Version { clock, shape: shape(&source, schema).ok_or(Bypass::Clock)? })
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
    Some(digest(&[source.shape.to_le_bytes(), shared.to_le_bytes()].concat()))
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
