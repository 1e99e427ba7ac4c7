//! Owns how cells are run: each asks the cache twice and the engine once, as the same role in the same session.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Database, Failure, Row, Session, literal};

use crate::actors::{Actor, Asks, Enters};
use crate::cells::{self, Cell, Situation, Tier};
use crate::changes::{self, About, By, Change};
use crate::scene::{self, Filter, Namespace};
use crate::states::{STATES, State};
use crate::tally::{Counts, Tally};

/// Differences that are told.
const MOST_TOLD: usize = 20;

type Answer = Result<Vec<Row>, Failure>;

/// A session with what is set in it.
struct Speaker {
    session: Session,
    values: BTreeMap<&'static str, &'static str>,
    row_security: bool,
    prepared: BTreeSet<String>,
}

impl Speaker {
    fn new(session: Session) -> Self {
        Self { session, values: BTreeMap::new(), row_security: true, prepared: BTreeSet::new() }
    }

    fn come_to(&mut self, setting: &'static str, situation: Situation) {
        let Situation { value, row_security } = situation;
        if let Some(value) = value
            && self.values.insert(setting, value) != Some(value)
        {
            self.session.run(&format!("SET {setting} = {}", literal(value)));
        }
        if self.row_security != row_security {
            self.session.run(&format!("SET row_security = {row_security}"));
            self.row_security = row_security;
        }
    }
}

/// Whose session it is, and whether settings are unset in it.
type Whose = (Option<usize>, bool);

/// A run over all cells of a tier.
pub struct Run<'database> {
    tier: Tier,
    database: &'database Database<'database>,
    actors: Vec<Actor>,
    namespaces: Vec<Namespace>,
    administrator: Session,
    /// Who stores answers for others to meet.
    fillers: Vec<Session>,
    speakers: BTreeMap<Whose, Speaker>,
    /// What has been counted so far.
    counted: BTreeMap<Namespace, Counts>,
    /// A part of the names of the cells that are to be run.
    only: Option<String>,
    pub tally: Tally,
    wrong: Vec<String>,
}

impl<'database> Run<'database> {
    pub fn new(tier: Tier, database: &'database Database<'database>, only: Option<String>) -> Self {
        let namespaces = scene::create(database);
        let mut administrator = database.session();
        administrator.run(
            "PREPARE counts(text) AS \
             SELECT shared_hits + redis_hits, misses, bypasses FROM vcache_stats WHERE namespace = $1",
        );
        let mut other = database.session_as("other");
        other.run("SET app.tenant = 'b'; SET app.other = 'b'");
        let mut keeper = database.session_as("keeper");
        keeper.run("SET app.tenant = 'c'; SET app.other = 'c'");
        Self {
            tier,
            database,
            actors: crate::actors::all(),
            namespaces,
            administrator,
            fillers: vec![database.session(), keeper, other],
            speakers: BTreeMap::new(),
            counted: BTreeMap::new(),
            only,
            tally: Tally::default(),
            wrong: Vec::new(),
        }
    }

    /// Runs them all; what differs.
    pub fn all(&mut self) -> &[String] {
        let mut turn = 0;
        for state in &STATES {
            let mut is_set_up = false;
            for change in changes::of(state) {
                turn += 1;
                let mut cells = cells::of(self.tier, state, &change, turn, &self.actors, &self.namespaces);
                if let Some(only) = &self.only {
                    cells.retain(|cell| cell.name(self.tier, state, &change, &self.actors).contains(only.as_str()));
                }
                if cells.is_empty() {
                    continue;
                }
                if !is_set_up {
                    self.administer(&state.set_up());
                    is_set_up = true;
                }
                self.group(state, &change, &cells);
                if self.wrong.len() >= MOST_TOLD {
                    return &self.wrong;
                }
            }
        }
        &self.wrong
    }

    fn administer(&mut self, statements: &[String]) {
        if !statements.is_empty() {
            self.administrator.run(&statements.join(";\n"));
        }
    }

    /// The cells of a state and a change.
    fn group(&mut self, state: &State, change: &Change, cells: &[Cell]) {
        self.tally.cells += cells.len() as u64;
        if change.by == By::Caller {
            self.fill(cells);
            for cell in cells {
                self.ask("before", state, change, cell);
                for (phase, statements) in [("after", &change.make), ("undone", &change.undo)] {
                    self.speaker(cell).session.run(&statements.join(";"));
                    self.ask(phase, state, change, cell);
                }
            }
            return;
        }
        self.fill(cells);
        cells.iter().for_each(|cell| self.ask("before", state, change, cell));
        if change.about == About::Nothing {
            return;
        }
        for (phase, statements) in [("after", &change.make), ("undone", &change.undo)] {
            self.administer(statements);
            self.fill(cells);
            cells.iter().for_each(|cell| self.ask(phase, state, change, cell));
        }
    }

    /// Others ask before.
    fn fill(&mut self, cells: &[Cell]) {
        let asked: BTreeSet<(Namespace, Filter)> = cells.iter().map(|cell| (cell.namespace, cell.filter)).collect();
        for (namespace, filter) in asked {
            for filler in &mut self.fillers {
                // Some may not.
                let _ = filler.try_rows(&namespace.search(filter));
            }
            let now = self.counts(namespace);
            self.counted.insert(namespace, now);
        }
    }

    fn whose(&self, cell: &Cell) -> Whose {
        let is_pool = self.actors[cell.actor].enters == Enters::Pool;
        ((!is_pool).then_some(cell.actor), cell.situation.value.is_none())
    }

    fn speaker(&mut self, cell: &Cell) -> &mut Speaker {
        let (whose, actor) = (self.whose(cell), &self.actors[cell.actor]);
        self.speakers.entry(whose).or_insert_with(|| Speaker::new(connect(self.database, actor)))
    }

    /// Asks, and compares.
    fn ask(&mut self, phase: &str, state: &State, change: &Change, cell: &Cell) {
        if self.wrong.len() >= MOST_TOLD {
            return;
        }
        let actor = self.actors[cell.actor].clone();
        let (mut search, plain) = actor.texts(cell.namespace, cell.filter);
        let speaker = self.speaker(cell);
        if change.by == By::Administrator || phase == "before" {
            speaker.come_to(state.setting.unwrap_or(scene::DECLARED), cell.situation);
        }
        if actor.asks == Asks::Prepared {
            search = prepared(speaker, &search, cell);
        }
        if actor.enters == Enters::Pool {
            become_role(&mut speaker.session, actor.role);
        }
        let (first, second) = (speaker.session.try_answer(&search), speaker.session.try_answer(&search));
        let wanted = speaker.session.try_answer(&plain);
        // Who is refused is told nothing about the search either. What a policy reads is only found out by asking the engine.
        let is_refused = |failure: &Failure| !failure.message.ends_with(scene::READ_BY_POLICIES);
        let explained = (wanted.as_ref().err().is_some_and(is_refused) && actor.asks == Asks::Directly)
            .then(|| speaker.session.try_rows(&cell.namespace.explain(cell.filter)).map(|_| Vec::new()));
        if actor.enters == Enters::Pool {
            // Not after an error in the middle of a transaction.
            let _ = speaker.session.try_rows("RESET SESSION AUTHORIZATION");
        }
        let now = self.counts(cell.namespace);
        let counts = now.since(self.counted.insert(cell.namespace, now).unwrap_or_default());
        let is_open = state.name == "off" && !matches!(change.about, About::Force);
        let mut complaints = Vec::new();
        for (what, found) in
            [("first search:", Some(&first)), ("second search:", Some(&second)), ("explanation:", explained.as_ref())]
        {
            if let Some(found) = found.filter(|found| !is_same(found, &wanted)) {
                complaints.push(format!("the {what:15}{}", told(found)));
            }
        }
        if !complaints.is_empty() {
            complaints.push(format!("the plain query:   {}", told(&wanted)));
        } else if is_open && wanted.is_ok() && self.tier != Tier::None && counts.hits == 0 {
            complaints.push(format!("nothing was found in a tier: {counts:?}"));
        } else if self.tier == Tier::None && counts.hits > 0 {
            complaints.push(format!("there is no tier to find anything in: {counts:?}"));
        }
        if !complaints.is_empty() {
            let name = cell.name(self.tier, state, change, &self.actors);
            self.wrong.push(format!("VCACHE_CELL='{name}', {phase}:\n    {}", complaints.join("\n    ")));
        }
        self.tally.add(state, cell.namespace, counts, wanted.is_err());
    }

    /// What vcache has counted for a namespace so far.
    fn counts(&mut self, namespace: Namespace) -> Counts {
        let rows = self.administrator.rows(&format!("EXECUTE counts({})", literal(&namespace.name())));
        let Some(row) = rows.first() else { return Counts::default() };
        let number = |n: usize| row[n].as_deref().expect("a count").parse().expect("a number");
        Counts { hits: number(0), misses: number(1), bypasses: number(2) }
    }
}

fn connect(database: &Database, actor: &Actor) -> Session {
    let (login, statement) = match actor.enters {
        Enters::Login => (actor.role, String::new()),
        Enters::SetRole(from) => (from, format!("SET ROLE {}", actor.role)),
        Enters::Authorization => ("postgres", format!("SET SESSION AUTHORIZATION {}", actor.role)),
        Enters::Pool => ("postgres", String::new()),
    };
    let mut session = database.session_as(login);
    session.run(&statement);
    session
}

/// The superuser's session becomes a role, which may have been renamed.
fn become_role(session: &mut Session, role: &str) {
    let renamed = if role == "reader" { scene::RENAMED } else { role };
    session.run(&format!(
        "SELECT set_config('session_authorization', rolname, false) FROM pg_roles WHERE rolname IN ('{role}', '{renamed}')"
    ));
}

/// The statement that executes a search which has been prepared once.
fn prepared(speaker: &mut Speaker, search: &str, cell: &Cell) -> String {
    let name = format!("\"{} {}\"", cell.namespace.name(), cell.filter.name());
    if speaker.prepared.insert(name.clone()) {
        speaker.session.run(&format!("PREPARE {name} AS {search}"));
    }
    format!("EXECUTE {name}")
}

/// The same rows, or the same error.
fn is_same(found: &Answer, wanted: &Answer) -> bool {
    match (found, wanted) {
        (Ok(found), Ok(wanted)) => found == wanted,
        (Err(found), Err(wanted)) => (&found.sqlstate, &found.message) == (&wanted.sqlstate, &wanted.message),
        _ => false,
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Ok(rows) => {
            let row = |row: &Row| format!("{} {} {}", row.id, row.distance, row.payload.as_deref().unwrap_or("NULL"));
            format!("{} rows: {}", rows.len(), rows.iter().map(row).collect::<Vec<_>>().join(", "))
        }
        Err(failure) => format!("{}: {}", failure.sqlstate, failure.message),
    }
}
