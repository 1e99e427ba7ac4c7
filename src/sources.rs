//! Owns `vcache_sources`: how often sources change, and whether their triggers are in place.

use crate::access;
use crate::clock::{self, Scope};
use crate::error::Error;
use crate::namespace::{Registration, Registry};
use crate::pg::clock_table::Row;
use crate::pg::function::{Call, sql_function};
use crate::pg::scan::View;
use crate::pg::{catalog, result, time};
use crate::source::{self, Unguarded, Watched};
use pgrx::pg_sys::{Datum, Oid};

sql_function!(vcache_source_rows, pg_finfo_vcache_source_rows, rows);
sql_function!(vcache_clock_is_not_refreshed, pg_finfo_vcache_clock_is_not_refreshed, refuse);

fn rows(call: &Call) -> Datum {
    let schema = call.schema();
    let clocks = clock::all(schema);
    // How often others' tables change is not for everybody.
    let registered = registered(schema);
    let rows: Vec<_> = watched(schema)
        .into_iter()
        .filter(|watched| access::may_see_statistics_of(watched.source, &registered))
        .map(|watched| {
            let source = watched.source;
            let numbers = Scope::tenants(source);
            let is_tenants = |row: &&Row| numbers.contains(&row.scope);
            let is_its = |row: &&Row| row.scope == Scope::Source(source).number();
            let of_it = || clocks.iter().filter(|row| is_its(row) || is_tenants(row));
            let last = of_it().map(|row| row.changed_at).max();
            let last = last.map_or(result::NULL, |last| (Datum::from(time::to_postgres(last)), false));
            let number = |value: i64| (Datum::from(value), false);
            // Where all is read as well as by tenant, a change is counted in both.
            let (whole, divided) = (clocks.iter().filter(is_its), clocks.iter().filter(is_tenants));
            let rate = rate_of(whole).max(rate_of(divided));
            // Two decimals; a sum of nothing is -0.
            let rate = number(((rate * 100.0).round() / 100.0 + 0.0).to_bits() as i64);
            let of_source = source::of(source, schema);
            let unguarded = of_source.unguarded_for(watched.is_divided);
            let guarded = (Datum::from(matches!(unguarded, None | Some(Unguarded::Unsettled))), false);
            [(Datum::from(source), false), number(of_it().count() as i64), last, rate, guarded]
        })
        .collect();
    result::give(call, &rows)
}

/// The sources with exact freshness that are still there.
pub fn watched(schema: Oid) -> Vec<Watched> {
    let mut sources = source::watched(registered(schema).iter());
    sources.retain(|watched| catalog::class(watched.source).is_some());
    sources
}

/// All that is registered.
pub fn registered(schema: Oid) -> Vec<Registration> {
    Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default()
}

/// What there is to say of clocks that advance so often that hardly an entry lives to be used, and not for its ttl (in microseconds).
pub fn advice(rate: f64, ttl: i64) -> Option<String> {
    const OFTEN: f64 = 30.0;
    let life = 60.0 / rate;
    let is_often = rate >= OFTEN && life * 1e6 < ttl as f64;
    is_often.then(|| {
        format!("changes {rate:.0} times a minute: entries live {life:.1} s on average; consider freshness 'ttl'")
    })
}

/// How often these clocks advance, in times per minute.
pub fn rate(schema: Oid, scopes: &[Scope]) -> f64 {
    rate_of(clock::all(schema).iter().filter(|row| scopes.iter().any(|scope| scope.number() == row.scope)))
}

fn rate_of<'a>(rows: impl Iterator<Item = &'a Row>) -> f64 {
    let now = time::now();
    rows.map(|row| row.rate_at(now)).sum()
}

fn refuse(_: &Call) -> Datum {
    Error::ClockIsNotRefreshed.raise()
}
