//! Owns what PostgreSQL's cache of relations says of an open table: its columns, files, indexes and triggers, and what this
//! transaction has changed in it.

use super::inherits;
use super::scan::Table;
use super::varlena::c_string;
use pgrx::pg_sys::{self, Oid};

/// A table as it stands.
pub struct Relation {
    pub kind: u8,
    pub persistence: u8,
    pub triggers: Vec<Trigger>,
}

/// One trigger of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub oid: Oid,
    pub name: String,
    pub function: Oid,
    /// What fires it: the bits of pg_trigger.tgtype.
    pub kind: i16,
    /// The letter of pg_trigger.tgenabled.
    pub enabled: u8,
    pub when: When,
    /// Whether it is a partition's copy of one of the partitioned table's, with which it goes.
    pub is_clone: bool,
}

/// Under what condition a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// This function says so, which is given the table and the place of the row as it was or as it is.
    Row {
        function: Oid,
        version: RowVersion,
    },
    /// For some columns only, or under another condition.
    Otherwise,
}

/// Which version of a row that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowVersion {
    Old,
    New,
}

pub fn of(table: &Table) -> Relation {
    // SAFETY: the relation is open, and rd_rel is its row of pg_class.
    let (kind, persistence) = unsafe {
        let class = (*table.relation()).rd_rel;
        ((*class).relkind as u8, (*class).relpersistence as u8)
    };
    Relation { kind, persistence, triggers: triggers(table) }
}

fn triggers(table: &Table) -> Vec<Trigger> {
    // SAFETY: the relation is open; its descriptor holds as many triggers as it says, whose names are terminated.
    unsafe {
        let descriptor = (*table.relation()).trigdesc;
        if descriptor.is_null() {
            return Vec::new();
        }
        let count = usize::try_from((*descriptor).numtriggers).unwrap_or(0);
        (0..count)
            .map(|i| {
                let trigger = &*(*descriptor).triggers.add(i);
                Trigger {
                    oid: trigger.tgoid,
                    name: c_string(trigger.tgname),
                    function: trigger.tgfoid,
                    kind: trigger.tgtype,
                    enabled: trigger.tgenabled as u8,
                    when: match (trigger.tgnattr, trigger.tgqual.is_null()) {
                        (0, true) => When::Always,
                        (0, false) => condition(pg_sys::stringToNode(trigger.tgqual).cast()),
                        _ => When::Otherwise,
                    },
                    is_clone: trigger.tgisclone,
                }
            })
            .collect()
    }
}

/// What a trigger's condition says.
///
/// # Safety
/// `node` is an expression.
unsafe fn condition(node: *mut pg_sys::Node) -> When {
    // SAFETY: the nodes are what their tags say.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_FuncExpr {
            return When::Otherwise;
        }
        let call = node.cast::<pg_sys::FuncExpr>();
        let arguments = (*call).args;
        let count = if arguments.is_null() { 0 } else { (*arguments).length };
        let system_column = |i: i32| {
            let argument = (*(*arguments).elements.add(i as usize)).ptr_value.cast::<pg_sys::Node>();
            let is_column = (*argument).type_ == pg_sys::NodeTag::T_Var;
            is_column.then(|| &*argument.cast::<pg_sys::Var>()).map(|column| (column.varno as u32, column.varattno))
        };
        let of = |version| {
            let columns = [pg_sys::TableOidAttributeNumber, pg_sys::SelfItemPointerAttributeNumber];
            count == 2 && (0..2).zip(columns).all(|(i, number)| system_column(i) == Some((version, number as i16)))
        };
        match (of(pg_sys::PRS2_OLD_VARNO), of(pg_sys::PRS2_NEW_VARNO)) {
            (true, _) => When::Row { function: (*call).funcid, version: RowVersion::Old },
            (_, true) => When::Row { function: (*call).funcid, version: RowVersion::New },
            _ => When::Otherwise,
        }
    }
}

/// Whether a row that is updated, or moved to another partition, may be changed by a trigger on its way.
pub fn changes_rows_on_their_way(table: &Table) -> bool {
    // SAFETY: the relation is open.
    unsafe {
        let descriptor = (*table.relation()).trigdesc;
        !descriptor.is_null() && ((*descriptor).trig_update_before_row || (*descriptor).trig_insert_before_row)
    }
}

/// Whether this session has the table open besides, or has triggers of it to fire yet: then ALTER TABLE would fail.
pub fn is_in_use(table: &Table) -> bool {
    // SAFETY: the relation is open.
    unsafe { (*table.relation()).rd_refcnt != 1 || pg_sys::AfterTriggerPendingOnRel(table.oid()) }
}

/// Whether its rows are PostgreSQL's own heap's, which counts changes.
pub fn is_heap(table: &Table) -> bool {
    // SAFETY: the relation is open.
    unsafe { (*(*table.relation()).rd_rel).relam == pg_sys::HEAP_TABLE_AM_OID }
}

/// Adds to `bytes` what an answer depends on and a snapshot does not show, and to `writers` who made the triggers.
pub fn describe(table: &Table, bytes: &mut Vec<u8>, writers: &mut Vec<pg_sys::TransactionId>) {
    let mut number = |number: u32| bytes.extend(number.to_le_bytes());
    // SAFETY: the relation is open, its descriptor has natts attributes, and its list holds OIDs.
    unsafe {
        let relation = table.relation();
        let class = (*relation).rd_rel;
        number(table.oid().to_u32());
        number((*relation).rd_node.relNode.to_u32());
        number((*class).relkind as u32);
        number((*class).relpersistence as u32);
        let descriptor = (*relation).rd_att;
        let attributes = (*descriptor).attrs.as_slice((*descriptor).natts as usize);
        number(attributes.len() as u32);
        for attribute in attributes {
            number(u32::from(attribute.attisdropped));
            number(attribute.atttypid.to_u32());
            number(attribute.atttypmod as u32);
            number(attribute.attcollation.to_u32());
        }
        let indexes = pg_sys::RelationGetIndexList(relation);
        let count = if indexes.is_null() { 0 } else { (*indexes).length };
        for i in 0..count {
            let oid = (*(*indexes).elements.add(i as usize)).oid_value;
            number(oid.to_u32());
            number(super::catalog::class(oid).map_or(0, |class| class.file));
            number(u32::from(super::catalog::index_is_valid(oid)));
        }
    }
    for trigger in triggers(table) {
        bytes.extend(trigger.oid.to_u32().to_le_bytes());
        // Switched off and on again, within one transaction even, it is another row.
        let (raw, writer) = inherits::trigger_writer(trigger.oid);
        bytes.extend(raw.to_le_bytes());
        writers.push(writer);
    }
    // SAFETY: as above; names are what the statement calls the columns by.
    for column in super::catalog::columns(table) {
        bytes.extend(column.name.as_bytes());
        bytes.push(0);
    }
}

/// How many rows of the table this transaction has changed so far, as PostgreSQL counts them; `None` where it does not count.
pub fn changes(table: pg_sys::Relation, may_begin: bool) -> Option<i64> {
    // SAFETY: the relation is open; its counters live as long as the transaction.
    unsafe {
        if !pg_sys::pgstat_track_counts {
            return None;
        }
        if may_begin && (*table).pgstat_info.is_null() && (*table).pgstat_enabled {
            // Else there would be none at the end of a statement that finds no row by an index.
            pg_sys::pgstat_assoc_relation(table);
        }
        let counters = (*table).pgstat_info;
        if counters.is_null() {
            // Nothing is counted yet; at a statement's end, something may have been and have been lost.
            return may_begin.then_some(0);
        }
        let (mut total, mut level) = (0, (*counters).trans);
        while !level.is_null() {
            total += (*level).tuples_inserted + (*level).tuples_updated + (*level).tuples_deleted;
            level = (*level).upper;
        }
        Some(total)
    }
}
