//! Owns the shape of a source: what the catalogs say of it and of its family, which decides an answer and which no snapshot
//! shows in step with the rows. TRUNCATE, rewrites, ATTACH and DETACH, COPY FREEZE change it, and so does a trigger of vcache's
//! that is switched off.
//!
//! The family of a source is every table whose rows may be the source's, or may be written by way of it. vcache's triggers must
//! stand on all of them, in exactly the state that they were made in: else the clock may miss a change, and searches are
//! bypasses. A shape is kept until PostgreSQL tells that one of the family has changed.

use crate::clock::{self, Scope};
use crate::namespace::{Registration, Registry};
use crate::pg::inherits::{self, Family, Link};
use crate::pg::relation::{self, Relation, RowVersion, Trigger, When};
use crate::pg::scan::{Table, View};
use crate::pg::{catalog, invalidation, lock, nonce, snapshot};
use crate::tenant::{Divided, Divider};
use pgrx::pg_sys::{self, Oid, TransactionId, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use vcache_core::digest::digest;

/// The bits of pg_trigger.tgtype.
mod fires {
    pub const ROW: i16 = 1;
    pub const BEFORE: i16 = 1 << 1;
    pub const INSERT: i16 = 1 << 2;
    pub const DELETE: i16 = 1 << 3;
    pub const UPDATE: i16 = 1 << 4;
    pub const TRUNCATE: i16 = 1 << 5;
    pub const AFTER_STATEMENT: i16 = INSERT | DELETE | UPDATE | TRUNCATE;
    pub const BEFORE_STATEMENT: i16 = BEFORE | AFTER_STATEMENT;
    pub const AFTER_ROW: i16 = ROW | INSERT | DELETE | UPDATE;
    pub const AFTER_NEW: i16 = ROW | INSERT | UPDATE;
    pub const AFTER_OLD: i16 = ROW | UPDATE | DELETE;
}

/// A trigger that members of a family have, with the letter of pg_trigger.tgenabled that it must have.
pub struct Needed {
    pub name: &'static str,
    kind: i16,
    pub enabled: u8,
    pub sql: &'static str,
    pub on: On,
    /// Which version of the row its condition gives to tenant.rs, which never lets it fire.
    pub version: Option<RowVersion>,
}

/// Which members of a family have a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    All,
    /// Tables that hold rows: on a partitioned one it would be cloned, and ATTACH would find its name taken.
    Leaves,
    /// Those that hold rows of a source which some namespace divides by tenant.
    DividedLeaves,
}

pub const NEEDED: [Needed; 5] = [
    Needed {
        name: "vcache_before",
        kind: fires::BEFORE_STATEMENT,
        enabled: b'A',
        sql: "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT",
        on: On::All,
        version: None,
    },
    Needed {
        name: "vcache_after",
        kind: fires::AFTER_STATEMENT,
        enabled: b'A',
        sql: "AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT",
        on: On::All,
        version: None,
    },
    // Logical replication applies rows without a statement.
    Needed {
        name: "vcache_row",
        kind: fires::AFTER_ROW,
        enabled: b'R',
        sql: "AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW",
        on: On::Leaves,
        version: None,
    },
    Needed {
        name: "vcache_new",
        kind: fires::AFTER_NEW,
        enabled: b'A',
        sql: "AFTER INSERT OR UPDATE ON {table} FOR EACH ROW",
        on: On::DividedLeaves,
        version: Some(RowVersion::New),
    },
    Needed {
        name: "vcache_old",
        kind: fires::AFTER_OLD,
        enabled: b'A',
        sql: "AFTER UPDATE OR DELETE ON {table} FOR EACH ROW",
        on: On::DividedLeaves,
        version: Some(RowVersion::Old),
    },
];

impl Needed {
    pub fn is_for(&self, relation: &Relation) -> bool {
        self.on == On::All || relation.kind == b'r'
    }

    /// Whether `trigger` is this one, by whatever name, and fires whenever it must.
    pub fn is(&self, trigger: &Trigger, functions: &Functions) -> bool {
        let when = self.version.map_or(When::Always, |version| When::Row { function: functions.row_changed, version });
        trigger.function == functions.source_changed
            && trigger.kind == self.kind
            && trigger.enabled == self.enabled
            && trigger.when == when
    }
}

/// The functions of vcache's triggers.
pub struct Functions {
    /// What they call.
    pub source_changed: Oid,
    /// What the conditions ask.
    row_changed: Oid,
}

impl Functions {
    /// Those in vcache's own schema.
    pub fn of(schema: Oid) -> Self {
        let find = |name, arguments: &[Oid]| catalog::function_in(schema, name, arguments);
        Self {
            source_changed: find(c"vcache_source_changed", &[]),
            row_changed: find(c"vcache_row_changed", &[pg_sys::OIDOID, pg_sys::TIDOID]),
        }
    }
}

/// Which of the triggers that a table may need are not there, or not as they must be.
pub fn missing(relation: &Relation, functions: &Functions) -> Vec<&'static Needed> {
    let has = |needed: &&Needed| relation.triggers.iter().any(|trigger| needed.is(trigger, functions));
    NEEDED.iter().filter(|needed| needed.is_for(relation)).filter(|needed| !has(needed)).collect()
}

/// What the catalogs say of a source.
pub struct Source {
    pub members: Vec<Oid>,
    /// A digest of all that decides an answer.
    pub shape: u128,
    /// Who made the family what it is, and the triggers.
    makers: Vec<TransactionId>,
    /// Why changes of the rows may go unseen, if they may.
    pub unguarded: Option<Unguarded>,
    /// The same for whose rows they are.
    undivided: Option<Unguarded>,
    generation: u64,
}

impl Source {
    /// Why changes may go unseen for those who read a tenant's rows, or who read all.
    pub fn unguarded_for(&self, by_tenant: bool) -> Option<&Unguarded> {
        self.unguarded.as_ref().or(self.undivided.as_ref().filter(|_| by_tenant))
    }

    /// Whether a partition is being detached, or was left so half-way: a plan is then right for some snapshots only.
    pub fn is_being_detached_from(&self) -> bool {
        matches!(self.unguarded, Some(Unguarded::DetachPending(_)))
    }

    /// Whether the active snapshot sees the family as it is, and its triggers: what was written before they were made, it then
    /// sees as well. What an older one sees of that, the clock does not tell.
    pub fn is_seen(&self) -> bool {
        snapshot::sees_all_of(&self.makers)
    }
}

/// Why changes of a source's rows may go unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unguarded {
    /// A member lacks a trigger, or has it in another state than it must have.
    Triggers(String),
    Temporary(String),
    Foreign(String),
    /// Its rows go with a crash, and the number that tells of one is in shared memory, which there is none of.
    Unlogged(String),
    DetachPending(String),
    /// Somebody changes it right now.
    Locked(String),
    /// A change of what all sources share has just been committed.
    Unsettled,
    Gone,
}

impl std::fmt::Display for Unguarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Triggers(table) => write!(f, "A trigger of vcache on table \"{table}\" is missing, or was switched."),
            Self::Temporary(table) => write!(f, "Table \"{table}\", which inherits from its source, is temporary."),
            Self::Foreign(table) => write!(f, "Table \"{table}\", which inherits from its source, is foreign."),
            Self::Unlogged(table) => {
                write!(f, "Table \"{table}\" is unlogged, and vcache is not loaded via shared_preload_libraries.")
            }
            Self::DetachPending(table) => write!(f, "Partition \"{table}\" is being detached."),
            Self::Locked(table) => write!(f, "Table \"{table}\" is locked."),
            Self::Unsettled => f.write_str(
                "What all sources share has changed a moment ago, and may not be known to every session yet.",
            ),
            Self::Gone => f.write_str("A table of its source's family is gone."),
        }
    }
}

impl Unguarded {
    /// What helps.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Triggers(_) => {
                "SELECT vcache_alter_namespace(namespace, '{}') FROM vcache_namespaces puts the triggers right; freshness 'ttl' needs none."
            }
            Self::Temporary(_) => {
                "Searches use the cache again when that table has been dropped, or its session has ended."
            }
            Self::Foreign(_) => "Nothing tells of changes of a foreign table; freshness 'ttl' does without being told.",
            Self::Unlogged(_) => {
                "Add vcache to shared_preload_libraries and restart the server, or ALTER TABLE … SET LOGGED."
            }
            Self::DetachPending(_) => "ALTER TABLE … DETACH PARTITION … FINALIZE ends that.",
            Self::Locked(_) | Self::Unsettled | Self::Gone => "Searches use the cache again when that is over.",
        }
    }

    /// Tells that searches of a namespace are not answered from the cache though they were meant to be.
    pub fn warn(&self, namespace: &str) {
        let message = format!("vcache does not answer namespace \"{namespace}\" from the cache");
        ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "vcache")
            .set_detail(self.to_string())
            .set_hint(self.cure())
            .report(PgLogLevel::WARNING);
    }
}

thread_local! {
    static SOURCES: RefCell<HashMap<Oid, Rc<Source>>> = RefCell::default();
    static WRITTEN: RefCell<HashMap<Oid, Rc<Written>>> = RefCell::default();
}

/// More than a backend works with; beyond it, all is found out anew.
const MOST: usize = 1000;
/// No generation.
const NEVER: u64 = u64::MAX;

/// The shape of a source; `schema` is vcache's own.
pub fn of(source: Oid, schema: Oid) -> Rc<Source> {
    let kept = SOURCES.with_borrow(|sources| sources.get(&source).cloned());
    if let Some(kept) = kept.filter(|kept| kept.generation == invalidation::generation()) {
        return kept;
    }
    invalidation::watch(clock::secret(schema));
    let (family, mut generation) = inherits::watched_family(source);
    // What an older snapshot sees was written under columns that were others.
    let mut makers = catalog::column_writers(source);
    let mut undivided = None;
    let (shape, unguarded) = match describe(&family, schema, &mut makers, &mut undivided) {
        Ok(shape) => (shape, None),
        Err(unguarded) => (0, Some(unguarded)),
    };
    if matches!(unguarded, Some(Unguarded::Unsettled | Unguarded::Locked(_))) {
        // Nobody tells of the end of that: the next search looks again.
        generation = NEVER;
    }
    makers.sort_unstable_by_key(|maker| maker.into_inner());
    makers.dedup();
    let members = family.members;
    let found = Rc::new(Source { members, shape, makers, unguarded, undivided, generation });
    keep(&SOURCES, source, &found);
    found
}

fn describe(
    family: &Family,
    schema: Oid,
    makers: &mut Vec<TransactionId>,
    undivided: &mut Option<Unguarded>,
) -> Result<u128, Unguarded> {
    let functions = Functions::of(schema);
    let shared = clock::read_latest(schema, Scope::Database).ok_or(Unguarded::Unsettled)?;
    let is_settled = clock::is_settled(schema, shared);
    let mut bytes = shared.to_le_bytes().to_vec();
    for &Link { child, parent, detach_pending, writer } in &family.links {
        if detach_pending {
            return Err(Unguarded::DetachPending(catalog::class(child).map_or_else(String::new, |class| class.name)));
        }
        makers.push(writer.1);
        [child.to_u32(), parent.to_u32(), writer.0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    }
    for &member in &family.members {
        let name = || catalog::class(member).map_or_else(String::new, |class| class.name);
        // What holds the rows is locked by the plain query as well. What they may be written by is not: nobody waits for it.
        if !family.descendants.contains(&member) && !lock::try_share(member) {
            return Err(Unguarded::Locked(name()));
        }
        let table = Table::try_open(member).ok_or(Unguarded::Gone)?;
        let relation = relation::of(&table);
        if let Some(unguarded) = unguardable(&relation, name) {
            return Err(unguarded);
        }
        if relation.persistence == b'u' {
            bytes.extend(nonce::get().unwrap_or_default().to_le_bytes());
        }
        let missing = missing(&relation, &functions);
        if missing.iter().any(|needed| needed.on != On::DividedLeaves) {
            return Err(Unguarded::Triggers(name()));
        }
        if !missing.is_empty() && family.descendants.contains(&member) {
            *undivided = Some(Unguarded::Triggers(name()));
        }
        relation::describe(&table, &mut bytes, makers);
    }
    if is_settled { Ok(digest(&bytes)) } else { Err(Unguarded::Unsettled) }
}

/// Why a table keeps searches of its family from the cache, whatever triggers there are.
pub fn unguardable(relation: &Relation, name: impl FnOnce() -> String) -> Option<Unguarded> {
    match (relation.persistence, relation.kind) {
        (b't', _) => Some(Unguarded::Temporary(name())),
        (b'u', _) if nonce::get().is_none() => Some(Unguarded::Unlogged(name())),
        (_, b'r' | b'p') => None,
        _ => Some(Unguarded::Foreign(name())),
    }
}

/// A source with exact freshness whose rows a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    pub source: Oid,
    /// Whether a namespace reads its rows whosever they are.
    pub is_whole: bool,
    /// Whether one reads those of a tenant.
    pub is_divided: bool,
}

/// The sources of registrations with exact freshness, in the order of their OIDs.
pub fn watched<'a>(registrations: impl Iterator<Item = &'a Registration>) -> Vec<Watched> {
    let mut sources: BTreeMap<u32, Watched> = BTreeMap::new();
    for registration in registrations.filter(|registration| registration.is_exact()) {
        let source = registration.source;
        let none = Watched { source, is_whole: false, is_divided: false };
        let watched = sources.entry(source.to_u32()).or_insert(none);
        match Divider::of(registration) {
            Some(_) => watched.is_divided = true,
            None => watched.is_whole = true,
        }
    }
    sources.into_values().collect()
}

/// What a write to a table may change.
pub struct Written {
    pub sources: Vec<Watched>,
    /// What tells whose the rows are that the table itself holds.
    pub divided: Vec<Divided>,
    /// The columns of the table that their namespaces read; `None` where that says nothing, because a trigger may change others on
    /// a row's way, or because a row may change places.
    pub read_columns: Option<Vec<i16>>,
    /// Whether PostgreSQL's count of the table's changed rows is that of all rows a statement may change.
    pub is_counted: bool,
    generation: u64,
}

impl Written {
    /// Whether it is still so.
    pub fn is_current(&self) -> bool {
        self.generation == invalidation::generation()
    }
}

/// What a write to `table` may change, by the registry in `schema`.
pub fn written(table: &Table, schema: Oid) -> Rc<Written> {
    kept_written(table.oid()).unwrap_or_else(|| written_now(table, schema))
}

/// The same, if it is known already.
pub fn kept_written(table: Oid) -> Option<Rc<Written>> {
    let kept = WRITTEN.with_borrow(|written| written.get(&table).cloned());
    kept.filter(|kept| kept.is_current())
}

/// The same, found out anew: this transaction may have changed the registry.
pub fn written_now(table: &Table, schema: Oid) -> Rc<Written> {
    let oid = table.oid();
    let (family, mut generation) = inherits::watched_family(oid);
    let registrations = Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default();
    let concerned: Vec<_> = registrations
        .iter()
        .filter(|registration| registration.is_exact() && family.members.contains(&registration.source))
        .collect();
    let sources = watched(concerned.iter().copied());
    let ancestors = family.ancestors(oid);
    let kind = relation::of(table).kind;
    let (held, others): (Vec<_>, Vec<_>) = concerned.iter().copied().partition(|one| ancestors.contains(&one.source));
    let mut divided: Vec<Divided> = Vec::new();
    for one in held.iter().filter_map(|registration| Divided::of(oid, registration)) {
        if kind == b'r' && !divided.contains(&one) {
            divided.push(one);
        }
    }
    // By whatever column it is partitioned, a row may come into a partition that is a source, or leave it.
    let may_move = kind == b'p' && !others.is_empty();
    // A writer waits for nobody who changes its table's relatives: until it can be told, every column counts.
    let mut is_known = true;
    let is_read = |column: &catalog::Column| concerned.iter().any(|registration| registration.reads(&column.name));
    let is_simple = |of: &Oid| {
        let open = lock::try_share(*of).then(|| Table::try_open(*of));
        is_known &= open.is_some();
        open.flatten().is_some_and(|open| {
            // What PostgreSQL says of the columns that a statement sets counts generated ones of the table it names, and of no other.
            let is_generated = |column: &catalog::Column| column.is_generated && is_read(column);
            let is_foreign = *of != oid && catalog::columns(&open).iter().any(is_generated);
            !is_foreign && !relation::changes_rows_on_their_way(&open)
        })
    };
    let is_counted = family.descendants.len() == 1 && relation::is_heap(table);
    let read_columns = (!may_move && family.descendants.iter().all(is_simple)).then(|| {
        let columns = catalog::columns(table);
        columns.iter().filter(|column| is_read(column)).map(|column| column.number).collect()
    });
    if !is_known {
        generation = NEVER;
    }
    let found = Rc::new(Written { sources, divided, read_columns, is_counted, generation });
    keep(&WRITTEN, oid, &found);
    found
}

fn keep<T>(kept: &'static std::thread::LocalKey<RefCell<HashMap<Oid, Rc<T>>>>, of: Oid, what: &Rc<T>) {
    let outdated = kept.with_borrow_mut(|kept| {
        let all = if kept.len() >= MOST { std::mem::take(kept) } else { HashMap::new() };
        (all, kept.insert(of, Rc::clone(what)))
    });
    drop(outdated);
}
