//! Owns what a connection does: transactions and statements, chosen by its own generator alone, so that a seed gives the same
//! choice again whatever the other connections do.

use std::time::Duration;

use harness::Generator;

use crate::ddl;
use crate::scene::{NAMESPACES, Namespace, QUERIES, TARGETS};
use crate::writes;

/// One thing that a connection does.
pub enum Step {
    /// A statement.
    Run(String),
    /// A comparison.
    Compare(Comparison),
    /// A comparison's cursor: one row of it is fetched before the steps, the rest after them.
    Cursor(Comparison, Vec<Step>),
    /// What the cursor shows that a trigger has opened.
    Opened,
    /// A subtransaction, kept or rolled back.
    Savepoint(Vec<Step>, bool),
    Pause(Duration),
}

/// Searches of one namespace, and what they are compared with.
pub struct Comparison {
    pub namespace: &'static Namespace,
    pub queries: Vec<usize>,
    pub top_k: usize,
    pub way: Way,
}

/// How a comparison is made.
pub enum Way {
    /// In one statement.
    Together,
    /// In one statement that the session has prepared.
    Prepared,
    /// In one statement that also writes.
    Beside(String),
    /// In two statements, the search first or second: for transactions with one snapshot.
    Apart { search_first: bool },
    /// In one statement inside a function of this volatility.
    InFunction(&'static str),
}

/// What a connection does between two moments without a transaction.
pub enum Work {
    /// Each step is a transaction of its own, and whether it fails is its own affair.
    Alone(Vec<Step>),
    Transaction {
        isolation: Isolation,
        steps: Vec<Step>,
        end: End,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// How a transaction ends, unless something fails.
pub enum End {
    Commit,
    Rollback,
    /// PREPARE TRANSACTION; then the work; then COMMIT PREPARED, or ROLLBACK PREPARED.
    Prepare {
        commit: bool,
        meanwhile: Vec<Work>,
    },
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Mostly writes.
    Writer,
    /// Mostly compares; writes now and then, to see its own rows.
    Reader,
    /// Only compares: for a standby, which knows no SERIALIZABLE.
    Onlooker,
    /// Changes definitions.
    Administrator,
    /// Writes, while nobody else does anything.
    Soloist,
}

/// A generator of work.
pub struct Script {
    pub role: Role,
    pub generator: Generator,
}

impl Script {
    /// What comes next.
    pub fn next(&mut self) -> Work {
        match self.role {
            Role::Writer | Role::Soloist => self.writing(),
            Role::Reader => {
                if self.chance(5) {
                    self.writing()
                } else {
                    self.reading()
                }
            }
            Role::Onlooker => self.reading(),
            Role::Administrator => ddl::change(self),
        }
    }

    /// How many comparisons all connections are to make before this one goes on: writes come at their rate, not the clock's, so that
    /// as many of them are hits on a slow machine as on a quick one.
    pub fn rest(&mut self) -> u64 {
        match self.role {
            Role::Writer => self.generator.below(300),
            Role::Reader | Role::Onlooker | Role::Soloist => 0,
            Role::Administrator => self.generator.below(1000),
        }
    }

    /// Whether something happens that does so in this many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.generator.below(100) < percent
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.generator.below(all.len() as u64) as usize]
    }

    fn isolation(&mut self) -> Isolation {
        match self.generator.below(100) {
            _ if self.role == Role::Onlooker => self.one_of(&[Isolation::ReadCommitted, Isolation::RepeatableRead]),
            0..52 => Isolation::ReadCommitted,
            52..94 => Isolation::RepeatableRead,
            _ => Isolation::Serializable,
        }
    }

    fn writing(&mut self) -> Work {
        if self.chance(35) {
            return Work::Alone(vec![writes::any(self)]);
        }
        let isolation = self.isolation();
        let mut steps = Vec::new();
        if self.chance(5) {
            steps.push(Step::Run("SET LOCAL session_replication_role = replica".to_owned()));
        } else if self.chance(15) {
            // Triggers of the scene search from inside the statements.
            let how = self.one_of(&["on", "on", "open"]);
            steps.push(Step::Run(format!("SET LOCAL checker.look = '{how}'")));
            steps.push(writes::any_of(self, TARGETS.iter().find(|target| target.name == "owned").expect("owned")));
            if how == "open" {
                steps.extend((0..self.generator.below(3)).map(|_| self.step(isolation, 1)));
                steps.push(Step::Opened);
            }
        }
        let count = 1 + self.generator.below(4);
        steps.extend((0..count).map(|_| self.step(isolation, 2)));
        let end = match self.generator.below(100) {
            0..70 => End::Commit,
            70..90 => End::Rollback,
            _ => {
                let meanwhile = (0..self.generator.below(3)).map(|_| self.reading()).collect();
                End::Prepare { commit: self.chance(80), meanwhile }
            }
        };
        Work::Transaction { isolation, steps, end }
    }

    fn step(&mut self, isolation: Isolation, depth: usize) -> Step {
        match self.generator.below(100) {
            0..58 => writes::any(self),
            58..75 => Step::Compare(self.comparison(isolation, true)),
            75..88 if depth > 0 => {
                let count = 1 + self.generator.below(3);
                let steps = (0..count).map(|_| self.step(isolation, depth - 1)).collect();
                Step::Savepoint(steps, self.chance(50))
            }
            88..94 if depth > 0 => {
                let comparison = self.comparison(isolation, false);
                let steps = (0..1 + self.generator.below(2)).map(|_| self.step(isolation, 0)).collect();
                Step::Cursor(comparison, steps)
            }
            94..97 => {
                let undo =
                    self.one_of(&["vcache_invalidate()", "vcache_invalidate('flat')", "vcache_invalidate('shop/*')"]);
                Step::Run(format!("SELECT {undo}"))
            }
            _ => Step::Pause(Duration::from_millis(self.generator.below(20))),
        }
    }

    fn reading(&mut self) -> Work {
        if self.chance(55) {
            return Work::Alone(vec![Step::Compare(self.comparison(Isolation::ReadCommitted, false))]);
        }
        let isolation = self.isolation();
        let mut steps = Vec::new();
        for _ in 0..2 + self.generator.below(4) {
            let comparison = self.comparison(isolation, false);
            if self.chance(15) {
                let pause = Step::Pause(Duration::from_millis(self.generator.below(30)));
                steps.push(Step::Cursor(comparison, vec![pause]));
            } else {
                steps.push(Step::Compare(comparison));
            }
            if self.chance(40) {
                steps.push(Step::Pause(Duration::from_millis(self.generator.below(40))));
            }
        }
        Work::Transaction { isolation, steps, end: End::Commit }
    }

    /// A comparison, which may write too.
    pub fn comparison(&mut self, isolation: Isolation, may_write: bool) -> Comparison {
        let namespace = &NAMESPACES[self.generator.below(NAMESPACES.len() as u64) as usize];
        let queries: Vec<usize> = if self.chance(70) {
            (0..QUERIES).collect()
        } else {
            let first = self.generator.below(QUERIES as u64) as usize;
            (first..QUERIES).collect()
        };
        let top_k = self.one_of(&[1, 3, 5, 10, 10, 20, 25]);
        let way = match self.generator.below(100) {
            0..15 if isolation != Isolation::ReadCommitted => Way::Apart { search_first: self.chance(50) },
            15..50 => Way::Prepared,
            50..65 => Way::InFunction(self.one_of(&["volatile", "stable"])),
            65..85 if may_write => Way::Beside(writes::beside(self)),
            _ => Way::Together,
        };
        Comparison { namespace, queries, top_k, way }
    }
}
