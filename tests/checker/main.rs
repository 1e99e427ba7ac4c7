//! The checker of `freshness = 'exact'`: many connections write at random, with every kind of statement and in every kind of
//! transaction, while others compare vcache_search with the plain query in the same snapshot. There is no approximate index.
//!
//! `VCACHE_SEED` gives the choice of another run again (what the connections do at the same time is the machine's choice);
//! `VCACHE_CHECK_SECONDS` is how long each of the tests goes on at least (the default is short), as `make deep` says it.
//! The tests that are ignored need a vcache with a planted fault, and show that the checker finds it: `make deep` runs them.

mod actor;
mod ddl;
mod history;
mod run;
mod scene;
mod script;
mod standby;
mod stops;
mod writes;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::{Database, Engine, Generator, Postgres, Session, Stand};

use crate::run::{Cast, Length};
use crate::scene::{NAMESPACES, QUERIES, Scene};
use crate::script::Role;

/// What `make test` compares at least, in the run on one server: fewer with the second engine, which takes no part in what makes a hit.
fn comparisons() -> u64 {
    match Engine::under_test() {
        Engine::RuVector => 100_000,
        Engine::Pgvector => 40_000,
    }
}

/// A test as it is told of, and the seed of its choices.
struct Stage {
    name: &'static str,
    seed: u64,
    generator: Generator,
    start: Instant,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        let drawn = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64 % 1_000_000_000;
        let seed = std::env::var("VCACHE_SEED").map_or_else(|_| drawn(), |text| text.parse().expect("VCACHE_SEED"));
        let stage = Self { name, seed, generator: Generator::new(seed), start: Instant::now() };
        stage.say("begins");
        stage
    }

    /// How long it goes on at least.
    fn time(&self, default: u64) -> Duration {
        let seconds = std::env::var("VCACHE_CHECK_SECONDS").map(|text| text.parse().expect("VCACHE_CHECK_SECONDS"));
        Duration::from_secs(seconds.unwrap_or(default))
    }

    fn scene(&self, freshness: &'static str) -> Scene {
        Scene::new(self.seed, freshness)
    }

    /// A generator of its own for a part of the test.
    fn fork(&mut self) -> Generator {
        Generator::new(self.generator.bits())
    }

    /// A line that is read even when the test passes.
    fn say(&self, what: &str) {
        let (name, seed, elapsed) = (self.name, self.seed, self.start.elapsed().as_secs_f64());
        let _ = writeln!(std::io::stderr(), "checker: {name}, VCACHE_SEED={seed}, {elapsed:.1} s: {what}");
    }

    /// Tells the figures, and panics if something went wrong.
    fn conclude(&self, figures: &Figures, result: Result<(), String>) {
        let Figures { compared, changing, counted, lost } = figures;
        let Counted { lookups, hits, shared_hits, others } = counted;
        let percent = 100.0 * *hits as f64 / (*lookups).max(1) as f64;
        let found = if result.is_ok() { "no difference" } else { "FAILED" };
        let lost = if *lost > 0 { format!(", {lost} commits lost") } else { String::new() };
        self.say(&format!(
            "{found} in {compared} comparisons, {changing} amid changes; {lookups} searches, {percent:.1} % hits, {shared_hits} of {hits} from shared memory ({others:?}){lost}"
        ));
        if let Err(wrong) = result {
            panic!("VCACHE_SEED={}\n{wrong}", self.seed);
        }
    }
}

/// What a test has done.
#[derive(Default)]
struct Figures {
    compared: u64,
    changing: u64,
    counted: Counted,
    /// Commits that a stop has lost, of those that were counted.
    lost: i64,
}

impl Figures {
    /// Once for each cast.
    fn take(&mut self, cast: &Cast) {
        self.compared += cast.compared;
        self.changing += cast.changing;
    }

    fn add(&mut self, counted: Counted) {
        self.counted.lookups += counted.lookups;
        self.counted.hits += counted.hits;
        self.counted.shared_hits += counted.shared_hits;
        for (name, count) in counted.others {
            *self.counted.others.entry(name).or_default() += count;
        }
    }
}

/// What a server's vcache has counted: searches and how they ended.
#[derive(Clone, Default, Debug)]
struct Counted {
    lookups: i64,
    hits: i64,
    /// Those from tier 1; the others are from Redis.
    shared_hits: i64,
    /// Misses and bypasses by their reasons.
    others: BTreeMap<String, i64>,
}

impl Counted {
    fn of(session: &mut Session) -> Self {
        let mut counts: BTreeMap<String, i64> = session
            .rows("SELECT key, value FROM vcache_stats_total t, jsonb_each_text(to_jsonb(t)) WHERE value ~ '^[0-9]+$'")
            .into_iter()
            .map(|row| {
                (row[0].clone().expect("a name"), row[1].as_deref().expect("a count").parse().expect("a number"))
            })
            .collect();
        let mut sum = |name: &str| counts.remove(name).expect("a sum");
        let (lookups, misses, bypasses) = (sum("lookups"), sum("misses"), sum("bypasses"));
        let (shared_hits, redis_hits) = (sum("shared_hits"), sum("redis_hits"));
        let hits = shared_hits + redis_hits;
        assert_eq!(lookups, hits + misses + bypasses, "the identity of what is counted");
        counts.retain(|name, count| *count > 0 && (name.starts_with("misses_") || name.starts_with("bypasses_")));
        Self { lookups, hits, shared_hits, others: counts }
    }
}

/// Shared memory for some of the entries: the others are found in Redis.
const SHARED_MEMORY: &str = "64kB";

/// A server with Redis that can prepare transactions, and asks nobody to wait long for a deadlock.
fn stand(settings: &[(&str, &str)]) -> Stand {
    Stand::start_with(|setup| {
        let setup =
            setup.set("max_prepared_transactions", "20").set("deadlock_timeout", "50ms").set("autovacuum", "on");
        let setup = setup.set("autovacuum_naptime", "1s").set("vcache.shared_memory_size", SHARED_MEMORY);
        settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value))
    })
}

/// The connections of a run on one server.
fn cast<'server>(
    stage: &mut Stage,
    scene: &'server Scene,
    server: &'server Postgres,
    database: &Database,
) -> Cast<'server> {
    scene.create(&mut database.session(), &mut stage.fork());
    let mut cast = Cast::new(scene, database.name(), stage.fork());
    cast.add(server, Role::Writer, 4);
    cast.add(server, Role::Reader, 4);
    cast.add(server, Role::Administrator, 1);
    cast
}

/// Once nothing is written any more: every search, with what has been left in the tiers, and twice without; the second time from a tier.
fn settle(server: &Postgres, database: &str, scene: &Scene) {
    let mut session = server.connect("postgres", database);
    finish_prepared(&mut session);
    ddl::mend(&mut session);
    let all: Vec<usize> = (0..QUERIES).collect();
    let mut counted = Vec::new();
    for times in 0..3 {
        if times == 1 {
            // A reader of an older snapshot may have stored in the one tier what it left alone in the other.
            session.run("SELECT vcache_flush()");
        }
        counted.push(Counted::of(&mut session));
        for namespace in &NAMESPACES {
            let differences = session.rows(&scene.comparison(namespace, &all, 10, true));
            assert!(differences.is_empty(), "{differences:#?}");
        }
    }
    let (before, after) = (&counted[2], Counted::of(&mut session));
    assert_eq!(after.hits - before.hits, after.lookups - before.lookups, "hits come back: {before:?} {after:?}");
}

/// Ends what a crash has left prepared.
fn finish_prepared(session: &mut Session) {
    for (number, name) in session.column("SELECT gid FROM pg_prepared_xacts").into_iter().enumerate() {
        let end = if number % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        session.run(&format!("{end} PREPARED '{name}'"));
    }
}

#[test]
fn a_search_answers_as_the_plain_query_does() {
    let mut stage = Stage::new("one server");
    let stand = stand(&[]);
    let database = stand.database();
    let scene = stage.scene("exact");
    let mut cast = cast(&mut stage, &scene, &stand.server, &database);
    let length = Length { time: stage.time(10), comparisons: comparisons() };
    let result = cast.run(length, || ControlFlow::Continue(()));
    let mut figures = Figures { counted: Counted::of(&mut database.session()), ..Figures::default() };
    figures.take(&cast);
    stage.conclude(&figures, result);
    let Counted { lookups, hits, shared_hits, .. } = figures.counted;
    assert!(hits * 100 >= lookups * 30, "at least 30 % hits");
    assert!(shared_hits * 10 >= hits && (hits - shared_hits) * 100 >= hits, "hits from both tiers");
    settle(&stand.server, database.name(), &scene);
}

/// The cheapest of faults: that nothing makes an entry stale.
#[test]
fn an_answer_that_is_as_old_as_its_ttl_is_found_out() {
    let mut stage = Stage::new("ttl");
    let stand = stand(&[]);
    let database = stand.database();
    let scene = stage.scene("ttl");
    let mut cast = cast(&mut stage, &scene, &stand.server, &database);
    let length = Length { time: Duration::from_secs(60), comparisons: comparisons() };
    let wrong = cast.run(length, || ControlFlow::Continue(())).expect_err("a difference");
    stage.say(&format!("found after {} comparisons", cast.compared));
    assert!(wrong.contains("found"), "{wrong}");
}

/// With a vcache that was built with this feature.
#[test]
#[ignore = "needs a vcache with a planted fault: make deep"]
fn a_planted_fault_is_found() {
    let fault = std::env::var("VCACHE_FAULT").expect("VCACHE_FAULT");
    let mut stage = Stage::new("planted fault");
    let time = stage.time(120);
    let wrong = if fault == "counter" {
        stops::crashes(&mut stage, time).1.expect_err("a difference")
    } else {
        let stand = stand(&[]);
        let database = stand.database();
        let scene = stage.scene("exact");
        let mut cast = cast(&mut stage, &scene, &stand.server, &database);
        let length = Length { time, comparisons: 0 };
        cast.run(length, || ControlFlow::Continue(())).expect_err("a difference")
    };
    stage.say(&format!("{fault} found: {}", wrong.lines().next().unwrap_or_default()));
    assert!(wrong.contains("found"), "{wrong}");
}
