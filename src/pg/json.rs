//! Owns the way between rows, JSON text and `jsonb`.

use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::ffi::CString;

/// Why a JSON text is none that `jsonb` takes.
#[derive(Debug)]
pub struct NotJson;

/// The `jsonb` of a JSON text, in the current memory context.
///
/// The text may come from Redis, so an error of the input function is an answer here, not the end of the search. Catching
/// it without a subtransaction is sound since `jsonb_in` holds nothing but memory; a cancel or anything else that is not
/// about the data is raised on.
///
/// # Errors
/// [`NotJson`].
pub fn jsonb(text: &str) -> Result<pg_sys::Datum, NotJson> {
    let text = CString::new(text).map_err(|_| NotJson)?;
    let refused = |_| Err(NotJson);
    // SAFETY: jsonb_in takes one C string, which lives until it has returned.
    PgTryBuilder::new(|| unsafe {
        let datum = pg_sys::Datum::from(text.as_ptr());
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(datum)]).ok_or(NotJson)
    })
    .catch_when(PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX, refused)
    .execute()
}
