//! The matrix of who may see what: roles, privileges, states of row-level security, tiers, filters, and what changes between two
//! askings. Each cell compares vcache_search with the plain query, run as the same role in the same session: the same rows, or the same error.
//!
//! A cell that fails tells its name: `VCACHE_CELL='…' make test T=matrix` runs it alone, and any part of a name the cells that have it.
//! The test that is ignored needs a vcache with a planted fault, and shows that the matrix finds it: `make deep` runs it.

mod actors;
mod cells;
mod changes;
mod run;
mod scene;
mod states;
mod tally;

use std::io::Write;
use std::time::Instant;

use harness::{Redis, SHARED_MEMORY, Stand};

use crate::cells::Tier;
use crate::run::Run;
use crate::tally::Tally;

/// Runs the cells of a tier, and tells; the differences that were found.
fn differences(tier: Tier) -> (Tally, Vec<String>) {
    let redis = (tier == Tier::Redis).then(Redis::start);
    let setup = Stand::setup(&redis.as_ref().map(Redis::url).unwrap_or_default()).set("max_connections", "200");
    let setup = if tier == Tier::Shared { setup.set("vcache.shared_memory_size", SHARED_MEMORY) } else { setup };
    let server = setup.start();
    let database = server.database();
    let start = Instant::now();
    let mut run = Run::new(tier, &database, std::env::var("VCACHE_CELL").ok());
    let wrong = run.all().to_vec();
    let tally = std::mem::take(&mut run.tally);
    let (name, seconds) = (tier.name(), start.elapsed().as_secs_f64());
    let found = if wrong.is_empty() { "no difference".to_owned() } else { format!("{} DIFFERENCES", wrong.len()) };
    let _ = writeln!(
        std::io::stderr(),
        "matrix: {name}, {seconds:.1} s: {found} in {} cells\n{}",
        tally.cells,
        tally.told()
    );
    (tally, wrong)
}

/// Runs the cells of a tier, none of which may differ.
#[track_caller]
fn matrix(tier: Tier) -> Option<Tally> {
    let (tally, wrong) = differences(tier);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    std::env::var_os("VCACHE_CELL").is_none().then_some(tally)
}

/// So many cells, and so many hits in them, with each kind of freshness, that something is shown.
#[track_caller]
fn assert_enough(tally: &Tally) {
    assert!(tally.cells >= 2000, "{} cells", tally.cells);
    for (name, line) in &tally.by_namespace {
        assert!(line.counts.hits >= 500, "{name}: {line:?}");
        assert!(line.refused >= 50, "{name}: {line:?}");
    }
    let [undeclared, declared] = &tally.by_setting;
    if declared.comparisons > 0 {
        // Beside those of the roles above row-level security, which both have.
        assert!(declared.counts.hits >= 2 * undeclared.counts.hits, "{declared:?}, {undeclared:?}");
    }
}

#[test]
fn a_hit_in_shared_memory_shows_what_its_caller_could_have_read() {
    if let Some(tally) = matrix(Tier::Shared) {
        assert_enough(&tally);
    }
}

#[test]
fn a_hit_in_redis_shows_what_its_caller_could_have_read() {
    if let Some(tally) = matrix(Tier::Redis) {
        assert_enough(&tally);
    }
}

#[test]
fn a_search_without_a_cache_shows_what_its_caller_could_have_read() {
    if let Some(tally) = matrix(Tier::None) {
        assert_eq!(tally.all.counts.hits, 0);
        assert!(tally.all.counts.misses >= 500);
    }
}

/// With a vcache that was built with this feature.
#[test]
#[ignore = "needs a vcache with a planted fault: make deep"]
fn a_planted_fault_is_found() {
    let fault = std::env::var("VCACHE_FAULT").expect("VCACHE_FAULT");
    let (_, wrong) = differences(Tier::Shared);
    let first = wrong.first().unwrap_or_else(|| panic!("{fault} was not found"));
    let _ = writeln!(std::io::stderr(), "matrix: {fault} found: {first}");
}
