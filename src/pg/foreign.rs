//! Owns the question as whom a role reads a foreign table.

use pgrx::pg_sys::{self, Datum, Oid, SysCacheIdentifier};

/// What tells whether a role is still to a foreign table's server who it was: the server's row, and that of the role's user mapping, or of
/// the one for all. Which options they have, and so whether there is a password among them, is not told.
pub fn reader(table: Oid, role: Oid) -> Vec<u8> {
    // SAFETY: the table is foreign; look-ups.
    unsafe {
        let server = (*pg_sys::GetForeignTable(table)).serverid;
        let mapping = |role: Oid| version(SysCacheIdentifier::USERMAPPINGUSERSERVER, role.into(), server.into());
        let of_server = version(SysCacheIdentifier::FOREIGNSERVEROID, server.into(), Datum::null());
        let of_role = mapping(role).or_else(|| mapping(pg_sys::InvalidOid));
        let numbers = [table.to_u32(), server.to_u32()].into_iter();
        let versions = [of_server, of_role].into_iter().flat_map(|version| version.unwrap_or_default());
        numbers.chain(versions).flat_map(u32::to_le_bytes).collect()
    }
}

/// The version of a row in a cache: block and offset, and who wrote it.
///
/// # Safety
/// The keys are those of the cache.
unsafe fn version(cache: SysCacheIdentifier::Type, first: Datum, second: Datum) -> Option<[u32; 3]> {
    // SAFETY: by this function's contract; the row is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache2(cache as i32, first, second);
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
