//! Owns hashing values in such a way that those which are equal hash alike.

use super::catalog;
use pgrx::pg_sys::{self, Datum, Oid};

/// The hash that goes with a type's equality, under a collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashing {
    function: Oid,
    collation: Oid,
}

impl Hashing {
    /// `None` where there is none that all backends agree on at all times: PostgreSQL's own types and enums have theirs for good, or have
    /// none. What belongs to a type of a user's may be made, dropped and replaced while others go by it.
    pub fn of(kind: Oid, collation: Oid) -> Option<Self> {
        let base = catalog::base_type(kind);
        if !catalog::is_built_in(base) && !catalog::is_enum(base) {
            return None;
        }
        let wanted = (pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_PROC) as i32;
        // SAFETY: the entry is valid while no invalidation is accepted, and is read at once. Asked for both, PostgreSQL gives only a hash
        // that goes with the equality.
        let function = unsafe { (*pg_sys::lookup_type_cache(base, wanted)).hash_proc };
        (function != pg_sys::InvalidOid).then_some(Self { function, collation })
    }

    /// The hash of a value of the type.
    pub fn hash(self, value: Datum) -> u32 {
        // SAFETY: the function is the type's own, and takes a value of it.
        unsafe { pg_sys::OidFunctionCall1Coll(self.function, self.collation, value) }.value() as u32
    }
}
