//! Owns registering: `vcache_create_namespace`, `vcache_alter_namespace`, `vcache_drop_namespace`.
//!
//! Whoever owns the source owns the namespace: the functions may be called by all and check that inside. The registry itself
//! belongs to the extension's owner, as whom the row is written.

use super::row::{check_owner, delete, insert, take_turns};
use super::{Definition, EXACT, Name, Registration, Registry, TTL};
use crate::clock::{self, Scope};
use crate::engine::{self, Engine};
use crate::error::Error;
use crate::pg::catalog::{self, Class};
use crate::pg::function::{Call, Interval, sql_function};
use crate::pg::scan::{Table, View};
use crate::pg::snapshot::Newer;
use crate::pg::spi::{Connection, jsonb_text};
use crate::pg::{array, guc, random, transaction, varlena};
use crate::triggers;
use pgrx::pg_sys::{self, Datum, Oid, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::ffi::CString;

sql_function!(vcache_create_namespace, pg_finfo_vcache_create_namespace, create);
sql_function!(vcache_alter_namespace, pg_finfo_vcache_alter_namespace, alter);
sql_function!(vcache_drop_namespace, pg_finfo_vcache_drop_namespace, drop_namespace);

/// The options that `vcache_alter_namespace` takes.
const OPTIONS: &[&str] = &[
    "vector_column",
    "id_column",
    "metric",
    "payload_columns",
    "filter_columns",
    "metadata_column",
    "namespace_column",
    "freshness",
    "ttl",
    "fetch_k",
    "search_settings",
    "rls_settings",
];

fn create(call: &Call) -> Datum {
    match try_create(call) {
        Ok(()) => call.void(),
        Err(error) => error.raise(),
    }
}

fn alter(call: &Call) -> Datum {
    match try_alter(call) {
        Ok(()) => call.void(),
        Err(error) => error.raise(),
    }
}

fn drop_namespace(call: &Call) -> Datum {
    match try_drop(call) {
        Ok(()) => call.void(),
        Err(error) => error.raise(),
    }
}

fn try_create(call: &Call) -> Result<(), Error> {
    transaction::prevent_unless_writable(c"vcache_create_namespace()");
    let name = Name::parse(call.text(0).ok_or(Error::NullArgument("namespace"))?)?;
    let oid = call.oid(1).ok_or(Error::NullArgument("source"))?;
    let vector_column = call.name(2).ok_or(Error::NullArgument("vector_column"))?;
    // Objects of before 0.6.0 know of no filters.
    let has_filters = call.count() > 12;
    let behind = if has_filters { 8 } else { 6 };
    // Nor those of before 0.7.0 of rls_settings.
    let rls_settings = (call.count() > 14).then(|| call.datum(behind + 5)).flatten();
    let if_not_exists = call.bool(call.count() - 1).unwrap_or(false);
    let registry = Registry::open(call.schema())?;
    let (source, class) = open_source(oid, &name)?;
    let _newer = Newer::with_own_writes();
    if registry.get(&name).is_some() {
        if if_not_exists {
            pgrx::notice!("namespace \"{name}\" already exists, skipping");
            return Ok(());
        }
        return Err(Error::NamespaceExists(name.to_string()));
    }
    // The more special name would take searches away from the pattern, so it is for who owns that one.
    if let Some(covering) = registry.covering(&name.prefix, View::Caller, Registration::read)
        && let Some(class) = catalog::class(covering.source)
    {
        check_owner(covering.source, &class);
    }
    let freshness = call.text(behind + 1).unwrap_or(EXACT).to_owned();
    // Before what is not said is looked for: of a view, nothing is found.
    check_freshness(&freshness, &class)?;
    let registration = Registration {
        id_column: match call.name(3) {
            Some(column) => column,
            None => primary_key(&source, &class)?,
        },
        metric: metric(&source, &class, &vector_column, call.text(4))?,
        payload_columns: call.datum(5).map(|names| array::read_texts(names, pg_sys::NAMEOID)).transpose()?,
        filter_columns: call
            .datum(6)
            .filter(|_| has_filters)
            .map(|names| array::read_texts(names, pg_sys::NAMEOID))
            .transpose()?,
        metadata_column: has_filters.then(|| call.name(7)).flatten(),
        namespace_column: call.name(behind),
        freshness,
        ttl: call.interval(behind + 2),
        fetch_k: call.i32(behind + 3),
        search_settings: call.datum(behind + 4).map(|json| search_settings(&jsonb_text(json), &source)).transpose()?,
        rls_settings: rls_settings.map(|names| array::read_texts(names, pg_sys::TEXTOID)).transpose()?.map(small),
        revision: random::bits(),
        source: oid,
        vector_column,
        name,
    };
    let definition = check(&registry, &registration, &source, &class)?;
    insert(&registry, &registration);
    tell_of_shared_index(&definition);
    // What is open cannot be given triggers.
    drop(source);
    if registration.is_exact() {
        triggers::guard(call.schema(), &registration, false);
    }
    Ok(())
}

fn try_alter(call: &Call) -> Result<(), Error> {
    transaction::prevent_unless_writable(c"vcache_alter_namespace()");
    let name = Name::parse(call.text(0).ok_or(Error::NullArgument("namespace"))?)?;
    let options = jsonb_text(call.datum(1).ok_or(Error::NullArgument("options"))?);
    if !options.starts_with('{') {
        return Err(Error::Options);
    }
    let registry = Registry::open(call.schema())?;
    let registration = registry.get(&name).ok_or_else(|| unknown(&name, &registry))?;
    open_source(registration.source, &name)?;
    // Every column is written again below: another's change that is under way is waited for, and read.
    take_turns(&registry);
    let _newer = Newer::with_own_writes();
    let mut registration = registry.get(&name).ok_or_else(|| unknown(&name, &registry))?;
    let before = registration.clone();
    let (source, class) = open_source(registration.source, &name)?;
    let connection = Connection::open();
    let text = varlena::text_datum(&options);
    let list = c"SELECT key, pg_catalog.jsonb_typeof(value), value OPERATOR(pg_catalog.#>>) '{}' \
                 FROM pg_catalog.jsonb_each($1::pg_catalog.jsonb)";
    for row in connection.write(list, &[(pg_sys::TEXTOID, Some(text))]).rows() {
        let (option, kind) = (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default());
        let value = row.text(2).filter(|_| kind != "null");
        set(&mut registration, option, kind, value, &source, &class)?;
    }
    drop(connection);
    registration.revision = random::bits();
    check(&registry, &registration, &source, &class)?;
    delete(&registry, &name)?;
    insert(&registry, &registration);
    drop(source);
    clock::forget(call.schema(), Scope::Registration(before.revision));
    if registration.is_exact() {
        triggers::guard(call.schema(), &registration, before.is_exact());
    } else {
        triggers::release(call.schema(), registration.source);
    }
    Ok(())
}

fn try_drop(call: &Call) -> Result<(), Error> {
    transaction::prevent_unless_writable(c"vcache_drop_namespace()");
    let name = Name::parse(call.text(0).ok_or(Error::NullArgument("namespace"))?)?;
    let registry = Registry::open(call.schema())?;
    let Some(registration) = registry.get(&name) else {
        if call.bool(1).unwrap_or(false) {
            pgrx::notice!("namespace \"{name}\" does not exist, skipping");
            return Ok(());
        }
        return Err(unknown(&name, &registry));
    };
    // A source that is gone has no owner left to ask for.
    if let Some(class) = catalog::class(registration.source) {
        check_owner(registration.source, &class);
    }
    take_turns(&registry);
    let _newer = Newer::with_own_writes();
    delete(&registry, &name)?;
    clock::forget(call.schema(), Scope::Registration(registration.revision));
    triggers::release(call.schema(), registration.source);
    Ok(())
}

fn unknown(name: &Name, registry: &Registry) -> Error {
    Error::UnknownNamespace { name: name.to_string(), known: registry.names() }
}

/// The source, if it is a table that may be one and that the current role owns.
fn open_source(oid: Oid, name: &Name) -> Result<(Table, Class), Error> {
    let gone = || Error::SourceGone(name.to_string());
    let source = Table::try_open(oid).ok_or_else(gone)?;
    let class = catalog::class(oid).ok_or_else(gone)?;
    if !matches!(class.kind, b'r' | b'p' | b'v' | b'm' | b'f') {
        return Err(Error::NotATable(class.name));
    }
    if class.persistence == b't' {
        return Err(Error::TemporarySource(class.name));
    }
    check_owner(oid, &class);
    Ok((source, class))
}

fn primary_key(source: &Table, class: &Class) -> Result<String, Error> {
    match catalog::primary_key_columns(source).as_slice() {
        [] => Err(Error::NoPrimaryKey(class.name.clone())),
        [number] => {
            let columns = catalog::columns(source);
            let column = columns.into_iter().find(|column| column.number == *number);
            column.map(|column| column.name).ok_or_else(|| Error::NoPrimaryKey(class.name.clone()))
        }
        _ => Err(Error::CompositePrimaryKey(class.name.clone())),
    }
}

/// The metric's name: of the one that was given, or of the one that the column's indexes have.
fn metric(source: &Table, class: &Class, vector: &str, given: Option<&str>) -> Result<String, Error> {
    if let Some(given) = given {
        return Ok(engine::metric_name(given).to_owned());
    }
    let columns = catalog::columns(source);
    let column = columns.iter().find(|column| column.name == vector);
    let column = column.ok_or_else(|| Error::UnknownColumn { table: class.name.clone(), column: vector.to_owned() })?;
    Engine::of(column)?;
    // An index knows its metric by the operator that its operator class orders by.
    let connection = Connection::open();
    let result = connection.write(
        c"SELECT DISTINCT o.oprname::pg_catalog.text FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_opclass k ON k.oid OPERATOR(pg_catalog.=) i.indclass[0] \
          JOIN pg_catalog.pg_amop a ON a.amopfamily OPERATOR(pg_catalog.=) k.opcfamily \
            AND a.amoppurpose OPERATOR(pg_catalog.=) 'o' AND a.amoplefttype OPERATOR(pg_catalog.=) $3 \
          JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) a.amopopr \
          WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indkey[0] OPERATOR(pg_catalog.=) $2 AND i.indisvalid \
          ORDER BY 1",
        &[
            (pg_sys::OIDOID, Some(source.oid().into())),
            (pg_sys::INT2OID, Some(column.number.into())),
            (pg_sys::OIDOID, Some(column.kind.into())),
        ],
    );
    let mut metrics: Vec<String> =
        result.rows().filter_map(|row| row.text(0).map(|name| engine::metric_name(name).to_owned())).collect();
    match metrics.len() {
        0 => Err(Error::NoMetric { table: class.name.clone(), column: vector.to_owned() }),
        1 => Ok(metrics.remove(0)),
        _ => Err(Error::AmbiguousMetric { column: vector.to_owned(), metrics }),
    }
}

/// Sets one option as `vcache_alter_namespace` is given it; `None` resets it.
fn set(
    registration: &mut Registration,
    option: &str,
    kind: &str,
    value: Option<&str>,
    source: &Table,
    class: &Class,
) -> Result<(), Error> {
    let must = |expected: &'static str, fits: bool| {
        if value.is_none() || fits { Ok(()) } else { Err(Error::OptionType { option: option.to_owned(), expected }) }
    };
    let text = || must("a string", kind == "string").map(|()| value.map(str::to_owned));
    match option {
        "vector_column" => {
            let missing = Error::OptionType { option: option.to_owned(), expected: "the name of a column" };
            registration.vector_column = text()?.ok_or(missing)?;
        }
        "id_column" => {
            registration.id_column = match text()? {
                Some(column) => column,
                None => primary_key(source, class)?,
            }
        }
        "metric" => registration.metric = metric(source, class, &registration.vector_column, text()?.as_deref())?,
        "payload_columns" => {
            must("an array of strings", kind == "array")?;
            registration.payload_columns = value.map(strings);
        }
        "filter_columns" => {
            must("an array of strings", kind == "array")?;
            registration.filter_columns = value.map(strings);
        }
        "metadata_column" => registration.metadata_column = text()?,
        "namespace_column" => registration.namespace_column = text()?,
        "freshness" => registration.freshness = text()?.unwrap_or_else(|| EXACT.to_owned()),
        "ttl" => registration.ttl = text()?.map(|value| interval_of(&value)),
        "fetch_k" => {
            let number = value.and_then(|value| value.parse().ok());
            must("an integer", kind == "number" && number.is_some())?;
            registration.fetch_k = number;
        }
        "search_settings" => {
            must("an object", kind == "object")?;
            registration.search_settings = value.map(|json| search_settings(json, source)).transpose()?;
        }
        "rls_settings" => {
            must("an array of strings", kind == "array")?;
            registration.rls_settings = value.map(|json| small(strings(json)));
        }
        _ => {
            return Err(Error::UnknownOption { option: option.to_owned(), known: OPTIONS });
        }
    }
    Ok(())
}

fn interval_of(text: &str) -> Interval {
    let text = CString::new(text).unwrap_or_default();
    crate::pg::function::interval(catalog::value_of_text(pg_sys::INTERVALOID, -1, &text))
}

/// The elements of a JSON array of strings.
fn strings(json: &str) -> Vec<String> {
    let connection = Connection::open();
    let list = c"SELECT pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb)";
    let result = connection.write(list, &[(pg_sys::TEXTOID, Some(varlena::text_datum(json)))]);
    result.rows().filter_map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Names of settings are the same in any case.
fn small(mut names: Vec<String>) -> Vec<String> {
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names
}

/// `{"name": value}` as `name=value`, if the current role may set it so.
fn search_settings(json: &str, source: &Table) -> Result<Vec<String>, Error> {
    // A setting of a library that is not loaded takes any value.
    catalog::columns(source).iter().filter(|column| Engine::of(column).is_ok()).for_each(|column| {
        catalog::load_library_of(column.kind);
    });
    if !json.starts_with('{') {
        return Err(Error::OptionType { option: "search_settings".to_owned(), expected: "an object" });
    }
    let connection = Connection::open();
    let list = c"SELECT key, pg_catalog.jsonb_typeof(value), value OPERATOR(pg_catalog.#>>) '{}' \
                 FROM pg_catalog.jsonb_each($1::pg_catalog.jsonb) ORDER BY 1";
    let result = connection.write(list, &[(pg_sys::TEXTOID, Some(varlena::text_datum(json)))]);
    let mut settings = Vec::new();
    for row in result.rows() {
        let (name, kind) = (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default());
        if !matches!(kind, "string" | "number" | "boolean") {
            return Err(Error::OptionType { option: name.to_owned(), expected: "a string, a number or a boolean" });
        }
        settings.push(format!("{name}={}", row.text(2).unwrap_or_default()));
    }
    let temporarily = guc::Temporarily::new();
    for (name, value) in super::settings(&settings)? {
        temporarily.set(&name, &value);
    }
    Ok(settings)
}

fn check_freshness(freshness: &str, class: &Class) -> Result<(), Error> {
    match freshness {
        EXACT if !matches!(class.kind, b'r' | b'p') => Err(Error::TtlOnly(class.name.clone())),
        EXACT | TTL => Ok(()),
        _ => Err(Error::Freshness(freshness.to_owned())),
    }
}

/// Everything that can be known about a registration before it is used.
fn check(registry: &Registry, registration: &Registration, source: &Table, class: &Class) -> Result<Definition, Error> {
    if registration.ttl.is_some_and(|ttl| ttl.total_microseconds() < 0) {
        return Err(Error::Ttl);
    }
    if let Some(given) = registration.fetch_k.filter(|given| *given < 1) {
        return Err(Error::FetchK(given));
    }
    let is_filtered = registration.filter_columns.is_some() || registration.metadata_column.is_some();
    let is_older = |column| !registry.knows(column);
    if is_filtered && is_older("metadata_column") || registration.rls_settings.is_some() && is_older("rls_settings") {
        return Err(Error::NotUpdated);
    }
    // The engine's statement runs with the namespace's own.
    let is_unfit = |name: &&String| name.is_empty() || name.contains('\0') || engine::is_engine_setting(name);
    if let Some(name) = registration.rls_settings.iter().flatten().find(is_unfit) {
        return Err(Error::RlsSetting(name.clone()));
    }
    check_freshness(&registration.freshness, class)?;
    if registration.name.is_pattern && registration.namespace_column.is_none() {
        return Err(Error::PatternWithoutColumn(registration.name.to_string()));
    }
    // In a registration that is just being made, a missing column was never there.
    match Definition::derive(registration, source) {
        Err(Error::SourceColumnGone { column, .. }) => Err(Error::UnknownColumn { table: class.name.clone(), column }),
        Err(error) => Err(error),
        Ok(Definition { is_exact: true, shows_names: Some(column), .. }) => {
            Err(Error::ShowsNames { column: column.name, kind: catalog::type_text(column.kind) })
        }
        Ok(definition) => {
            if !registration.name.is_pattern {
                // The name is the value: one that is none of the column's type would never find a row.
                definition.tenant_value(&registration.name.prefix);
            }
            Ok(definition)
        }
    }
}

/// Tells who registers tenants when an index that serves them all will leave their searches with few rows.
fn tell_of_shared_index(definition: &Definition) {
    let Some(tenant) = definition.tenant.as_ref().filter(|_| definition.engine.filters_candidates()) else { return };
    let index = engine::index_of_all(definition.source, definition.vector, definition.distance, Some(tenant.number));
    if let Some(index) = index {
        let message = format!("searches of one \"{}\" may come back with few rows", tenant.name);
        ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "vcache")
            .set_detail(format!(
                "RuVector takes a hundred candidates or so from index {}, whosever they are, and leaves out the others' afterwards.",
                index.name
            ))
            .set_hint(format!(
                "Make an index for each \"{0}\" instead (CREATE INDEX … WHERE {0} = …), or a partition for each.",
                tenant.name
            ))
            .report(PgLogLevel::NOTICE);
    }
}
