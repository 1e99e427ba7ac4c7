//! Owns the bytes of an entry, in both directions. The only file that knows CBOR.
//!
//! An entry is a CBOR array `[magic, format, sum, body]`. `body` is a byte string that holds the array of [`Body`], and `sum`
//! is its sum under the database's secret: damage of any kind shows before anything in it is believed. Ids and payloads
//! are packed, each column one byte string with the ends of its rows beside it, so that the first k rows are read without
//! looking at the others, and decoding allocates nothing: everything is borrowed from the input.
//!
//! A sealed entry is such an array behind [`SEALED`] and a tag over all of it, which nobody makes who has not the secret.
//!
//! `serde_cbor` is no longer maintained, so it is kept behind this file: it is given bytes of a bounded size, types without
//! recursion, and borrowed fields, so that no length in the input decides about an allocation.

use crate::key::{CacheKey, Secret, TAG_BYTES};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const MAGIC: &str = "vcache";
/// Of an entry in this server's own memory, which holds payloads as the server has them in memory, and in place of a sum what tells the secret.
const LOCAL: &str = "vcache here";
/// What a sealed entry begins with; the other ones begin with an array's head.
const SEALED: &[u8] = b"sealed";
/// The format of the bytes. It is part of every key, too: entries of another format are never met.
pub const FORMAT: u8 = 3;
/// Set in the end of a row's text when the text is NULL.
const NULL: u32 = 1 << 31;

/// One row of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The row's id as text.
    pub id: Option<&'a str>,
    /// What the operator returned.
    pub distance: f64,
    /// The payload columns as a JSON object.
    pub payload: Option<&'a str>,
}

/// An answer in memory, nearest row first.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Answer {
    distances: Vec<f64>,
    ids: Texts,
    payloads: Texts,
}

impl Answer {
    /// Adds a row behind the others.
    pub fn push(&mut self, row: Row<'_>) {
        self.distances.push(row.distance);
        self.ids.push(row.id);
        self.payloads.push(row.payload);
    }

    /// The answer for fewer rows: the first `k` of them.
    pub fn first(&self, k: usize) -> Self {
        let mut first = Self::default();
        self.rows().take(k).for_each(|row| first.push(row));
        first
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.distances.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.distances.is_empty()
    }

    /// The rows, nearest first.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let texts = self.ids.iter().zip(self.payloads.iter());
        self.distances.iter().zip(texts).map(|(&distance, (id, payload))| Row { id, distance, payload })
    }
}

/// A column of texts, each of which may be NULL.
#[derive(Debug, Default, Clone, PartialEq)]
struct Texts {
    ends: Vec<(usize, bool)>,
    text: String,
}

impl Texts {
    fn push(&mut self, value: Option<&str>) {
        self.text.push_str(value.unwrap_or_default());
        self.ends.push((self.text.len(), value.is_none()));
    }

    fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, &(end, null))| if null { None } else { self.text.get(start..end) })
    }

    /// The ends as they stand in an entry; `None` when the texts are too long for them.
    fn packed_ends(&self) -> Option<Vec<u8>> {
        let mut packed = Vec::with_capacity(self.ends.len() * 4);
        for &(end, null) in &self.ends {
            packed.extend(packed_end(end, null)?.to_le_bytes());
        }
        Some(packed)
    }
}

/// What an entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key that the entry was stored under.
    pub key: CacheKey,
    /// The namespace it answers for.
    pub namespace: &'a str,
    /// When the answer's snapshot was taken, at the latest: microseconds since the Unix epoch.
    pub computed_at: i64,
    /// From when on it answers nothing: microseconds since the Unix epoch.
    pub expires_at: i64,
    /// K, the rows that the engine was asked for; it may have given fewer.
    pub asked: u32,
    /// Which version of its source it answers for.
    pub version: Version,
}

/// A version of a source: both halves are the same exactly when the rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// What snapshots see: a digest of the source's clock.
    pub clock: u128,
    /// What they do not see: a digest of what the catalogs say of the source.
    pub shape: u128,
}

impl Version {
    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (clock, shape) = bytes.split_at_mut(16);
        clock.copy_from_slice(&self.clock.to_be_bytes());
        shape.copy_from_slice(&self.shape.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (clock, shape) = bytes.split_at_checked(16)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u128::from_be_bytes);
        Some(Self { clock: number(clock)?, shape: number(shape)? })
    }
}

/// An entry as read: borrowed from the bytes it was decoded from.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What the entry says of itself.
    pub header: Header<'a>,
    body: Body<'a>,
}

/// What tells that an entry is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Its sum: against damage, and those who do not know how sums are made.
    Sum,
    /// A tag besides: against those who do.
    Tag,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Not CBOR, or not of an entry's form.
    Malformed,
    /// An entry of another format.
    Format(u8),
    /// The sum does not fit the body.
    Sum,
    /// There is no tag where there must be one, or it does not fit.
    Tag,
    /// A column does not fit the number of rows, or is no UTF-8.
    Column,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the value is not an entry"),
            Self::Format(found) => write!(f, "the entry has format {found}, not {FORMAT}"),
            Self::Sum => f.write_str("the entry's sum does not fit"),
            Self::Tag => f.write_str("the entry has no tag that fits"),
            Self::Column => f.write_str("a column of the entry does not fit its rows"),
        }
    }
}

impl std::error::Error for Damage {}

/// The bytes of an entry; `None` when there would be more than `limit` of them.
pub fn encode(header: &Header<'_>, answer: &Answer, secret: &Secret, seal: Seal, limit: usize) -> Option<Vec<u8>> {
    let payloads = (answer.payloads.packed_ends()?, answer.payloads.text.as_bytes());
    let room = if seal == Seal::Tag { SEALED.len() + TAG_BYTES } else { 0 };
    let mut bytes = pack(header, answer, payloads, room, limit, |body| (MAGIC, secret.sum(body)))?;
    if let Some((head, entry)) = bytes.split_at_mut_checked(room).filter(|(head, _)| !head.is_empty()) {
        let (sealed, tag) = head.split_at_mut_checked(SEALED.len())?;
        sealed.copy_from_slice(SEALED);
        tag.copy_from_slice(&secret.tag(entry));
    }
    Some(bytes)
}

/// The same for this server's own memory: the payloads are images of what the server makes of their texts, one for each row.
pub fn encode_local<'a>(
    header: &Header<'_>,
    answer: &Answer,
    images: impl Iterator<Item = Option<&'a [u8]>>,
    secret: &Secret,
    limit: usize,
) -> Option<Vec<u8>> {
    let (mut ends, mut bytes) = (Vec::with_capacity(4 * answer.len()), Vec::new());
    for image in images {
        bytes.extend_from_slice(image.unwrap_or_default());
        ends.extend(packed_end(bytes.len(), image.is_none())?.to_le_bytes());
    }
    pack(header, answer, (ends, &bytes), 0, limit, |_| (LOCAL, secret.sum(LOCAL.as_bytes())))
}

/// Leaves `room` bytes before the entry, which count as well.
fn pack(
    header: &Header<'_>,
    answer: &Answer,
    (payload_ends, payloads): (Vec<u8>, &[u8]),
    room: usize,
    limit: usize,
    sealed: impl FnOnce(&[u8]) -> (&'static str, u64),
) -> Option<Vec<u8>> {
    if answer.ids.text.len() + payloads.len() + answer.len() * 16 > limit {
        return None;
    }
    let distances: Vec<u8> = answer.distances.iter().flat_map(|d| d.to_le_bytes()).collect();
    let id_ends = answer.ids.packed_ends()?;
    let body = Body {
        key: Bytes(&header.key.to_bytes()),
        namespace: header.namespace,
        computed_at: header.computed_at,
        expires_at: header.expires_at,
        asked: header.asked,
        version: Bytes(&header.version.to_bytes()),
        rows: u32::try_from(answer.len()).ok()?,
        distances: Bytes(&distances),
        id_ends: Bytes(&id_ends),
        ids: Bytes(answer.ids.text.as_bytes()),
        payload_ends: Bytes(&payload_ends),
        payloads: Bytes(payloads),
    };
    // Writing to memory cannot fail; were it to, the answer would not be stored.
    let body = serde_cbor::to_vec(&body.to_tuple()).ok()?;
    let (magic, sum) = sealed(&body);
    let mut bytes = vec![0; room];
    bytes.reserve(body.len() + 32);
    serde_cbor::to_writer(&mut bytes, &(magic, FORMAT, sum, Bytes(&body))).ok()?;
    (bytes.len() <= limit).then_some(bytes)
}

/// `None` when it is too large.
fn packed_end(end: usize, is_null: bool) -> Option<u32> {
    let end = u32::try_from(end).ok().filter(|end| end & NULL == 0)?;
    Some(end | if is_null { NULL } else { 0 })
}

impl<'a> Entry<'a> {
    /// Reads an entry that has the seal, or a better one. Whether it is the one that was asked for is the caller's question, by
    /// [`Entry::header`].
    ///
    /// # Errors
    /// [`Damage`], for any bytes that [`encode`] did not make under this secret.
    pub fn decode(bytes: &'a [u8], secret: &Secret, seal: Seal) -> Result<Self, Damage> {
        let bytes = match bytes.strip_prefix(SEALED) {
            Some(rest) => {
                let (tag, entry) = rest.split_first_chunk().ok_or(Damage::Tag)?;
                if !secret.is_tag(*tag, entry) {
                    return Err(Damage::Tag);
                }
                entry
            }
            None if seal == Seal::Tag => return Err(Damage::Tag),
            None => bytes,
        };
        Self::unpack(bytes, MAGIC, |body, sum| secret.sum(body) == sum)
    }

    /// The same of [`encode_local`]'s: bytes of this server's own memory. The payloads of its rows are [`Entry::local_rows`].
    ///
    /// # Errors
    /// [`Damage`], for bytes of another form.
    pub fn decode_local(bytes: &'a [u8], secret: &Secret) -> Result<Self, Damage> {
        Self::unpack(bytes, LOCAL, |_, sum| secret.sum(LOCAL.as_bytes()) == sum)
    }

    fn unpack(bytes: &'a [u8], wanted: &str, fits: impl FnOnce(&[u8], u64) -> bool) -> Result<Self, Damage> {
        let (magic, format, sum, body): (&str, u8, u64, Bytes<'a>) =
            serde_cbor::from_slice(bytes).map_err(|_| Damage::Malformed)?;
        if magic != wanted {
            return Err(Damage::Malformed);
        }
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        if !fits(body.0, sum) {
            return Err(Damage::Sum);
        }
        let body = Body::from_tuple(serde_cbor::from_slice(body.0).map_err(|_| Damage::Malformed)?);
        let key = body.key.0.try_into().map_err(|_| Damage::Malformed)?;
        let rows = body.rows as usize;
        let fits = body.distances.0.len() == rows * 8
            && body.id_ends.0.len() == rows * 4
            && body.payload_ends.0.len() == rows * 4;
        if !fits {
            return Err(Damage::Column);
        }
        let header = Header {
            key: CacheKey(u128::from_be_bytes(key)),
            namespace: body.namespace,
            computed_at: body.computed_at,
            expires_at: body.expires_at,
            asked: body.asked,
            version: Version::from_bytes(body.version.0).ok_or(Damage::Malformed)?,
        };
        Ok(Self { header, body })
    }

    /// The first `k` rows, or all when there are fewer; each is checked as it is reached.
    pub fn rows(&self, k: usize) -> impl Iterator<Item = Result<Row<'a>, Damage>> + use<'a> {
        self.local_rows(k).map(|row| {
            let (Row { id, distance, .. }, payload) = row?;
            let payload = payload.map(std::str::from_utf8).transpose().map_err(|_| Damage::Column)?;
            Ok(Row { id, distance, payload })
        })
    }

    /// The same with the bytes of the payloads, whatever they are; the rows' own are `None`.
    pub fn local_rows(&self, k: usize) -> impl Iterator<Item = Result<(Row<'a>, Option<&'a [u8]>), Damage>> + use<'a> {
        let body = self.body;
        let (ids, payloads) = (pieces(body.id_ends.0, body.ids.0), pieces(body.payload_ends.0, body.payloads.0));
        let distances = body.distances.0.chunks_exact(8).map(|d| d.try_into().map_or(f64::NAN, f64::from_le_bytes));
        distances.zip(ids.zip(payloads)).take(k).map(|(distance, (id, payload))| {
            let id = id?.map(std::str::from_utf8).transpose().map_err(|_| Damage::Column)?;
            Ok((Row { id, distance, payload: None }, payload?))
        })
    }
}

fn pieces<'a>(ends: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = Result<Option<&'a [u8]>, Damage>> {
    let mut start = 0;
    ends.chunks_exact(4).map(move |end| {
        let end = end.try_into().map_or(0, u32::from_le_bytes);
        let (end, null) = ((end & !NULL) as usize, end & NULL != 0);
        let piece = bytes.get(start..end).ok_or(Damage::Column)?;
        start = end;
        Ok((!null).then_some(piece))
    })
}

/// What the body's array holds, in the order of its fields.
#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    key: Bytes<'a>,
    namespace: &'a str,
    computed_at: i64,
    expires_at: i64,
    asked: u32,
    version: Bytes<'a>,
    rows: u32,
    distances: Bytes<'a>,
    id_ends: Bytes<'a>,
    ids: Bytes<'a>,
    payload_ends: Bytes<'a>,
    payloads: Bytes<'a>,
}

type BodyTuple<'a> =
    (Bytes<'a>, &'a str, i64, i64, u32, Bytes<'a>, u32, Bytes<'a>, Bytes<'a>, Bytes<'a>, Bytes<'a>, Bytes<'a>);

impl<'a> Body<'a> {
    fn to_tuple(self) -> BodyTuple<'a> {
        let Self { key, namespace, computed_at, expires_at, asked, version, rows, .. } = self;
        let Self { distances, id_ends, ids, payload_ends, payloads, .. } = self;
        (key, namespace, computed_at, expires_at, asked, version, rows, distances, id_ends, ids, payload_ends, payloads)
    }

    fn from_tuple(tuple: BodyTuple<'a>) -> Self {
        let (key, namespace, computed_at, expires_at, asked, version, rows, distances, id_ends, ids, ends, payloads) =
            tuple;
        Self {
            key,
            namespace,
            computed_at,
            expires_at,
            asked,
            version,
            rows,
            distances,
            id_ends,
            ids,
            payload_ends: ends,
            payloads,
        }
    }
}

/// Bytes that serde writes as a byte string and reads without copying.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde reads a borrowed slice from a byte string alone, never from an array of numbers.
        <&'a [u8]>::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SECRET_BYTES;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::new(&[7; SECRET_BYTES]).unwrap()
    }

    fn another_secret() -> Secret {
        Secret::new(&std::array::from_fn::<u8, SECRET_BYTES, _>(|i| i as u8)).unwrap()
    }

    fn header() -> Header<'static> {
        let version = Version { clock: 1 << 100, shape: 7 };
        Header { key: CacheKey(0x1234), namespace: "documents", computed_at: 5, expires_at: 9, asked: 20, version }
    }

    fn answer(rows: &[(Option<String>, f64, Option<String>)]) -> Answer {
        let mut answer = Answer::default();
        for (id, distance, payload) in rows {
            answer.push(Row { id: id.as_deref(), distance: *distance, payload: payload.as_deref() });
        }
        answer
    }

    fn sample() -> Answer {
        answer(&[
            (Some("a".into()), 0.5, Some("{\"x\": 1}".into())),
            (None, f64::NAN, None),
            (Some("ü".into()), 2.0, None),
        ])
    }

    #[test]
    fn a_limit_is_kept() {
        for seal in [Seal::Sum, Seal::Tag] {
            let bytes = encode(&header(), &sample(), &secret(), seal, usize::MAX).unwrap();
            assert!(encode(&header(), &sample(), &secret(), seal, bytes.len()).is_some());
            assert!(encode(&header(), &sample(), &secret(), seal, bytes.len() - 1).is_none());
        }
    }

    #[test]
    fn another_format_is_named() {
        let bytes = serde_cbor::to_vec(&(MAGIC, 77u8, 0u64, Bytes(b""))).unwrap();
        assert_eq!(Entry::decode(&bytes, &secret(), Seal::Sum).unwrap_err(), Damage::Format(77));
    }

    #[test]
    fn another_secret_is_damage() {
        let bytes = encode(&header(), &sample(), &secret(), Seal::Sum, usize::MAX).unwrap();
        assert_eq!(Entry::decode(&bytes, &another_secret(), Seal::Sum).unwrap_err(), Damage::Sum);
        let sealed = encode(&header(), &sample(), &secret(), Seal::Tag, usize::MAX).unwrap();
        for seal in [Seal::Sum, Seal::Tag] {
            assert_eq!(Entry::decode(&sealed, &another_secret(), seal).unwrap_err(), Damage::Tag);
            assert_eq!(Entry::decode(&sealed, &secret(), seal).unwrap().header, header());
        }
    }

    /// A right sum is no tag, and the tag of one entry is not another's.
    #[test]
    fn an_entry_without_its_tag_is_damage_where_it_must_have_one() {
        let made = |seal, asked| encode(&Header { asked, ..header() }, &sample(), &secret(), seal, usize::MAX).unwrap();
        let (plain, sealed, other) = (made(Seal::Sum, 20), made(Seal::Tag, 20), made(Seal::Tag, 30));
        let head = SEALED.len() + TAG_BYTES;
        assert_eq!(sealed[head..], plain);
        let refused = |bytes: &[u8]| Entry::decode(bytes, &secret(), Seal::Tag).unwrap_err();
        assert_eq!(refused(&plain), Damage::Tag);
        assert_eq!(refused(&[&other[..head], &plain].concat()), Damage::Tag);
        assert_eq!(refused(&[&sealed[..SEALED.len()], &secret().sum(&plain).to_be_bytes()].concat()), Damage::Tag);
        assert_eq!(Entry::decode(&plain, &secret(), Seal::Sum).unwrap().header, header());
        // A tag that does not fit is never looked past.
        let swapped = [&other[..head], &plain].concat();
        assert_eq!(Entry::decode(&swapped, &secret(), Seal::Sum).unwrap_err(), Damage::Tag);
    }

    /// Columns that lie about their length are damage, even under a right sum.
    #[test]
    fn columns_are_checked() {
        let forge = |rows: u32, ends: &[u8], texts: &[u8]| {
            let (key, header) = ([0; 16], header());
            let (zeros, none) = (Bytes(&[0; 8]), Bytes(b""));
            let (ends, texts, empty) = (Bytes(ends), Bytes(texts), Bytes(&[0; 4]));
            let version = header.version.to_bytes();
            let tuple: BodyTuple<'_> =
                (Bytes(&key), header.namespace, 5, 9, 20, Bytes(&version), rows, zeros, ends, texts, empty, none);
            let body = serde_cbor::to_vec(&tuple).unwrap();
            let bytes = serde_cbor::to_vec(&(MAGIC, FORMAT, secret().sum(&body), Bytes(&body))).unwrap();
            let entry = Entry::decode(&bytes, &secret(), Seal::Sum)?;
            entry.rows(10).collect::<Result<Vec<_>, _>>().map(|rows| rows.len())
        };
        assert_eq!(forge(1, &1u32.to_le_bytes(), b"a"), Ok(1));
        assert_eq!(forge(1, &2u32.to_le_bytes(), b"a"), Err(Damage::Column), "an end beyond the text");
        assert_eq!(forge(1, &1u32.to_le_bytes(), b"\xff"), Err(Damage::Column), "no UTF-8");
        assert_eq!(forge(2, &1u32.to_le_bytes(), b"a"), Err(Damage::Column), "more rows than columns");
        assert_eq!(forge(u32::MAX, &1u32.to_le_bytes(), b"a"), Err(Damage::Column), "far more rows");
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            rows in prop::collection::vec((prop::option::of(".{0,9}"), any::<f64>(), prop::option::of(".{0,30}")), 0..30),
            k in 0usize..40,
            seal in prop::sample::select(vec![Seal::Sum, Seal::Tag]),
        ) {
            let answer = answer(&rows);
            let bytes = encode(&header(), &answer, &secret(), seal, usize::MAX).unwrap();
            let entry = Entry::decode(&bytes, &secret(), seal).unwrap();
            prop_assert_eq!(entry.header, header());
            let read: Vec<_> = entry.rows(k).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), rows.len().min(k));
            for (row, (id, distance, payload)) in read.iter().zip(&rows) {
                prop_assert_eq!((row.id, row.payload), (id.as_deref(), payload.as_deref()));
                prop_assert_eq!(row.distance.to_bits(), distance.to_bits());
            }
            prop_assert_eq!(answer.rows().count(), rows.len());
        }

        #[test]
        fn images_come_out_and_no_entry_is_taken_for_the_other_kind(
            images in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 0..10),
        ) {
            let rows: Vec<_> = (0..images.len()).map(|i| (Some(i.to_string()), i as f64, Some("{}".into()))).collect();
            let answer = answer(&rows);
            let bytes = encode_local(&header(), &answer, images.iter().map(|image| image.as_deref()), &secret(), usize::MAX).unwrap();
            let entry = Entry::decode_local(&bytes, &secret()).unwrap();
            prop_assert_eq!(entry.header, header());
            let read: Vec<_> = entry.local_rows(usize::MAX).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.iter().map(|(_, image)| *image).collect::<Vec<_>>(), images.iter().map(|image| image.as_deref()).collect::<Vec<_>>());
            prop_assert_eq!(Entry::decode(&bytes, &secret(), Seal::Sum).unwrap_err(), Damage::Malformed);
            let shared = encode(&header(), &answer, &secret(), Seal::Sum, usize::MAX).unwrap();
            prop_assert_eq!(Entry::decode_local(&shared, &secret()).unwrap_err(), Damage::Malformed);
        }

        #[test]
        fn any_bytes_are_an_entry_or_damage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Entry::decode(&bytes, &secret(), Seal::Sum).is_err());
        }

        #[test]
        fn a_changed_byte_is_damage(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(&header(), &sample(), &secret(), Seal::Sum, usize::MAX).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // The magic as a byte string is the magic as well.
            prop_assert!(Entry::decode(&bytes, &secret(), Seal::Sum).is_err() || (at, flip) == (1, 0x20));
        }

        /// Unlike the sum, the tag is over everything: not even another way to write the same entry is one.
        #[test]
        fn a_changed_byte_or_a_truncation_of_a_sealed_entry_is_damage(
            at in any::<prop::sample::Index>(), flip in 1u8.., seal in prop::sample::select(vec![Seal::Sum, Seal::Tag]),
        ) {
            let bytes = encode(&header(), &sample(), &secret(), Seal::Tag, usize::MAX).unwrap();
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            prop_assert!(Entry::decode(&changed, &secret(), seal).is_err());
            prop_assert!(Entry::decode(&bytes[..at], &secret(), seal).is_err());
        }

        #[test]
        fn a_truncation_is_damage(length in any::<prop::sample::Index>()) {
            let bytes = encode(&header(), &sample(), &secret(), Seal::Sum, usize::MAX).unwrap();
            let length = length.index(bytes.len());
            prop_assert!(Entry::decode(&bytes[..length], &secret(), Seal::Sum).is_err());
        }
    }
}
