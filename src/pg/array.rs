//! Owns reading and making SQL arrays.

use super::varlena;
use crate::error::Error;
use pgrx::pg_sys;

/// The element types that can stand for a vector's element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
}

impl Number {
    /// The number type with this OID.
    pub fn of(oid: pg_sys::Oid) -> Option<Self> {
        Some(match oid {
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::NUMERICOID => Self::Numeric,
            _ => return None,
        })
    }

    /// The value as `real`: correctly rounded; beyond its range, infinite.
    fn read(self, datum: pg_sys::Datum) -> f32 {
        let bits = datum.value();
        match self {
            Self::Int2 => f32::from(bits as i16),
            Self::Int4 => bits as i32 as f32,
            Self::Int8 => bits as i64 as f32,
            Self::Float4 => f32::from_bits(bits as u32),
            Self::Float8 => f64::from_bits(bits as u64) as f32,
            // By its text, which rounds once; by way of double precision it would round twice.
            Self::Numeric => numeric_text(datum).parse().unwrap_or(f32::NAN),
        }
    }
}

fn numeric_text(datum: pg_sys::Datum) -> String {
    // SAFETY: the datum is a numeric, and numeric_out returns a terminated string.
    unsafe {
        let text = pgrx::direct_function_call_as_datum(pg_sys::numeric_out, &[Some(datum)]);
        text.map_or_else(String::new, |text| varlena::c_string(text.cast_mut_ptr()))
    }
}

/// The elements of an array and whether each is NULL.
struct Elements<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
}

/// The bytes of the elements, which are this wide, of a one-dimensional array without NULLs; `None` for another array.
fn packed<'a>(datum: pg_sys::Datum, width: usize) -> Option<&'a [u8]> {
    // SAFETY: the datum is an array. Behind its head stand the number of elements and the lower bound, and then, aligned for any type,
    // as many elements.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim != 1 || (*array).dataoffset != 0 {
            return None;
        }
        let dimensions = array.add(1).cast::<i32>();
        let head = (size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>()).next_multiple_of(align_of::<f64>());
        let bytes = (*dimensions).unsigned_abs() as usize * width;
        Some(std::slice::from_raw_parts(array.cast::<u8>().add(head), bytes))
    }
}

/// Takes a one-dimensional array apart; `Err` with the dimensions of another.
fn elements<'a>(datum: pg_sys::Datum, element: pg_sys::Oid) -> Result<Elements<'a>, i32> {
    let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the datum is an array of `element`; the three out-pointers are filled by deconstruct_array, whose
    // results live in the current memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim > 1 {
            return Err((*array).ndim);
        }
        let (mut length, mut by_value, mut align) = (0i16, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        pg_sys::deconstruct_array(
            array,
            element,
            i32::from(length),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        if count == 0 {
            return Ok(Elements { values: &[], nulls: &[] });
        }
        Ok(Elements {
            values: std::slice::from_raw_parts(values, count as usize),
            nulls: std::slice::from_raw_parts(nulls, count as usize),
        })
    }
}

/// Appends an array of numbers to `out`, as they are.
///
/// # Errors
/// [`Error::ArrayDimensions`], [`Error::NullElement`].
pub fn read_numbers(datum: pg_sys::Datum, number: Number, oid: pg_sys::Oid, out: &mut Vec<f32>) -> Result<(), Error> {
    // What drivers send: taken apart one by one, 1,536 elements take several microseconds.
    let packed = match number {
        Number::Float4 => packed(datum, 4).map(|bytes| out.extend(values(bytes, f32::from_ne_bytes))),
        Number::Float8 => {
            packed(datum, 8).map(|bytes| out.extend(values(bytes, |eight| f64::from_ne_bytes(eight) as f32)))
        }
        _ => None,
    };
    if packed.is_some() {
        return Ok(());
    }
    let Elements { values, nulls } = elements(datum, oid).map_err(Error::ArrayDimensions)?;
    for (i, (value, null)) in values.iter().zip(nulls).enumerate() {
        if *null {
            return Err(Error::NullElement(i + 1));
        }
        out.push(number.read(*value));
    }
    Ok(())
}

fn values<const WIDTH: usize>(bytes: &[u8], value: impl Fn([u8; WIDTH]) -> f32) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(move |element| value(*element))
}

/// The elements of a `name[]` or a `text[]`; a NULL among them is an error.
///
/// # Errors
/// [`Error::ArrayDimensions`], [`Error::NullElement`].
pub fn read_texts(datum: pg_sys::Datum, kind: pg_sys::Oid) -> Result<Vec<String>, Error> {
    let Elements { values, nulls } = elements(datum, kind).map_err(Error::ArrayDimensions)?;
    let texts = values.iter().zip(nulls).enumerate();
    texts
        .map(|(i, (value, null))| match kind {
            _ if *null => Err(Error::NullElement(i + 1)),
            pg_sys::NAMEOID => Ok(varlena::name(*value)),
            _ => Ok(varlena::text(*value).to_owned()),
        })
        .collect()
}

/// The elements of an `oid[]`; none of one that is no list.
pub fn read_oids(datum: pg_sys::Datum) -> Vec<pg_sys::Oid> {
    let values = elements(datum, pg_sys::OIDOID).map_or(&[][..], |elements| elements.values);
    values.iter().map(|value| pg_sys::Oid::from(value.value() as u32)).collect()
}

/// A new `name[]` or `text[]` in the current memory context.
pub fn texts_datum(texts: &[String], kind: pg_sys::Oid) -> pg_sys::Datum {
    let mut values: Vec<_> = texts
        .iter()
        .map(|text| if kind == pg_sys::NAMEOID { varlena::name_datum(text) } else { varlena::text_datum(text) })
        .collect();
    datum(&mut values, kind)
}

/// A new array of these values, which are of type `kind`, in the current memory context.
pub fn datum(values: &mut [pg_sys::Datum], kind: pg_sys::Oid) -> pg_sys::Datum {
    // SAFETY: the values are as many as said, of the element type whose storage is looked up.
    unsafe {
        let (mut length, mut by_value, mut align) = (0i16, false, 0);
        pg_sys::get_typlenbyvalalign(kind, &mut length, &mut by_value, &mut align);
        let array =
            pg_sys::construct_array(values.as_mut_ptr(), values.len() as i32, kind, i32::from(length), by_value, align);
        pg_sys::Datum::from(array)
    }
}
