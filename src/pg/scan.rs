//! Owns reading vcache's own tables and PostgreSQL's catalogs by their indexes, without SPI.
//!
//! A scan sees what the given snapshot sees. Indexes are taken from the relation's cache entry at every scan: an OID kept
//! across REINDEX CONCURRENTLY would be an error one day.

use pgrx::pg_sys;

/// An open table under AccessShareLock, which is kept until the transaction ends.
pub struct Table(pg_sys::Relation);

impl Table {
    /// Opens a table that is known to exist.
    pub fn open(oid: pg_sys::Oid) -> Self {
        // SAFETY: raises if there is no such relation; taking the lock accepts invalidation messages.
        Self(unsafe { pg_sys::table_open(oid, pg_sys::AccessShareLock as i32) })
    }

    /// Opens a table that is locked already.
    pub fn open_locked(oid: pg_sys::Oid) -> Self {
        // SAFETY: as above.
        Self(unsafe { pg_sys::table_open(oid, pg_sys::NoLock as i32) })
    }

    /// Opens a relation that may be gone.
    pub fn try_open(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: null comes back when there is none.
        let relation = unsafe { pg_sys::try_relation_open(oid, pg_sys::AccessShareLock as i32) };
        (!relation.is_null()).then(|| Self(relation))
    }

    /// A table that somebody else holds open, and closes.
    pub fn opened(relation: pg_sys::Relation) -> Self {
        Self(relation)
    }

    pub fn relation(&self) -> pg_sys::Relation {
        self.0
    }

    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.0).rd_id }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the relation was opened by `open` and is closed once.
            unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as i32) };
        }
    }
}

/// One condition of an index scan, on column `column` (from 1) of the table.
pub enum Condition<'a> {
    BoolIs(i16, bool),
    OidIs(i16, pg_sys::Oid),
    /// Text in collation "C".
    TextIs(i16, &'a str),
    /// Text in collation "C", not greater than this.
    TextAtMost(i16, &'a str),
}

impl Condition<'_> {
    fn key(&self) -> pg_sys::ScanKeyData {
        use pg_sys::{BTEqualStrategyNumber, BTLessEqualStrategyNumber};
        let c = pg_sys::C_COLLATION_OID;
        let text = super::varlena::text_datum;
        let (column, strategy, collation, function, argument) = match *self {
            Self::BoolIs(n, value) => {
                (n, BTEqualStrategyNumber, pg_sys::InvalidOid, pg_sys::F_BOOLEQ, pg_sys::Datum::from(value))
            }
            Self::OidIs(n, value) => {
                (n, BTEqualStrategyNumber, pg_sys::InvalidOid, pg_sys::F_OIDEQ, pg_sys::Datum::from(value))
            }
            Self::TextIs(n, value) => (n, BTEqualStrategyNumber, c, pg_sys::F_TEXTEQ, text(value)),
            Self::TextAtMost(n, value) => (n, BTLessEqualStrategyNumber, c, pg_sys::F_TEXT_LE, text(value)),
        };
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills `key`; the function compares the argument's type.
        unsafe {
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                0,
                column,
                strategy as u16,
                pg_sys::InvalidOid,
                collation,
                function.into(),
                argument,
            );
        }
        key
    }
}

/// A row that a scan has found, with all its columns; what it points to lives until the scan ends.
pub struct Tuple {
    values: Vec<Option<pg_sys::Datum>>,
    /// Where the version stands and which transaction wrote it: together they name a version of a row.
    pub version: (u64, u32),
    /// The transaction that wrote it; frozen, it is everybody's past.
    pub writer: pg_sys::TransactionId,
}

impl Tuple {
    /// The value of column `column`, counted from 1; `None` when NULL.
    pub fn get(&self, column: i16) -> Option<pg_sys::Datum> {
        self.values.get(usize::try_from(column).ok()?.checked_sub(1)?).copied().flatten()
    }
}

/// Under what a scan sees rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The active snapshot.
    Caller,
    /// As catalogs are seen: what is committed now.
    Latest,
}

impl View {
    fn snapshot(self) -> pg_sys::Snapshot {
        match self {
            // SAFETY: there is one while a function runs.
            Self::Caller => unsafe { pg_sys::GetActiveSnapshot() },
            // What a system scan takes for the catalogs' own.
            Self::Latest => std::ptr::null_mut(),
        }
    }
}

/// Every row that fits the conditions, in the order of `index`, handed to `read`.
pub fn each<T>(
    table: &Table,
    index: pg_sys::Oid,
    conditions: &[Condition<'_>],
    view: View,
    mut read: impl FnMut(&Tuple) -> T,
) -> Vec<T> {
    let mut keys: Vec<_> = conditions.iter().map(Condition::key).collect();
    let mut found = Vec::new();
    // SAFETY: as in `last`.
    unsafe {
        let index = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
        let scan =
            pg_sys::systable_beginscan_ordered(table.0, index, view.snapshot(), keys.len() as i32, keys.as_mut_ptr());
        loop {
            let tuple = pg_sys::systable_getnext_ordered(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            found.push(read(&deform(table, tuple)));
        }
        pg_sys::systable_endscan_ordered(scan);
        pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
    }
    found
}

/// The last row, in the order of `index`, that fits the conditions, handed to `read`.
pub fn last<T>(
    table: &Table,
    index: pg_sys::Oid,
    conditions: &[Condition<'_>],
    view: View,
    read: impl FnOnce(&Tuple) -> T,
) -> Option<T> {
    let mut keys: Vec<_> = conditions.iter().map(Condition::key).collect();
    // SAFETY: relation and index are open during the scan, the keys live as long, and the tuple is read before it ends.
    unsafe {
        let index = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
        let scan =
            pg_sys::systable_beginscan_ordered(table.0, index, view.snapshot(), keys.len() as i32, keys.as_mut_ptr());
        let tuple = pg_sys::systable_getnext_ordered(scan, pg_sys::ScanDirection::BackwardScanDirection);
        let found = (!tuple.is_null()).then(|| read(&deform(table, tuple)));
        pg_sys::systable_endscan_ordered(scan);
        pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
        found
    }
}

/// The first `most` rows of a table, in any order, each handed to `read`.
pub fn all<T>(table: &Table, most: usize, view: View, mut read: impl FnMut(&Tuple) -> T) -> Vec<T> {
    let mut found = Vec::new();
    // SAFETY: as in `last`; without an index the scan is sequential.
    unsafe {
        let (none, snapshot) = (std::ptr::null_mut(), view.snapshot());
        let scan = pg_sys::systable_beginscan(table.0, pg_sys::InvalidOid, false, snapshot, 0, none);
        while found.len() < most {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            found.push(read(&deform(table, tuple)));
        }
        pg_sys::systable_endscan(scan);
    }
    found
}

/// The index of the table's primary key; the invalid OID when it has none.
pub fn primary_key(table: &Table) -> pg_sys::Oid {
    // SAFETY: the relation is open.
    unsafe { pg_sys::RelationGetPrimaryKeyIndex(table.0) }
}

/// # Safety
/// `tuple` is a tuple of `table`.
unsafe fn deform(table: &Table, tuple: pg_sys::HeapTuple) -> Tuple {
    // SAFETY: values and nulls have room for as many columns as the descriptor names.
    unsafe {
        let descriptor = (*table.0).rd_att;
        let columns = (*descriptor).natts as usize;
        let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); columns], vec![true; columns]);
        pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        let values = values.into_iter().zip(nulls).map(|(value, null)| (!null).then_some(value)).collect();
        let at = (*tuple).t_self;
        let block = (u64::from(at.ip_blkid.bi_hi) << 16) | u64::from(at.ip_blkid.bi_lo);
        let header = (*tuple).t_data;
        let raw = (*header).t_choice.t_heap.t_xmin;
        let frozen = (pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMIN_INVALID) as u16;
        let is_frozen = (*header).t_infomask & frozen == frozen;
        let writer = if is_frozen { pg_sys::FrozenTransactionId } else { raw };
        Tuple { values, version: ((block << 16) | u64::from(at.ip_posid), raw.into_inner()), writer }
    }
}
