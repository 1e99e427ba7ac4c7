//! Owns the way from the argument of a search to the vector's canonical values.

use crate::engine::MAX_DIMENSIONS;
use crate::error::Error;
use crate::namespace::Definition;
use crate::pg::array::{self, Number};
use crate::pg::function::Call;
use crate::pg::{catalog, varlena};
use pgrx::pg_sys;
use vcache_core::vector;

/// Reads the vector in argument `n` of a search in a namespace: as text, as the column's own type, or as an array of numbers.
///
/// # Errors
/// Whatever is wrong with it; see [`Error`].
pub fn read(call: &Call, n: usize, definition: &Definition) -> Result<Vec<f32>, Error> {
    let datum = call.datum(n).ok_or(Error::NullArgument("vector"))?;
    let kind = catalog::base_type(call.argument_type(n as i32));
    let mut values = Vec::with_capacity(definition.dimensions.unwrap_or_default());
    if kind == definition.engine.vector_type {
        if !varlena::read_vector(datum, &mut values) {
            return Err(Error::VectorDamaged);
        }
        vector::canonicalize(&mut values)?;
    } else if matches!(kind, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID) {
        vector::parse(varlena::text(datum), &mut values)?;
    } else {
        let element = catalog::element_type(kind).map(|element| (element, Number::of(catalog::base_type(element))));
        let Some((element, Some(number))) = element else {
            return Err(Error::VectorType(catalog::type_text(kind)));
        };
        array::read_numbers(datum, number, element, &mut values)?;
        vector::canonicalize(&mut values)?;
    }
    let found = values.len();
    match definition.dimensions {
        Some(expected) if found != expected => Err(Error::Dimensions { expected, found }),
        _ if found > MAX_DIMENSIONS => Err(Error::TooManyDimensions(found)),
        _ => Ok(values),
    }
}
