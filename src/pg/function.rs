//! Owns the entry from SQL: the symbols that CREATE FUNCTION names, and reading their arguments.

use pgrx::pg_sys;

/// Declares a C function for SQL: its symbol, its info record, and the Rust function that takes the [`Call`].
macro_rules! sql_function {
    ($symbol:ident, $info:ident, $body:path) => {
        #[allow(unsafe_code, reason = "symbols that PostgreSQL looks up")]
        #[unsafe(no_mangle)]
        #[doc(hidden)]
        pub extern "C" fn $info() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const V1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }

        #[allow(unsafe_code, reason = "symbols that PostgreSQL looks up")]
        #[unsafe(no_mangle)]
        #[doc(hidden)]
        #[pgrx::pg_guard]
        pub extern "C-unwind" fn $symbol(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            $body(&$crate::pg::function::Call::new(fcinfo))
        }
    };
}
pub(crate) use sql_function;

/// One call of a function from SQL. Arguments are numbered from 0.
pub struct Call {
    fcinfo: pg_sys::FunctionCallInfo,
}

/// An `interval` argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub microseconds: i64,
}

impl Interval {
    /// Its length in microseconds, with months of 30 days as PostgreSQL's own comparison takes them; saturating.
    pub fn total_microseconds(self) -> i64 {
        const DAY: i64 = 86_400_000_000;
        let days = i64::from(self.months) * 30 + i64::from(self.days);
        days.saturating_mul(DAY).saturating_add(self.microseconds)
    }
}

impl Call {
    /// Only the entry that [`sql_function`] makes calls this, with what PostgreSQL gave it.
    pub fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self { fcinfo }
    }

    pub fn raw(&self) -> pg_sys::FunctionCallInfo {
        self.fcinfo
    }

    /// How many arguments the function was declared with.
    pub fn count(&self) -> usize {
        // SAFETY: valid during the call.
        usize::from(unsafe { (*self.fcinfo).nargs }.unsigned_abs())
    }

    /// The argument's datum; `None` for NULL.
    pub fn datum(&self, n: usize) -> Option<pg_sys::Datum> {
        // SAFETY: PostgreSQL passes as many arguments as the function was declared with, and `n` is below that.
        let argument = unsafe { (*self.fcinfo).args.as_slice((*self.fcinfo).nargs as usize).get(n).copied() }?;
        (!argument.isnull).then_some(argument.value)
    }

    /// The type of the argument as the caller wrote it; the invalid OID when it cannot be told.
    pub fn argument_type(&self, n: i32) -> pg_sys::Oid {
        // SAFETY: flinfo is valid during the call.
        unsafe { pg_sys::get_fn_expr_argtype((*self.fcinfo).flinfo, n) }
    }

    /// The schema that the called function stands in: that of the extension.
    pub fn schema(&self) -> pg_sys::Oid {
        // SAFETY: flinfo is valid during the call.
        unsafe { pg_sys::get_func_namespace((*(*self.fcinfo).flinfo).fn_oid) }
    }

    pub fn text(&self, n: usize) -> Option<&str> {
        self.datum(n).map(super::varlena::text)
    }

    pub fn i32(&self, n: usize) -> Option<i32> {
        self.datum(n).map(|datum| datum.value() as i32)
    }

    pub fn bool(&self, n: usize) -> Option<bool> {
        self.datum(n).map(|datum| datum.value() & 1 == 1)
    }

    pub fn oid(&self, n: usize) -> Option<pg_sys::Oid> {
        self.datum(n).map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    /// A `tid` argument.
    pub fn place(&self, n: usize) -> Option<pg_sys::ItemPointerData> {
        // SAFETY: the datum of a tid points to an item pointer.
        self.datum(n).map(|datum| unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() })
    }

    /// A `name` argument.
    pub fn name(&self, n: usize) -> Option<String> {
        self.datum(n).map(super::varlena::name)
    }

    pub fn interval(&self, n: usize) -> Option<Interval> {
        self.datum(n).map(interval)
    }

    /// What a function that returns void gives back.
    pub fn void(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(0)
    }
}

/// Reads the datum of an `interval`.
pub fn interval(datum: pg_sys::Datum) -> Interval {
    // SAFETY: an interval datum points to an Interval.
    let value = unsafe { *datum.cast_mut_ptr::<pg_sys::Interval>() };
    Interval { months: value.month, days: value.day, microseconds: value.time }
}

/// A new `interval` datum in the current memory context.
pub fn interval_datum(value: Interval) -> pg_sys::Datum {
    // SAFETY: the allocation has the size and alignment of an Interval.
    unsafe {
        let interval = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
        *interval = pg_sys::Interval { time: value.microseconds, day: value.days, month: value.months };
        pg_sys::Datum::from(interval)
    }
}
