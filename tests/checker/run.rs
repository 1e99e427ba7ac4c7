//! Owns a run: connections that work at the same time, how long, and what came of it.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Generator, PATIENCE, Postgres};

use crate::actor::{Actor, Trouble};
use crate::history::{History, told};
use crate::scene::Scene;
use crate::script::{Role, Script};

/// How long a connection rests at most.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// One connection: what it is for, how far its choices have come, what it has done.
struct Part<'server> {
    server: &'server Postgres,
    role: Role,
    generator: Generator,
    history: History,
}

/// All connections to one database, which may run more than once.
pub struct Cast<'server> {
    scene: &'server Scene,
    database: String,
    generator: Generator,
    clock: Instant,
    parts: Vec<Part<'server>>,
    /// How many searches have been compared.
    pub compared: u64,
    /// How many of them could not agree, because the source changed its definition meanwhile.
    pub changing: u64,
}

/// How long a run goes on: at least so long, and until so many searches have been compared.
#[derive(Clone, Copy)]
pub struct Length {
    pub time: Duration,
    pub comparisons: u64,
}

impl<'server> Cast<'server> {
    /// Nobody yet. All choices come from the generator.
    pub fn new(scene: &'server Scene, database: &str, generator: Generator) -> Self {
        Self {
            scene,
            database: database.to_owned(),
            generator,
            clock: Instant::now(),
            parts: Vec::new(),
            compared: 0,
            changing: 0,
        }
    }

    /// Adds connections to a server.
    pub fn add(&mut self, server: &'server Postgres, role: Role, count: usize) {
        for _ in 0..count {
            let name = format!("{role:?} {}", self.parts.len()).to_lowercase();
            let generator = Generator::new(self.generator.bits());
            self.parts.push(Part { server, role, generator, history: History::new(name, self.clock) });
        }
    }

    /// Lets all work at the same time. `meanwhile` is called again and again; when it breaks, the run ends, and it is no failure
    /// if that cut the connections off.
    ///
    /// # Errors
    /// What must not have happened, with the history.
    pub fn run(&mut self, length: Length, meanwhile: impl FnMut() -> ControlFlow<()>) -> Result<(), String> {
        let (scene, database) = (self.scene, self.database.as_str());
        let shared = Shared::default();
        std::thread::scope(|scope| {
            for part in &mut self.parts {
                let shared = &shared;
                scope.spawn(move || part.work(scene, database, shared));
            }
            shared.direct(length, meanwhile);
        });
        self.compared += shared.compared.load(Ordering::Relaxed);
        self.changing += shared.changing.load(Ordering::Relaxed);
        self.verdict(shared.wrong.into_inner().expect("verdict"))
    }

    /// One connection by itself, which is told what to do; it belongs to the history.
    ///
    /// # Errors
    /// As those of a run.
    pub fn alone(
        &mut self,
        server: &'server Postgres,
        work: impl FnOnce(&mut Actor, &mut Script) -> Result<(), Trouble>,
    ) -> Result<(), String> {
        let number = self.parts.iter().position(|part| part.role == Role::Soloist).unwrap_or_else(|| {
            self.add(server, Role::Soloist, 1);
            self.parts.len() - 1
        });
        let part = &mut self.parts[number];
        let mut actor = Actor::connect(server, &self.database, self.scene, part.role, part.history.clone());
        let generator = std::mem::replace(&mut part.generator, Generator::new(0));
        let mut script = Script { role: part.role, generator };
        let done = work(&mut actor, &mut script);
        part.generator = script.generator;
        self.compared += actor.compared;
        self.changing += actor.changing;
        self.verdict(match done {
            Ok(()) | Err(Trouble::Failed) => None,
            Err(Trouble::Wrong(what)) => Some(what),
            Err(Trouble::Gone) => Some(format!("cut off:\n{}", server.last_of_log())),
        })
    }

    fn verdict(&self, wrong: Option<String>) -> Result<(), String> {
        let histories: Vec<&History> = self.parts.iter().map(|part| &part.history).collect();
        wrong.map_or(Ok(()), |wrong| Err(format!("{wrong}\nWhat went before:\n{}", told(&histories))))
    }
}

impl<'server> Part<'server> {
    fn work(&mut self, scene: &'server Scene, database: &str, shared: &Shared) {
        if self.role == Role::Soloist {
            return;
        }
        let connect = |history: &History| Actor::connect(self.server, database, scene, self.role, history.clone());
        let mut actor = connect(&self.history);
        let generator = std::mem::replace(&mut self.generator, Generator::new(0));
        let mut script = Script { role: self.role, generator };
        while !shared.is_over() {
            let done = actor.work(&script.next());
            shared.compared.fetch_add(std::mem::take(&mut actor.compared), Ordering::Relaxed);
            shared.changing.fetch_add(std::mem::take(&mut actor.changing), Ordering::Relaxed);
            match done {
                Ok(()) => shared.rest(script.rest()),
                Err(Trouble::Wrong(what)) => shared.fail(what),
                // A standby ends sessions whose transactions stand in the way of what it replays.
                Err(_) if self.role == Role::Onlooker && !shared.is_over() => actor = connect(&self.history),
                Err(_) => shared.cut_off(|| format!("{:?} was cut off:\n{}", self.role, self.server.last_of_log())),
            }
        }
        self.generator = script.generator;
    }
}

/// What the connections of a run have in common.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    /// Connections may be cut off: the one who directs does it.
    cutting: AtomicBool,
    compared: AtomicU64,
    changing: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Shared {
    fn direct(&self, length: Length, mut meanwhile: impl FnMut() -> ControlFlow<()>) {
        let start = Instant::now();
        while !self.is_over() {
            let (elapsed, made) = (start.elapsed(), self.compared.load(Ordering::Relaxed));
            if elapsed >= length.time && made >= length.comparisons {
                break;
            }
            if elapsed > length.time + 10 * PATIENCE {
                self.fail(format!("only {made} comparisons in {elapsed:?}"));
            }
            self.cutting.store(true, Ordering::SeqCst);
            if meanwhile().is_break() {
                break;
            }
            self.cutting.store(false, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
        self.over.store(true, Ordering::SeqCst);
    }

    /// Waits until so many comparisons have been made, or none are for a while: those who make them may wait for a lock.
    fn rest(&self, comparisons: u64) {
        let (until, start) = (self.compared.load(Ordering::Relaxed) + comparisons, Instant::now());
        while self.compared.load(Ordering::Relaxed) < until && start.elapsed() < LONGEST_REST && !self.is_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn fail(&self, what: String) {
        self.wrong.lock().expect("verdict").get_or_insert(what);
        self.over.store(true, Ordering::SeqCst);
    }

    fn cut_off(&self, what: impl FnOnce() -> String) {
        if !self.cutting.load(Ordering::SeqCst) {
            self.fail(what());
        }
        self.over.store(true, Ordering::SeqCst);
    }
}
