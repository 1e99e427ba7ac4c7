//! Owns reading a version of a row where it stands.

use super::scan::Table;
use pgrx::pg_sys::{self, Datum};

/// Hands the version that stands at `at`, seen or not, to `read`, which is given the value of a column (from 1) by its number. `None` when
/// none stands there.
pub fn at<T>(
    table: &Table,
    at: pg_sys::ItemPointerData,
    read: impl FnOnce(&dyn Fn(i16) -> Option<Datum>) -> T,
) -> Option<T> {
    let relation = table.relation();
    let mut tuple = pg_sys::HeapTupleData { t_self: at, ..Default::default() };
    let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
    // SAFETY: the relation is open and a heap; what is found is pinned until it has been read.
    unsafe {
        if !pg_sys::heap_fetch(relation, &raw mut pg_sys::SnapshotAnyData, &mut tuple, &mut buffer, false) {
            return None;
        }
        let pointer = &raw mut tuple;
        let column = |number: i16| {
            let mut is_null = false;
            let value = pg_sys::heap_getattr(pointer, number.into(), (*relation).rd_att, &mut is_null);
            (!is_null).then_some(value)
        };
        let result = read(&column);
        pg_sys::ReleaseBuffer(buffer);
        Some(result)
    }
}
