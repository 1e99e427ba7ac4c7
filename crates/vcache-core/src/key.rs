//! Owns the name of an entry: 128 bits over everything that decides an answer.
//!
//! Every part goes in with a tag and its length, so that two different lists of parts never give the same bytes
//! (`("ab", "c")` and `("a", "bc")` differ). The bytes are hashed by XXH3 with a random secret of the database: who does not
//! know the secret cannot construct two searches that meet.

use std::fmt;
use xxhash_rust::xxh3;

/// Bytes of the secret that seeds the hash.
pub const SECRET_BYTES: usize = 192;

/// The random secret of a database.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// `None` unless there are [`SECRET_BYTES`] bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// A 64-bit sum of `bytes` that only the secret's holder computes: it tells damage from an entry, and is no signature.
    pub fn sum(&self, bytes: &[u8]) -> u64 {
        xxh3::xxh3_64_with_secret(bytes, &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub u128);

impl CacheKey {
    /// The key in bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for CacheKey {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Collects the parts of a key. Kept and cleared between searches, it allocates nothing.
#[derive(Debug, Default)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
}

impl KeyBuilder {
    /// Forgets all parts.
    pub fn clear(&mut self) -> &mut Self {
        self.bytes.clear();
        self
    }

    /// Adds a part of any bytes.
    pub fn part(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        self.head(tag, value.len());
        self.bytes.extend_from_slice(value);
        self
    }

    /// Adds an unsigned number.
    pub fn number(&mut self, tag: u8, value: u64) -> &mut Self {
        self.part(tag, &value.to_le_bytes())
    }

    /// Adds the values of a vector, in canonical form.
    pub fn floats(&mut self, tag: u8, values: &[f32]) -> &mut Self {
        self.head(tag, values.len() * 4);
        let start = self.bytes.len();
        self.bytes.resize(start + values.len() * 4, 0);
        let places = self.bytes.get_mut(start..).unwrap_or_default().as_chunks_mut().0;
        for (place, value) in places.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
        self
    }

    /// The key of the parts so far.
    pub fn finish(&self, secret: &Secret) -> CacheKey {
        CacheKey(xxh3::xxh3_128_with_secret(&self.bytes, &secret.0))
    }

    fn head(&mut self, tag: u8, length: usize) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(seed: u8) -> Secret {
        let bytes: Vec<u8> =
            (0..SECRET_BYTES).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed).rotate_left(3)).collect();
        Secret::new(&bytes).unwrap()
    }

    fn built(parts: &[(u8, Vec<u8>)]) -> KeyBuilder {
        let mut builder = KeyBuilder::default();
        for (tag, value) in parts {
            builder.part(*tag, value);
        }
        builder
    }

    #[test]
    fn the_secret_decides() {
        let parts = built(&[(1, b"documents".to_vec())]);
        assert_ne!(parts.finish(&secret(1)), parts.finish(&secret(2)));
        assert_ne!(secret(1).sum(b"x"), secret(2).sum(b"x"));
        assert!(Secret::new(&[0; 10]).is_none());
    }

    #[test]
    fn a_key_prints_as_32_digits() {
        assert_eq!(CacheKey(0xab).to_string(), "000000000000000000000000000000ab");
    }

    #[test]
    fn a_cleared_builder_is_a_new_one() {
        let mut builder = built(&[(1, b"a".to_vec())]);
        builder.clear().part(2, b"b");
        assert_eq!(builder.finish(&secret(0)), built(&[(2, b"b".to_vec())]).finish(&secret(0)));
    }

    proptest! {
        /// The bytes under the hash are injective: they give the parts back, so other parts are other bytes.
        #[test]
        fn other_parts_are_other_bytes(
            a in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..6),
            b in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..6),
        ) {
            let (x, y) = (built(&a), built(&b));
            prop_assert_eq!(a == b, x.bytes == y.bytes);
            prop_assert_eq!(a == b, x.finish(&secret(7)) == y.finish(&secret(7)));
        }

        #[test]
        fn floats_are_their_bits(a in prop::collection::vec(any::<f32>(), 0..9), b in prop::collection::vec(any::<f32>(), 0..9)) {
            let key = |v: &[f32]| { let mut k = KeyBuilder::default(); k.floats(1, v); k.finish(&secret(7)) };
            let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&a) == bits(&b), key(&a) == key(&b));
        }
    }
}
