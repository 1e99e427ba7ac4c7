//! Measures hits by several URLs of Redis, in turn by blocks, on one session that is told the next URL by a reload.

use crate::{Result, SEARCH, Target, fill, percentile};
use postgres::Client;
use serde_json::{Map, Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;
/// Of several keys, each master of a cluster has some.
const VECTORS: usize = 30;

/// Searches for `count` hits by each way, which is `NAME=URL`. The first is what the others are compared with, round by round.
pub fn measure(target: &Target, count: usize, ways: &[&str]) -> Result<Value> {
    let (mut client, mut admin) = (target.connect()?, target.connect()?);
    let search = client.prepare(SEARCH)?;
    let vectors = target.vectors(VECTORS);
    let ways = ways.iter().map(|way| way.split_once('=').ok_or("not NAME=URL"));
    let ways = ways.collect::<std::result::Result<Vec<_>, _>>()?;

    let mut medians: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, url), medians) in ways.iter().zip(&mut medians) {
            switch(&mut admin, &mut client, url)?;
            fill(&mut client, &vectors)?;
            let mut times = Vec::with_capacity(count / ROUNDS);
            for vector in vectors.iter().cycle().take(count / ROUNDS) {
                let start = Instant::now();
                client.query(&search, &[vector])?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            medians.push(percentile(&mut times, 0.5));
        }
    }
    let mut measured = Map::new();
    let base = medians.first().cloned().unwrap_or_default();
    for (number, ((name, _), mut medians)) in ways.iter().zip(medians).enumerate() {
        if number > 0 {
            let mut ratios: Vec<f64> = medians.iter().zip(&base).map(|(median, base)| median / base).collect();
            measured.insert(format!("{name}_vs_plain"), json!(percentile(&mut ratios, 0.5)));
        }
        measured.insert(format!("{name}_p50_us"), json!(percentile(&mut medians, 0.5)));
    }
    measured.insert("dimensions".into(), json!(target.dimensions));
    Ok(measured.into())
}

/// Sets the URL, and waits until the session knows.
fn switch(admin: &mut Client, client: &mut Client, url: &str) -> Result<()> {
    admin.batch_execute(&format!("ALTER SYSTEM SET vcache.redis_url = '{url}'"))?;
    admin.batch_execute("SELECT pg_reload_conf()")?;
    while client.query_one("SHOW vcache.redis_url", &[])?.get::<_, &str>(0) != url {
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
