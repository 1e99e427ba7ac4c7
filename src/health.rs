//! Owns `vcache_health`: how the parts are, in plain words. It asks Redis unless the breaker is open, and shows nothing of a password; where Redis is, it shows to
//! those alone who may see the setting, and how often a source changes, to those who may see its statistics.

use crate::access::may_see_statistics_of;
use crate::clock::Scope;
use crate::engine;
use crate::namespace::Registration;
use crate::pg::function::{Call, Interval, sql_function};
use crate::pg::{access, catalog, result, varlena};
use crate::settings;
use crate::source::{self, Watched};
use crate::sources;
use crate::stats;
use crate::tier::redis::{self, Health};
use crate::tier::shared;
use pgrx::pg_sys::{Datum, Oid};

sql_function!(vcache_health, pg_finfo_vcache_health, health);

fn health(call: &Call) -> Datum {
    let parts = [
        ("shared memory", shared_memory()),
        ("redis", redis()),
        ("engine", engine()),
        ("triggers", triggers(call.schema())),
    ];
    let text = |text: &str| (varlena::text_datum(text), false);
    let rows: Vec<_> =
        parts.iter().map(|(component, (status, detail))| [text(component), text(status), text(detail)]).collect();
    result::give(call, &rows)
}

fn shared_memory() -> (&'static str, String) {
    let entries = match shared::fill() {
        Some(fill) => format!(
            "{} entries take {:.0} % of {}; {} have made room for others",
            fill.entries,
            100.0 * fill.bytes as f64 / fill.capacity.max(1) as f64,
            settings::shared_memory_size_shown(),
            fill.evictions
        ),
        None => "vcache.shared_memory_size is 0: no entries".into(),
    };
    match stats::fill() {
        None => ("off", "vcache is not in shared_preload_libraries: neither entries nor statistics are kept".into()),
        Some((used, slots)) if used == slots => {
            ("degraded", format!("{entries}; all {slots} namespaces with statistics are taken: raise vcache.stats_max"))
        }
        Some((used, slots)) => ("ok", format!("{entries}; statistics of {used} of at most {slots} namespaces")),
    }
}

fn redis() -> (&'static str, String) {
    let named = |server| if access::may_see_all_settings() { server } else { String::from("Redis") };
    match redis::health() {
        Health::Off => ("off", "vcache.redis_url is empty".into()),
        Health::Ok { server, took, breaker, unstored } => {
            let answers = format!("{} answers in {:.2} ms; {breaker}", named(server), took.as_secs_f64() * 1000.0);
            match unstored {
                None => ("ok", answers),
                Some(why) => ("degraded", format!("{answers}; nothing is stored: {why}")),
            }
        }
        Health::Down { server, why, breaker } => ("down", format!("{}: {why}; {breaker}", named(server))),
    }
}

fn engine() -> (&'static str, String) {
    match engine::installed().as_slice() {
        [] => ("down", "neither RuVector nor pgvector is installed in this database".into()),
        engines => ("ok", engines.join(", ")),
    }
}

fn triggers(schema: Oid) -> (&'static str, String) {
    let (mut wrong, mut cures, mut often) = (Vec::new(), Vec::new(), Vec::new());
    let (watched, registered) = (sources::watched(schema), sources::registered(schema));
    for &Watched { source, is_divided, .. } in &watched {
        let name = || catalog::qualified(source);
        if let Some(why) = source::of(source, schema).unguarded_for(is_divided) {
            wrong.push(format!("{}: {why}", name()));
            let cure = why.cure().to_owned();
            if !cures.contains(&cure) {
                cures.push(cure);
            }
        }
        if may_see_statistics_of(source, &registered) {
            let rate = sources::rate(schema, &[Scope::Source(source), Scope::Tenants(source)]);
            let advice = sources::advice(rate, longest_ttl(&registered, source));
            often.extend(advice.map(|advice| format!("{} {advice}", name())));
        }
    }
    match (watched.len(), wrong.is_empty()) {
        (0, _) => ("off", "no namespace has freshness 'exact'".into()),
        (_, false) => ("degraded", [wrong, cures, often].concat().join(" ")),
        (count, true) if often.is_empty() => {
            ("ok", format!("in place for all sources with freshness 'exact': {count}"))
        }
        (_, true) => ("ok", often.join("; ")),
    }
}

/// The longest ttl of the namespaces of a source, in microseconds.
fn longest_ttl(registrations: &[Registration], source: Oid) -> i64 {
    let of_it = registrations.iter().filter(|one| one.is_exact() && one.source == source);
    of_it.map(|one| one.ttl.map_or_else(settings::ttl, Interval::total_microseconds)).max().unwrap_or(0)
}
