//! Owns the clock: the half of a source's version that snapshots see.
//!
//! A clock is the rows of one scope in `vcache_source_clock`. A transaction that changes a source gives one of them a new random
//! token, or adds one, before it commits: so a snapshot sees the new token exactly when it sees the transaction's rows. Let two
//! snapshots see other writers of a source, and let W be one that only the later of them sees. Where W's token was put, that
//! snapshot sees W's token, or one of a writer who replaced it and whom, as he came after W committed, the earlier snapshot does
//! not see either. Each such token is random and was drawn for that writer alone: the earlier snapshot does not see it, and the
//! clocks differ. A counter in its place would come back, for other rows, after a crash that lost W or on a standby that never
//! had it.
//!
//! No writer waits for another: a row that somebody else holds is left to him. Once in a transaction is enough. Rows beyond
//! [`SLOTS`] are merged away by later writers, by deleting them along with an advance of their own.

use crate::pg::clock_table::{ClockTable, Row, Seen};
use crate::pg::{catalog, random, time, transaction};
use pgrx::pg_sys::Oid;
use vcache_core::digest::digest;

/// The rows that a scope has in the long run.
const SLOTS: usize = 8;
/// Versions that a search reads at most.
const MOST_VERSIONS: u32 = 300;
/// Rows too many that one advance takes away.
const MERGED: usize = 2;

/// Whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The rows of one source.
    Source(Oid),
    /// What `vcache_invalidate` forgets, by the revision of its registration.
    Registration(i64),
    /// What DDL changes for all: types, casts, collations.
    Database,
}

impl Scope {
    pub fn number(self) -> i64 {
        match self {
            Self::Source(oid) => i64::from(oid.to_u32()),
            // Apart from the others by its sign.
            Self::Registration(revision) => revision | i64::MIN,
            Self::Database => 0,
        }
    }
}

fn table(schema: Oid) -> Oid {
    catalog::relation_in(schema, c"vcache_source_clock")
}

/// Gives a clock a new token, for this (sub)transaction, unless it has.
pub fn advance(schema: Oid, scope: Scope) {
    let Some(table) = ClockTable::open_to_write(table(schema)) else { return };
    let rows = table.rows(Some(scope.number()));
    if rows.iter().any(|(_, place)| place.is_own()) {
        return;
    }
    let now = time::now();
    // What a serializable transaction writes to, it takes from nobody: two of them that change a source conflict on its rows alone.
    let mut free = if transaction::is_serializable() { &[][..] } else { rows.as_slice() };
    while let Some(((row, place), rest)) = free.split_first() {
        if table.replace(*place, &row.changed(token(Some(row)), now)) {
            let too_many = rows.len().saturating_sub(SLOTS).min(MERGED);
            rest.iter().rev().take(too_many).for_each(|(_, place)| table.remove(*place));
            return;
        }
        free = rest;
    }
    let row =
        Row { scope: scope.number(), id: random::bits(), epoch: 0, token: 0, changes: 0, changed_at: now, rate: 0.0 };
    table.add(&row.changed(token(None), now));
}

/// Takes away a clock that nobody reads any more.
pub fn forget(schema: Oid, scope: Scope) {
    let Some(table) = ClockTable::open_to_write(table(schema)) else { return };
    let rows = table.rows(Some(scope.number()));
    rows.iter().filter(|(_, place)| !place.is_own()).for_each(|(_, place)| table.remove(*place));
}

fn token(before: Option<&Row>) -> i64 {
    if cfg!(feature = "fault-counter") {
        return before.map_or(0, |row| row.token) + 1;
    }
    random::bits()
}

/// What the active snapshot sees of a source's clock and of its registration's; `None` when that cannot be told at little cost.
pub fn read(schema: Oid, scopes: &[Scope]) -> Option<u128> {
    if cfg!(feature = "fault-no-clock") {
        return Some(0);
    }
    digest_of(schema, scopes, Seen::ByCaller)
}

/// What is committed now: for what the catalogs show to every snapshot alike.
pub fn read_latest(schema: Oid, scope: Scope) -> Option<u128> {
    digest_of(schema, &[scope], Seen::Latest)
}

fn digest_of(schema: Oid, scopes: &[Scope], seen: Seen) -> Option<u128> {
    let table = ClockTable::open(table(schema))?;
    let mut bytes = Vec::with_capacity(scopes.len() * SLOTS * size_of::<i64>());
    for scope in scopes {
        let whole = table.tokens(scope.number(), seen, MOST_VERSIONS, |token| bytes.extend(token.to_le_bytes()));
        if !whole {
            return None;
        }
        bytes.extend(scope.number().to_le_bytes());
    }
    Some(digest(&bytes))
}

/// The rows of every clock, as they stand now.
pub fn all(schema: Oid) -> Vec<Row> {
    ClockTable::open(table(schema))
        .map(|table| table.rows(None))
        .unwrap_or_default()
        .into_iter()
        .map(|(row, _)| row)
        .collect()
}
