//! Measures a hit over its floor: a statement that takes the same vector and does nothing with it, and a raw GET of the same entry.
//! Beside it, to tell what vcache takes from what PostgreSQL takes: a statement that takes the vector and returns the same rows.

use crate::{Result, SEARCH, Target, connection_to_redis, fill, percentile};
use serde_json::{Value, json};
use std::time::Instant;

/// Of the same rows as constants, the statement that returns them.
const ROWS: &str = "SELECT format('SELECT id, distance, payload FROM (VALUES %s) AS rows (id, distance, payload) WHERE $1::real[] IS NOT NULL',
    string_agg(format('(%L, %L::float8, %L::jsonb)', id, distance, payload), ', ' ORDER BY distance))
    FROM vcache_search('docs', $1::real[], 10)";

/// Asks all in turn, `count` times.
pub fn measure(target: &Target, redis: &str, count: usize) -> Result<Value> {
    let mut client = target.connect()?;
    let vectors = target.vectors(1);
    fill(&mut client, &vectors)?;
    let vector = vectors.first().ok_or("no vector")?;
    let explained =
        client.query_one("SELECT 'vcache:' || key FROM vcache_explain('docs', $1::real[], 10)", &[vector])?;
    let get = redis::cmd("GET").arg(explained.get::<_, &str>(0)).to_owned();
    let mut redis = connection_to_redis(redis)?;
    let rows: String = client.query_one(ROWS, &[vector])?.get(0);
    let statements = [client.prepare(SEARCH)?, client.prepare("SELECT $1::real[] IS NULL")?, client.prepare(&rows)?];

    // A hit, a SELECT, the rows, a GET: one after the other, so that what disturbs one disturbs all.
    let mut times: [Vec<f64>; 4] = Default::default();
    // The first tenth is for warming up.
    for round in 0..count + count / 10 {
        let mut taken = [0.0; 4];
        for (time, statement) in taken.iter_mut().zip(&statements) {
            let start = Instant::now();
            client.query(statement, &[vector])?;
            *time = microseconds(start);
        }
        let start = Instant::now();
        let entry: Vec<u8> = get.query(&mut redis)?;
        taken[3] = microseconds(start);
        if entry.is_empty() {
            return Err("the entry is gone".into());
        }
        if round >= count / 10 {
            times.iter_mut().zip(taken).for_each(|(times, time)| times.push(time));
        }
    }
    let [hit, select, rows, get] = times.map(|mut times| percentile(&mut times, 0.5));
    Ok(json!({
        "dimensions": target.dimensions,
        "hit_p50_us": hit,
        "select_p50_us": select,
        "rows_p50_us": rows,
        "get_p50_us": get,
        "redis_hit_vs_floor": hit / (select + get),
        "redis_hit_vs_rows": hit / (rows + get),
    }))
}

fn microseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
