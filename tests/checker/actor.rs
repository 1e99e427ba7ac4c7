//! Owns one connection: it does what its script says, notes it, and tells what must not happen.

use harness::{Failure, Postgres, Session, until};

use crate::history::History;
use crate::scene::{DETACHING, Scene};
use crate::script::{Comparison, End, Isolation, Role, Step, Way, Work};

/// The longest that a connection waits for a lock, in milliseconds: those that change definitions block the others.
pub const LOCK_TIMEOUT: u32 = 2000;

/// Why a connection does not go on with what it did.
pub enum Trouble {
    /// The transaction failed as transactions may.
    Failed,
    /// The server has gone.
    Gone,
    /// What must not happen.
    Wrong(String),
}

/// See the head of this file.
pub struct Actor<'scene> {
    server: &'scene Postgres,
    database: String,
    session: Session,
    scene: &'scene Scene,
    role: Role,
    history: History,
    isolation: Isolation,
    in_recovery: bool,
    prepared: u32,
    /// How many searches have been compared.
    pub compared: u64,
    /// How many of them could not agree, because the source changed its definition meanwhile.
    pub changing: u64,
}

impl<'scene> Actor<'scene> {
    /// Connects.
    pub fn connect(
        server: &'scene Postgres,
        database: &str,
        scene: &'scene Scene,
        role: Role,
        history: History,
    ) -> Self {
        let mut session = None;
        // A standby may refuse, or end the session at once, for what it replays.
        until("a session", || {
            session = Self::prepared_session(server, database, scene);
            session.is_some() || role != Role::Onlooker
        });
        let session = session.unwrap_or_else(|| panic!("no session:\n{}", server.last_of_log()));
        let in_recovery = role == Role::Onlooker;
        Self {
            server,
            database: database.to_owned(),
            session,
            scene,
            role,
            history,
            isolation: Isolation::ReadCommitted,
            in_recovery,
            prepared: 0,
            compared: 0,
            changing: 0,
        }
    }

    fn prepared_session(server: &Postgres, database: &str, scene: &Scene) -> Option<Session> {
        let mut session = server.try_connect("postgres", database)?;
        let timeouts = [format!("SET lock_timeout = {LOCK_TIMEOUT}"), "SET statement_timeout = '50s'".to_owned()];
        // Before they hold: others are at work already, and may hold a lock that a statement waits for to be prepared.
        let mut all = scene.preparations().into_iter().chain(timeouts);
        all.all(|statement| session.try_rows(&statement).is_ok()).then_some(())?;
        Some(session)
    }

    /// Does one work, which may fail as transactions may.
    ///
    /// # Errors
    /// When the connection can do no more.
    pub fn work(&mut self, work: &Work) -> Result<(), Trouble> {
        match self.try_work(work) {
            Err(Trouble::Failed) => Ok(()),
            other => other,
        }
    }

    fn try_work(&mut self, work: &Work) -> Result<(), Trouble> {
        match work {
            Work::Alone(steps) => {
                self.isolation = Isolation::ReadCommitted;
                steps.iter().try_for_each(|step| match self.step(step) {
                    Err(Trouble::Failed) => Ok(()),
                    other => other,
                })
            }
            Work::Transaction { isolation, steps, end } => {
                self.isolation = *isolation;
                self.run(&format!("BEGIN ISOLATION LEVEL {}", isolation.sql()))?;
                let done = self.steps(steps).and_then(|()| self.end(end));
                match done {
                    Err(Trouble::Failed) => self.run("ROLLBACK").map(drop),
                    other => other,
                }
            }
        }
    }

    fn end(&mut self, end: &End) -> Result<(), Trouble> {
        if !self.in_recovery {
            // For the history: to be found in the snapshots of others.
            self.run("SELECT pg_current_xact_id_if_assigned()")?;
        }
        match end {
            End::Commit => self.run("COMMIT").map(drop),
            End::Rollback => self.run("ROLLBACK").map(drop),
            End::Prepare { commit, meanwhile } => {
                self.prepared += 1;
                let name = format!("{} {}", self.history.name(), self.prepared);
                self.run(&format!("PREPARE TRANSACTION '{name}'"))?;
                let worked = meanwhile.iter().try_for_each(|work| self.try_work(work));
                let end = format!("{} PREPARED '{name}'", if *commit { "COMMIT" } else { "ROLLBACK" });
                if worked.is_err() {
                    // Who begins now waits for what it has locked, however this connection has come to its end.
                    if let Some(mut other) = self.server.try_connect("postgres", &self.database) {
                        drop(other.try_rows(&end));
                    }
                    return worked;
                }
                self.run(&end).map(drop)
            }
        }
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        match step {
            Step::Run(sql) => self.run(sql).map(drop),
            Step::Compare(comparison) => self.compare(comparison),
            Step::Cursor(comparison, steps) => self.cursor(comparison, steps),
            Step::Opened => {
                if !self.run("SELECT FROM pg_cursors WHERE name = 'opened'")?.is_empty() {
                    let rows = self.run("FETCH ALL FROM opened; CLOSE opened")?;
                    self.judge(&rows, "a cursor that a trigger opened", None)?;
                }
                Ok(())
            }
            Step::Savepoint(steps, keep) => {
                self.run("SAVEPOINT s")?;
                let kept = match self.steps(steps) {
                    Ok(()) => *keep,
                    Err(Trouble::Failed) => false,
                    Err(trouble) => return Err(trouble),
                };
                if !kept {
                    self.run("ROLLBACK TO SAVEPOINT s")?;
                }
                self.run("RELEASE SAVEPOINT s").map(drop)
            }
            Step::Pause(duration) => {
                std::thread::sleep(*duration);
                Ok(())
            }
        }
    }

    fn compare(&mut self, comparison: &Comparison) -> Result<(), Trouble> {
        let Comparison { namespace, queries, top_k, way } = comparison;
        let together = || self.scene.comparison(namespace, queries, *top_k, true);
        let (what, sql) = match way {
            Way::Together => ("in one statement".to_owned(), together()),
            Way::Prepared => ("prepared".to_owned(), self.scene.execute(namespace, queries, *top_k)),
            Way::Beside(write) => {
                // The condition is met before anything is compared.
                let sql =
                    format!("WITH w AS ({write}) SELECT * FROM ({}) c WHERE (SELECT count(*) FROM w) >= 0", together());
                (format!("beside {write}"), sql)
            }
            Way::InFunction(volatility) => (
                format!("in a {volatility} function"),
                format!("SELECT * FROM compared_{volatility}({})", harness::literal(&together())),
            ),
            Way::Apart { search_first } => return self.compare_apart(comparison, *search_first),
        };
        let text = format!("compares {} {queries:?} k = {top_k} {what}", namespace.name);
        let rows = self.run_as(&sql, text.clone())?;
        self.compared += queries.len() as u64;
        self.judge(&rows, &text, Some(comparison))
    }

    fn compare_apart(&mut self, comparison: &Comparison, search_first: bool) -> Result<(), Trouble> {
        let Comparison { namespace, queries, top_k, .. } = comparison;
        let order = if search_first { "search first" } else { "search second" };
        let text = format!("compares {} {queries:?} k = {top_k} in two statements, {order}", namespace.name);
        let sql = self.scene.first_of_two(namespace, queries, *top_k, search_first);
        let rows = self.run_as(&sql, text.clone())?;
        let value = |row: &Vec<Option<String>>, column: usize| row[column].clone().expect("an array");
        let first: Vec<(String, String)> = rows.iter().map(|row| (value(row, 1), value(row, 2))).collect();
        let sql = self.scene.second_of_two(namespace, &first, queries, *top_k, search_first);
        let rows = self.run_as(&sql, text.clone())?;
        self.compared += queries.len() as u64;
        self.judge(&rows, &text, Some(comparison))
    }

    fn cursor(&mut self, comparison: &Comparison, steps: &[Step]) -> Result<(), Trouble> {
        let Comparison { namespace, queries, top_k, .. } = comparison;
        let text = format!("opens a cursor that compares {} {queries:?} k = {top_k}", namespace.name);
        let sql = self.scene.comparison(namespace, queries, *top_k, false);
        self.run_as(&format!("DECLARE c NO SCROLL CURSOR FOR {sql}"), text.clone())?;
        let rows = self.run("FETCH 1 FROM c")?;
        self.judge(&rows, &text, Some(comparison))?;
        self.steps(steps)?;
        let rows = self.run("FETCH ALL FROM c")?;
        self.judge(&rows, &text, Some(comparison))?;
        self.compared += queries.len() as u64;
        self.run("CLOSE c").map(drop)
    }

    /// Rows of a comparison: query, whether it differs, snapshot, both answers, definition of the source.
    fn judge(&mut self, rows: &[Vec<Option<String>>], what: &str, of: Option<&Comparison>) -> Result<(), Trouble> {
        for row in rows.iter().filter(|row| row[1].as_deref() == Some("t")) {
            let value = |column: usize| row[column].clone().unwrap_or_default();
            let mut told = format!(
                "{} {what}, {}: query {} under snapshot {}: {}",
                self.history.name(),
                self.isolation.sql(),
                value(0),
                value(2),
                value(3)
            );
            if let Some(comparison) = of {
                let Comparison { namespace, top_k, .. } = comparison;
                let query = value(0).parse().expect("the number of a query");
                if self.is_of_change(comparison, query, &value(4)) {
                    self.changing += 1;
                    continue;
                }
                let explanation = self.scene.explanation(namespace, query, *top_k);
                let again = self.scene.comparison(namespace, &[query], *top_k, false);
                told.push_str(&format!("\n  defined then: {}", value(4)));
                for (what, sql) in [("explained now", explanation), ("compared again", again)] {
                    let rows = self.session.try_rows(&sql);
                    told.push_str(&format!("\n  {what}: {rows:?}"));
                }
            }
            return Err(Trouble::Wrong(told));
        }
        Ok(())
    }

    /// Whether a difference comes from a change that no snapshot sees in step: the source was truncated, rewritten, or given or
    /// deprived of a child while the statement ran. Then the two queries in it need not agree, and neither do two plain ones.
    /// Where statements share a snapshot, the next one must agree.
    fn is_of_change(&mut self, comparison: &Comparison, query: usize, definition: &str) -> bool {
        let Comparison { namespace, top_k, way, .. } = comparison;
        let defined = |session: &mut Session| {
            session.try_rows(&Scene::definition(namespace)).ok().and_then(|rows| rows.first()?.first()?.clone())
        };
        // A standby may end the session here.
        let agrees = |session: &mut Session| {
            let again = session.try_rows(&self.scene.comparison(namespace, &[query], *top_k, true));
            again.map_or(true, |rows| rows.is_empty())
        };
        if self.isolation != Isolation::ReadCommitted {
            // The server may be about to stop, and then nobody can tell.
            let now = self.server.try_connect("postgres", &self.database).and_then(|mut other| defined(&mut other));
            return now.is_none_or(|now| now != definition) && agrees(&mut self.session);
        }
        // PostgreSQL keeps a prepared plan that was made under a snapshot from before a DETACH that is pending since.
        let is_old_plan = matches!(way, Way::Prepared) && definition.contains(DETACHING);
        defined(&mut self.session).is_none_or(|now| now != definition) || (is_old_plan && agrees(&mut self.session))
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// As it fails.
    pub fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Trouble> {
        self.run_as(sql, sql.to_owned())
    }

    /// Runs a statement, under another text in the history.
    fn run_as(&mut self, sql: &str, text: String) -> Result<Vec<Vec<Option<String>>>, Trouble> {
        self.history.begin(text);
        match self.session.try_rows(sql) {
            Ok(rows) => {
                self.history.end(&told(&rows));
                Ok(rows)
            }
            Err(failure) => {
                self.history.end(&format!(" → {} {}", failure.sqlstate, failure.message));
                Err(self.trouble(sql, &failure))
            }
        }
    }

    /// What a failure of a statement means.
    fn trouble(&self, sql: &str, failure: &Failure) -> Trouble {
        let code = failure.sqlstate.as_str();
        let may_be = match code {
            "" | "57P01" | "57P02" | "57P03" => return Trouble::Gone,
            // A row of another partition, or a cancel on a standby, is not a failure of the isolation's.
            "40001" => {
                self.isolation != Isolation::ReadCommitted || self.in_recovery || failure.message.contains("partition")
            }
            // Deadlocks and waits for those that change definitions; keys that are there already, or are not; rows that no
            // partition takes; a TRUNCATE of what a cursor of the session's own reads.
            "40P01" | "55P03" | "23505" | "23503" | "23514" | "55006" => true,
            // The administrator does not look before it leaps.
            code => self.role == Role::Administrator && (code.starts_with("42") || code.starts_with("55")),
        };
        if may_be {
            Trouble::Failed
        } else {
            Trouble::Wrong(format!("{} under {}: {failure:?}\n  {sql}", self.history.name(), self.isolation.sql()))
        }
    }
}

/// What the history says of a statement that succeeded: a single value.
fn told(rows: &[Vec<Option<String>>]) -> String {
    match rows {
        [row] if row.len() == 1 => format!(" → {}", row[0].as_deref().unwrap_or("NULL")),
        _ => String::new(),
    }
}
