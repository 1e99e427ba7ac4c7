//! Owns the framing of Redis replies: how long one is, from its first bytes, before it is read.
//!
//! vcache sends commands whose replies are a simple string, an error, a number or a bulk string. Anything else, and a bulk
//! string larger than the caller's bound, is an error, and the connection is closed on it: no length that a server claims
//! is believed beyond that bound. The frame itself is then parsed by the `redis` crate.

use std::fmt;

/// The longest line of a simple string, an error, a number or a bulk string's length, its end included.
const LINE_BYTES: usize = 8 * 1024;

/// Why a reply is not one that vcache asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// The first byte starts no reply of the kinds that are read.
    Kind(u8),
    /// A line is too long, or a length is no number.
    Line,
    /// A bulk string is larger than the bound.
    TooLarge,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "unexpected reply type 0x{byte:02x}"),
            Self::Line => f.write_str("malformed reply line"),
            Self::TooLarge => f.write_str("reply larger than the limit"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// The length of the reply that `bytes` begin with, or `None` when more bytes are needed to tell.
/// A bulk string may hold `limit` bytes at most.
///
/// # Errors
/// [`ReplyError`].
pub fn frame_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, ReplyError> {
    let Some(&kind) = bytes.first() else {
        return Ok(None);
    };
    if !matches!(kind, b'+' | b'-' | b':' | b'$') {
        return Err(ReplyError::Kind(kind));
    }
    let searched = bytes.get(..LINE_BYTES).unwrap_or(bytes);
    let Some(end) = searched.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_BYTES { Ok(None) } else { Err(ReplyError::Line) };
    };
    let line = end + 2;
    if kind != b'$' {
        return Ok(Some(line));
    }
    let digits = bytes.get(1..end).unwrap_or_default();
    if digits == b"-1" {
        return Ok(Some(line));
    }
    let ordinary = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(digits).ok().filter(|_| ordinary).ok_or(ReplyError::Line)?;
    match length.parse::<usize>() {
        Ok(length) if length <= limit => Ok(Some(line + length + 2)),
        _ => Err(ReplyError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies_of_each_kind() {
        assert_eq!(frame_length(b"+OK\r\n", 10), Ok(Some(5)));
        assert_eq!(frame_length(b"-ERR x\r\n+OK\r\n", 10), Ok(Some(8)));
        assert_eq!(frame_length(b":12\r\n", 10), Ok(Some(5)));
        assert_eq!(frame_length(b"$3\r\nabc\r\n", 10), Ok(Some(9)));
        assert_eq!(frame_length(b"$3\r\n", 10), Ok(Some(9)), "the length is known before the bytes are there");
        assert_eq!(frame_length(b"$-1\r\n", 10), Ok(Some(5)));
        assert_eq!(frame_length(b"$0\r\n\r\n", 10), Ok(Some(6)));
    }

    #[test]
    fn replies_that_are_none() {
        assert_eq!(frame_length(b"$11\r\n", 10), Err(ReplyError::TooLarge));
        assert_eq!(frame_length(b"$99999999999999999999999\r\n", 10), Err(ReplyError::TooLarge));
        assert_eq!(frame_length(b"$-2\r\n", 10), Err(ReplyError::Line));
        assert_eq!(frame_length(b"$+1\r\n", 10), Err(ReplyError::Line));
        assert_eq!(frame_length(b"$\r\n", 10), Err(ReplyError::Line));
        for kind in *b"*%~>_#,(=!\0" {
            assert_eq!(frame_length(&[kind], 10), Err(ReplyError::Kind(kind)));
        }
        assert_eq!(frame_length(&[b'+'; LINE_BYTES], 10), Err(ReplyError::Line));
    }

    proptest! {
        /// Arriving in pieces, a reply says the same as in one.
        #[test]
        fn pieces_agree(value in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut reply = format!("${}\r\n", value.len()).into_bytes();
            reply.extend(&value);
            reply.extend(b"\r\n");
            for cut in 0..=reply.len() {
                let length = frame_length(&reply[..cut], 50).unwrap();
                prop_assert!(length.is_none_or(|length| length == reply.len()));
            }
            prop_assert_eq!(frame_length(&reply, 50), Ok(Some(reply.len())));
        }

        #[test]
        fn no_frame_is_longer_than_its_bound(bytes in prop::collection::vec(any::<u8>(), 0..40), limit in 0usize..1000) {
            if let Ok(Some(length)) = frame_length(&bytes, limit) {
                prop_assert!(length <= limit + LINE_BYTES + 2);
            }
        }
    }
}
