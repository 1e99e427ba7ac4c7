//! Owns `vcache_flush`: the memory of the tiers is freed. Other than a search, it fails when they cannot be reached.

use crate::error::Error;
use crate::pg::function::{Call, sql_function};
use crate::tier::{redis, shared};
use pgrx::pg_sys::Datum;

sql_function!(vcache_flush, pg_finfo_vcache_flush, flush);

fn flush(_: &Call) -> Datum {
    let in_shared = shared::flush();
    match redis::flush::all() {
        Ok(freed) => Datum::from(freed + in_shared),
        Err(unfreed) => Error::Flush(unfreed).raise(),
    }
}
