//! Owns which tables inherit from which, partitions included, as the catalogs stand now.

use super::invalidation;
use super::scan::{self, Condition, Table, View};
use pgrx::pg_sys::{self, Oid};
use std::collections::HashSet;

// From catalog/pg_inherits.h, which pgrx leaves out.
const RELATION: u32 = 2611;
const RELID_SEQNO_INDEX: u32 = 2680;
const PARENT_INDEX: u32 = 2187;
const CHILD: i16 = 1;
const PARENT: i16 = 2;
const DETACH_PENDING: i16 = 4;

/// One table inherits from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub child: Oid,
    pub parent: Oid,
    /// A DETACH CONCURRENTLY is under way, or was given up half-way.
    pub detach_pending: bool,
    /// The transaction that wrote this, as it stands in the row, and as it is.
    pub writer: (u32, pg_sys::TransactionId),
}

/// The tables whose rows may be those of a table, or may be written by way of it: what inherits from it, and what any of those
/// inherits from. `a` is of the family of `b` exactly when `b` is of that of `a`.
#[derive(Debug)]
pub struct Family {
    /// In the order of their OIDs, the table itself among them.
    pub members: Vec<Oid>,
    /// The table and what inherits from it: they hold its rows.
    pub descendants: HashSet<Oid>,
    /// In the order of their OIDs.
    pub links: Vec<Link>,
}

impl Family {
    /// A member, and what it inherits from.
    pub fn ancestors(&self, of: Oid) -> HashSet<Oid> {
        let (mut ancestors, mut todo) = (HashSet::new(), vec![of]);
        while let Some(next) = todo.pop() {
            if ancestors.insert(next) {
                todo.extend(self.links.iter().filter(|link| link.child == next).map(|link| link.parent));
            }
        }
        ancestors
    }
}

/// The family of a table.
pub fn family(table: Oid) -> Family {
    let catalog = Table::open(Oid::from(RELATION));
    let of = |column, index, table| -> Vec<Link> {
        let links = scan::each(&catalog, Oid::from(index), &[Condition::OidIs(column, table)], View::Latest, |row| {
            let oid = |column| row.get(column).map(|datum| Oid::from(datum.value() as u32));
            let detach_pending = row.get(DETACH_PENDING).is_some_and(|datum| datum.value() & 1 == 1);
            Some(Link { child: oid(CHILD)?, parent: oid(PARENT)?, detach_pending, writer: (row.version.1, row.writer) })
        });
        links.into_iter().flatten().collect()
    };
    let (mut descendants, mut members, mut links) = (HashSet::new(), HashSet::new(), Vec::new());
    let mut todo = vec![table];
    while let Some(next) = todo.pop() {
        if descendants.insert(next) {
            todo.extend(of(PARENT, PARENT_INDEX, next).iter().map(|link| link.child));
        }
    }
    todo.extend(&descendants);
    while let Some(next) = todo.pop() {
        if members.insert(next) {
            let parents = of(CHILD, RELID_SEQNO_INDEX, next);
            todo.extend(parents.iter().map(|link| link.parent));
            links.extend(parents);
        }
    }
    let mut members: Vec<Oid> = members.into_iter().collect();
    members.sort_unstable_by_key(|oid| oid.to_u32());
    links.sort_unstable_by_key(|link| (link.child.to_u32(), link.parent.to_u32()));
    Family { members, descendants, links }
}

/// A table's family, of which every change is heard of from now on, and the generation it was found in.
pub fn watched_family(table: Oid) -> (Family, u64) {
    loop {
        let heard = invalidation::heard();
        let family = family(table);
        invalidation::watch_all(&family.members);
        // What was heard of in between may have been of a table that was not watched yet.
        if invalidation::heard() == heard {
            return (family, invalidation::generation());
        }
    }
}

/// The transaction that wrote a trigger's row in the catalogs, as it stands there, and as it is.
pub fn trigger_writer(trigger: Oid) -> (u32, pg_sys::TransactionId) {
    let catalog = Table::open(pg_sys::TriggerRelationId);
    let condition = Condition::OidIs(pg_sys::Anum_pg_trigger_oid as i16, trigger);
    let index = Oid::from(pg_sys::TriggerOidIndexId);
    let writers = scan::each(&catalog, index, &[condition], View::Latest, |row| (row.version.1, row.writer));
    writers.first().copied().unwrap_or((0, pg_sys::InvalidTransactionId))
}
