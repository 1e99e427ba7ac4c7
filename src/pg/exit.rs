//! Owns what a backend does on its way out, when it is terminated in the middle of something: no destructor runs then.

use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;

static WORK: OnceLock<fn()> = OnceLock::new();

/// Has `work` run when this backend exits, however that comes, short of a crash. It must not raise. The first call counts.
pub fn at_exit(work: fn()) {
    if WORK.set(work).is_ok() {
        // SAFETY: the function lives as long as the process.
        unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null()) };
    }
}

#[pg_guard]
extern "C-unwind" fn on_exit(_code: std::ffi::c_int, _argument: pg_sys::Datum) {
    if let Some(work) = WORK.get() {
        work();
    }
}
