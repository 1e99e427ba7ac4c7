//! Owns random bits, from PostgreSQL's strong source.

use pgrx::pg_sys;

/// 64 random bits.
pub fn bits() -> i64 {
    let mut bytes = [0u8; 8];
    // SAFETY: writes as many bytes as said.
    let drawn = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    if !drawn {
        pgrx::error!("could not generate random values");
    }
    i64::from_ne_bytes(bytes)
}

/// 64 random bits, at little cost: each process draws them from a generator that PostgreSQL seeds from its strong source.
pub fn token() -> i64 {
    // SAFETY: the state is this process' own.
    unsafe { pg_sys::pg_prng_uint64(&raw mut pg_sys::pg_global_prng_state) as i64 }
}

/// A number from 0 up to 1, for what need not be unguessable.
pub fn fraction() -> f64 {
    const BITS: u32 = f64::MANTISSA_DIGITS;
    ((bits() as u64) >> (64 - BITS)) as f64 / (1u64 << BITS) as f64
}
