//! Owns the question whether a snapshot still tells the truth about a table, and running under a newer one.
//!
//! TRUNCATE and the ALTER TABLEs that rewrite are not MVCC-safe: to a snapshot from before, the table is empty afterwards. A plain
//! query locks its tables before it takes its snapshot, so it never meets that; a function's snapshot is older than its locks.

use super::catalog;
use super::scan::{self, Condition, Table, View};
use pgrx::pg_sys;

// From catalog/pg_inherits.h, which pgrx leaves out.
unsafe extern "C-unwind" {
    fn find_all_inheritors(
        parent: pg_sys::Oid,
        lock: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

/// Whether the table, or one that inherits from it, has been rewritten since the active snapshot was taken.
pub fn is_outdated_for(oid: pg_sys::Oid) -> bool {
    let classes = Table::open(pg_sys::RelationRelationId);
    let differs = |oid: pg_sys::Oid| {
        let condition = Condition::OidIs(pg_sys::Anum_pg_class_oid as i16, oid);
        let index = pg_sys::Oid::from(pg_sys::ClassOidIndexId);
        let seen = scan::last(&classes, index, &[condition], View::Caller, |row| {
            row.get(pg_sys::Anum_pg_class_relfilenode as i16).map(|datum| datum.value() as u32)
        });
        seen.flatten() != catalog::class(oid).map(|class| class.file)
    };
    if !catalog::class(oid).is_some_and(|class| class.has_children) {
        return differs(oid);
    }
    // SAFETY: the list and its OIDs live in the current memory context; the tables are locked by whoever has read them.
    let all: Vec<pg_sys::Oid> = unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(oid, pg_sys::NoLock as i32, std::ptr::null_mut())
        });
        (0..(*list).length).map(|i| (*(*list).elements.add(i as usize)).oid_value).collect()
    };
    all.into_iter().any(differs)
}

/// Whether the active snapshot sees what these transactions have done, all of which have committed or are this one.
pub fn sees_all_of(transactions: &[pg_sys::TransactionId]) -> bool {
    // SAFETY: there is a snapshot while a function runs; its kind is that of transactions.
    unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        transactions.iter().all(|of| {
            let is_past = pg_sys::TransactionIdPrecedes(*of, (*snapshot).xmin);
            is_past || pg_sys::TransactionIdIsCurrentTransactionId(*of) || !pg_sys::XidInMVCCSnapshot(*of, snapshot)
        })
    }
}

/// The transactions that had ended when something was read: all before this one, as far as they had.
#[derive(Debug, Clone, Copy)]
pub struct Sight(pg_sys::TransactionId);

impl Sight {
    /// That of now.
    pub fn latest(of: &Table) -> Self {
        // SAFETY: the snapshot is looked at before anything could take it away.
        Self(unsafe { (*pg_sys::GetCatalogSnapshot(of.oid())).xmax })
    }

    /// Whether the active snapshot sees all that was seen: every transaction from before has ended.
    pub fn is_seen(self) -> bool {
        // SAFETY: there is a snapshot while a function runs, and its kind is that of transactions.
        unsafe { pg_sys::TransactionIdPrecedesOrEquals(self.0, (*pg_sys::GetActiveSnapshot()).xmin) }
    }
}

/// A newer snapshot than the active one, active until this is dropped. An ERROR in between needs no clean-up: the abort takes it away.
pub struct Newer(());

impl Newer {
    /// One that is taken now; `None` where a transaction has one snapshot for all its statements.
    pub fn latest() -> Option<Self> {
        if has_one_for_all() {
            return None;
        }
        // SAFETY: the snapshot is popped by `drop`.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        Some(Self(()))
    }

    /// One that sees what this transaction has written, within the same statement too, and where others may be seen, what they
    /// have committed.
    pub fn with_own_writes() -> Self {
        Self::latest().unwrap_or_else(|| {
            // SAFETY: a copy of the active snapshot becomes the active one, is brought up to date, and is popped by `drop`.
            unsafe {
                pg_sys::PushCopiedSnapshot(pg_sys::GetActiveSnapshot());
                pg_sys::UpdateActiveSnapshotCommandId();
            }
            Self(())
        })
    }
}

impl Drop for Newer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed by whoever made this.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

fn has_one_for_all() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
