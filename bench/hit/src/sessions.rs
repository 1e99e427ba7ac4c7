//! Measures many sessions that search at the same time, as fast as they can: how many searches, how many fail, what the backends take
//! of memory, and how many connections Redis has.

use crate::{Result, SEARCH, Target, connection_to_redis, fill, percentile};
use postgres::Client;
use serde_json::{Value, json};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const VECTORS: usize = 20;
/// Enough for a client; the default would be 2 MB for each of many.
const STACK: usize = 256 * 1024;

/// Lets this many sessions search for hits for this many seconds.
pub fn measure(target: &Target, redis: &str, sessions: usize, seconds: f64) -> Result<Value> {
    let vectors = target.vectors(VECTORS);
    fill(&mut target.connect()?, &vectors)?;
    let (mut clients, mut backends) = (Vec::new(), Vec::new());
    for _ in 0..sessions {
        let mut client = target.connect()?;
        backends.push(client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0));
        clients.push(client);
    }
    let before = private_kb(&backends);
    // Their first searches, with a connection to Redis each, are not what is measured.
    for (client, vector) in clients.iter_mut().zip(vectors.iter().cycle()) {
        client.query(SEARCH, &[vector])?;
    }
    let (start, begun, duration) = (Barrier::new(sessions + 1), OnceLock::new(), Duration::from_secs_f64(seconds));
    let (mut times, mut failed, mut took) = (Vec::new(), 0, Duration::ZERO);
    let mut clients = thread::scope(|scope| {
        let run = |mut client: Client| {
            let (start, begun, vectors) = (&start, &begun, &vectors);
            let run = move || {
                let begin = || {
                    start.wait();
                    *begun.get_or_init(Instant::now) + duration
                };
                let searched = search(&mut client, vectors, begin);
                (client, searched)
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run)
        };
        let threads = clients.drain(..).map(run).collect::<std::io::Result<Vec<_>>>()?;
        start.wait();
        let begun = *begun.get_or_init(Instant::now);
        let mut clients = Vec::with_capacity(sessions);
        for thread in threads {
            let (client, searched) = thread.join().map_err(|_| "a thread of a session has panicked")?;
            match searched {
                Ok(searched) => times.extend(searched),
                Err(error) => {
                    eprintln!("{error}");
                    failed += 1;
                }
            }
            clients.push(client);
        }
        took = begun.elapsed();
        Result::Ok(clients)
    })?;
    let (searches, median) = (times.len(), percentile(&mut times, 0.5));
    let measured = json!({
        "sessions": sessions,
        "searches": searches,
        "sessions_that_failed": failed,
        "per_second": searches as f64 / took.as_secs_f64(),
        "p50_ms": median,
        "p99_ms": percentile(&mut times, 0.99),
        "redis_connections": redis_connections(redis)?,
        "private_kb_connected": before,
        "private_kb_searched": private_kb(&backends),
    });
    clients.clear();
    Ok(measured)
}

/// How long each search took, in milliseconds. `begin` waits for the others and says when to end.
fn search(client: &mut Client, vectors: &[Vec<f32>], begin: impl FnOnce() -> Instant) -> Result<Vec<f64>> {
    let prepared = client.prepare(SEARCH);
    let end = begin();
    let (prepared, mut times) = (prepared?, Vec::new());
    for vector in vectors.iter().cycle() {
        let start = Instant::now();
        if start >= end {
            break;
        }
        client.query(&prepared, &[vector])?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Its clients but for the one that asks.
fn redis_connections(socket: &str) -> Result<usize> {
    let clients: String = redis::cmd("INFO").arg("clients").query(&mut connection_to_redis(socket)?)?;
    let count = clients.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    Ok(count.ok_or("INFO without connected_clients")?.trim().parse::<usize>()? - 1)
}

/// What a process has of memory that it shares with none, the average in kB; NaN, which is null in JSON, where the system does not tell.
fn private_kb(processes: &[i32]) -> f64 {
    let of = |process: &i32| -> Option<f64> {
        let memory = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let private = memory.lines().filter(|line| line.starts_with("Private_"));
        private.map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
    };
    let known: Vec<f64> = processes.iter().filter_map(of).collect();
    known.iter().sum::<f64>() / known.len() as f64
}
