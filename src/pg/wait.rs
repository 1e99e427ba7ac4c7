//! Owns waiting for a socket the way a backend must: with the latch beside it, so that a cancel or a termination acts at once,
//! whatever the other end does.

use pgrx::pg_sys;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// What a socket is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    Reading,
    Writing,
}

impl For {
    fn event(self) -> u32 {
        match self {
            Self::Reading => pg_sys::WL_SOCKET_READABLE,
            Self::Writing => pg_sys::WL_SOCKET_WRITEABLE,
        }
    }
}

/// The deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

/// A set of sockets and the latch, kept for as long as they are, so that a wait is one system call.
pub struct Waiter {
    set: *mut pg_sys::WaitEventSet,
    sockets: Vec<(i32, For)>,
}

impl Waiter {
    /// Waits for these sockets, which outlive the waiter. `None` when this backend may have no more files open: PostgreSQL, which
    /// takes a place for the set itself, would raise that.
    pub fn new(sockets: &[(RawFd, For)]) -> Option<Self> {
        drop(Descriptor::reserve()?);
        // SAFETY: the set has room for the latch, the postmaster's death and every socket; it lives in a context that outlives
        // transactions and is freed by `drop`.
        unsafe {
            let set = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, sockets.len() as i32 + 2);
            let none = std::ptr::null_mut();
            let no_socket = pg_sys::PGINVALID_SOCKET;
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, no_socket, pg_sys::MyLatch, none);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_EXIT_ON_PM_DEATH, no_socket, none.cast(), none);
            let add = |&(socket, what): &(RawFd, For)| {
                (pg_sys::AddWaitEventToSet(set, what.event(), socket, none.cast(), none), what)
            };
            Some(Self { set, sockets: sockets.iter().map(add).collect() })
        }
    }

    /// Waits for the one socket of this waiter, to read from it or to write to it.
    ///
    /// A cancel, a termination or a timeout of the statement is raised from here: what is under way on the socket is then
    /// not finished, and its owner must close it.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub fn wait_for(&mut self, what: For, deadline: Instant) -> Result<(), TimedOut> {
        if let [(position, registered)] = self.sockets.as_mut_slice()
            && *registered != what
        {
            // SAFETY: the position is the socket's in this set.
            unsafe { pg_sys::ModifyWaitEvent(self.set, *position, what.event(), std::ptr::null_mut()) };
            *registered = what;
        }
        self.wait(deadline)
    }

    /// Waits for any of the sockets.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub fn wait(&mut self, deadline: Instant) -> Result<(), TimedOut> {
        loop {
            // What is there already counts even when the deadline has passed: with more sessions than processors this backend may
            // not have run since.
            let left = deadline.saturating_duration_since(Instant::now());
            let mut event = pg_sys::WaitEvent::default();
            // SAFETY: the set is valid; there is room for one event.
            let events = unsafe {
                pg_sys::WaitEventSetWait(self.set, milliseconds(left), &mut event, 1, pg_sys::PG_WAIT_EXTENSION)
            };
            if events == 0 {
                if left.is_zero() {
                    return Err(TimedOut);
                }
                continue;
            }
            if event.events & pg_sys::WL_LATCH_SET == 0 {
                return Ok(());
            }
            // SAFETY: the latch is this backend's own.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
            pgrx::check_for_interrupts!();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once. It raises nothing, so it is done while an ERROR passes as well: the set is not of
        // the kind that the abort frees.
        unsafe { pg_sys::FreeWaitEventSet(self.set) };
    }
}

/// Rounded up: a wait of 0 would be a busy loop until the deadline.
fn milliseconds(left: Duration) -> std::ffi::c_long {
    std::ffi::c_long::try_from(left.as_micros().div_ceil(1000)).unwrap_or(std::ffi::c_long::MAX)
}

/// Waits for a while, or until something comes for this backend. A cancel or a termination is raised from here.
pub fn pause(length: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the latch is this backend's own.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds(length), pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Raises a cancel or a termination that has come meanwhile, in work that takes long and waits for nothing.
pub fn accept_interrupts() {
    pgrx::check_for_interrupts!();
}

/// A place among the files that this backend may have open besides PostgreSQL's own, given back when dropped.
pub struct Descriptor(());

impl Descriptor {
    /// `None` when there is no place left.
    pub fn reserve() -> Option<Self> {
        // SAFETY: counts; PostgreSQL closes files of its own if it must.
        unsafe { pg_sys::AcquireExternalFD() }.then(|| Self(()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: counts; it raises nothing.
        unsafe { pg_sys::ReleaseExternalFD() };
    }
}
