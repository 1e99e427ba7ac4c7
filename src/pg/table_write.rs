//! Owns writing rows of a table of vcache's own without the executor: no privilege is asked for, no trigger fires, and nothing of it
//! is published. A publication FOR ALL TABLES carries to its subscribers what the executor writes, and one of them that has no
//! table of that name would stop. Every backend is told that the table has changed, as of a change of its definition.

use super::scan::Table;
use pgrx::pg_sys::{self, Datum};

/// Adds a row, by its columns; what somebody has added to the table behind them stays NULL. Raises PostgreSQL's own error when a unique index has one like it.
pub fn insert(table: &Table, columns: &[Option<Datum>]) {
    let relation = table.relation();
    let mut values: Vec<Datum> = columns.iter().map(|column| column.unwrap_or(Datum::null())).collect();
    let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
    // SAFETY: the relation is open, and its descriptor has natts attributes.
    let all = unsafe { (*(*relation).rd_att).natts }.unsigned_abs() as usize;
    values.resize(all.max(columns.len()), Datum::null());
    nulls.resize(all.max(columns.len()), true);
    // SAFETY: there are at least as many values as columns, of their types; each index is open while it is written to.
    unsafe {
        pg_sys::LockRelationOid(table.oid(), pg_sys::RowExclusiveLock as pg_sys::LOCKMODE);
        let tuple = pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        let command = pg_sys::GetCurrentCommandId(true);
        let options = pg_sys::HEAP_INSERT_NO_LOGICAL as i32;
        pg_sys::heap_insert(relation, tuple, command, options, std::ptr::null_mut());
        let list = pg_sys::RelationGetIndexList(relation);
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..count {
            let oid = (*(*list).elements.add(i as usize)).oid_value;
            let index = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32);
            let form = (*index).rd_index;
            if (*form).indisready {
                let keys = (*form).indkey.values.as_slice((*form).indnatts as usize);
                let of = |key: &i16| columns.get(usize::try_from(*key - 1).unwrap_or(usize::MAX)).copied().flatten();
                let mut values: Vec<Datum> = keys.iter().map(|key| of(key).unwrap_or(Datum::null())).collect();
                let mut nulls: Vec<bool> = keys.iter().map(|key| of(key).is_none()).collect();
                let check = if (*form).indisunique {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
                } else {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
                };
                let info = pg_sys::BuildIndexInfo(index);
                pg_sys::index_insert(
                    index,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                    &mut (*tuple).t_self,
                    relation,
                    check,
                    false,
                    info,
                );
            }
            pg_sys::index_close(index, pg_sys::RowExclusiveLock as i32);
        }
        pg_sys::CacheInvalidateRelcache(relation);
        pg_sys::CommandCounterIncrement();
    }
}

/// Takes away the version of a row that stands at `place` (block and offset, as a [`Tuple`](super::scan::Tuple) gives it); `false` when
/// another transaction has.
pub fn delete(table: &Table, place: u64) -> bool {
    let block = place >> 16;
    let mut at = pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData { bi_hi: (block >> 16) as u16, bi_lo: block as u16 },
        ip_posid: place as u16,
    };
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: the place is that of a version that this backend has seen.
    unsafe {
        pg_sys::LockRelationOid(table.oid(), pg_sys::RowExclusiveLock as pg_sys::LOCKMODE);
        let (command, crosscheck) = (pg_sys::GetCurrentCommandId(true), std::ptr::null_mut());
        let result = pg_sys::heap_delete(table.relation(), &mut at, command, crosscheck, true, &mut failure, false);
        pg_sys::CacheInvalidateRelcache(table.relation());
        pg_sys::CommandCounterIncrement();
        result == pg_sys::TM_Result::TM_Ok
    }
}

/// Waits until no other transaction changes rows that exist, and keeps others from it until this one ends.
pub fn take_turns(table: &Table) {
    // SAFETY: the lock is the transaction's; lock_timeout and cancels are PostgreSQL's.
    unsafe { pg_sys::LockRelationOid(table.oid(), pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE) };
}
