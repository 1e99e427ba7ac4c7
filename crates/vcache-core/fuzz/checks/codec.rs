//! What must hold of the codec for any bytes. Shared by the fuzz target and by `tests/corpus.rs`, which replays its corpus.

use serde_cbor::Value;
use vcache_core::codec::{Answer, Entry, FORMAT, Header, Row, Seal, Version, encode};
use vcache_core::key::{CacheKey, SECRET_BYTES, Secret};

/// Reads the bytes as an entry, as the body of an entry whose sum is right, with and without a right tag, and as the rows of an answer to be
/// kept. Whether either of the first two was an entry.
pub fn check(bytes: &[u8]) -> bool {
    let secret = Secret::new(&[7; SECRET_BYTES]).expect("a secret");
    let found = check_read(bytes, &secret);
    // Random bytes hardly ever have the right sum: so that what lies behind it is reached, it is put there.
    let entry = ("vcache", FORMAT, secret.sum(bytes), Value::Bytes(bytes.to_vec()));
    let summed = serde_cbor::to_vec(&entry).expect("CBOR");
    let behind = check_read(&summed, &secret);
    let tagged = [b"sealed".as_slice(), &secret.tag(&summed), &summed].concat();
    assert_eq!(check_read(&tagged, &secret), behind);
    // What is not from who has the secret is none where a tag is wanted: neither these bytes, nor what has a right sum alone.
    for untagged in [bytes, &summed, &[b"sealed".as_slice(), bytes].concat()] {
        assert!(Entry::decode(untagged, &secret, Seal::Tag).is_err());
    }
    for seal in [Seal::Sum, Seal::Tag] {
        check_kept(bytes, &secret, seal);
    }
    found || behind
}

/// Whatever the bytes are, they are an entry or damage; an entry claims no more rows than it has bytes for, and is the same when it is
/// written again.
fn check_read(bytes: &[u8], secret: &Secret) -> bool {
    let Ok(entry) = Entry::decode(bytes, secret, Seal::Sum) else { return false };
    let mut answer = Answer::default();
    for row in entry.rows(usize::MAX) {
        let Ok(row) = row else { return false };
        answer.push(row);
    }
    assert!(answer.len() * 16 <= bytes.len());
    // Ends that go back, or overlap, make texts that are longer than the entry: they are bounded by its rows all the same.
    let again = encode(&entry.header, &answer, secret, Seal::Sum, usize::MAX).expect("an entry");
    let again = Entry::decode(&again, secret, Seal::Sum).expect("what was just written");
    assert_eq!(again.header, entry.header);
    assert_rows(&again, &answer, usize::MAX);
    true
}

/// What goes in comes out, as many rows as are asked for.
fn check_kept(bytes: &[u8], secret: &Secret, seal: Seal) {
    let mut answer = Answer::default();
    let mut rest = bytes;
    while let Some((&[flags, id, payload], tail)) = rest.split_first_chunk::<3>() {
        let (distance, tail) = tail.split_at(tail.len().min(8));
        let (id, tail) = tail.split_at(tail.len().min(id.into()));
        let (payload, tail) = tail.split_at(tail.len().min(payload.into()));
        let mut bits = [0; 8];
        bits[..distance.len()].copy_from_slice(distance);
        let (id, payload) = (String::from_utf8_lossy(id), String::from_utf8_lossy(payload));
        answer.push(Row {
            id: (flags & 1 == 0).then_some(&*id),
            distance: f64::from_le_bytes(bits),
            payload: (flags & 2 == 0).then_some(&*payload),
        });
        rest = tail;
    }
    let header = Header {
        key: CacheKey(1),
        namespace: "n",
        computed_at: 5,
        expires_at: 9,
        asked: 20,
        version: Version::default(),
    };
    let kept = encode(&header, &answer, secret, seal, usize::MAX).expect("an entry");
    assert!(encode(&header, &answer, secret, seal, kept.len() - 1).is_none());
    let entry = Entry::decode(&kept, secret, seal).expect("what was just written");
    assert_eq!(entry.header, header);
    for k in [0, answer.len() / 2, usize::MAX] {
        assert_rows(&entry, &answer, k);
    }
}

fn assert_rows(entry: &Entry<'_>, answer: &Answer, k: usize) {
    let mut read = entry.rows(k);
    for row in answer.rows().take(k) {
        let found = read.next().expect("as many rows").expect("a row");
        assert_eq!((found.id, found.payload), (row.id, row.payload));
        assert_eq!(found.distance.to_bits(), row.distance.to_bits());
    }
    assert!(read.next().is_none());
}
