//! Measures hits from shared memory: over a SELECT of a constant row, over a cache kept by hand in an unlogged table, over the engine itself,
//! and of many clients at once. The vector goes as the engine's own type, in binary.
#![expect(clippy::indexing_slicing, reason = "the numbers are those of the arrays")]

use crate::{Result, Target, percentile};
use postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use postgres::{Client, Statement};
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A value in the type's own binary form.
#[derive(Debug)]
struct Binary(Vec<u8>);

impl ToSql for Binary {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Vectors that are searched for.
const VECTORS: usize = 20;
const CLIENTS: usize = 8;

/// What is asked, of a client's own.
struct Ways {
    client: Client,
    hit: Statement,
    select: Statement,
    table: Statement,
    engine: Statement,
    text: Statement,
    input: Statement,
}

impl Ways {
    /// `kind` is the type of the column.
    fn new(target: &Target, kind: &str) -> Result<Self> {
        let mut client = target.connect()?;
        client.batch_execute(
            "CREATE UNLOGGED TABLE IF NOT EXISTS by_hand
            (key int8, rank int4, id text, distance float8, payload jsonb, PRIMARY KEY (key, rank))",
        )?;
        let mut prepare = |text: &str| client.prepare(&text.replace("{kind}", kind));
        Ok(Self {
            hit: prepare("SELECT id, distance, payload FROM vcache_search('shared', $1::{kind}, 10)")?,
            select: prepare("SELECT '1'::text, 0.5::float8, '{}'::jsonb WHERE $1::{kind} IS NOT NULL")?,
            table: prepare("SELECT id, distance, payload FROM by_hand WHERE key = $1 ORDER BY rank")?,
            engine: prepare(
                "SELECT id::text, (embedding <=> $1::{kind})::float8 AS distance, jsonb_build_object('note', note) \
                 FROM docs ORDER BY embedding <=> $1::{kind} LIMIT 10",
            )?,
            text: prepare("SELECT id, distance, payload FROM vcache_search('shared', $1::text, 10)")?,
            input: prepare("SELECT $1::text::{kind} IS NOT NULL")?,
            client,
        })
    }
}

/// Asks all in turn, `count` times.
pub fn measure(target: &Target, kind: &str, count: usize) -> Result<Value> {
    let mut ways = Ways::new(target, kind)?;
    let vectors = target.vectors(VECTORS);
    let mut texts = Vec::new();
    for vector in &vectors {
        texts.push(format!("[{}]", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(",")));
    }
    let binary = texts.iter().map(|text| binary(&mut ways.client, kind, text)).collect::<Result<Vec<_>>>()?;
    fill_table(&mut ways, &binary)?;
    let mut times: [Vec<f64>; 6] = Default::default();
    for round in 0..count + count / 10 {
        let (vector, text, key) = (&binary[round % VECTORS], &texts[round % VECTORS], (round % VECTORS) as i64);
        // The engine takes much longer, and its times vary less.
        let is_long = round % 10 == 0;
        let Ways { client, hit, select, table, engine, text: by_text, input } = &mut ways;
        let asked: [(&Statement, &(dyn ToSql + Sync)); 6] =
            [(hit, vector), (select, vector), (table, &key), (by_text, text), (input, text), (engine, vector)];
        let first = round % 5;
        for i in (0..5).map(|i| (i + first) % 5).chain(is_long.then_some(5)) {
            let (statement, parameter) = asked[i];
            let start = Instant::now();
            let rows = client.query(statement, &[parameter])?;
            let took = start.elapsed().as_secs_f64() * 1e6;
            if rows.len() != [10, 1, 10, 10, 1, 10][i] {
                return Err(format!("way {i} gave {} rows", rows.len()).into());
            }
            if round >= count / 10 {
                times[i].push(took);
            }
        }
    }
    let [hit, select, table, text, input, engine] = times.map(|mut times| percentile(&mut times, 0.5));
    let is_hit = "SELECT misses FROM vcache_stats WHERE namespace = 'shared'";
    let misses: i64 = ways.client.query_one(is_hit, &[])?.get(0);
    Ok(json!({
        "dimensions": target.dimensions,
        "kind": kind,
        "misses": misses,
        "hit_p50_us": hit,
        "select_p50_us": select,
        "table_p50_us": table,
        "engine_p50_us": engine,
        "text_p50_us": text,
        "input_p50_us": input,
        "shared_hit_vs_select1": hit / select,
        "shared_hit_vs_table_cache": hit / table,
        "shared_hit_vs_engine": engine / hit,
        "text_vector_vs_input": text / input,
    }))
}

/// A vector as the type sends it.
fn binary(client: &mut Client, kind: &str, text: &str) -> Result<Binary> {
    Ok(Binary(client.query_one(&format!("SELECT {kind}_send($1::text::{kind})"), &[&text])?.get(0)))
}

/// The cache that is kept by hand: the same rows of as many searches, among those of others.
fn fill_table(ways: &mut Ways, vectors: &[Binary]) -> Result<()> {
    ways.client.batch_execute("TRUNCATE by_hand")?;
    for (key, vector) in vectors.iter().enumerate() {
        let rows = ways.client.query(&ways.hit, &[vector])?;
        for (rank, row) in rows.iter().enumerate() {
            let (id, distance): (String, f64) = (row.get(0), row.get(1));
            ways.client.execute(
                "INSERT INTO by_hand SELECT $1, $2, $3, $4, jsonb_build_object('note', note) FROM docs WHERE id = $3::text::int8",
                &[&(key as i64), &(rank as i32), &id, &distance],
            )?;
        }
    }
    for statement in [
        "INSERT INTO by_hand SELECT key + 1000 * n, rank, id, distance, payload FROM by_hand, generate_series(1, 200) copy (n)",
        "VACUUM ANALYZE by_hand",
        "SELECT vcache_stats_reset()",
    ] {
        ways.client.batch_execute(statement)?;
    }
    Ok(())
}

/// A miss, which stores in both tiers, over the plain query: vectors that nobody has asked for, in turn.
pub fn misses(target: &Target, kind: &str, count: usize) -> Result<Value> {
    let mut ways = Ways::new(target, kind)?;
    let mut times: [Vec<f64>; 2] = Default::default();
    for round in 0..count + count / 10 {
        // Far from those of the other measurements.
        let element = |i: usize| ((i * 7919 + round * 15_485_863 + 7) % 99_991) as f32 / 99_991.0 - 0.5;
        let text =
            format!("[{}]", (0..target.dimensions).map(|i| element(i).to_string()).collect::<Vec<_>>().join(","));
        let vector = binary(&mut ways.client, kind, &text)?;
        let asked = [&ways.engine, &ways.hit];
        for i in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let start = Instant::now();
            ways.client.query(asked[i], &[&vector])?;
            let took = start.elapsed().as_secs_f64() * 1e6;
            if round >= count / 10 {
                times[i].push(took);
            }
        }
    }
    let [engine, miss] = times.map(|mut times| percentile(&mut times, 0.5));
    Ok(json!({ "engine_p50_us": engine, "miss_p50_us": miss, "miss_vs_engine": miss / engine }))
}

/// Throughput of eight clients over that of one, for hits and for the SELECT of a constant row, in turn.
pub fn scaling(target: &Target, kind: &str, rounds: usize, seconds: f64) -> Result<Value> {
    let mut clients = (0..CLIENTS).map(|_| Ways::new(target, kind)).collect::<Result<Vec<_>>>()?;
    let text = format!("[{}]", target.vectors(1)[0].iter().map(f32::to_string).collect::<Vec<_>>().join(","));
    let vector = binary(&mut clients[0].client, kind, &text)?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        for (i, (many, is_hit)) in [(1, true), (CLIENTS, true), (1, false), (CLIENTS, false)].into_iter().enumerate() {
            rates[i].push(rate(&mut clients[..many], is_hit, &vector, Duration::from_secs_f64(seconds))?);
        }
    }
    let [hit_one, hit_many, select_one, select_many] = rates.map(|mut rates| percentile(&mut rates, 0.5));
    Ok(json!({
        "clients": CLIENTS,
        "hits_per_second_of_one": hit_one,
        "hits_per_second": hit_many,
        "selects_per_second_of_one": select_one,
        "selects_per_second": select_many,
        "shared_hit_scaling": (hit_many / hit_one) / (select_many / select_one),
    }))
}

fn rate(clients: &mut [Ways], is_hit: bool, vector: &Binary, duration: Duration) -> Result<f64> {
    let start = Barrier::new(clients.len());
    let run = |ways: &mut Ways| -> Result<usize> {
        let statement = if is_hit { &ways.hit } else { &ways.select };
        start.wait();
        let (end, mut count) = (Instant::now() + duration, 0);
        while Instant::now() < end {
            ways.client.query(statement, &[vector])?;
            count += 1;
        }
        Ok(count)
    };
    let run = &run;
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = clients.iter_mut().map(|ways| scope.spawn(move || run(ways))).collect();
        let join =
            |thread: thread::ScopedJoinHandle<'_, Result<usize>>| thread.join().map_err(|_| "a thread has panicked")?;
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    Ok(counts.iter().sum::<usize>() as f64 / duration.as_secs_f64())
}
