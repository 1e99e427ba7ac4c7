//! Owns the question of freshness: which version of its source a search must be answered for, or why that cannot be told.

use crate::clock::{self, Scope};
use crate::mark;
use crate::namespace::Definition;
use crate::outcome::Bypass;
use crate::pg::{invalidation, time, transaction};
use crate::source::{self, Source, Unguarded};
use pgrx::pg_sys::{Datum, Oid};
use std::cell::Cell;
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
        return Ok(Version { clock: 0, shape: forgotten(definition, schema) });
    }
    // Registering one is refused; a column may have come later.
    if definition.shows_names.is_some() {
        return Err(Bypass::Clock);
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
    match source.unguarded_for(definition.divider.is_some()) {
        None => {}
        Some(Unguarded::Unsettled) => return Err(Bypass::Clock),
        Some(why) => {
            warn(why, &definition.name.to_string());
            return Err(Bypass::Triggers);
        }
    }
    if !source.is_seen() {
        return Err(Bypass::Clock);
    }
    let clock = clock::read(schema, &scopes(definition, tenant)).ok_or(Bypass::Clock)?;
    Ok(Version { clock, shape: shape(&source, definition, schema) })
}

/// The clocks of the rows that a search with exact freshness reads; `tenant` is what the column of the namespace's value must hold.
pub fn scopes(definition: &Definition, tenant: Option<Datum>) -> Vec<Scope> {
    let source = definition.source;
    match definition.divider.zip(tenant) {
        Some((divider, value)) => vec![divider.scope(value), Scope::Tenants(source)],
        None => vec![Scope::Source(source)],
    }
}

/// Whether the source still has the shape of `version`, and is nobody's own: asked once the engine has read its rows.
pub fn is_still(version: Version, definition: &Definition, schema: Oid) -> bool {
    transaction::accept_changes_of_catalogs();
    if !definition.is_exact {
        // A snapshot from before vcache_invalidate may see the rows that were to be forgotten.
        let seen = clock::read(schema, &[Scope::Registration(definition.revision)]);
        return forgotten(definition, schema) == version.shape && seen == Some(version.shape);
    }
    let source = source::of(definition.source, schema);
    let is_same = shape(&source, definition, schema) == version.shape;
    is_same && source.unguarded.is_none() && !mark::is_on(&source.members)
}

/// All that a snapshot does not show.
fn shape(source: &Source, definition: &Definition, schema: Oid) -> u128 {
    if cfg!(feature = "fault-no-shape") {
        return 0;
    }
    digest(&[source.shape.to_le_bytes(), forgotten(definition, schema).to_le_bytes()].concat())
}

/// What vcache_invalidate has made of the namespace, as it stands now: everybody is told of a change, so it is kept until then.
fn forgotten(definition: &Definition, schema: Oid) -> u128 {
    let generation = invalidation::generation();
    definition.forgotten.get().filter(|(of, _)| *of == generation).map_or_else(
        || {
            let token = clock::read_latest(schema, Scope::Registration(definition.revision)).unwrap_or_default();
            definition.forgotten.set(Some((generation, token)));
            token
        },
        |(_, token)| token,
    )
}

/// Once in a session, tells that searches are not answered from the cache though they were meant to be.
fn warn(why: &Unguarded, namespace: &str) {
    thread_local! {
        static TOLD: Cell<bool> = const { Cell::new(false) };
    }
    if !TOLD.replace(true) {
        why.warn(namespace);
    }
}
