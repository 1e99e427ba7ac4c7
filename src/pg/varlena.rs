//! Owns the in-memory forms of texts and vectors.

use pgrx::pg_sys;
use std::ffi::CStr;
use vcache_core::vector::{half_bits, half_value};

/// The text behind a datum, in the server's encoding, which is UTF-8 or this says so.
pub fn text<'a>(datum: pg_sys::Datum) -> &'a str {
    let bytes = bytes(datum);
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => crate::error::Error::Encoding.raise(),
    }
}

/// The bytes of a variable-length datum, without its header, decompressed. They live in the current memory context.
pub fn bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: the datum is a varlena by its type; the detoasted copy, or the original, outlives the call.
    unsafe {
        let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        std::slice::from_raw_parts(pgrx::vardata_any(varlena).cast(), pgrx::varsize_any_exhdr(varlena))
    }
}

/// A new variable-length datum with these bytes behind its header, in the current memory context.
pub fn datum(bytes: &[u8]) -> pg_sys::Datum {
    let size = pg_sys::VARHDRSZ + bytes.len();
    // SAFETY: `size` bytes are allocated, and written in full; entries are far smaller than a varlena may be.
    unsafe {
        let varlena = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(varlena, size as i32);
        let data = varlena.cast::<u8>().add(pg_sys::VARHDRSZ);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        pg_sys::Datum::from(varlena)
    }
}

/// The bytes that make up a value of this type, for comparing two of them.
pub fn image(datum: pg_sys::Datum, kind: pg_sys::Oid) -> Vec<u8> {
    let (mut length, mut by_value) = (0i16, false);
    // SAFETY: the datum is of `kind`, whose storage says what it points to.
    unsafe {
        pg_sys::get_typlenbyval(kind, &mut length, &mut by_value);
        match length {
            _ if by_value => datum.value().to_le_bytes().to_vec(),
            -1 => bytes(datum).to_vec(),
            -2 => CStr::from_ptr(datum.cast_mut_ptr()).to_bytes().to_vec(),
            _ => std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), usize::from(length.unsigned_abs())).to_vec(),
        }
    }
}

/// A new text datum in the current memory context.
pub fn text_datum(text: &str) -> pg_sys::Datum {
    // SAFETY: the pointer and the length describe `text`, and PostgreSQL copies them.
    unsafe { pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as i32)) }
}

/// The string behind a terminated C string; a name that is no UTF-8 is shown with replacement characters.
///
/// # Safety
/// `pointer` is null or points to a terminated string.
pub unsafe fn c_string(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// The same for a value: one that is no UTF-8 is an error.
///
/// # Safety
/// `pointer` points to a terminated string.
pub unsafe fn strict_c_string(pointer: *const std::ffi::c_char) -> String {
    // SAFETY: by this function's contract.
    match unsafe { CStr::from_ptr(pointer) }.to_str() {
        Ok(text) => text.to_owned(),
        Err(_) => crate::error::Error::Encoding.raise(),
    }
}

/// The string of a `name` datum.
pub fn name(datum: pg_sys::Datum) -> String {
    // SAFETY: a name datum points to a terminated string.
    unsafe { c_string(datum.cast_mut_ptr()) }
}

/// A new name datum in the current memory context, cut to what a name holds as PostgreSQL cuts it.
pub fn name_datum(text: &str) -> pg_sys::Datum {
    // SAFETY: the length is clipped to a whole character below NAMEDATALEN; the rest of the name is zero.
    unsafe {
        let length = text.len() as i32;
        let length = pg_sys::pg_mbcliplen(text.as_ptr().cast(), length, pg_sys::NAMEDATALEN as i32 - 1) as usize;
        let name = pg_sys::palloc0(pg_sys::NAMEDATALEN as usize).cast::<u8>();
        std::ptr::copy_nonoverlapping(text.as_ptr(), name, length);
        pg_sys::Datum::from(name)
    }
}

/// What the elements of a vector are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// `f32`s.
    Singles,
    /// Numbers of half precision.
    Halves,
}

impl Elements {
    fn size(self) -> usize {
        match self {
            Self::Singles => 4,
            Self::Halves => 2,
        }
    }
}

/// The form that RuVector's `ruvector` and pgvector's `vector` and `halfvec` have in memory: 16 bits with the dimensions, two
/// unused bytes, and the elements (ruvector-postgres 2.0.6, `src/types/vector.rs`; pgvector 0.8.0, `src/vector.h` and
/// `src/halfvec.h`).
const VECTOR_HEADER: usize = 4;

/// Appends the elements of such a datum to `out`; `false` when its size and its dimensions disagree.
pub fn read_vector(datum: pg_sys::Datum, elements: Elements, out: &mut Vec<f32>) -> bool {
    let Some((header, values)) = bytes(datum).split_at_checked(VECTOR_HEADER) else {
        return false;
    };
    let dimensions = header.first_chunk().map_or(0, |bytes| usize::from(u16::from_ne_bytes(*bytes)));
    if values.len() != dimensions * elements.size() {
        return false;
    }
    let values = values.chunks_exact(elements.size());
    match elements {
        Elements::Singles => out.extend(values.map(|bytes| bytes.try_into().map_or(0.0, f32::from_ne_bytes))),
        Elements::Halves => {
            out.extend(values.map(|bytes| bytes.try_into().map_or(0.0, |bits| half_value(u16::from_ne_bytes(bits)))));
        }
    }
    true
}

/// A new such datum in the current memory context. There are at most 16,000 values (see `engine::MAX_DIMENSIONS`).
pub fn vector_datum(values: &[f32], elements: Elements) -> pg_sys::Datum {
    let size = pg_sys::VARHDRSZ + VECTOR_HEADER + values.len() * elements.size();
    // SAFETY: `size` bytes are allocated, and written in full: header, dimensions, padding, values.
    unsafe {
        let varlena = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(varlena, size as i32);
        let data = varlena.cast::<u8>().add(pg_sys::VARHDRSZ);
        data.cast::<u16>().write_unaligned(values.len() as u16);
        data.add(2).cast::<u16>().write_unaligned(0);
        let place = data.add(VECTOR_HEADER);
        match elements {
            Elements::Singles => std::ptr::copy_nonoverlapping(values.as_ptr().cast(), place, values.len() * 4),
            Elements::Halves => {
                for (n, value) in values.iter().enumerate() {
                    place.cast::<u16>().add(n).write_unaligned(half_bits(*value));
                }
            }
        }
        pg_sys::Datum::from(varlena)
    }
}
