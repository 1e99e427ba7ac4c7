//! Owns the way between rows, JSON text and `jsonb`.

use super::varlena;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::ffi::CString;

/// Why a JSON text is none that `jsonb` takes, or bytes are no `jsonb`.
#[derive(Debug)]
pub struct NotJson;

/// The `jsonb` of a JSON text, in the current memory context; see [`jsonbs`].
///
/// # Errors
/// [`NotJson`].
pub fn jsonb(text: &str) -> Result<pg_sys::Datum, NotJson> {
    jsonbs(std::iter::once(Ok(Some(text)))).and_then(|made: Vec<_>| made.into_iter().next().flatten().ok_or(NotJson))
}

/// The `jsonb`s of JSON texts, in the current memory context.
///
/// The texts may come from Redis, so an error of the input function is an answer here, not the end of the search. Catching
/// it without a subtransaction is sound since `jsonb_in` holds nothing but memory; a cancel or anything else that is not
/// about the data is raised on.
///
/// # Errors
/// [`NotJson`], or the error of a text.
pub fn jsonbs<'a, E: From<NotJson>>(
    texts: impl Iterator<Item = Result<Option<&'a str>, E>>,
) -> Result<Vec<Option<pg_sys::Datum>>, E> {
    let make = |text: &str| {
        let text = CString::new(text).map_err(|_| NotJson)?;
        let datum = pg_sys::Datum::from(text.as_ptr());
        // SAFETY: jsonb_in takes one C string, which lives until it has returned.
        unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(datum)]) }.ok_or(NotJson)
    };
    let refused = |_| Err(NotJson.into());
    let texts = std::panic::AssertUnwindSafe(texts);
    // Once for all of them: to be ready to catch takes half a microsecond.
    PgTryBuilder::new(|| {
        let texts = { texts }.0;
        texts.map(|text| Ok(text?.map(make).transpose()?)).collect()
    })
    .catch_when(PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, refused)
    .catch_when(PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX, refused)
    .execute()
}

/// Whether the text of a `jsonb` is longer than so many bytes, by the strings and numbers in it alone. It makes no more of the text than it must.
pub fn is_longer_than(datum: pg_sys::Datum, most: usize) -> bool {
    let mut length = 0usize;
    // SAFETY: the datum is a jsonb. The iterator owns itself and is gone when it says that it is done, or with the memory context; each
    // value is of the kind that its tag says.
    unsafe {
        let json = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let mut iterator = pg_sys::JsonbIteratorInit(&mut (*json).root);
        let mut value = pg_sys::JsonbValue::default();
        loop {
            let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, false);
            match token {
                pg_sys::JsonbIteratorToken::WJB_DONE => return length > most,
                pg_sys::JsonbIteratorToken::WJB_KEY
                | pg_sys::JsonbIteratorToken::WJB_VALUE
                | pg_sys::JsonbIteratorToken::WJB_ELEM => {
                    length += match value.type_ {
                        pg_sys::jbvType::jbvString => value.val.string.len.unsigned_abs() as usize,
                        pg_sys::jbvType::jbvNumeric => {
                            let number = pg_sys::Datum::from(value.val.numeric);
                            let text = pgrx::direct_function_call_as_datum(pg_sys::numeric_out, &[Some(number)]);
                            text.map_or(0, |text| {
                                let text: *mut std::ffi::c_char = text.cast_mut_ptr();
                                let digits = std::ffi::CStr::from_ptr(text).count_bytes();
                                pg_sys::pfree(text.cast());
                                digits
                            })
                        }
                        _ => 1,
                    };
                    if length > most {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The bytes of a `jsonb` in memory, without its head.
pub fn image<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    varlena::bytes(datum)
}

/// The `jsonb` whose bytes these are: [`image`]'s, of this server's.
pub fn of_image(image: &[u8]) -> pg_sys::Datum {
    varlena::datum(image)
}
