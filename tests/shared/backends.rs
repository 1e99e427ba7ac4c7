//! Backends that end in the middle of it, by a signal from PostgreSQL or from the kernel: nothing of them is left, and nobody is answered wrong.
//!
//! `VCACHE_ENDS` says how many cancels and terminations there are, however long it takes, as `make deep` has it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Database, Failure, Generator, PATIENCE, Postgres, Session, Stand, VECTOR, until};

use crate::scene::{COMPUTING, without_redis};

/// How long they are ended in a short run.
const LONGEST: Duration = Duration::from_secs(40);
/// How many sessions search.
const SESSIONS: usize = 8;
/// What they search for.
const VECTORS: u64 = 12;

/// What sessions under load have in common.
struct Load<'server> {
    server: &'server Postgres,
    database: &'server str,
    over: AtomicBool,
    /// The processes of those that are at work; 0 for none.
    processes: Vec<AtomicU64>,
    /// Searches that were compared, and statements that were ended.
    compared: AtomicU64,
    ended: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

/// A row for each search whose answer is not that of the plain query in the same snapshot. Its distances are whole numbers, none twice.
fn comparison(vector: &str) -> String {
    format!(
        "SELECT f.rows, p.rows FROM (SELECT array_agg(id || ' ' || (payload ->> 'n')) AS rows FROM vcache_search('docs', '{vector}', 10)) f, \
         (SELECT array_agg(id || ' ' || n) AS rows FROM (SELECT id, n FROM docs ORDER BY embedding <-> '{vector}'::{VECTOR}, id LIMIT 10) o) p \
         WHERE f.rows IS DISTINCT FROM p.rows"
    )
}

/// A table of so many rows on a line, registered as `docs`.
fn prepare(database: &Database, rows: usize) -> Session {
    let mut session = database.session();
    session.run(&format!(
        "CREATE TABLE docs (id int PRIMARY KEY, n int, embedding {VECTOR}(3)); \
         INSERT INTO docs SELECT n, 0, format('[%s,0,0]', 3 * n)::{VECTOR} FROM generate_series(1, {rows}) n; \
         SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{{n}}')"
    ));
    session
}

impl<'server> Load<'server> {
    fn new(server: &'server Postgres, database: &'server str) -> Self {
        Self {
            server,
            database,
            over: AtomicBool::new(false),
            processes: (0..SESSIONS).map(|_| AtomicU64::new(0)).collect(),
            compared: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            wrong: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Searches and compares until all is over, connecting again when it must. `may_fail`: as these do.
    fn search(&self, number: usize, may_fail: impl Fn(&Failure) -> bool) {
        let mut generator = Generator::new(number as u64);
        while !self.is_over() {
            let Some(mut session) = self.server.try_connect("postgres", self.database) else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            // With the engine's library loaded: RuVector does not take it when that is cancelled.
            let sql = format!("SELECT pg_backend_pid() FROM docs WHERE embedding <-> '[0,0,0]'::{VECTOR} < 4 LIMIT 1");
            let Ok(rows) = session.try_rows(&sql) else { continue };
            let pid = rows[0][0].as_deref().expect("a process").parse().expect("a number");
            self.processes[number].store(pid, Ordering::SeqCst);
            while !self.is_over() {
                let vector = format!("[{}.25,0,0]", 20 + generator.below(VECTORS) * 9);
                let statement = match generator.below(40) {
                    0 => format!("UPDATE docs SET n = n + 1 WHERE id = {}", 1 + generator.below(40)),
                    1 => "SELECT count(*) FROM vcache_entries".to_owned(),
                    _ => comparison(&vector),
                };
                let is_comparison = statement.contains("vcache_search");
                match session.try_rows(&statement) {
                    Ok(_) if !is_comparison => {}
                    Ok(rows) if rows.is_empty() => {
                        self.compared.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(rows) => self.fail(format!("{vector}: {rows:?}")),
                    Err(failure) if may_fail(&failure) => {
                        self.ended.fetch_add(u64::from(is_comparison), Ordering::Relaxed);
                        if failure.sqlstate != "57014" {
                            break;
                        }
                    }
                    Err(failure) => self.fail(format!("{failure:?}")),
                }
            }
            self.processes[number].store(0, Ordering::SeqCst);
        }
    }

    fn fail(&self, what: String) {
        self.wrong.lock().expect("verdict").push(what);
        self.over.store(true, Ordering::SeqCst);
    }

    /// Lets all search while `meanwhile` does what it does.
    fn run(&self, may_fail: impl Fn(&Failure) -> bool + Copy + Send, meanwhile: impl FnOnce()) {
        thread::scope(|scope| {
            let searches: Vec<_> =
                (0..SESSIONS).map(|number| scope.spawn(move || self.search(number, may_fail))).collect();
            let over = OnDrop(&self.over);
            meanwhile();
            drop(over);
            // Nobody is stuck.
            let start = Instant::now();
            while !searches.iter().all(thread::ScopedJoinHandle::is_finished) {
                assert!(start.elapsed() < PATIENCE, "a session is stuck: {}", self.activity());
                thread::sleep(Duration::from_millis(10));
            }
        });
        assert_eq!(*self.wrong.lock().expect("verdict"), [""; 0]);
    }

    fn activity(&self) -> String {
        let mut session = self.server.connect("postgres", self.database);
        format!("{:?}", session.rows("SELECT pid, state, wait_event_type, wait_event, query FROM pg_stat_activity"))
    }
}

/// Ends the searches even when the test fails.
struct OnDrop<'load>(&'load AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// `vcache.max_entry_size` may have been changed since.
#[test]
fn after_a_crash_the_memory_is_divided_as_it_was_at_the_start() {
    let server = without_redis().set("vcache.shared_memory_size", "16MB").start();
    let database = server.database();
    prepare(&database, 100);
    server.reload_with("vcache.max_entry_size", "2kB");
    let mut victim = database.session();
    server.kill_backend(victim.pid());
    let load = Load::new(&server, database.name());
    load.run(
        |_| false,
        || {
            until("they search", || load.compared.load(Ordering::SeqCst) > 500 || load.is_over());
        },
    );
    let mut session = database.session();
    for number in 0..300 {
        session.search("docs", &format!("[{number}.25,1,0]"), 5);
    }
    assert!(session.number("SELECT count(*) FROM vcache_entries") > 300);
}

/// Asserts that nothing is left of the sessions, and that every search is right and then a hit.
fn assert_clean(database: &Database) {
    let mut session = database.session();
    until("no lock is left", || session.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0);
    assert_eq!(session.number(COMPUTING), 0);
    for times in 0..2 {
        let before = database.stats("docs");
        for number in 0..VECTORS {
            let differing = session.rows(&comparison(&format!("[{}.25,0,0]", 20 + number * 9)));
            assert!(differing.is_empty(), "{differing:?}");
        }
        let after = database.stats("docs");
        if times == 1 {
            assert_eq!(after.hits - before.hits, VECTORS as i64, "{before:?} {after:?}");
        }
    }
    // One entry for each vector, and no other.
    assert_eq!(session.number("SELECT count(*) FROM vcache_entries"), VECTORS as i64);
    let detail = session.value("SELECT detail FROM vcache_health() WHERE component = 'shared memory'");
    assert!(detail.starts_with(&format!("{VECTORS} entries ")), "{detail}");
}

fn cancels_and_terminations(server: &Postgres) {
    let told = std::env::var("VCACHE_ENDS").ok().map(|text| text.parse::<u64>().expect("VCACHE_ENDS"));
    let is_enough = |made: u64, start: Instant| match told {
        Some(ends) => made >= ends,
        None => made >= 5000 || start.elapsed() > LONGEST,
    };
    let mut ends = 0;
    let database = server.database();
    let mut session = prepare(&database, 3000);
    let load = Load::new(server, database.name());
    load.run(
        |failure| ["57014", "57P01", ""].contains(&failure.sqlstate.as_str()),
        || {
            let (mut generator, start) = (Generator::new(1), Instant::now());
            while !is_enough(ends, start) && !load.is_over() {
                let process = load.processes[generator.below(SESSIONS as u64) as usize].load(Ordering::SeqCst);
                let end = if generator.below(5) == 0 { "pg_terminate_backend" } else { "pg_cancel_backend" };
                if process > 0 {
                    session.run(&format!("SELECT {end}({process})"));
                    ends += 1;
                }
                thread::sleep(Duration::from_millis(generator.below(6)));
            }
        },
    );
    let (compared, ended) = (load.compared.load(Ordering::SeqCst) as i64, load.ended.load(Ordering::SeqCst) as i64);
    println!("{ends} ends, of which {ended} met a search; {compared} searches compared: {:?}", database.stats("docs"));
    assert!(ended > ends as i64 / 20 && compared > 100, "{ended} of {ends}, {compared}");
    let stats = database.stats("docs");
    stats.outcomes();
    // What was ended may have been counted before.
    assert!((compared..=compared + ended).contains(&stats.lookups), "{compared}, {ended}: {stats:?}");
    assert!(stats.engine_errors <= ended && stats.stores <= stats.misses, "{ended}: {stats:?}");
    assert!(stats.hits > 0 && stats.misses > 0, "{stats:?}");
    assert_clean(&database);
    let log = server.log();
    assert!(!log.contains("deadlock") && !log.contains("was terminated by signal"), "{}", server.last_of_log());
}

#[test]
fn random_cancels_and_terminations_under_load() {
    cancels_and_terminations(&Stand::start().server);
}

#[test]
fn random_cancels_and_terminations_under_load_with_shared_memory_alone() {
    cancels_and_terminations(&without_redis().set("vcache.shared_memory_size", "1MB").start());
}

#[test]
fn a_backend_that_is_killed_under_load() {
    let server = without_redis().start();
    let database = server.database();
    let mut session = prepare(&database, 1000);
    let started = session.value("SELECT pg_postmaster_start_time()");
    let load = Load::new(&server, database.name());
    load.run(
        // All are ended with it, or are not let in for a while.
        |failure| failure.sqlstate.is_empty() || failure.sqlstate.starts_with("57P"),
        || {
            for round in 0..3 {
                let compared = load.compared.load(Ordering::SeqCst);
                until("they search", || load.compared.load(Ordering::SeqCst) > compared + 200 || load.is_over());
                let mut process = 0;
                until("one is at work", || {
                    process = load.processes[round].load(Ordering::SeqCst);
                    process > 0
                });
                server.kill_backend(process as i64);
            }
            let compared = load.compared.load(Ordering::SeqCst);
            until("they search again", || load.compared.load(Ordering::SeqCst) > compared + 200 || load.is_over());
        },
    );
    assert_eq!(database.session().value("SELECT pg_postmaster_start_time()"), started);
    assert_clean(&database);
    // With nothing before it, too: no entry has outlived the crash.
    let pid = database.session().pid();
    drop(session);
    let mut victim = database.session();
    assert_ne!(victim.pid(), pid);
    server.kill_backend(victim.pid());
    let mut session = database.session();
    assert_eq!(session.number("SELECT count(*) FROM vcache_entries"), 0);
    assert_eq!(database.stats("docs").lookups, 0);
    assert_clean(&database);
}
