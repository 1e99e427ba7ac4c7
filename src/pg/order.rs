//! Owns the values of a type in its default order: comparing them, the operators that stand for it, and lists of them.

use super::catalog::{self, Operator};
use super::varlena;
use pgrx::pg_sys::{self, Datum, Oid};
use std::cmp::Ordering;

/// The default order of a type, under a collation.
#[derive(Debug, Clone)]
pub struct Order {
    pub kind: Oid,
    pub collation: Oid,
    pub less: Operator,
    pub at_most: Operator,
    pub equal: Operator,
    pub at_least: Operator,
    pub greater: Operator,
}

impl Order {
    /// `None` for a type without a btree operator class of its own.
    pub fn of(kind: Oid, collation: Oid) -> Option<Self> {
        let flags = pg_sys::TYPECACHE_BTREE_OPFAMILY | pg_sys::TYPECACHE_CMP_PROC;
        // SAFETY: the entry is read at once.
        let (family, operand, compare) = unsafe {
            let entry = &*pg_sys::lookup_type_cache(kind, flags as i32);
            (entry.btree_opf, entry.btree_opintype, entry.cmp_proc)
        };
        if family == pg_sys::InvalidOid || compare == pg_sys::InvalidOid {
            return None;
        }
        let operator = |strategy: u32| {
            // SAFETY: a catalog look-up.
            catalog::operator(unsafe { pg_sys::get_opfamily_member(family, operand, operand, strategy as i16) })
        };
        Some(Self {
            kind,
            collation,
            less: operator(pg_sys::BTLessStrategyNumber)?,
            at_most: operator(pg_sys::BTLessEqualStrategyNumber)?,
            equal: operator(pg_sys::BTEqualStrategyNumber)?,
            at_least: operator(pg_sys::BTGreaterEqualStrategyNumber)?,
            greater: operator(pg_sys::BTGreaterStrategyNumber)?,
        })
    }

    /// How two values of the type follow one another.
    pub fn compare(&self, a: Datum, b: Datum) -> Ordering {
        // SAFETY: the values are of the type; an entry of the type cache stays where it is.
        let sign = unsafe {
            let entry = pg_sys::lookup_type_cache(self.kind, pg_sys::TYPECACHE_CMP_PROC_FINFO as i32);
            pg_sys::FunctionCall2Coll(&mut (*entry).cmp_proc_finfo, self.collation, a, b)
        };
        (sign.value() as i32).cmp(&0)
    }
}

/// The value that stands for all that are equal to it but look otherwise, as far as its type is known here: `1` for a numeric `1.0`, `0` for `-0`.
pub fn canonical(kind: Oid, value: Datum) -> Datum {
    match kind {
        pg_sys::NUMERICOID => {
            // SAFETY: the value is a numeric.
            unsafe { pgrx::direct_function_call_as_datum(pg_sys::numeric_trim_scale, &[Some(value)]) }.unwrap_or(value)
        }
        pg_sys::FLOAT4OID => Datum::from((f32::from_bits(value.value() as u32) + 0.0).to_bits()),
        pg_sys::FLOAT8OID => Datum::from((f64::from_bits(value.value() as u64) + 0.0).to_bits()),
        _ => value,
    }
}

/// The type of arrays of a type; `None` when it has none.
pub fn array_type(kind: Oid) -> Option<Oid> {
    // SAFETY: a catalog look-up.
    Some(unsafe { pg_sys::get_array_type(kind) }).filter(|array| *array != pg_sys::InvalidOid)
}

/// A value as a literal of SQL, by its type's output function: `'en'`, `2020`, `'2020-01-01'::date`.
pub fn literal(kind: Oid, value: Datum) -> String {
    // SAFETY: the function is the output function of the value's type; both strings are terminated.
    let (text, quoted) = unsafe {
        let text = pg_sys::OidOutputFunctionCall(catalog::output_function(kind), value);
        (varlena::c_string(text), varlena::strict_c_string(pg_sys::quote_literal_cstr(text)))
    };
    match kind {
        pg_sys::BOOLOID => (if text == "t" { "true" } else { "false" }).to_owned(),
        pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => text,
        pg_sys::NUMERICOID if text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)) => text,
        pg_sys::TEXTOID => quoted,
        // With a modifier that is none: what is called character is of one character, and "char" or bpchar of any number.
        _ => format!("{quoted}::{}", catalog::type_text_in_sql(kind)),
    }
}
