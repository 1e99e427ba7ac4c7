//! Owns the text form of a vector and the canonical form of its values.
//!
//! A vector in text is `[1, 2.5, -3e-2]`, or the same in braces, as PostgreSQL writes arrays; there each number may
//! stand in double quotes, as node-postgres sends an array. Every number is read straight into an `f32`, correctly
//! rounded, as the vector types themselves do: `0.1` and `0.100000001490116` meet. White space may stand around
//! numbers. Positions in errors count bytes from 1.

use half::f16;
use std::fmt;

/// Why a text is no vector, or a number no element of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorError {
    /// The text does not begin with `[` or `{`.
    NoOpening,
    /// A number was expected at this byte, counted from 1.
    NoNumber(usize),
    /// The double quote that closes a number's was expected at this byte, counted from 1.
    NoQuote(usize),
    /// A comma or the closing bracket was expected at this byte, counted from 1.
    NoSeparator(usize),
    /// Something follows the closing bracket at this byte, counted from 1.
    Trailing(usize),
    /// The vector has no element.
    Empty,
    /// There are more than n elements.
    TooLong(usize),
    /// Element number n, counted from 1, is NaN.
    NotANumber(usize),
    /// Element number n, counted from 1, is infinite or beyond the range of `real`.
    OutOfRange(usize),
    /// Element number n, counted from 1, is beyond the range of half precision.
    OutOfHalfRange(usize),
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOpening => f.write_str("a vector begins with \"[\" or \"{\""),
            Self::NoNumber(at) => write!(f, "a number is expected at position {at}"),
            Self::NoQuote(at) => write!(f, "a closing double quote is expected at position {at}"),
            Self::NoSeparator(at) => write!(f, "a comma or the closing bracket is expected at position {at}"),
            Self::Trailing(at) => write!(f, "nothing may follow the closing bracket at position {at}"),
            Self::Empty => f.write_str("a vector has at least one element"),
            Self::TooLong(most) => write!(f, "a vector cannot have more than {most} dimensions"),
            Self::NotANumber(n) => write!(f, "element {n} is NaN"),
            Self::OutOfRange(n) => write!(f, "element {n} is infinite or out of range for type real"),
            Self::OutOfHalfRange(n) => write!(f, "element {n} is out of range for half precision"),
        }
    }
}

impl std::error::Error for VectorError {}

/// Reads the text form of at most `most` elements into `out`, which is cleared first and keeps its capacity.
///
/// # Errors
/// Any [`VectorError`]; `out` then holds what was read before it.
pub fn parse(text: &str, most: usize, out: &mut Vec<f32>) -> Result<(), VectorError> {
    out.clear();
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    let close = match bytes.get(at) {
        Some(b'[') => b']',
        Some(b'{') => b'}',
        _ => return Err(VectorError::NoOpening),
    };
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&close) {
        return Err(VectorError::Empty);
    }
    loop {
        let quoted = close == b'}' && bytes.get(at) == Some(&b'"');
        if quoted {
            at = skip_space(bytes, at + 1);
        }
        if out.len() == most {
            return Err(VectorError::TooLong(most));
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let (value, length) = fast_float2::parse_partial::<f32, _>(rest).map_err(|_| VectorError::NoNumber(at + 1))?;
        out.push(element(value, out.len() + 1)?);
        at = skip_space(bytes, at + length);
        if quoted {
            if bytes.get(at) != Some(&b'"') {
                return Err(VectorError::NoQuote(at + 1));
            }
            at = skip_space(bytes, at + 1);
        }
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b) if *b == close => break,
            _ => return Err(VectorError::NoSeparator(at + 1)),
        }
    }
    at = skip_space(bytes, at + 1);
    if at < bytes.len() { Err(VectorError::Trailing(at + 1)) } else { Ok(()) }
}

/// Puts values that already are `f32` into their canonical form, in place: `-0.0` becomes `0.0`.
///
/// # Errors
/// [`VectorError::Empty`], [`VectorError::NotANumber`], [`VectorError::OutOfRange`].
pub fn canonicalize(values: &mut [f32]) -> Result<(), VectorError> {
    if values.is_empty() {
        return Err(VectorError::Empty);
    }
    // Nearly always all are finite: without a way out in the middle the compiler takes several at a time.
    if values.iter().fold(true, |all, value| all & value.is_finite()) {
        values.iter_mut().for_each(|value| *value += 0.0);
        return Ok(());
    }
    for (i, value) in values.iter_mut().enumerate() {
        *value = element(*value, i + 1)?;
    }
    Ok(())
}

/// One element in its canonical form; `n` is its number, counted from 1, for the error.
///
/// # Errors
/// [`VectorError::NotANumber`], [`VectorError::OutOfRange`].
#[inline]
pub fn element(value: f32, n: usize) -> Result<f32, VectorError> {
    if value.is_finite() {
        // The sum of -0.0 and 0.0 is 0.0 under IEEE 754's default rounding; every other value stays.
        Ok(value + 0.0)
    } else if value.is_nan() {
        Err(VectorError::NotANumber(n))
    } else {
        Err(VectorError::OutOfRange(n))
    }
}

/// Rounds values in canonical form to half precision, in place, to the nearest and a tie to even, as IEEE 754 and pgvector's
/// `halfvec` do. They are in canonical form again.
///
/// # Errors
/// [`VectorError::OutOfHalfRange`].
pub fn round_to_halves(values: &mut [f32]) -> Result<(), VectorError> {
    for (i, value) in values.iter_mut().enumerate() {
        let rounded = half_value(half_bits(*value));
        if !rounded.is_finite() {
            return Err(VectorError::OutOfHalfRange(i + 1));
        }
        *value = rounded + 0.0;
    }
    Ok(())
}

/// The bits of the number of half precision that is nearest to a value.
pub fn half_bits(value: f32) -> u16 {
    f16::from_f32(value).to_bits()
}

/// The value of a number of half precision, which every one has, by its bits.
pub fn half_value(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Vec<f32>, VectorError> {
        let mut out = Vec::new();
        parse(text, 16_000, &mut out).map(|()| out)
    }

    #[test]
    fn both_brackets_and_white_space() {
        assert_eq!(parsed("[1,2.5,-3e-2]"), Ok(vec![1.0, 2.5, -0.03]));
        assert_eq!(parsed(" { 1 ,\t2.5 , -3e-2 } \n"), Ok(vec![1.0, 2.5, -0.03]));
    }

    #[test]
    fn numbers_of_an_array_may_be_quoted() {
        assert_eq!(parsed(r#"{"1","2.5","-3e-2"}"#), Ok(vec![1.0, 2.5, -0.03]));
        assert_eq!(parsed(r#"{ " 1 " ,2.5, "-3e-2"}"#), Ok(vec![1.0, 2.5, -0.03]));
        assert_eq!(parsed(r#"{"NaN"}"#), Err(VectorError::NotANumber(1)));
        assert_eq!(parsed(r#"{""}"#), Err(VectorError::NoNumber(3)));
        assert_eq!(parsed(r#"{"1}"#), Err(VectorError::NoQuote(4)));
        assert_eq!(parsed(r#"{"1,2"}"#), Err(VectorError::NoQuote(4)));
        assert_eq!(parsed(r#"{"1""2"}"#), Err(VectorError::NoSeparator(5)));
        assert_eq!(parsed(r#"{1"}"#), Err(VectorError::NoSeparator(3)));
        assert_eq!(parsed(r#"["1"]"#), Err(VectorError::NoNumber(2)));
    }

    #[test]
    fn negative_zero_is_zero() {
        assert!(parsed("[-0.0]").unwrap().iter().all(|v| v.to_bits() == 0));
        let mut values = [-0.0f32];
        canonicalize(&mut values).unwrap();
        assert!(values.iter().all(|v| v.to_bits() == 0));
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(parsed(""), Err(VectorError::NoOpening));
        assert_eq!(parsed("1,2"), Err(VectorError::NoOpening));
        assert_eq!(parsed("[]"), Err(VectorError::Empty));
        assert_eq!(parsed("[1,x]"), Err(VectorError::NoNumber(4)));
        assert_eq!(parsed("[1,]"), Err(VectorError::NoNumber(4)));
        assert_eq!(parsed("[1 2]"), Err(VectorError::NoSeparator(4)));
        assert_eq!(parsed("[1}"), Err(VectorError::NoSeparator(3)));
        assert_eq!(parsed("[1"), Err(VectorError::NoSeparator(3)));
        assert_eq!(parsed("[1] 2"), Err(VectorError::Trailing(5)));
        assert_eq!(parsed("[1,NaN]"), Err(VectorError::NotANumber(2)));
        assert_eq!(parsed("[1,2,-inf]"), Err(VectorError::OutOfRange(3)));
        assert_eq!(parsed("[1e39]"), Err(VectorError::OutOfRange(1)));
    }

    proptest! {
        /// Text of any precision that names a float reads as that float: shortest, as a double, with 17 digits.
        #[test]
        fn reads_what_the_standard_library_reads(value in any::<f32>().prop_filter("finite", |v| v.is_finite())) {
            let expected = vec![value + 0.0];
            prop_assert_eq!(parsed(&format!("[{value}]")).unwrap(), expected.clone());
            prop_assert_eq!(parsed(&format!("[{}]", f64::from(value))).unwrap(), expected.clone());
            prop_assert_eq!(parsed(&format!("[{:.17e}]", f64::from(value))).unwrap(), expected.clone());
            prop_assert_eq!(parsed(&format!("{{\"{value}\"}}")).unwrap(), expected);
        }

        #[test]
        fn decimal_text_rounds_as_the_standard_library(text in "-?[0-9]{1,12}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{1,2})?") {
            let expected: f32 = text.parse().unwrap();
            if expected.is_finite() {
                prop_assert_eq!(parsed(&format!("[{text}]")).unwrap(), vec![expected + 0.0]);
            } else {
                prop_assert_eq!(parsed(&format!("[{text}]")), Err(VectorError::OutOfRange(1)));
            }
        }

        #[test]
        fn any_text_is_a_vector_or_an_error(text in ".{0,60}") {
            if let Ok(values) = parsed(&text) {
                prop_assert!(!values.is_empty());
                prop_assert!(values.iter().all(|v| v.is_finite() && v.to_bits() != (-0.0f32).to_bits()));
            }
        }
    }

    #[test]
    fn halves_are_what_they_were_and_others_go_to_the_nearest() {
        for bits in 0..=u16::MAX {
            let value = half_value(bits);
            if value.is_finite() {
                assert_eq!(half_bits(value), bits);
                let mut values = [value];
                assert_eq!(round_to_halves(&mut values), Ok(()));
                assert_eq!(values.map(f32::to_bits), [value + 0.0].map(f32::to_bits));
            }
        }
        // 1 + 2^-11 lies between 1 and 1 + 2^-10: a tie, which goes to the even one.
        let mut values = [1.0 + f32::powi(2.0, -11), 1.0 + f32::powi(2.0, -11) * 1.5, -1e-30, 65519.0];
        assert_eq!(round_to_halves(&mut values), Ok(()));
        assert_eq!(values, [1.0, 1.0 + f32::powi(2.0, -10), 0.0, 65504.0]);
        assert!(values[2].is_sign_positive());
        assert_eq!(round_to_halves(&mut [0.0, -65520.0]), Err(VectorError::OutOfHalfRange(2)));
    }
}
