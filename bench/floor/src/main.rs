//! Measures a hit in Redis over its floor: a statement that takes the same vector and does nothing with it, and a raw GET of the same
//! entry. What a client does is the same in all three, and little.
//!
//! `vcache-floor HOST PORT DATABASE REDIS-SOCKET DIMENSIONS COUNT` asks the namespace `docs` and prints one object of JSON, times in
//! microseconds.

use postgres::{Client, Config, NoTls};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// What is measured one after the other, in turn, so that what disturbs one disturbs all.
struct Times {
    hit: Vec<f64>,
    select: Vec<f64>,
    get: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, database, redis, dimensions, count] = arguments.as_slice() else {
        return Err("usage: vcache-floor HOST PORT DATABASE REDIS-SOCKET DIMENSIONS COUNT".into());
    };
    let mut config = Config::new();
    config.host_path(Path::new(host)).port(port.parse()?).user("postgres").dbname(database);
    let mut times = measure(config.connect(NoTls)?, redis, dimensions.parse()?, count.parse()?)?;
    let (hit, select, get) = (p50(&mut times.hit), p50(&mut times.select), p50(&mut times.get));
    println!(
        r#"{{"hit_p50_us": {hit:.2}, "select_p50_us": {select:.2}, "get_p50_us": {get:.2}, "redis_hit_vs_floor": {:.4}}}"#,
        hit / (select + get)
    );
    Ok(())
}

fn measure(mut client: Client, redis: &str, dimensions: usize, count: usize) -> Result<Times, Box<dyn Error>> {
    // Any vector will do: it is the same in all three.
    let vector: Vec<f32> = (0..dimensions).map(|i| ((i * 7919 + 13) % 1000) as f32 / 1000.0 - 0.5).collect();
    let search = client.prepare("SELECT id, distance, payload FROM vcache_search('docs', $1::real[], 10)")?;
    let select = client.prepare("SELECT $1::real[] IS NULL")?;
    client.query(&search, &[&vector])?;
    let explained =
        client.query_one("SELECT 'vcache:' || key, outcome FROM vcache_explain('docs', $1::real[], 10)", &[&vector])?;
    if explained.get::<_, &str>(1) != "hit" {
        return Err("the search is no hit".into());
    }
    let get = redis::cmd("GET").arg(explained.get::<_, &str>(0)).to_owned();
    let mut redis = redis::Client::open(format!("redis+unix://{redis}"))?.get_connection()?;

    let mut times = Times { hit: Vec::new(), select: Vec::new(), get: Vec::new() };
    // The first tenth is for warming up.
    for round in 0..count + count / 10 {
        let start = Instant::now();
        client.query(&search, &[&vector])?;
        let hit = start.elapsed();
        client.query(&select, &[&vector])?;
        let selected = start.elapsed();
        let bytes: Vec<u8> = get.query(&mut redis)?;
        let got = start.elapsed();
        if bytes.is_empty() {
            return Err("the entry is gone".into());
        }
        if round >= count / 10 {
            times.hit.push(hit.as_secs_f64() * 1e6);
            times.select.push((selected - hit).as_secs_f64() * 1e6);
            times.get.push((got - selected).as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}

fn p50(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
