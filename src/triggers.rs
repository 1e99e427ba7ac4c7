//! Owns vcache's triggers: what they do when a source is written to, and putting them on a source's family and taking them away.
//!
//! Before a statement that writes, its table is marked; after it, the clocks of the sources whose rows it may have changed advance,
//! once in a transaction. Nothing here waits for another transaction, and nothing depends on Redis or on `vcache.enabled`.

use crate::clock::{self, Scope};
use crate::error::Error;
use crate::mark;
use crate::namespace::{Registration, Registry};
use crate::pg::function::{Call, sql_function};
use crate::pg::inherits::{self, Family};
use crate::pg::relation::{self, Relation, RowVersion, Trigger, When};
use crate::pg::scan::{Table, View};
use crate::pg::spi::Connection;
use crate::pg::trigger::{self, Event, Fired};
use crate::pg::{access, catalog, lock};
use crate::source::{self, Functions, NEEDED, Needed, On, Watched};
use crate::tenant::{self, Divider};
use pgrx::pg_sys::{self, Datum, Oid, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::CString;

sql_function!(vcache_source_changed, pg_finfo_vcache_source_changed, source_changed);
sql_function!(vcache_ddl, pg_finfo_vcache_ddl, ddl);

fn source_changed(call: &Call) -> Datum {
    let Some(fired) = Fired::of(call) else { Error::NotATrigger.raise() };
    let table = fired.table();
    let written = source::written(&table, call.schema());
    if written.sources.is_empty() {
        return trigger::nothing();
    }
    let counted = written.is_counted;
    if fired.is_before() {
        mark::set(table.oid(), || counted.then(|| relation::changes(fired.relation(), true)).flatten());
    } else if fired.is_for_row() || has_changed(&fired, &written, counted) {
        advance(call.schema(), &written, fired.event() == Event::Truncate);
    }
    trigger::nothing()
}

/// Advances the clocks of what was written: of all its rows, or of those that have been noted.
fn advance(schema: Oid, written: &source::Written, all: bool) {
    for &Watched { source, is_whole, is_divided } in &written.sources {
        if is_whole {
            clock::advance(schema, Scope::Source(source));
        }
        let tenants = match is_divided {
            false => Vec::new(),
            true if all => vec![Scope::Tenants(source)],
            true => tenant::noted(source),
        };
        tenants.into_iter().for_each(|scope| clock::advance(schema, scope));
    }
}

/// Whether the statement may have changed an answer.
fn has_changed(fired: &Fired, written: &source::Written, counted: bool) -> bool {
    let changes = || relation::changes(fired.relation(), false);
    match fired.event() {
        Event::Truncate => true,
        Event::Update if written.read_columns.as_ref().is_some_and(|columns| !fired.sets_any_of(columns)) => false,
        // As many as before this transaction's first statement: none.
        _ if counted => mark::baseline(fired.table().oid()).zip(changes()).is_none_or(|(before, now)| before != now),
        _ => true,
    }
}

thread_local! {
    /// Set while vcache itself runs DDL.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// What a command may change that no shape shows: how values are rendered, compared, cast.
const FOR_ALL: [&str; 14] = [
    "ALTER TYPE",
    "ALTER DOMAIN",
    "DROP DOMAIN",
    "DROP TYPE",
    "CREATE CAST",
    "DROP CAST",
    "ALTER COLLATION",
    "ALTER OPERATOR",
    "ALTER OPERATOR CLASS",
    "ALTER OPERATOR FAMILY",
    "DROP OPERATOR",
    "CREATE EXTENSION",
    "ALTER EXTENSION",
    "DROP EXTENSION",
];

/// At the end of every DDL command: a change of a source's family is a change of the source, and new members get their triggers.
fn ddl(call: &Call) -> Datum {
    if AT_WORK.get() {
        return trigger::nothing();
    }
    let Some(command) = trigger::command(call) else { Error::NotATrigger.raise() };
    let schema = call.schema();
    if FOR_ALL.contains(&command) || (is_of_functions(command) && casts_are_changed()) {
        change_all(schema);
    } else if command.starts_with("ALTER TABLE")
        || command.starts_with("CREATE TABLE")
        || command.ends_with("FOREIGN TABLE")
    {
        for table in changed_tables() {
            table_changed(schema, table, command.starts_with("ALTER"));
            if trigger::makes_relatives(call) {
                guard_new_members(schema, table);
            }
        }
        if trigger::parts_relatives(call) {
            // What the command itself has to itself; the rest waits for the next change of a namespace.
            let is_free = |open: Table| lock::is_exclusive(&open) && !relation::is_in_use(&open);
            sweep(schema, |table| {
                access::is_owner(table) && lock::try_share(table) && Table::try_open(table).is_some_and(is_free)
            });
        }
    }
    trigger::nothing()
}

fn is_of_functions(command: &str) -> bool {
    ["CREATE ", "ALTER "]
        .iter()
        .any(|verb| command.strip_prefix(verb).is_some_and(|what| matches!(what, "FUNCTION" | "PROCEDURE" | "ROUTINE")))
}

/// Forgets, at commit, what is cached for every source.
fn change_all(schema: Oid) {
    mark::set(pg_sys::InvalidOid, || None);
    clock::advance_database(schema);
}

/// The tables that the current command has made or altered.
fn changed_tables() -> Vec<Oid> {
    let connection = Connection::open();
    let statement = c"SELECT DISTINCT objid FROM pg_catalog.pg_event_trigger_ddl_commands() \
                      WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
                      AND object_type OPERATOR(pg_catalog.=) ANY (ARRAY['table', 'foreign table', 'table column'])";
    let result = connection.write(statement, &[]);
    result.rows().filter_map(|row| row.oid(0).map(Oid::from)).collect()
}

/// Whether the current command has made or altered a function that a cast is made by.
fn casts_are_changed() -> bool {
    let connection = Connection::open();
    let statement = c"SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() c \
                      JOIN pg_catalog.pg_cast t ON t.castfunc OPERATOR(pg_catalog.=) c.objid \
                      WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass LIMIT 1";
    connection.write(statement, &[]).len() > 0
}

fn table_changed(schema: Oid, table: Oid, is_altered: bool) {
    let Some(written) = Table::try_open(table).map(|open| source::written(&open, schema)) else { return };
    if !written.sources.is_empty() {
        mark::set(table, || None);
        advance(schema, &written, true);
    } else if is_altered && catalog::is_row_type_in_use(table) {
        // A column of its row type is rendered by its columns.
        change_all(schema);
    }
}

/// Puts the triggers on those of a table's family that have none, if the current role owns them, and those for tenants where there
/// were no tenants. What somebody has switched off stays so, and like the lack of a trigger makes bypasses of searches.
fn guard_new_members(schema: Oid, table: Oid) {
    let is_written = |open: Table| !source::written(&open, schema).sources.is_empty();
    if !Table::try_open(table).is_some_and(is_written) {
        return;
    }
    for member in inherits::family(table).members {
        // Who has it locked changes it himself.
        if !access::is_owner(member) || !lock::try_share(member) {
            continue;
        }
        if let Some(Work { mut create, has_any, taken, .. }) = work_on(schema, member) {
            create.retain(|needed| (!has_any || needed.on == On::DividedLeaves) && !taken.contains(&needed.name));
            // What cannot be altered now, is without them until somebody puts them right: his command shall not fail for that.
            if !create.is_empty() && Table::try_open(member).is_some_and(|open| !relation::is_in_use(&open)) {
                create.iter().for_each(|needed| put(schema, member, needed));
            }
        }
    }
}

/// Puts the triggers on every member of a source's family, and keeps writers away until the transaction ends: from then on they know
/// of the registration. One that is made exact is for who owns the whole family. Tells when searches will not use the cache.
pub fn guard(schema: Oid, registration: &Registration, was_exact: bool) {
    if Functions::of(schema).source_changed == pg_sys::InvalidOid {
        Error::NotUpdated.raise();
    }
    let family = inherits::family(registration.source);
    if !was_exact {
        family.members.iter().for_each(|member| check_owner(*member, registration.source, &family));
    }
    let mut unguardable = None;
    for &member in &family.members {
        lock::exclude_writers(member);
        // This transaction's snapshot may be older than what others wrote before there were triggers.
        mark::set(member, || None);
        if let Some(Work { drop, create, taken, .. }) = work_on(schema, member) {
            if !drop.is_empty() || !create.is_empty() {
                check_owner(member, registration.source, &family);
            }
            drop.iter().for_each(|trigger| take_away(member, trigger));
            for needed in create {
                if taken.contains(&needed.name) {
                    Error::TriggerExists { trigger: needed.name.to_owned(), table: name_of(member) }.raise();
                }
                put(schema, member, needed);
            }
        }
        unguardable = unguardable.or_else(|| source::unguardable(&relation_of(member)?, || name_of(member)));
        lock::tell_of_change(member);
    }
    forget_tenants(schema, registration.source);
    if let Some(why) = unguardable {
        why.warn(&registration.name.to_string());
    }
}

/// Raises an error unless the current role may put triggers on a member of a source's family, where there are to be any.
fn check_owner(member: Oid, source: Oid, family: &Family) {
    let takes_triggers = relation_of(member).is_some_and(|relation| may_have_triggers(&relation));
    if takes_triggers && !access::is_owner(member) {
        let is_descendant = family.descendants.contains(&member);
        Error::NotOwnerOfRelative { relative: name_of(member), source: name_of(source), is_descendant }.raise();
    }
}

/// Has writers to a source find out anew what its namespaces read, or that there are none left: then the triggers go, from whatever
/// table no source needs any more. Those of the source's family that are another role's are named.
pub fn release(schema: Oid, source: Oid) {
    let family = inherits::family(source).members;
    let (needed, function) = (needed(schema), Functions::of(schema).source_changed);
    for &member in &family {
        let is_undivided = needed.contains(&member) && access::is_owner(member) && !is_divided(schema, member);
        if let Some(relation) = is_undivided.then(|| relation_of(member)).flatten() {
            let tells_tenants = |trigger: &&Trigger| {
                trigger.function == function && matches!(trigger.when, When::Row { .. }) && !trigger.is_clone
            };
            relation.triggers.iter().filter(tells_tenants).for_each(|trigger| take_away(member, &trigger.name));
        }
        lock::tell_of_change(member);
    }
    let mut kept = Vec::new();
    sweep(schema, |table| {
        let is_owner = access::is_owner(table);
        if is_owner {
            // Whoever registers a namespace meanwhile is waited for.
            lock::exclude_writers(table);
        } else if family.contains(&table) {
            kept.push(format!("\"{}\"", name_of(table)));
        }
        is_owner
    });
    if !kept.is_empty() {
        let message = "vcache's triggers stay on tables of other roles";
        ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "vcache")
            .set_detail(format!("They are on {}, which no source needs any more.", kept.join(", ")))
            .set_hint("They do no harm. They go when the owner, or a superuser, changes or drops a namespace.")
            .report(PgLogLevel::NOTICE);
    }
    forget_tenants(schema, source);
}

/// Takes vcache's triggers, by whatever names, from the tables that no source needs any more and that are `ours` to change.
fn sweep(schema: Oid, mut ours: impl FnMut(Oid) -> bool) {
    let outlived = || {
        let needed = needed(schema);
        let mut tables: Vec<_> = triggers_of(schema).into_iter().filter(|(table, _)| !needed.contains(table)).collect();
        tables.retain(|(table, _)| catalog::class(*table).is_some());
        tables
    };
    let mut tables: Vec<Oid> = outlived().into_iter().map(|(table, _)| table).collect();
    tables.dedup();
    tables.retain(|table| ours(*table));
    if tables.is_empty() {
        return;
    }
    // Once they are locked, it may be otherwise.
    for (table, trigger) in outlived() {
        if tables.contains(&table) {
            take_away(table, &trigger);
        }
    }
}

/// The tables that vcache's triggers must stand on.
fn needed(schema: Oid) -> HashSet<Oid> {
    let registrations = Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default();
    let sources: HashSet<Oid> = registrations.iter().filter(|one| one.is_exact()).map(|one| one.source).collect();
    sources.into_iter().flat_map(|source| inherits::family(source).members).collect()
}

/// The triggers that call vcache's function, with their tables, in the order of these.
fn triggers_of(schema: Oid) -> Vec<(Oid, String)> {
    let function = Functions::of(schema).source_changed;
    let connection = Connection::open();
    let statement = c"SELECT tgrelid, tgname::pg_catalog.text FROM pg_catalog.pg_trigger \
                      WHERE tgfoid OPERATOR(pg_catalog.=) $1 AND tgparentid OPERATOR(pg_catalog.=) 0 ORDER BY 1";
    let result = connection.write(statement, &[(pg_sys::OIDOID, Some(function.into()))]);
    result.rows().filter_map(|row| Some((Oid::from(row.oid(0)?), row.text(1)?.to_owned()))).collect()
}

/// Takes away the clocks of the tenants of a source that none of its namespaces divides any more.
fn forget_tenants(schema: Oid, source: Oid) {
    let registrations = Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default();
    let is_of = |one: &Registration| one.is_exact() && one.source == source && Divider::of(one).is_some();
    if !registrations.iter().any(is_of) {
        clock::forget_all(schema, Scope::tenants(source));
    }
}

/// Whether a table holds rows that some namespace tells apart by tenant.
fn is_divided(schema: Oid, table: Oid) -> bool {
    Table::try_open(table).is_some_and(|open| !source::written_now(&open, schema).divided.is_empty())
}

/// What is to be done to a table of a source's family.
struct Work {
    /// vcache's triggers that are none of those needed, by name and state.
    drop: Vec<String>,
    create: Vec<&'static Needed>,
    /// Whether there is a trigger of vcache's.
    has_any: bool,
    /// Names of needed triggers that others have.
    taken: Vec<&'static str>,
}

/// `None` where there are to be no triggers.
fn work_on(schema: Oid, table: Oid) -> Option<Work> {
    // What is open cannot be altered: it is closed again at once.
    let relation = relation_of(table).filter(may_have_triggers)?;
    let is_divided = is_divided(schema, table);
    let functions = Functions::of(schema);
    let is_needed = |needed: &&Needed| needed.is_for(&relation) && (is_divided || needed.on != On::DividedLeaves);
    let needed: Vec<&Needed> = NEEDED.iter().filter(is_needed).collect();
    let is = |needed: &Needed, trigger: &Trigger| trigger.name == needed.name && needed.is(trigger, &functions);
    let (ours, others): (Vec<_>, Vec<_>) =
        relation.triggers.iter().partition(|trigger| trigger.function == functions.source_changed);
    let is_misfit = |trigger: &&&Trigger| !trigger.is_clone && !needed.iter().any(|needed| is(needed, trigger));
    Some(Work {
        drop: ours.iter().filter(is_misfit).map(|trigger| trigger.name.clone()).collect(),
        has_any: !ours.is_empty(),
        taken: needed.iter().map(|needed| needed.name).filter(|name| others.iter().any(|t| t.name == *name)).collect(),
        create: needed.into_iter().filter(|needed| !ours.iter().any(|trigger| is(needed, trigger))).collect(),
    })
}

fn relation_of(table: Oid) -> Option<Relation> {
    Table::try_open(table).map(|open| relation::of(&open))
}

fn may_have_triggers(relation: &Relation) -> bool {
    matches!(relation.kind, b'r' | b'p') && relation.persistence != b't'
}

fn name_of(table: Oid) -> String {
    catalog::class(table).map_or_else(String::new, |class| class.name)
}

fn put(schema: Oid, table: Oid, needed: &Needed) {
    let Needed { name: trigger, sql, enabled, version, .. } = needed;
    let (name, function) = (catalog::qualified(table), function_name(schema, "vcache_source_changed"));
    let event = sql.replace("{table}", &name);
    let condition = version.map_or_else(String::new, |version| {
        let row = if version == RowVersion::New { "NEW" } else { "OLD" };
        format!("WHEN ({}({row}.tableoid, {row}.ctid)) ", function_name(schema, "vcache_row_changed"))
    });
    let when = if *enabled == b'A' { "ALWAYS" } else { "REPLICA" };
    run(&format!("CREATE TRIGGER {trigger} {event} {condition}EXECUTE FUNCTION {function}()"));
    run(&format!("ALTER TABLE ONLY {name} ENABLE {when} TRIGGER {trigger}"));
    // They go with the extension, which needs no CASCADE for that.
    run(&format!("ALTER TRIGGER {trigger} ON {name} DEPENDS ON EXTENSION vcache"));
}

fn take_away(table: Oid, trigger: &str) {
    run(&format!("DROP TRIGGER {} ON {}", catalog::quoted(trigger), catalog::qualified(table)));
}

fn function_name(schema: Oid, name: &str) -> String {
    format!("{}.{name}", catalog::quoted(&catalog::schema_name(schema)))
}

/// Runs a command of vcache's own, which its event trigger passes over.
fn run(statement: &str) {
    /// An ERROR on its way ends the work as well.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            AT_WORK.set(false);
        }
    }
    AT_WORK.set(true);
    let _done = Done;
    // Names come from catalogs, and hold no zero byte.
    let statement = CString::new(statement).unwrap_or_default();
    Connection::open().write(&statement, &[]);
}
