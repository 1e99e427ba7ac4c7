//! Owns vcache's triggers: what they do when a source is written to, and putting them on a source's family and taking them away.
//!
//! Before a statement that writes, its table is marked; after it, the clocks of the sources whose rows it may have changed advance,
//! once in a transaction. Nothing here waits for another transaction, and nothing depends on Redis or on `vcache.enabled`.

use crate::clock::{self, Scope};
use crate::error::Error;
use crate::mark;
use crate::namespace::{Registration, Registry};
use crate::pg::function::{Call, sql_function};
use crate::pg::inherits;
use crate::pg::relation::{self, Relation, RowVersion};
use crate::pg::scan::{Table, View};
use crate::pg::spi::Connection;
use crate::pg::trigger::{self, Event, Fired};
use crate::pg::{access, catalog, lock};
use crate::source::{self, Functions, NEEDED, Needed, On, Watched};
use crate::tenant::{self, Divider};
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::Cell;
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
    let function = Functions::of(schema).source_changed;
    for member in inherits::family(table).members {
        // Who has it locked changes it himself.
        if access::is_owner(member) && lock::try_share(member) {
            install(schema, member, |relation, needed| {
                let has_none = relation.triggers.iter().all(|other| other.function != function);
                let is_absent = relation.triggers.iter().all(|other| other.name != needed.name);
                has_none || needed.on == On::DividedLeaves && is_absent
            });
        }
    }
}

/// Puts the triggers on every member of a source's family, and keeps writers away until the transaction ends: from then on they know
/// of the registration.
pub fn guard(schema: Oid, source: Oid) {
    if Functions::of(schema).source_changed == pg_sys::InvalidOid {
        Error::NotUpdated.raise();
    }
    for member in inherits::family(source).members {
        lock::exclude_writers(member);
        // This transaction's snapshot may be older than what others wrote before there were triggers.
        mark::set(member, || None);
        install(schema, member, |_, _| true);
        lock::tell_of_change(member);
    }
    forget_tenants(schema, source);
}

/// Has writers to a source find out anew what its namespaces read, or that there are none left: then the triggers go.
pub fn release(schema: Oid, source: Oid) {
    let registrations = Registry::open(schema).map(|registry| registry.all(View::Latest)).unwrap_or_default();
    for member in inherits::family(source).members {
        let family = inherits::family(member);
        let is_used = registrations.iter().any(|other| other.is_exact() && family.members.contains(&other.source));
        if access::is_owner(member) {
            remove(schema, member, |needed| !is_used || needed.on == On::DividedLeaves && !is_divided(schema, member));
        }
        lock::tell_of_change(member);
    }
    forget_tenants(schema, source);
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

/// Puts those triggers on a table that are missing and wanted, and takes away what tells tenants apart that nobody does any more.
fn install(schema: Oid, table: Oid, is_wanted: impl Fn(&Relation, &Needed) -> bool) {
    // What is open cannot be altered: it is closed again at once.
    let Some(relation) = Table::try_open(table).map(|open| relation::of(&open)) else { return };
    if !matches!(relation.kind, b'r' | b'p') || relation.persistence == b't' {
        return;
    }
    let is_divided = is_divided(schema, table);
    if !is_divided {
        remove(schema, table, |needed| needed.on == On::DividedLeaves);
    }
    let missing = source::missing(&relation, &Functions::of(schema));
    let missing = missing.into_iter().filter(|needed| is_divided || needed.on != On::DividedLeaves);
    let (name, function) = (catalog::qualified(table), function_name(schema, "vcache_source_changed"));
    let row_changed = function_name(schema, "vcache_row_changed");
    for needed @ Needed { name: trigger, sql, enabled, version, .. } in missing {
        if !is_wanted(&relation, needed) {
            continue;
        }
        let there = relation.triggers.iter().any(|there| there.name == *trigger);
        let event = sql.replace("{table}", &name);
        let condition = version.map_or_else(String::new, |version| {
            let row = if version == RowVersion::New { "NEW" } else { "OLD" };
            format!("WHEN ({row_changed}({row}.tableoid, {row}.ctid)) ")
        });
        if there {
            run(&format!("DROP TRIGGER {trigger} ON {name}"));
        }
        let when = if *enabled == b'A' { "ALWAYS" } else { "REPLICA" };
        run(&format!("CREATE TRIGGER {trigger} {event} {condition}EXECUTE FUNCTION {function}()"));
        run(&format!("ALTER TABLE ONLY {name} ENABLE {when} TRIGGER {trigger}"));
        // They go with the extension, which needs no CASCADE for that.
        run(&format!("ALTER TRIGGER {trigger} ON {name} DEPENDS ON EXTENSION vcache"));
    }
}

fn remove(schema: Oid, table: Oid, is_outlived: impl Fn(&Needed) -> bool) {
    let function = Functions::of(schema).source_changed;
    let Some(relation) = Table::try_open(table).map(|open| relation::of(&open)) else { return };
    let ours = relation.triggers.iter().filter(|trigger| trigger.function == function);
    let goes = |name: &str| NEEDED.iter().any(|needed| needed.name == name && is_outlived(needed));
    for trigger in ours.filter(|trigger| goes(&trigger.name)) {
        run(&format!("DROP TRIGGER {} ON {}", catalog::quoted(&trigger.name), catalog::qualified(table)));
    }
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
