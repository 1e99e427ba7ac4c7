//! Owns the names of entries among the keys of others: what one begins with, and how one is told from what is not vcache's.

use crate::key::CacheKey;

/// Between the prefix and the key.
const SEPARATOR: u8 = b':';

/// Digits of a key.
const DIGITS: usize = 32;

/// What an entry is called.
pub fn entry_name(prefix: &[u8], key: CacheKey) -> Vec<u8> {
    let mut name = prefix.to_vec();
    name.push(SEPARATOR);
    name.extend(key.to_string().bytes());
    name
}

/// A pattern of Redis' that the names of all entries match, and hardly anything else. What means something in a pattern is
/// escaped: in a prefix it stands for itself.
pub fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1 + DIGITS);
    for byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'-' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(SEPARATOR);
    pattern.extend([b'?'; DIGITS]);
    pattern
}

/// Whether a key is an entry's under this prefix.
pub fn is_entry(prefix: &[u8], name: &[u8]) -> bool {
    let digits = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(&[SEPARATOR]));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_entry() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert!(is_entry(b"vcache", format!("vcache:{digits}").as_bytes()));
        for other in [
            "vcache".into(),
            "vcache:health".into(),
            format!("vcache:{}", &digits[1..]),
            format!("vcache:{digits}0"),
            format!("vcache:{}", digits.to_uppercase()),
            format!("vcache:{}g", &digits[1..]),
            format!("vcache:app:{digits}"),
            format!("vcache2:{digits}"),
            format!("a:vcache:{digits}"),
        ] {
            assert!(!is_entry(b"vcache", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_pattern_escapes_the_prefix() {
        assert_eq!(pattern(b"a*[b-c]?\\^d"), [br"a\*\[b\-c\]\?\\\^d:".as_slice(), &[b'?'; 32]].concat());
    }

    proptest! {
        #[test]
        fn every_entry_is_one_under_its_own_prefix_alone(prefix: Vec<u8>, other: Vec<u8>, key: u128) {
            let name = entry_name(&prefix, CacheKey(key));
            prop_assert!(is_entry(&prefix, &name));
            prop_assert_eq!(is_entry(&other, &name), other == prefix);
        }
    }
}
