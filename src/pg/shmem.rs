//! Owns shared memory: regions of slots laid out at server start, with one lock beside them, and memory with locks of its own.
//!
//! Only a library in shared_preload_libraries can have any. Nothing that can raise, allocate or wait may run under the lock.

use once_cell::sync::OnceCell;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use vcache_core::arena::{Locks, Region as Region64};

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

/// A region of slots, a static of the file that owns what stands in it.
pub struct Region<T> {
    layout: Layout,
    slots: PhantomData<fn() -> T>,
}

/// The pointers are set in the postmaster and inherited by every backend; a crash of a backend has the postmaster lay it out anew.
struct Layout {
    name: &'static CStr,
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    /// Locks of its own, and the first of them.
    locks: AtomicUsize,
    first_lock: AtomicPtr<pg_sys::LWLockPadded>,
    /// What is done with new memory; without it, it is filled with zeros.
    make: Option<fn()>,
}

impl Layout {
    const fn new(name: &'static CStr, make: Option<fn()>) -> Self {
        Self {
            name,
            bytes: AtomicUsize::new(0),
            start: AtomicPtr::new(std::ptr::null_mut()),
            locks: AtomicUsize::new(0),
            first_lock: AtomicPtr::new(std::ptr::null_mut()),
            make,
        }
    }

    fn request(&'static self, bytes: usize, locks: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.locks.store(locks, Ordering::Relaxed);
        if let Ok(mut requested) = REQUESTED.lock() {
            requested.push(self);
        }
        // SAFETY: hooks are set while one process, the postmaster, starts.
        unsafe {
            if PREVIOUS.set((pg_sys::shmem_request_hook, pg_sys::shmem_startup_hook)).is_ok() {
                pg_sys::shmem_request_hook = Some(on_request);
                pg_sys::shmem_startup_hook = Some(on_startup);
            }
        }
    }
}

/// A piece of memory without slots, a static of the file that owns what stands in it, with locks for parts of it.
pub struct Memory(Layout);

impl Memory {
    /// `make` lays out what stands in new memory, which is not filled with zeros: that would take long, and all of it.
    pub const fn new(name: &'static CStr, make: fn()) -> Self {
        Self(Layout::new(name, Some(make)))
    }

    /// Asks for so many bytes and locks, at server start.
    pub fn request(&'static self, bytes: usize, locks: usize) {
        self.0.request(bytes, locks);
    }

    /// The memory; `None` when the library was not preloaded, or asked for none.
    pub fn region(&'static self) -> Option<Region64<'static>> {
        let start = NonNull::new(self.0.start.load(Ordering::Acquire))?;
        // SAFETY: the memory never goes away while the process lives, and all use it through this.
        unsafe { Region64::new(start, self.0.bytes.load(Ordering::Relaxed)) }
    }

    fn locked<R>(&'static self, number: usize, mode: pg_sys::LWLockMode::Type, action: impl FnOnce() -> R) -> R {
        let first = self.0.first_lock.load(Ordering::Acquire);
        debug_assert!(!first.is_null() && number < self.0.locks.load(Ordering::Relaxed));
        // SAFETY: there are as many locks as were asked for, and who has the memory asks for no other.
        unsafe {
            let lock = &raw mut (*first.add(number)).lock;
            pg_sys::LWLockAcquire(lock, mode);
            let result = action();
            pg_sys::LWLockRelease(lock);
            result
        }
    }
}

impl Locks for &'static Memory {
    fn shared<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R {
        self.locked(partition, pg_sys::LWLockMode::LW_SHARED, action)
    }

    fn exclusive<R>(&self, partition: usize, action: impl FnOnce() -> R) -> R {
        self.locked(partition, pg_sys::LWLockMode::LW_EXCLUSIVE, action)
    }
}

impl<T: Shared> Region<T> {
    pub const fn new(name: &'static CStr) -> Self {
        Self { layout: Layout::new(name, None), slots: PhantomData }
    }

    /// Asks for so many slots, at server start.
    pub fn request(&'static self, slots: usize) {
        self.layout.request(slots * size_of::<T>(), 0);
    }

    /// The slots; `None` when the library was not preloaded.
    pub fn slots(&'static self) -> Option<&'static [T]> {
        let start = self.layout.start.load(Ordering::Acquire);
        // SAFETY: the memory was asked for in units of `T`, is aligned by ShmemInitStruct, filled with zeros, and never goes
        // away while the process lives.
        (!start.is_null()).then(|| unsafe {
            std::slice::from_raw_parts(start.cast::<T>(), self.layout.bytes.load(Ordering::Relaxed) / size_of::<T>())
        })
    }
}

/// The regions that were asked for.
static REQUESTED: Mutex<Vec<&Layout>> = Mutex::new(Vec::new());

/// The lock of all of them.
const LOCK_NAME: &CStr = c"vcache";
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(std::ptr::null_mut());

fn requested() -> Vec<&'static Layout> {
    REQUESTED.lock().map(|requested| requested.clone()).unwrap_or_default()
}

/// The hooks that were there before ours.
static PREVIOUS: OnceCell<(pg_sys::shmem_request_hook_type, pg_sys::shmem_startup_hook_type)> = OnceCell::new();

/// Whether the library is being loaded at server start.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

#[pg_guard]
extern "C-unwind" fn on_request() {
    // SAFETY: PostgreSQL calls this when space may be asked for.
    unsafe {
        if let Some((Some(previous), _)) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        for layout in requested() {
            // Each begins at a boundary.
            let bytes = layout.bytes.load(Ordering::Relaxed).next_multiple_of(BOUNDARY);
            pg_sys::RequestAddinShmemSpace(bytes);
            match layout.locks.load(Ordering::Relaxed) {
                0 => {}
                locks => pg_sys::RequestNamedLWLockTranche(layout.name.as_ptr(), locks as i32),
            }
        }
        pg_sys::RequestNamedLWLockTranche(LOCK_NAME.as_ptr(), 1);
    }
}

#[pg_guard]
extern "C-unwind" fn on_startup() {
    // SAFETY: PostgreSQL calls this when shared memory is there; the lock keeps others out, as its documentation demands.
    unsafe {
        if let Some((_, Some(previous))) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        let init_lock = addin_shmem_init_lock();
        pg_sys::LWLockAcquire(init_lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        for layout in requested() {
            let bytes = layout.bytes.load(Ordering::Relaxed);
            let mut found = false;
            let start = pg_sys::ShmemInitStruct(layout.name.as_ptr(), bytes, &mut found).cast::<u8>();
            layout.start.store(start, Ordering::Release);
            if layout.locks.load(Ordering::Relaxed) > 0 {
                layout.first_lock.store(pg_sys::GetNamedLWLockTranche(layout.name.as_ptr()), Ordering::Release);
            }
            match layout.make {
                _ if found => {}
                Some(make) => make(),
                None => start.write_bytes(0, bytes),
            }
        }
        LOCK.store(&raw mut (*pg_sys::GetNamedLWLockTranche(LOCK_NAME.as_ptr())).lock, Ordering::Release);
        pg_sys::LWLockRelease(init_lock);
    }
}

/// What ShmemAlloc aligns to: PG_CACHE_LINE_SIZE in pg_config_manual.h.
const BOUNDARY: usize = 128;

/// AddinShmemInitLock, a macro in lwlock.h (in PostgreSQL 15 number 21 of the individual locks in lwlocknames.txt).
fn addin_shmem_init_lock() -> *mut pg_sys::LWLock {
    const NUMBER: usize = 21;
    // SAFETY: the individual locks stand at the start of the main array in the order of their numbers.
    unsafe { &raw mut (*pg_sys::MainLWLockArray.add(NUMBER)).lock }
}

/// Runs `work` alone in the whole server. It must not raise, allocate in PostgreSQL's memory, or wait.
pub fn exclusively<R>(work: impl FnOnce() -> R) -> R {
    let lock = LOCK.load(Ordering::Acquire);
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
