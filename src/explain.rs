//! Owns `vcache_explain`: what a search would do and why. It takes the read path's own first half and asks the tiers, but no
//! engine; it changes nothing and counts as nothing.

use crate::engine::{self, LooksFurther};
use crate::error::Error;
use crate::outcome::{Miss, Outcome};
use crate::pg::function::{Call, Interval, interval_datum, sql_function};
use crate::pg::result::{self, NULL, Value};
use crate::pg::{json, time, varlena};
use crate::search::{self, Purpose, Query};
use crate::settings;
use crate::sources;
use crate::stats::Counters;
use crate::tier::shared;
use pgrx::pg_sys::Datum;

sql_function!(vcache_explain, pg_finfo_vcache_explain, explain);

fn explain(call: &Call) -> Datum {
    match row(call) {
        Ok(row) => result::give(call, &[row]),
        Err(error) => error.raise(),
    }
}

/// `outcome, tier, reason, age, expires_in, key, key_parts`.
fn row(call: &Call) -> Result<[Value; 7], Error> {
    let query = search::prepare(call, |_| Counters::none())?;
    let few = few_rows(&query).unwrap_or_default();
    let place = match &query.place {
        Ok(place) => place,
        Err(bypass) => {
            let reason = format!("{}{few}", query.why_bypassed(*bypass));
            return Ok([text("bypass"), NULL, text(&reason), NULL, NULL, NULL, NULL]);
        }
    };
    let parts = query.key_parts();
    let key = text(&place.key.to_string());
    let parts = json::jsonb(&parts).map_or(NULL, |datum| (datum, false));
    let looked = query.look_up(place, Purpose::Explanation);
    Ok(match looked.found {
        Ok(hit) => {
            let now = time::now();
            let (age, left) = (interval(now - hit.computed_at), interval(hit.expires_at - now));
            let reason = format!("an entry for {} rows answers{few}", hit.asked);
            let tier = if hit.outcome == Outcome::SharedHit { "shared" } else { "redis" };
            [text("hit"), text(tier), text(&reason), age, left, key, parts]
        }
        Err(miss) => {
            let reason = match looked.failure {
                Some(_) if miss != Miss::Unreachable => "what stands under this key is not an entry",
                None if miss == Miss::Cold && !shared::is_on() && settings::redis_access().url.is_empty() => {
                    "there is no tier: vcache.redis_url is empty, and there is no shared memory"
                }
                _ => Miss::reason(miss),
            };
            let often = if miss == Miss::Stale { how_often(&query) } else { String::new() };
            [text("miss"), NULL, text(&format!("{reason}{often}{few}")), NULL, NULL, key, parts]
        }
    })
}

/// What there is to know of a source whose entries grow old before they are used.
fn how_often(query: &Query<'_>) -> String {
    let what = if query.definition.divider.is_some() { "tenant" } else { "source" };
    sources::advice(sources::rate(query.schema, &query.scopes()), query.ttl)
        .map_or_else(String::new, |advice| format!("; the {what} {advice}"))
}

/// Why a filter may leave fewer rows than were asked for, though there are more: an approximate index gives its candidates, and the filter takes
/// from those. The answer is the engine's, as it is.
fn few_rows(query: &Query<'_>) -> Option<String> {
    let definition = &query.definition;
    query.filter.as_ref()?;
    let index = engine::index_of_all(definition.source, definition.vector, definition.distance, None)?;
    let cure = match definition.engine.looking_further(&index.method, &definition.search_settings) {
        LooksFurther::Does => return None,
        LooksFurther::With(setting) => format!("; {setting} looks further"),
        LooksFurther::Never => String::new(),
    };
    Some(format!(
        "; index {} gives the filter no more than its nearest candidates, so there may be fewer rows{cure}",
        index.name
    ))
}

fn text(text: &str) -> Value {
    (varlena::text_datum(text), false)
}

fn interval(microseconds: i64) -> Value {
    (interval_datum(Interval { months: 0, days: 0, microseconds }), false)
}
