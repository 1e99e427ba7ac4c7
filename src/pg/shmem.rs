//! Owns shared memory: a region of slots laid out at server start, with a lock beside it.
//!
//! Only a library in shared_preload_libraries can have any. Nothing that can raise, allocate or wait may run under the lock.

use once_cell::sync::OnceCell;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What may stand in shared memory. Made by [`shared_struct`] alone.
///
/// # Safety
/// Bytes of zero are a valid value, and every change goes through atomics.
pub unsafe trait Shared: Sync + 'static {}

/// A field of a shared struct: an atomic, or an array of them.
pub trait Atomic {}
impl Atomic for AtomicU8 {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}
impl Atomic for AtomicI64 {}
impl<A: Atomic, const N: usize> Atomic for [A; N] {}

/// Declares a struct for shared memory: all its fields are atomics.
macro_rules! shared_struct {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$of:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[repr(C)]
        pub struct $name { $($(#[$of])* $field: $kind,)* }

        const _: () = {
            const fn is_atomic<A: $crate::pg::shmem::Atomic>() {}
            $(is_atomic::<$kind>();)*
        };

        #[allow(unsafe_code, reason = "every field is an atomic, whose zero bytes are a value")]
        // SAFETY: checked field by field above.
        unsafe impl $crate::pg::shmem::Shared for $name {}
    };
}
pub(crate) use shared_struct;

/// The extension's region. The pointer is set in the postmaster and inherited by every backend; a crash of a backend has the
/// postmaster lay it out anew.
struct Region {
    name: &'static CStr,
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    lock: AtomicPtr<pg_sys::LWLock>,
}

static REGION: Region = Region {
    name: c"vcache",
    bytes: AtomicUsize::new(0),
    start: AtomicPtr::new(std::ptr::null_mut()),
    lock: AtomicPtr::new(std::ptr::null_mut()),
};

/// The hooks that were there before ours.
static PREVIOUS: OnceCell<(pg_sys::shmem_request_hook_type, pg_sys::shmem_startup_hook_type)> = OnceCell::new();

/// Whether the library is being loaded at server start.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Asks for a region of `slots` values of `T`, at server start.
pub fn request<T: Shared>(slots: usize) {
    REGION.bytes.store(slots * size_of::<T>(), Ordering::Relaxed);
    // SAFETY: hooks are set while one process, the postmaster, starts.
    unsafe {
        if PREVIOUS.set((pg_sys::shmem_request_hook, pg_sys::shmem_startup_hook)).is_ok() {
            pg_sys::shmem_request_hook = Some(on_request);
            pg_sys::shmem_startup_hook = Some(on_startup);
        }
    }
}

#[pg_guard]
extern "C-unwind" fn on_request() {
    // SAFETY: PostgreSQL calls this when space may be asked for.
    unsafe {
        if let Some((Some(previous), _)) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        pg_sys::RequestAddinShmemSpace(REGION.bytes.load(Ordering::Relaxed));
        pg_sys::RequestNamedLWLockTranche(REGION.name.as_ptr(), 1);
    }
}

#[pg_guard]
extern "C-unwind" fn on_startup() {
    // SAFETY: PostgreSQL calls this when shared memory is there; the lock keeps others out, as its documentation demands.
    unsafe {
        if let Some((_, Some(previous))) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        let bytes = REGION.bytes.load(Ordering::Relaxed);
        let init_lock = addin_shmem_init_lock();
        pg_sys::LWLockAcquire(init_lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let mut found = false;
        let start = pg_sys::ShmemInitStruct(REGION.name.as_ptr(), bytes, &mut found).cast::<u8>();
        if !found {
            start.write_bytes(0, bytes);
        }
        REGION.lock.store(&raw mut (*pg_sys::GetNamedLWLockTranche(REGION.name.as_ptr())).lock, Ordering::Release);
        REGION.start.store(start, Ordering::Release);
        pg_sys::LWLockRelease(init_lock);
    }
}

/// AddinShmemInitLock, a macro in lwlock.h (in PostgreSQL 15 number 21 of the individual locks in lwlocknames.txt).
fn addin_shmem_init_lock() -> *mut pg_sys::LWLock {
    const NUMBER: usize = 21;
    // SAFETY: the individual locks stand at the start of the main array in the order of their numbers.
    unsafe { &raw mut (*pg_sys::MainLWLockArray.add(NUMBER)).lock }
}

/// The region's slots; `None` when the library was not preloaded.
pub fn slots<T: Shared>() -> Option<&'static [T]> {
    let start = REGION.start.load(Ordering::Acquire);
    // SAFETY: the region was asked for with this `T` (there is one caller of `request`), is aligned by ShmemInitStruct, filled
    // with zeros, and never goes away while the process lives.
    (!start.is_null()).then(|| unsafe {
        std::slice::from_raw_parts(start.cast::<T>(), REGION.bytes.load(Ordering::Relaxed) / size_of::<T>())
    })
}

/// Runs `work` alone in the whole server. It must not raise, allocate in PostgreSQL's memory, or wait.
pub fn exclusively<R>(work: impl FnOnce() -> R) -> R {
    let lock = REGION.lock.load(Ordering::Acquire);
    if lock.is_null() {
        return work();
    }
    // SAFETY: the lock is in shared memory and is released below.
    unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
    let result = work();
    // SAFETY: acquired above.
    unsafe { pg_sys::LWLockRelease(lock) };
    result
}
