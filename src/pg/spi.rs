//! Owns statements over SPI: kept plans run read-only under the active snapshot, and the rows they give.
//!
//! pgrx's own SPI functions are not used on the read path: they run with read_only = false once the transaction has an id,
//! and then under a later snapshot than the caller's.

use super::catalog;
use super::varlena::{strict_c_string, text};
use pgrx::pg_sys;
use std::ffi::CStr;

/// A prepared statement that outlives the SPI connection it was made in.
pub struct Plan(pg_sys::SPIPlanPtr);

impl Drop for Plan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the plan was kept, and is freed once.
            unsafe { pg_sys::SPI_freeplan(self.0) };
        }
    }
}

/// When a prepared statement is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// As PostgreSQL chooses: for the values at first, then once for all.
    Once,
    /// For the values of every call.
    ForValues,
}

/// An SPI connection; what it allocates goes when it is dropped.
pub struct Connection(());

impl Connection {
    pub fn open() -> Self {
        // SAFETY: closed by `drop`, or by the abort. It fails only with an ERROR.
        unsafe { pg_sys::SPI_connect() };
        Self(())
    }

    /// Prepares a statement and keeps it. Raises the statement's own error when it is none.
    pub fn prepare(&self, statement: &CStr, parameters: &[pg_sys::Oid], planning: Planning) -> Plan {
        let mut types = parameters.to_vec();
        let options = match planning {
            Planning::Once => 0,
            Planning::ForValues => pg_sys::CURSOR_OPT_CUSTOM_PLAN,
        };
        // SAFETY: the text is terminated and the types are as many as said; the plan moves out of the connection's context.
        unsafe {
            let count = types.len() as i32;
            let plan = pg_sys::SPI_prepare_cursor(statement.as_ptr(), count, types.as_mut_ptr(), options as i32);
            if plan.is_null() {
                crate::error::Error::Spi(pg_sys::SPI_result).raise();
            }
            pg_sys::SPI_keepplan(plan);
            Plan(plan)
        }
    }

    /// Runs a plan read-only, under the snapshot that is active, and gives all its rows.
    pub fn run<'c>(&'c self, plan: &Plan, arguments: &[pg_sys::Datum]) -> ResultSet<'c> {
        let mut values = arguments.to_vec();
        // SAFETY: the arguments fit the types that the plan was prepared with, and none is NULL.
        unsafe {
            let code = pg_sys::SPI_execute_plan(plan.0, values.as_mut_ptr(), std::ptr::null(), true, 0);
            ResultSet::take(code, self)
        }
    }

    /// Runs a statement that writes, with arguments of which any may be NULL.
    pub fn write<'c>(&'c self, statement: &CStr, arguments: &[(pg_sys::Oid, Option<pg_sys::Datum>)]) -> ResultSet<'c> {
        let mut types: Vec<_> = arguments.iter().map(|(kind, _)| *kind).collect();
        let mut values: Vec<_> = arguments.iter().map(|(_, value)| value.unwrap_or(pg_sys::Datum::null())).collect();
        let nulls: Vec<_> = arguments.iter().map(|(_, value)| if value.is_none() { b'n' } else { b' ' }).collect();
        // SAFETY: types, values and nulls are as many as said.
        unsafe {
            let code = pg_sys::SPI_execute_with_args(
                statement.as_ptr(),
                types.len() as i32,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                nulls.as_ptr().cast(),
                false,
                0,
            );
            ResultSet::take(code, self)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// The rows of a statement. They live as long as the connection.
pub struct ResultSet<'c> {
    tuples: &'c [pg_sys::HeapTuple],
    descriptor: pg_sys::TupleDesc,
}

impl<'c> ResultSet<'c> {
    /// # Safety
    /// Called right after the statement whose code this is.
    unsafe fn take(code: i32, _: &'c Connection) -> Self {
        if code < 0 {
            crate::error::Error::Spi(code).raise();
        }
        // SAFETY: SPI_tuptable is null or belongs to that statement, and is freed with the connection.
        unsafe {
            match pg_sys::SPI_tuptable.as_ref() {
                Some(table) if table.numvals > 0 => Self {
                    tuples: std::slice::from_raw_parts(table.vals, table.numvals as usize),
                    descriptor: table.tupdesc,
                },
                Some(table) => Self { tuples: &[], descriptor: table.tupdesc },
                None => Self { tuples: &[], descriptor: std::ptr::null_mut() },
            }
        }
    }

    pub fn len(&self) -> usize {
        self.tuples.len()
    }

    /// The rows in their order, each with all its columns.
    pub fn rows(&self) -> impl Iterator<Item = ResultRow> + '_ {
        let columns = self.columns();
        self.tuples.iter().map(move |tuple| {
            let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); columns], vec![true; columns]);
            // SAFETY: the tuple is of this descriptor, and there is room for all columns.
            unsafe { pg_sys::heap_deform_tuple(*tuple, self.descriptor, values.as_mut_ptr(), nulls.as_mut_ptr()) };
            ResultRow { values, nulls }
        })
    }

    fn columns(&self) -> usize {
        // SAFETY: the descriptor is null or valid.
        unsafe { self.descriptor.as_ref() }.map_or(0, |descriptor| descriptor.natts as usize)
    }

    /// What makes JSON objects of `columns` columns from `first` on (from 0).
    pub fn objects(&self, first: usize, columns: usize) -> Objects {
        let columns = columns.min(self.columns().saturating_sub(first));
        // SAFETY: the new descriptor has as many attributes as are copied into it. BlessTupleDesc registers the row type, once
        // for equal ones.
        unsafe {
            let descriptor = pg_sys::CreateTemplateTupleDesc(columns as i32);
            for i in 0..columns {
                pg_sys::TupleDescCopyEntry(descriptor, i as i16 + 1, self.descriptor, (first + i) as i16 + 1);
            }
            Objects { descriptor: pg_sys::BlessTupleDesc(descriptor), first, columns }
        }
    }
}

/// One row of a result. Columns are counted from 0.
pub struct ResultRow {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl ResultRow {
    pub fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let null = self.nulls.get(column).copied().unwrap_or(true);
        self.values.get(column).copied().filter(|_| !null)
    }

    pub fn text(&self, column: usize) -> Option<&str> {
        self.get(column).map(text)
    }

    /// The value of a column of any type as text, by the type's output function.
    pub fn output(&self, column: usize, function: pg_sys::Oid) -> Option<String> {
        // SAFETY: the function is the output function of the column's type, and returns a terminated string.
        self.get(column).map(|datum| unsafe { strict_c_string(pg_sys::OidOutputFunctionCall(function, datum)) })
    }

    pub fn oid(&self, column: usize) -> Option<u32> {
        self.get(column).map(|datum| datum.value() as u32)
    }

    /// A tid column, as block and offset.
    pub fn tid(&self, column: usize) -> Option<(u32, u16)> {
        // SAFETY: a tid datum points to an ItemPointerData.
        let at = unsafe { *self.get(column)?.cast_mut_ptr::<pg_sys::ItemPointerData>() };
        Some(((u32::from(at.ip_blkid.bi_hi) << 16) | u32::from(at.ip_blkid.bi_lo), at.ip_posid))
    }
}

/// Makes JSON objects of some columns of a result's rows.
pub struct Objects {
    descriptor: pg_sys::TupleDesc,
    first: usize,
    columns: usize,
}

impl Objects {
    /// The row's object as JSON text, as row_to_json makes it.
    pub fn of(&self, row: &ResultRow) -> String {
        let range = self.first..self.first + self.columns;
        let mut values = row.values.get(range.clone()).unwrap_or_default().to_vec();
        let mut nulls = row.nulls.get(range).unwrap_or_default().to_vec();
        if values.len() != self.columns {
            return String::from("{}");
        }
        // SAFETY: values and nulls are as many as the descriptor's attributes, of their types.
        unsafe {
            let tuple = pg_sys::heap_form_tuple(self.descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            let record = pg_sys::heap_copy_tuple_as_datum(tuple, self.descriptor);
            let json = pgrx::direct_function_call_as_datum(pg_sys::row_to_json, &[Some(record)]);
            json.map_or_else(String::new, |json| text(json).to_owned())
        }
    }
}

/// Whether the type is one of the two that a distance may have.
pub fn is_float(kind: pg_sys::Oid) -> bool {
    matches!(kind, pg_sys::FLOAT4OID | pg_sys::FLOAT8OID)
}

/// The value of a column of type `real` or `double precision`.
pub fn float(datum: pg_sys::Datum, kind: pg_sys::Oid) -> f64 {
    if kind == pg_sys::FLOAT4OID {
        f64::from(f32::from_bits(datum.value() as u32))
    } else {
        f64::from_bits(datum.value() as u64)
    }
}

/// The text of a JSON value, by its type's output function.
pub fn jsonb_text(datum: pg_sys::Datum) -> String {
    let function = catalog::output_function(pg_sys::JSONBOID);
    // SAFETY: jsonb's output function returns a terminated string.
    unsafe { strict_c_string(pg_sys::OidOutputFunctionCall(function, datum)) }
}
