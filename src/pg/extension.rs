//! Owns what PostgreSQL tells of the script of an extension.

use pgrx::pg_sys;

/// Whether such a script runs: CREATE EXTENSION or ALTER EXTENSION … UPDATE.
pub fn is_being_made() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::creating_extension }
}
