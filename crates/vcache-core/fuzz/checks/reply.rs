//! What must hold of a reply's way from the socket to its value, for any bytes. Shared by the fuzz target and by `tests/corpus.rs`, which
//! replays its corpus.

use redis::{Value, parse_redis_value};
use vcache_core::resp::{Bounds, bulk, nested_frame_length};

/// Elements of arrays: few, so that their bound is met.
const ELEMENTS: usize = 100;

/// A bound on bulk strings, and how deep arrays may stand in each other, as deep as vcache lets any: in a fifth of the cases there
/// may be none, as in a search's replies.
fn bounds(byte: u8) -> Bounds {
    let of_bulk = Bounds::bulk(usize::from(byte) * usize::from(byte));
    match usize::from(byte % 5) {
        0 => of_bulk,
        depth => Bounds { bytes: of_bulk.bytes * depth, elements: ELEMENTS, depth, ..of_bulk },
    }
}

/// Takes the first byte for the bounds, and the others for what a server sends. Whether that began with a reply.
pub fn check(bytes: &[u8]) -> bool {
    let Some((&bound, sent)) = bytes.split_first() else { return false };
    let bounds = bounds(bound);
    let whole = nested_frame_length(sent, &bounds);
    // However little has arrived, nothing is said of it that what comes later takes back.
    for cut in (0..sent.len().min(16)).chain([sent.len() / 2, sent.len().saturating_sub(1)]) {
        match nested_frame_length(&sent[..cut.min(sent.len())], &bounds) {
            Ok(None) => {}
            said => assert_eq!(said, whole),
        }
    }
    let Ok(Some(length)) = whole else { return false };
    assert!(length >= 3 && length <= bounds.bytes);
    let Some(frame) = sent.get(..length) else { return false };
    let parsed = parse_redis_value(frame);
    // The short way to a bulk string finds what the parser finds.
    let of_bulk =
        parsed.as_ref().ok().and_then(|value| if let Value::BulkString(value) = value { Some(value) } else { None });
    assert_eq!(bulk(frame), of_bulk.map(Vec::as_slice));
    let Ok(value) = parsed else { return false };
    assert!(elements(&value, &bounds, bounds.depth) <= bounds.elements);
    true
}

/// How many elements its arrays have, this deep and no deeper.
fn elements(value: &Value, bounds: &Bounds, depth: usize) -> usize {
    match value {
        Value::Array(values) => {
            assert!(depth > 0, "arrays in arrays");
            values.len() + values.iter().map(|value| elements(value, bounds, depth - 1)).sum::<usize>()
        }
        Value::BulkString(value) => {
            assert!(value.len() <= bounds.bulk);
            0
        }
        Value::Nil | Value::Int(_) | Value::Okay | Value::SimpleString(_) | Value::ServerError(_) => 0,
        other => panic!("a reply that nobody asks for: {other:?}"),
    }
}
