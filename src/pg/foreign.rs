//! Owns the question as whom a role reads a foreign table.

use pgrx::pg_sys::{self, Oid, SysCacheIdentifier};

/// What tells whether a role is still to a foreign table's server who it was: the server's row, and that of the role's user mapping, or of
/// the one for all. Which options they have, and so whether there is a password among them, is not told.
pub fn reader(table: Oid, role: Oid) -> Vec<u8> {
    // SAFETY: the table is foreign; look-ups.
    unsafe {
        let server = (*pg_sys::GetForeignTable(table)).serverid;
        let cache = SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        let mapping = |role: Oid| version(pg_sys::SearchSysCache2(cache, role.into(), server.into()));
        let of_server = version(pg_sys::SearchSysCache1(SysCacheIdentifier::FOREIGNSERVEROID as i32, server.into()));
        let of_role = mapping(role).or_else(|| mapping(pg_sys::InvalidOid));
        let numbers = [table.to_u32(), server.to_u32()].into_iter();
        let versions = [of_server, of_role].into_iter().flat_map(|version| version.unwrap_or_default());
        numbers.chain(versions).flat_map(u32::to_le_bytes).collect()
    }
}

/// The version of a row that a cache has given, if it has one: block and offset, and who wrote it.
///
/// # Safety
/// `tuple` is null or has not been released.
unsafe fn version(tuple: pg_sys::HeapTuple) -> Option<[u32; 3]> {
    // SAFETY: by this function's contract; the row is released.
    unsafe {
        if tuple.is_null() {
            return None;
        }
        let at = (*tuple).t_self;
        let block = (u32::from(at.ip_blkid.bi_hi) << 16) | u32::from(at.ip_blkid.bi_lo);
        let writer = (*(*tuple).t_data).t_choice.t_heap.t_xmin.into_inner();
        pg_sys::ReleaseSysCache(tuple);
        Some([block, u32::from(at.ip_posid), writer])
    }
}
