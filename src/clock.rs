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

use crate::error::Error;
use crate::pg::clock_table::{ClockTable, Place, Row, Seen};
use crate::pg::shmem::{self, Region};
use crate::pg::transaction::{self, PerPart};
use crate::pg::{catalog, lock, random, time};
use pgrx::pg_sys::{InvalidOid, Oid};
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use vcache_core::digest::digest;

/// The rows that a scope has in the long run.
const SLOTS: usize = 8;
/// Versions that a search reads at most.
const MOST_VERSIONS: u32 = 300;
/// Every so many changes of a row, a writer looks whether there are rows too many, and takes so many of them away.
const MERGE_EVERY: i64 = 8;
const MERGED: usize = 64;

/// Whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The rows of one source.
    Source(Oid),
    /// Those whose column, by its number, holds a value with one of the hashes of tenant.rs.
    Tenant { source: Oid, column: i16, bucket: u16 },
    /// The rows of a source, for those who read one tenant's: changes of too many tenants, and of the table itself.
    Tenants(Oid),
    /// What `vcache_invalidate` forgets, by the revision of its registration.
    Registration(i64),
    /// What DDL changes for all: types, casts, collations.
    Database,
}

impl Scope {
    pub fn number(self) -> i64 {
        match self {
            Self::Source(oid) => i64::from(oid.to_u32()),
            // A table has fewer than 2^11 columns, and a column 2^12 hashes.
            Self::Tenant { source, column, bucket } => {
                Self::Tenants(source).number() | i64::from(column) << 12 | i64::from(bucket)
            }
            Self::Tenants(source) => 1 << 62 | i64::from(source.to_u32()) << 24,
            // Apart from the others by its sign.
            Self::Registration(revision) => revision | i64::MIN,
            Self::Database => 0,
        }
    }

    /// The source whose tenants' it is.
    pub fn tenants_of(self) -> Option<Oid> {
        match self {
            Self::Tenant { source, .. } | Self::Tenants(source) => Some(source),
            _ => None,
        }
    }

    /// The numbers of the clocks of a source's tenants.
    pub fn tenants(source: Oid) -> RangeInclusive<i64> {
        let first = Self::Tenants(source).number();
        first..=(first | 0xff_ffff)
    }
}

fn table(schema: Oid) -> Oid {
    catalog::relation_in(schema, c"vcache_source_clock")
}

/// Whether the extension's objects are new enough to have clocks.
pub fn is_there(schema: Oid) -> bool {
    table(schema) != InvalidOid
}

thread_local! {
    /// The clocks that this transaction has advanced.
    static ADVANCED: PerPart<Scope> = const { PerPart::new() };
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Gives a clock a new token, for this (sub)transaction, unless it has.
pub fn advance(schema: Oid, scope: Scope) {
    if ADVANCED.with(|advanced| advanced.find(|other| (*other == scope).then_some(()))).is_some() {
        return;
    }
    let Some(table) = ClockTable::open_to_write(table(schema)) else { Error::NotUpdated.raise() };
    let now = time::now();
    if !replace_one(&table, scope, now) {
        let id = random::bits();
        let row = Row { scope: scope.number(), id, epoch: 0, token: 0, changes: 0, changed_at: now, rate: 0.0 };
        table.add(&row.changed(token(None), now));
    }
    if !IS_TOLD.replace(true) {
        transaction::at_end(|end| ADVANCED.with(|advanced| advanced.end(end)));
    }
    ADVANCED.with(|advanced| advanced.add(scope));
}

/// Gives this backend's last row, or else the first one that nobody holds, a new token, and takes away rows that are too many.
fn replace_one(table: &ClockTable, scope: Scope, now: i64) -> bool {
    let replace = |row: Row, place: Place| {
        // This transaction has given it its token before.
        if place.is_own() {
            return (true, false);
        }
        let done = table.replace(place, &row.changed(token(Some(&row)), now));
        (done, done && row.changes % MERGE_EVERY == 0)
    };
    let (mut done, mut merging) = match table.last_written(scope.number()) {
        Some((row, place)) => replace(row, place),
        None => (false, false),
    };
    let (mut seen, mut surplus) = (0, Vec::new());
    if !done || merging {
        table.each(scope.number()..=scope.number(), |row, place| {
            seen += 1;
            if !done {
                (done, merging) = replace(row, place);
            } else if seen > SLOTS && !place.is_own() {
                surplus.push(place);
            }
            // Whether there are too many is looked at now and then.
            !done || (merging && surplus.len() < MERGED)
        });
    }
    // As many writers at a time as there are slots have a few rows more, and would lose them to each other again and again.
    if surplus.len() > SLOTS {
        surplus.into_iter().for_each(|place| table.remove(place));
    }
    done
}

/// Advances the database's clock; see [`is_settled`].
pub fn advance_database(schema: Oid) {
    lock::announce(secret(schema));
    advance(schema, Scope::Database);
    lock::tell_of_change(secret(schema));
}

/// Whether this backend has been told of the changes of the catalogs that a reading of the database's clock stands for. A commit shows
/// its token first, and tells of its changes a moment later; it holds a lock until all backends have been told.
pub fn is_settled(schema: Oid, shared: u128) -> bool {
    thread_local! {
        static SETTLED: Cell<Option<u128>> = const { Cell::new(None) };
    }
    if SETTLED.get() == Some(shared) {
        return true;
    }
    let is_told_of = if transaction::is_in_recovery() {
        // There are no such locks on a standby: what has been seen for a while has been told of.
        shared == 0 || seen_for(shared) > MOMENT
    } else {
        lock::is_nothing_announced(secret(schema))
    };
    if is_told_of {
        transaction::accept_changes_of_catalogs();
        SETTLED.set(Some(shared));
    }
    is_told_of
}

shmem::shared_struct! {
    /// Since when a reading of a database's clock has been seen.
    pub struct FirstSeen {
        reading: AtomicU64,
        since: AtomicI64,
    }
}

static FIRST_SEEN: Region<FirstSeen> = Region::new(c"vcache first seen");
/// Of so many databases at a time; others make each other wait a moment more.
const DATABASES: usize = 64;
/// In microseconds.
const MOMENT: i64 = 1_000_000;

/// Asks for what backends tell each other of, at server start.
pub fn request() {
    FIRST_SEEN.request(DATABASES);
}

/// For how long some backend has seen a reading of the database's clock, in microseconds.
fn seen_for(shared: u128) -> i64 {
    static OWN: FirstSeen = FirstSeen { reading: AtomicU64::new(0), since: AtomicI64::new(0) };
    let number = catalog::database().to_u32() as usize % DATABASES;
    let slot = FIRST_SEEN.slots().and_then(|slots| slots.get(number)).unwrap_or(&OWN);
    let (reading, now) = (shared as u64, time::now());
    if slot.reading.load(Ordering::Acquire) != reading {
        // In this order: who finds the reading finds its time, or a later one.
        slot.since.store(now, Ordering::Release);
        slot.reading.store(reading, Ordering::Release);
    }
    now.saturating_sub(slot.since.load(Ordering::Acquire))
}

/// A relation that nobody locks otherwise, except to read it once.
pub fn secret(schema: Oid) -> Oid {
    catalog::relation_in(schema, c"vcache_secret")
}

/// Takes away a clock that nobody reads any more.
pub fn forget(schema: Oid, scope: Scope) {
    forget_all(schema, scope.number()..=scope.number());
}

/// The same for all clocks of such numbers.
pub fn forget_all(schema: Oid, numbers: RangeInclusive<i64>) {
    let Some(table) = ClockTable::open_to_write(table(schema)) else { return };
    table.each(numbers, |_, place| {
        if !place.is_own() {
            table.remove(place);
        }
        true
    });
}

fn token(before: Option<&Row>) -> i64 {
    if cfg!(feature = "fault-counter") {
        return before.map_or(0, |row| row.token) + 1;
    }
    random::token()
}

/// What the active snapshot sees of these clocks; `None` when that cannot be told at little cost.
pub fn read(schema: Oid, scopes: &[Scope]) -> Option<u128> {
    if cfg!(feature = "fault-no-clock") {
        return Some(0);
    }
    digest_of(schema, scopes, Seen::ByCaller)
}

/// What is committed now, and this transaction's own: for what all snapshots see alike.
pub fn read_latest(schema: Oid, scope: Scope) -> Option<u128> {
    digest_of(schema, &[scope], Seen::Latest)
}

fn digest_of(schema: Oid, scopes: &[Scope], seen: Seen) -> Option<u128> {
    // Before ALTER EXTENSION vcache UPDATE there is none, and nothing advances.
    let Some(table) = ClockTable::open(table(schema)) else { return Some(0) };
    let mut reader = table.reader(seen);
    let mut bytes = Vec::with_capacity(2 * scopes.len() * SLOTS * size_of::<i64>());
    for scope in scopes {
        if scopes.len() > 1 {
            bytes.extend(scope.number().to_le_bytes());
        }
        if !reader.tokens(scope.number(), MOST_VERSIONS, &mut bytes) {
            return None;
        }
    }
    Some(if bytes.is_empty() { 0 } else { digest(&bytes) })
}

/// The rows of every clock, as they stand now.
pub fn all(schema: Oid) -> Vec<Row> {
    let mut found = Vec::new();
    if let Some(table) = ClockTable::open(table(schema)) {
        table.each(i64::MIN..=i64::MAX, |row, _| {
            found.push(row);
            true
        });
    }
    found
}
