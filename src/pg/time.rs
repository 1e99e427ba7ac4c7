//! Owns clocks: the wall clock, and the time that a snapshot answers for.

use pgrx::pg_sys;

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Now, in microseconds since the Unix epoch.
pub fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() + POSTGRES_EPOCH }
}

/// Microseconds since the Unix epoch as a `timestamptz` counts them.
pub fn to_postgres(unix: i64) -> i64 {
    unix - POSTGRES_EPOCH
}

/// A time at or before which the active snapshot was taken, in microseconds since the Unix epoch: an answer that was
/// computed under it is at least that old. A cursor that is opened by a function which an older cursor runs has that one's
/// snapshot, so neither the statement's nor the portal's time will do: every snapshot is at least as young as the transaction
/// (unless it was imported from another one).
pub fn snapshot_time() -> i64 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() + POSTGRES_EPOCH }
}

/// Whether a newer snapshot than this transaction's may be taken by the next statement: only such a statement's answer
/// may take the place of one that stands. On a standby, which may lag behind, it must have replayed a commit later than `standing`, the
/// time that the standing answer is from.
pub fn may_replace(standing: Option<i64>) -> bool {
    // SAFETY: reads variables of this backend, and shared memory.
    unsafe {
        let replayed = || pg_sys::GetLatestXTime() + POSTGRES_EPOCH;
        let is_newest = || !pg_sys::RecoveryInProgress() || standing.is_some_and(|standing| standing < replayed());
        is_newest_reader() && is_newest()
    }
}

/// The same within this server, whose own answers are the newest that it has even while it is a standby that lags behind.
pub fn is_newest_reader() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Whether this transaction has written anything (has a transaction id).
pub fn transaction_has_written() -> bool {
    // SAFETY: reads variables of this backend.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}
