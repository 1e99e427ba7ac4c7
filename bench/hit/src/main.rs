//! Measures hits by a client that takes next to nothing itself, and prints one object of JSON.
//!
//! `vcache-hit HOST PORT DATABASE DIMENSIONS floor REDIS-SOCKET COUNT`,
//! `… ways COUNT NAME=URL…` or `… sessions REDIS-SOCKET SESSIONS SECONDS`: the namespace `docs` of the database is asked.
//! `… shared TYPE COUNT`, `… misses TYPE COUNT`, `… scaling TYPE ROUNDS SECONDS`: the namespace `shared`.

mod floor;
mod sessions;
mod shared;
mod ways;

use postgres::{Client, Config, NoTls};
use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The search that is measured.
const SEARCH: &str = "SELECT id, distance, payload FROM vcache_search('docs', $1::real[], 10)";

/// Who is asked for what.
struct Target {
    config: Config,
    dimensions: usize,
}

impl Target {
    fn connect(&self) -> Result<Client> {
        Ok(self.config.connect(NoTls)?)
    }

    /// Vectors that differ; any will do.
    fn vectors(&self, count: usize) -> Vec<Vec<f32>> {
        let element = |number: usize, i: usize| ((i * 7919 + number * 104_729 + 13) % 1000) as f32 / 1000.0 - 0.5;
        (0..count).map(|number| (0..self.dimensions).map(|i| element(number, i)).collect()).collect()
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [host, port, database, dimensions, what @ ..] = arguments.as_slice() else {
        return Err("usage: see the head of main.rs".into());
    };
    let mut config = Config::new();
    config.host_path(Path::new(host)).port(port.parse()?).user("postgres").dbname(database);
    let target = Target { config, dimensions: dimensions.parse()? };
    let measured = match what {
        ["floor", redis, count] => floor::measure(&target, redis, count.parse()?)?,
        ["ways", count, ways @ ..] => ways::measure(&target, count.parse()?, ways)?,
        ["shared", kind, count] => shared::measure(&target, kind, count.parse()?)?,
        ["misses", kind, count] => shared::misses(&target, kind, count.parse()?)?,
        ["scaling", kind, rounds, seconds] => shared::scaling(&target, kind, rounds.parse()?, seconds.parse()?)?,
        ["sessions", redis, sessions, seconds] => {
            sessions::measure(&target, redis, sessions.parse()?, seconds.parse()?)?
        }
        _ => return Err("usage: see the head of main.rs".into()),
    };
    println!("{measured}");
    Ok(())
}

/// Searches for each vector twice, and makes sure that they are hits now.
fn fill(client: &mut Client, vectors: &[Vec<f32>]) -> Result<()> {
    for vector in vectors {
        client.query(SEARCH, &[vector])?;
        let outcome = client.query_one("SELECT outcome FROM vcache_explain('docs', $1::real[], 10)", &[vector])?;
        match outcome.get(0) {
            "hit" => {}
            other => return Err(format!("the search is no hit but {other}").into()),
        }
    }
    Ok(())
}

fn connection_to_redis(socket: &str) -> Result<redis::Connection> {
    Ok(redis::Client::open(format!("redis+unix://{socket}"))?.get_connection()?)
}

/// This part of the times lies below the result.
fn percentile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}
