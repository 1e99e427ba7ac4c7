//! Owns `vcache_sources`: how often sources change, and whether their triggers are in place.

use crate::clock::{self, Scope};
use crate::error::Error;
use crate::namespace::Registry;
use crate::pg::clock_table::Row;
use crate::pg::function::{Call, sql_function};
use crate::pg::scan::View;
use crate::pg::{catalog, result, time};
use crate::source;
use pgrx::pg_sys::{Datum, Oid};

sql_function!(vcache_source_rows, pg_finfo_vcache_source_rows, rows);
sql_function!(vcache_clock_is_not_refreshed, pg_finfo_vcache_clock_is_not_refreshed, refuse);

fn rows(call: &Call) -> Datum {
    let schema = call.schema();
    let clocks = clock::all(schema);
    let rows: Vec<_> = watched(schema)
        .into_iter()
        .map(|source| {
            let of_it = || clocks.iter().filter(|row| row.scope == Scope::Source(source).number());
            let last = of_it().map(|row| row.changed_at).max();
            let last = last.map_or(result::NULL, |last| (Datum::from(time::to_postgres(last)), false));
            let number = |value: i64| (Datum::from(value), false);
            let rate = number(rate_of(of_it()).to_bits() as i64);
            let guarded = (Datum::from(source::of(source, schema).unguarded.is_none()), false);
            [(Datum::from(source), false), number(of_it().count() as i64), last, rate, guarded]
        })
        .collect();
    result::give(call, &rows)
}

/// The sources with exact freshness that are still there.
pub fn watched(schema: Oid) -> Vec<Oid> {
    let all = Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default();
    let mut sources: Vec<Oid> = all.iter().filter(|one| one.is_exact()).map(|one| one.source).collect();
    sources.sort_unstable_by_key(|oid| oid.to_u32());
    sources.dedup();
    sources.retain(|source| catalog::class(*source).is_some());
    sources
}

/// How often a source changes, in changes per minute.
pub fn rate(schema: Oid, source: Oid) -> f64 {
    let number = Scope::Source(source).number();
    rate_of(clock::all(schema).iter().filter(|row| row.scope == number))
}

fn rate_of<'a>(rows: impl Iterator<Item = &'a Row>) -> f64 {
    let now = time::now();
    rows.map(|row| row.rate_at(now)).sum()
}

fn refuse(_: &Call) -> Datum {
    Error::ClockIsNotRefreshed.raise()
}
