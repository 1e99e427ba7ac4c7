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
    /// Rows with their payloads as texts.
    ///
    /// # Errors
    /// [`json::NotJson`] when a payload is no `jsonb`, or a row's own.
    pub fn of<'a, E: From<json::NotJson>>(rows: impl Iterator<Item = Result<Row<'a>, E>>) -> Result<Self, E> {
        let mut made = Self::default();
        let payloads = json::jsonbs(rows.map(|row| {
            let row = row?;
            made.add(row, None);
            Ok::<_, E>(row.payload)
        }))?;
        for ([_, _, to], payload) in made.rows.iter_mut().zip(payloads) {
            *to = payload.map_or(NULL, |payload| (payload, false));
        }
        Ok(made)
    }

    /// Rows with their payloads as [`json::image`] gives them.
    ///
    /// # Errors
    /// A row's own.
    pub fn of_images<'a, E>(rows: impl Iterator<Item = Result<(Row<'a>, Option<&'a [u8]>), E>>) -> Result<Self, E> {
        let mut made = Self::default();
        for row in rows {
            let (row, image) = row?;
            made.add(row, image.map(json::of_image));
        }
        Ok(made)
    }

    fn add(&mut self, row: Row<'_>, payload: Option<pg_sys::Datum>) {
        let id = row.id.map_or(NULL, |id| (varlena::text_datum(id), false));
        let payload = payload.map_or(NULL, |payload| (payload, false));
        self.rows.push([id, (pg_sys::Datum::from(row.distance.to_bits() as usize), false), payload]);
    }

    /// The payloads, as datums.
    pub fn payloads(&self) -> impl Iterator<Item = Option<pg_sys::Datum>> {
        self.rows.iter().map(|[_, _, (payload, is_null)]| (!is_null).then_some(*payload))
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
        let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        // In FROM the caller knows the row type, and need not look for it anew.
        let is_known = !result.is_null()
            && (*result.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_ReturnSetInfo
            && !(*result).expectedDesc.is_null();
        pg_sys::InitMaterializedSRF(fcinfo, if is_known { pg_sys::MAT_SRF_USE_EXPECTED_DESC } else { 0 });
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
