//! Owns the way from the argument of a search to the vector's canonical values.

use crate::engine::{MAX_DIMENSIONS, elements_of};
use crate::error::Error;
use crate::namespace::Definition;
use crate::pg::array::{self, Number};
use crate::pg::catalog;
use crate::pg::function::Call;
use crate::pg::varlena::{self, Elements};
use pgrx::pg_sys;
use vcache_core::vector::{self, VectorError};

/// Reads the vector in argument `n` of a search in a namespace: as text, as an engine's type, or as an array of numbers.
/// The elements are those that the column can hold: of a column of half precision, rounded to that.
///
/// # Errors
/// Whatever is wrong with it; see [`Error`].
pub fn read(call: &Call, n: usize, definition: &Definition) -> Result<Vec<f32>, Error> {
    let datum = call.datum(n).ok_or(Error::NullArgument("vector"))?;
    let kind = catalog::base_type(call.argument_type(n as i32));
    let engine = &definition.engine;
    let mut values = Vec::with_capacity(definition.dimensions.unwrap_or_default());
    if kind == engine.vector_type {
        read_type(datum, engine.elements, &mut values)?;
    } else if matches!(kind, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID) {
        vector::parse(varlena::text(datum), MAX_DIMENSIONS, &mut values)?;
    } else if let Some((element, number)) = array_of_numbers(kind) {
        array::read_numbers(datum, number, element, &mut values)?;
        vector::canonicalize(&mut values)?;
    } else if let Some(elements) = elements_of(kind) {
        read_type(datum, elements, &mut values)?;
    } else {
        return Err(Error::VectorType(catalog::type_text(kind)));
    }
    if engine.elements == Elements::Halves {
        vector::round_to_halves(&mut values)?;
    }
    let found = values.len();
    match definition.dimensions {
        Some(expected) if found != expected => Err(Error::Dimensions { expected, found }),
        _ if found > MAX_DIMENSIONS => Err(VectorError::TooLong(MAX_DIMENSIONS).into()),
        _ => Ok(values),
    }
}

/// The type of an array's elements, and what it is a number as.
fn array_of_numbers(kind: pg_sys::Oid) -> Option<(pg_sys::Oid, Number)> {
    let element = catalog::element_type(kind)?;
    Some((element, Number::of(catalog::base_type(element))?))
}

/// Reads a value of an engine's type.
fn read_type(datum: pg_sys::Datum, elements: Elements, values: &mut Vec<f32>) -> Result<(), Error> {
    if !varlena::read_vector(datum, elements, values) {
        return Err(Error::VectorDamaged);
    }
    Ok(vector::canonicalize(values)?)
}
