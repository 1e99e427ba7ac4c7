//! Owns the name of an entry: 128 bits over everything that decides an answer.
//!
//! Every part goes in with a tag and its length, so that two different lists of parts never give the same bytes
//! (`("ab", "c")` and `("a", "bc")` differ). The bytes are hashed by XXH3 with a random secret of the database: who does not
//! know the secret cannot construct two searches that meet.
//!
//! XXH3 keeps no secret by itself: each of its steps can be undone, so that who sees what it makes of bytes of his own choice
//! computes the secret back. So nobody sees that: what leaves is what keyed BLAKE3, a pseudorandom function, makes of it. And each use has a secret of
//! its own, of which none tells another.

use std::fmt;
use xxhash_rust::xxh3;

/// Bytes of a database's secret.
pub const SECRET_BYTES: usize = 192;
/// Bytes of what tells that an entry is from who has the secret.
pub const TAG_BYTES: usize = 32;

/// What becomes of the random secret of a database: a secret for each use.
#[derive(Clone)]
pub struct Secret {
    /// What keys are hashed with, and what the hash is sealed with.
    parts: [u8; SECRET_BYTES],
    names: [u8; blake3::KEY_LEN],
    sums: [u8; SECRET_BYTES],
    tags: [u8; blake3::KEY_LEN],
}

impl Secret {
    /// `None` unless there are [`SECRET_BYTES`] bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        // The contexts are part of what entries are called and sealed with: another one is another secret.
        Some(Self {
            parts: derived("vcache 2026-11-23 the parts of a key", bytes),
            names: derived("vcache 2026-11-23 the name of an entry", bytes),
            sums: derived("vcache 2026-11-23 the sum of an entry", bytes),
            tags: derived("vcache 2026-11-23 the tag of an entry", bytes),
        })
    }

    /// A 64-bit sum of `bytes`: it tells damage from an entry, and is no signature.
    pub fn sum(&self, bytes: &[u8]) -> u64 {
        xxh3::xxh3_64_with_secret(bytes, &self.sums)
    }

    /// A tag of `bytes` that nobody makes who has not the secret.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        *blake3::keyed_hash(&self.tags, bytes).as_bytes()
    }

    /// Whether this is the tag of `bytes`. How long it takes tells nothing of the right one.
    pub fn is_tag(&self, tag: [u8; TAG_BYTES], bytes: &[u8]) -> bool {
        blake3::keyed_hash(&self.tags, bytes) == blake3::Hash::from_bytes(tag)
    }
}

/// BLAKE3's own way from one secret to another, by what it is for.
fn derived<const N: usize>(context: &str, secret: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    blake3::Hasher::new_derive_key(context).update(secret).finalize_xof().fill(&mut bytes);
    bytes
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
        let hash = xxh3::xxh3_128_with_secret(&self.bytes, &secret.parts);
        let name = blake3::keyed_hash(&secret.names, &hash.to_be_bytes());
        CacheKey(u128::from_be_bytes(name.as_bytes().first_chunk().copied().unwrap_or_default()))
    }

    /// A hash of the parts for a person who knows them, to compare two of them by. There is no secret in it.
    pub fn shown(&self) -> String {
        format!("{:032x}", xxh3::xxh3_128(&self.bytes))
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
        assert_ne!(secret(1).tag(b"x"), secret(2).tag(b"x"));
        assert!(secret(1).is_tag(secret(1).tag(b"x"), b"x") && !secret(1).is_tag(secret(1).tag(b"x"), b"y"));
        assert!(Secret::new(&[0; 10]).is_none());
    }

    /// What XXH3 makes of 9 to 16 bytes gives 128 bits of its secret away: these steps are its own, backwards. Neither a key nor what is
    /// shown of its parts may be that.
    #[test]
    fn what_is_seen_of_a_key_tells_nothing_of_the_secret() {
        const P64: [u64; 2] = [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F];
        let inverse = |odd: u64| (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))));
        let unshifted = |x: u64, by: u32| (0..64 / by).fold(x, |y, _| x ^ (y >> by));
        let calmed = |x: u64| unshifted(unshifted(x, 32).wrapping_mul(inverse(0x1656_6791_9E37_79F9)), 37);
        // What the secret's bytes from 32 on come to, by a hash of 12 bytes.
        let guess = |bytes: &[u8; 12], hash: u128| {
            let read = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
            let (low, high) = (calmed(hash as u64), calmed((hash >> 64) as u64));
            let mixed = low.wrapping_mul(inverse(P64[1]));
            let carried = ((u128::from(mixed) * u128::from(P64[1])) >> 64) as u64;
            let upper = high.wrapping_sub(carried).wrapping_mul(inverse(P64[1]));
            let lower = (mixed ^ upper.swap_bytes()).wrapping_sub(11 << 54);
            lower.wrapping_mul(inverse(P64[0])) ^ read(0) ^ read(4)
        };
        let (bytes, secret) = ([1, 3, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c'], secret(7));
        let word = |at: usize| u64::from_le_bytes(*secret.parts[at..].first_chunk().unwrap());
        let truth = word(32) ^ word(40);
        assert_eq!(guess(&bytes, xxh3::xxh3_128_with_secret(&bytes, &secret.parts)), truth, "the attack itself");
        let parts = built(&[(1, b"abc".to_vec())]);
        assert_eq!(parts.bytes, bytes);
        let shown = u128::from_str_radix(&parts.shown(), 16).unwrap();
        assert_ne!(guess(&bytes, parts.finish(&secret).0), truth);
        assert_ne!(guess(&bytes, shown), truth);
        assert_eq!(parts.shown(), built(&[(1, b"abc".to_vec())]).shown());
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
