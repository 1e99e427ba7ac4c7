//! What must hold of a reply's way from the socket to its value, for any bytes. Shared by the fuzz target and by `tests/corpus.rs`, which
//! replays its corpus.

use redis::{Value, parse_redis_value};
use vcache_core::resp::{bulk, frame_length};

/// The longest line, and what ends a bulk string.
const AROUND: usize = 8 * 1024 + 2;

/// Takes the first byte for the bound on a bulk string, and the others for what a server sends. Whether that began with a reply.
pub fn check(bytes: &[u8]) -> bool {
    let Some((&bound, sent)) = bytes.split_first() else { return false };
    let limit = usize::from(bound) * usize::from(bound);
    let whole = frame_length(sent, limit);
    // However little has arrived, nothing is said of it that what comes later takes back.
    for cut in (0..sent.len().min(16)).chain([sent.len() / 2, sent.len().saturating_sub(1)]) {
        match frame_length(&sent[..cut.min(sent.len())], limit) {
            Ok(None) => {}
            said => assert_eq!(said, whole),
        }
    }
    let Ok(Some(length)) = whole else { return false };
    assert!(length >= 3 && length <= limit + AROUND);
    let Some(frame) = sent.get(..length) else { return false };
    match parse_redis_value(frame) {
        Ok(Value::BulkString(value)) => {
            assert!(value.len() <= limit && frame.ends_with(b"\r\n"));
            assert_eq!(bulk(frame), Some(value.as_slice()));
        }
        _ if bulk(frame).is_some() => panic!("a bulk string to one parser alone"),
        Ok(Value::Nil | Value::Int(_) | Value::Okay | Value::SimpleString(_) | Value::ServerError(_)) => {}
        Ok(other) => panic!("a reply that nobody asks for: {other:?}"),
        Err(_) => return false,
    }
    true
}
