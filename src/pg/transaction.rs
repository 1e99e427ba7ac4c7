//! Owns what a backend must know of its own transaction: how it is isolated, and when it, or a part of it, ends.

use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;
use std::ffi::CStr;

/// A (sub)transaction of this backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(pg_sys::SubTransactionId);

impl Part {
    pub fn current() -> Self {
        // SAFETY: reads a variable of this backend.
        Self(unsafe { pg_sys::GetCurrentSubTransactionId() })
    }
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The whole transaction, whichever way.
    Whole,
    /// What the part did is now its parent's.
    Merged { part: Part, into: Part },
    /// What the part did has not happened.
    Undone(Part),
}

/// What belongs to the (sub)transaction that it was added in, and goes with it when that is undone, or when the whole one ends.
pub struct PerPart<T>(RefCell<Vec<(T, Part)>>);

impl<T> PerPart<T> {
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub fn add(&self, what: T) {
        let entry = (what, Part::current());
        self.0.borrow_mut().push(entry);
    }

    pub fn find<R>(&self, read: impl FnMut(&T) -> Option<R>) -> Option<R> {
        self.0.borrow().iter().map(|(what, _)| what).find_map(read)
    }

    /// To be told of every end. Nothing here raises, and nobody holds the list while PostgreSQL's code runs.
    pub fn end(&self, end: End) {
        let mut list = self.0.borrow_mut();
        match end {
            End::Whole => list.clear(),
            End::Undone(part) => list.retain(|(_, of)| *of != part),
            End::Merged { part, into } => list.iter_mut().filter(|(_, of)| *of == part).for_each(|(_, of)| *of = into),
        }
    }
}

thread_local! {
    static TELL: RefCell<Vec<fn(End)>> = const { RefCell::new(Vec::new()) };
}

/// Has `tell` hear of every end from now on. It must not raise.
pub fn at_end(tell: fn(End)) {
    let is_first = TELL.with_borrow(Vec::is_empty);
    if is_first {
        // SAFETY: the functions live as long as the process.
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(part_ended), std::ptr::null_mut());
        }
    }
    TELL.with_borrow_mut(|list| list.push(tell));
}

fn tell(end: End) {
    TELL.with_borrow(|list| list.iter().for_each(|tell| tell(end)));
}

#[pg_guard]
extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(event, XACT_EVENT_ABORT | XACT_EVENT_COMMIT | XACT_EVENT_PREPARE) {
        tell(End::Whole);
    }
}

#[pg_guard]
extern "C-unwind" fn part_ended(
    event: pg_sys::SubXactEvent::Type,
    part: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => tell(End::Merged { part: Part(part), into: Part(parent) }),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => tell(End::Undone(Part(part))),
        _ => {}
    }
}

pub fn is_serializable() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Whether this session applies another server's changes: `session_replication_role = replica`.
pub fn is_replica() -> bool {
    // SAFETY: reads a setting.
    unsafe { pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32 }
}

pub fn is_in_recovery() -> bool {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Raises PostgreSQL's own error where `what`, such as `nextval()`, must not write.
pub fn prevent_unless_writable(what: &CStr) {
    // SAFETY: the name is terminated.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(what.as_ptr());
        pg_sys::PreventCommandIfReadOnly(what.as_ptr());
        pg_sys::PreventCommandIfParallelMode(what.as_ptr());
    }
}

/// Sees what other backends have changed in the catalogs, up to now: PostgreSQL does so by itself only where it takes a lock that it
/// does not hold yet.
pub fn accept_changes_of_catalogs() {
    // SAFETY: what the callbacks do is theirs.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}
