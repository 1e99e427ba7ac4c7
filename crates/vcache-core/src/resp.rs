//! Owns the framing of Redis replies: how long one is, from its first bytes, before it is read.
//!
//! vcache's searches send commands whose replies are a simple string, an error, a number or a bulk string; what it asks of a
//! cluster or a sentinel is answered by arrays. Anything else, and a reply larger than the caller's bounds, is an error, and
//! the connection is closed on it: no length that a server claims is believed beyond them. The frame itself is then parsed by
//! the `redis` crate.

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
    /// It is larger than the bound.
    TooLarge,
    /// Arrays stand in arrays deeper than the bound.
    TooDeep,
}

/// How large a reply may be that may be an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The bytes of one bulk string.
    pub bulk: usize,
    /// The bytes of all.
    pub bytes: usize,
    /// The elements of all arrays together.
    pub elements: usize,
    /// How deep arrays may stand in each other; 0 for no array.
    pub depth: usize,
}

impl Bounds {
    /// Of a reply that is no array, with a bulk string of at most this many bytes.
    pub const fn bulk(bytes: usize) -> Self {
        Self { bulk: bytes, bytes: bytes.saturating_add(LINE_BYTES + 2), elements: 0, depth: 0 }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "unexpected reply type 0x{byte:02x}"),
            Self::Line => f.write_str("malformed reply line"),
            Self::TooLarge => f.write_str("reply larger than the limit"),
            Self::TooDeep => f.write_str("reply nested deeper than the limit"),
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
    let Some(line) = line_length(bytes)? else {
        return Ok(None);
    };
    if kind != b'$' {
        return Ok(Some(line));
    }
    Ok(Some(line + length(bytes, line, limit)?.map_or(0, |length| length + 2)))
}

/// The same of a reply that may be an array. The length of one whose elements are not all there is known only when the last
/// of them has begun.
///
/// # Errors
/// [`ReplyError`].
pub fn nested_frame_length(bytes: &[u8], bounds: &Bounds) -> Result<Option<usize>, ReplyError> {
    let (mut at, mut elements) = (0, 0);
    // What is still to come at each level.
    let mut levels = vec![1usize];
    while let Some(left) = levels.last_mut() {
        let Some(fewer) = left.checked_sub(1) else {
            levels.pop();
            continue;
        };
        *left = fewer;
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            if levels.len() > bounds.depth {
                return Err(if bounds.depth == 0 { ReplyError::Kind(b'*') } else { ReplyError::TooDeep });
            }
            let Some(line) = line_length(rest)? else {
                return Ok(None);
            };
            let count = length(rest, line, bounds.elements - elements)?.unwrap_or(0);
            elements += count;
            levels.push(count);
            at += line;
        } else {
            match frame_length(rest, bounds.bulk)? {
                Some(length) => at += length,
                None => return Ok(None),
            }
        }
        if at > bounds.bytes {
            return Err(ReplyError::TooLarge);
        }
    }
    Ok(Some(at))
}

/// What a reply holds that is a bulk string and all of `frame`; `None` for any other reply, or none.
pub fn bulk(frame: &[u8]) -> Option<&[u8]> {
    let line = frame.starts_with(b"$").then(|| line_length(frame).ok()?)??;
    let length = length(frame, line, usize::MAX).ok()??;
    let held = frame.get(line..)?.strip_suffix(b"\r\n")?;
    (held.len() == length).then_some(held)
}

/// The length of the line that `bytes` begin with, its end included.
fn line_length(bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
    let searched = bytes.get(..LINE_BYTES).unwrap_or(bytes);
    match searched.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some(end + 2)),
        None if bytes.len() < LINE_BYTES => Ok(None),
        None => Err(ReplyError::Line),
    }
}

/// The number in the line of this length that `bytes` begin with; `None` where it is -1, which stands for nothing.
fn length(bytes: &[u8], line: usize, limit: usize) -> Result<Option<usize>, ReplyError> {
    let digits = bytes.get(1..line.saturating_sub(2)).unwrap_or_default();
    if digits == b"-1" {
        return Ok(None);
    }
    let ordinary = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(digits).ok().filter(|_| ordinary).ok_or(ReplyError::Line)?;
    length.parse().ok().filter(|length| *length <= limit).map(Some).ok_or(ReplyError::TooLarge)
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

    const BOUNDS: Bounds = Bounds { bulk: 10, bytes: 60, elements: 8, depth: 2 };

    #[test]
    fn replies_with_arrays() {
        for reply in
            ["+OK\r\n", "$3\r\nabc\r\n", "*0\r\n", "*-1\r\n", "*2\r\n:1\r\n$1\r\na\r\n", "*2\r\n*1\r\n:1\r\n*0\r\n"]
        {
            let mut bytes = reply.as_bytes().to_vec();
            assert_eq!(nested_frame_length(&bytes, &BOUNDS), Ok(Some(reply.len())), "{reply}");
            bytes.extend(b":1\r\n");
            assert_eq!(nested_frame_length(&bytes, &BOUNDS), Ok(Some(reply.len())), "{reply} and more");
        }
        assert_eq!(nested_frame_length(b"*2\r\n:1\r\n$3\r\n", &BOUNDS), Ok(Some(17)), "all but the last one's bytes");
        assert_eq!(nested_frame_length(b"*2\r\n$3\r\n", &BOUNDS), Ok(None));
    }

    #[test]
    fn arrays_beyond_their_bounds() {
        let refused = |reply: &str| nested_frame_length(reply.as_bytes(), &BOUNDS).unwrap_err();
        assert_eq!(refused("*9\r\n"), ReplyError::TooLarge);
        assert_eq!(refused("*7\r\n*2\r\n"), ReplyError::TooLarge, "all elements count");
        assert_eq!(refused("*99999999999999999999999\r\n"), ReplyError::TooLarge);
        assert_eq!(refused("*1\r\n$11\r\n"), ReplyError::TooLarge);
        assert_eq!(refused(&format!("*1\r\n+{}\r\n", "a".repeat(60))), ReplyError::TooLarge, "all bytes count");
        assert_eq!(refused("*1\r\n*1\r\n*1\r\n"), ReplyError::TooDeep);
        assert_eq!(refused("*1\r\n%1\r\n"), ReplyError::Kind(b'%'));
        assert_eq!(refused("*-2\r\n"), ReplyError::Line);
        assert_eq!(refused("*\r\n"), ReplyError::Line);
        let flat = Bounds { depth: 0, ..BOUNDS };
        assert_eq!(nested_frame_length(b"*1\r\n", &flat), Err(ReplyError::Kind(b'*')));
    }

    /// A reply with arrays, written out.
    fn nested() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-z]{0,9}".prop_map(|text| format!("${}\r\n{text}\r\n", text.len())),
            any::<i32>().prop_map(|number| format!(":{number}\r\n")),
            Just(String::from("$-1\r\n")),
        ];
        leaf.prop_recursive(4, 64, 5, |element| {
            prop::collection::vec(element, 0..5).prop_map(|all| format!("*{}\r\n{}", all.len(), all.concat()))
        })
    }

    proptest! {
        /// Arriving in pieces, a reply with arrays says the same as in one.
        #[test]
        fn pieces_of_arrays_agree(reply in nested()) {
            let bounds = Bounds { bulk: 10, bytes: 1 << 20, elements: 1000, depth: 5 };
            for cut in 0..=reply.len() {
                let length = nested_frame_length(&reply.as_bytes()[..cut], &bounds).unwrap();
                prop_assert!(length.is_none_or(|length| length == reply.len()));
            }
            prop_assert_eq!(nested_frame_length(reply.as_bytes(), &bounds), Ok(Some(reply.len())));
        }

        #[test]
        fn no_array_is_longer_than_its_bounds(bytes in prop::collection::vec(prop::sample::select(&b"*$:+-019\r\na"[..]), 0..80)) {
            if let Ok(Some(length)) = nested_frame_length(&bytes, &BOUNDS) {
                prop_assert!(length <= BOUNDS.bytes);
            }
        }

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
