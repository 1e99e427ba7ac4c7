//! Owns a function's set of rows, in materialized form.

use super::function::Call;
use super::{json, varlena};
use pgrx::pg_sys;
use vcache_core::codec::Row;

/// A column's value, and whether it is NULL.
pub type Value = (pg_sys::Datum, bool);

/// NULL in a column.
pub const NULL: Value = (pg_sys::Datum::null(), true);

/// Rows of `(id text, distance float8, payload jsonb)`, made into datums before any is returned, so that an entry which
/// turns out to be damaged can still be given up.
#[derive(Default)]
pub struct Rows {
    rows: Vec<[Value; 3]>,
}

impl Rows {
    /// Adds a row.
    ///
    /// # Errors
    /// [`json::NotJson`] when the payload is no `jsonb`.
    pub fn push(&mut self, row: Row<'_>) -> Result<(), json::NotJson> {
        let id = row.id.map_or(NULL, |id| (varlena::text_datum(id), false));
        let payload = match row.payload {
            Some(payload) => (json::jsonb(payload)?, false),
            None => NULL,
        };
        self.rows.push([id, (pg_sys::Datum::from(row.distance.to_bits() as usize), false), payload]);
        Ok(())
    }

    /// Returns the rows as the call's result.
    pub fn give(self, call: &Call) -> pg_sys::Datum {
        give(call, &self.rows)
    }
}

/// Returns rows as the result of a set-returning function; each has as many columns as the function declares.
pub fn give(call: &Call, rows: &[impl AsRef<[Value]>]) -> pg_sys::Datum {
    // SAFETY: fcinfo is that of a set-returning function; InitMaterializedSRF checks that its caller takes a tuplestore and
    // makes one of the declared row type.
    unsafe {
        let fcinfo = call.raw();
        pg_sys::InitMaterializedSRF(fcinfo, 0);
        let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        for row in rows {
            let (mut values, mut nulls): (Vec<_>, Vec<_>) = row.as_ref().iter().copied().unzip();
            pg_sys::tuplestore_putvalues(
                (*result).setResult,
                (*result).setDesc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }
    pg_sys::Datum::null()
}
