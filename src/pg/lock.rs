//! Owns locks on tables beyond those that opening one takes, and a lock of vcache's own.

use super::scan::Table;
use pgrx::pg_sys::{self, Oid};

/// Takes AccessShareLock, unless that would mean to wait.
pub fn try_share(table: Oid) -> bool {
    // SAFETY: the lock is the transaction's.
    unsafe { pg_sys::ConditionalLockRelationOid(table, pg_sys::AccessShareLock as pg_sys::LOCKMODE) }
}

/// Waits until nobody writes to the table, and keeps writers away until the transaction ends.
pub fn exclude_writers(table: Oid) {
    // SAFETY: as above; lock_timeout and cancels are PostgreSQL's.
    unsafe { pg_sys::LockRelationOid(table, pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE) };
}

/// Whether this session has the table to itself.
pub fn is_exclusive(table: &Table) -> bool {
    // SAFETY: the relation is open.
    unsafe {
        let mode = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::CheckRelationLockedByMe(table.relation(), mode, true)
    }
}

/// Has every backend find out anew what it has kept of a table, once this transaction commits.
pub fn tell_of_change(table: Oid) {
    // SAFETY: a table that is gone is passed over.
    unsafe {
        if super::catalog::class(table).is_some() {
            pg_sys::CacheInvalidateRelcacheByRelid(table);
        }
    }
}

/// Holds a lock until the very end of the transaction. It does not wait for others that do the same.
pub fn announce(relation: Oid) {
    // SAFETY: as above.
    unsafe { pg_sys::LockRelationOid(relation, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE) };
}

/// Whether no other transaction holds the lock of [`announce`]. It does not wait.
pub fn is_nothing_announced(relation: Oid) -> bool {
    let mode = pg_sys::ShareLock as pg_sys::LOCKMODE;
    // SAFETY: the lock is released at once.
    unsafe {
        let is_free = pg_sys::ConditionalLockRelationOid(relation, mode);
        if is_free {
            pg_sys::UnlockRelationOid(relation, mode);
        }
        is_free
    }
}

/// A lock of the advisory class, which says that this backend computes something. It shows in pg_locks, works on a standby, and is given back
/// when the transaction, or its part, fails.
pub struct Computation {
    tag: pg_sys::LOCKTAG,
}

impl Computation {
    /// `None` when another backend has it. It does not wait, and raises nothing: not even that there is no room for locks.
    pub fn try_begin(number: u64) -> Option<Self> {
        /// Beside those of pg_advisory_lock, which have 1 and 2.
        const OURS: u16 = 3;
        let tag = pg_sys::LOCKTAG {
            locktag_field1: super::catalog::database().to_u32(),
            locktag_field2: (number >> 32) as u32,
            locktag_field3: number as u32,
            locktag_field4: OURS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the lock belongs to the resource owner of the moment, which gives it back unless `drop` does.
        let taken = unsafe { pg_sys::LockAcquireExtended(&tag, mode, false, true, false, std::ptr::null_mut()) };
        // Not then_some: one that is made is one that is dropped.
        (taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL).then(|| Self { tag })
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: taken by `try_begin`, under the same resource owner.
            unsafe { pg_sys::LockRelease(&self.tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, false) };
        }
    }
}
