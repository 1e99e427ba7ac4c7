//! Owns the registry of namespaces: what a row of `vcache_namespace` says, and finding the one that a name means.
//!
//! A search reads the row with its own snapshot, on every call: a registration is seen exactly when the transaction that
//! made it is. What the row means (columns, operators, the engine's statement) is derived from the catalogs once per
//! backend, and anew when the row's version or the catalogs have changed.

mod invalidate;
mod register;
mod row;

use crate::access::rights::{self, Rights};
use crate::clock;
use crate::engine::{Engine, Statement};
use crate::error::Error;
use crate::filter::Filterable;
use crate::pg::catalog::{self, Column, Operator};
use crate::pg::function::{Interval, interval};
use crate::pg::scan::{self, Condition, Table, Tuple, View};
use crate::pg::snapshot::Sight;
use crate::pg::{array, invalidation, relation, time, transaction, varlena};
use crate::tenant::Divider;
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;

/// The longest name of a namespace, in bytes: what a slot of the statistics holds.
pub const MAX_NAME_BYTES: usize = 200;

/// The kinds of freshness.
pub const EXACT: &str = "exact";
pub const TTL: &str = "ttl";

/// The columns of `vcache_namespace` (sql/catalog.sql), from 1.
mod column {
    pub const IS_PATTERN: i16 = 1;
    pub const PREFIX: i16 = 2;
    pub const REVISION: i16 = 3;
    pub const SOURCE: i16 = 4;
    pub const VECTOR: i16 = 5;
    pub const ID: i16 = 6;
    pub const METRIC: i16 = 7;
    pub const PAYLOAD: i16 = 8;
    pub const TENANT: i16 = 9;
    pub const FRESHNESS: i16 = 10;
    pub const TTL: i16 = 11;
    pub const FETCH_K: i16 = 12;
    pub const SEARCH_SETTINGS: i16 = 13;
    pub const FILTER: i16 = 14;
    pub const METADATA: i16 = 15;
    pub const RLS_SETTINGS: i16 = 16;
}

/// A name as it is registered: `docs`, or a pattern such as `docs/*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    pub is_pattern: bool,
    /// The name, without the `*` of a pattern.
    pub prefix: String,
}

impl Name {
    /// # Errors
    /// [`Error::NamespaceName`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_name(text)?;
        Ok(match text.strip_suffix('*') {
            Some(prefix) => Self { is_pattern: true, prefix: prefix.to_owned() },
            None => Self { is_pattern: false, prefix: text.to_owned() },
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.prefix, if self.is_pattern { "*" } else { "" })
    }
}

fn check_name(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::NamespaceName("must not be empty"));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(Error::NamespaceName("must not be longer than 200 bytes"));
    }
    Ok(())
}

/// A row of the registry, as it stands.
#[derive(Debug, Clone)]
pub struct Registration {
    pub name: Name,
    pub revision: i64,
    pub source: Oid,
    pub vector_column: String,
    pub id_column: String,
    pub metric: String,
    pub payload_columns: Option<Vec<String>>,
    pub filter_columns: Option<Vec<String>>,
    pub metadata_column: Option<String>,
    pub namespace_column: Option<String>,
    pub freshness: String,
    pub ttl: Option<Interval>,
    pub fetch_k: Option<i32>,
    /// Each `name=value`.
    pub search_settings: Option<Vec<String>>,
    /// The settings that row-level security may depend on, in small letters; `None` where nothing is said of it.
    pub rls_settings: Option<Vec<String>>,
}

impl Registration {
    /// Whether a hit must be what the database would have answered.
    pub fn is_exact(&self) -> bool {
        self.freshness == EXACT
    }

    /// The columns that every search reads, by name; `*` for all but the vector's.
    pub fn named_columns(&self) -> Vec<&str> {
        let payload = self.payload_columns.iter().flatten().map(String::as_str);
        [self.vector_column.as_str(), &self.id_column]
            .into_iter()
            .chain(self.namespace_column.as_deref())
            .chain(payload)
            .collect()
    }

    /// Whether a search reads this column. Policies may read any, and may be made later.
    pub fn reads(&self, column: &str) -> bool {
        let filter = self.filter_columns.iter().flatten().chain(&self.metadata_column);
        self.rls_settings.is_some()
            || self.named_columns().iter().any(|name| *name == column || *name == "*")
            || filter.into_iter().any(|name| name == column)
    }

    fn read(row: &Tuple) -> Option<Self> {
        let text = |n| row.get(n).map(|datum| varlena::text(datum).to_owned());
        let name = |n| row.get(n).map(varlena::name);
        let list = |n, kind| row.get(n).and_then(|datum| array::read_texts(datum, kind).ok());
        Some(Self {
            name: Name { is_pattern: row.get(column::IS_PATTERN)?.value() & 1 == 1, prefix: text(column::PREFIX)? },
            revision: row.get(column::REVISION)?.value() as i64,
            source: Oid::from(row.get(column::SOURCE)?.value() as u32),
            vector_column: name(column::VECTOR)?,
            id_column: name(column::ID)?,
            metric: text(column::METRIC)?,
            payload_columns: list(column::PAYLOAD, pg_sys::NAMEOID),
            filter_columns: list(column::FILTER, pg_sys::NAMEOID),
            metadata_column: name(column::METADATA),
            namespace_column: name(column::TENANT),
            freshness: text(column::FRESHNESS)?,
            ttl: row.get(column::TTL).map(interval),
            fetch_k: row.get(column::FETCH_K).map(|datum| datum.value() as i32),
            search_settings: list(column::SEARCH_SETTINGS, pg_sys::TEXTOID),
            rls_settings: list(column::RLS_SETTINGS, pg_sys::TEXTOID),
        })
    }
}

/// What a registration means, as the catalogs stand.
pub struct Definition {
    pub name: Name,
    pub revision: i64,
    pub source: Oid,
    pub engine: Engine,
    /// The vector's column, from 1.
    pub vector: i16,
    /// The operator that rows are ordered by.
    pub distance: Oid,
    /// The dimensions that the vector's column is declared with.
    pub dimensions: Option<usize>,
    /// The columns that a search reads (from 1), for the check of privileges.
    pub read_columns: Vec<i16>,
    /// Those columns by name and type: what an entry holds depends on them.
    pub shape: String,
    /// What a search may have conditions on.
    pub filterable: Filterable,
    pub tenant: Option<Column>,
    /// How that column gives each tenant's rows a clock, if it can.
    pub divider: Option<Divider>,
    pub is_exact: bool,
    /// A column of an answer whose values are shown by names that are no part of the source.
    pub shows_names: Option<Column>,
    /// The functions by which values of the payload are made json, besides PostgreSQL's own.
    pub json_casts: Vec<Oid>,
    /// In microseconds.
    pub ttl: Option<i64>,
    pub fetch_k: Option<u32>,
    /// The settings that row-level security may depend on, if that is said.
    pub rls_settings: Option<Vec<String>>,
    /// Whether other roles may see other rows of it though no row-level security says so: by a view, or by foreign tables.
    pub depends_on_role: bool,
    /// The functions that the engine's statement calls by its operators.
    pub functions: Vec<Oid>,
    /// What decides which rows a role sees, as far as it has been asked for.
    pub rights: RefCell<Vec<Rc<Rights>>>,
    /// What the engine's statement is run with.
    pub search_settings: Vec<(CString, CString)>,
    pub statement: Statement,
    /// What vcache_invalidate has made of it, with the generation that this was read in.
    pub forgotten: Cell<Option<(u64, u128)>>,
    generation: u64,
}

impl Definition {
    /// Derives what a registration means; `source` is its open source.
    ///
    /// # Errors
    /// Whatever in the registration no longer fits the catalogs.
    pub fn derive(registration: &Registration, source: &Table) -> Result<Self, Error> {
        invalidation::watch(registration.source);
        let generation = invalidation::generation();
        let columns = catalog::columns(source);
        let find = |name: &str| {
            columns.iter().find(|column| column.name == name).ok_or_else(|| Error::SourceColumnGone {
                namespace: registration.name.to_string(),
                column: name.to_owned(),
            })
        };
        let vector = find(&registration.vector_column)?;
        let engine = Engine::of(vector)?;
        let operator = engine.operator(&registration.metric, vector)?;
        let id = find(&registration.id_column)?;
        let tenant = registration.namespace_column.as_deref().map(find).transpose()?;
        let payload: Vec<&Column> = match registration.payload_columns.as_deref() {
            None => Vec::new(),
            Some([all]) if all == "*" => columns.iter().filter(|column| column.number != vector.number).collect(),
            Some(names) => names.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
        };
        let filtered = registration.filter_columns.iter().flatten().map(|name| find(name));
        let filterable = Filterable::new(
            registration.source,
            filtered.collect::<Result<Vec<_>, _>>()?,
            registration.metadata_column.as_deref().map(find).transpose()?,
        )?;
        let equality = tenant.map(equality).transpose()?;
        let search_settings = settings(registration.search_settings.as_deref().unwrap_or_default())?;
        let mut read: Vec<&Column> = vec![id, vector];
        read.extend(tenant);
        read.extend(&payload);
        Ok(Self {
            name: registration.name.clone(),
            revision: registration.revision,
            source: registration.source,
            vector: vector.number,
            distance: operator.oid,
            dimensions: engine.declared_dimensions(vector),
            read_columns: read.iter().map(|column| column.number).collect(),
            shape: read
                .iter()
                .map(|column| {
                    format!("{}:{}:{} ", catalog::quoted(&column.name), column.kind.to_u32(), column.modifier)
                })
                .collect(),
            is_exact: registration.is_exact(),
            shows_names: payload
                .iter()
                .chain([&id])
                .find(|column| catalog::shows_names(column.kind))
                .map(|column| Column::clone(column)),
            json_casts: payload.iter().flat_map(|column| catalog::casts_to_json(column.kind)).collect(),
            ttl: registration.ttl.map(Interval::total_microseconds),
            fetch_k: registration.fetch_k.and_then(|k| u32::try_from(k).ok()),
            rls_settings: registration.rls_settings.clone(),
            depends_on_role: depends_on_role(registration, source),
            functions: [Some(&operator), equality.as_ref()]
                .into_iter()
                .flatten()
                .map(|operator| catalog::function_of_operator(operator.oid))
                .collect(),
            rights: RefCell::default(),
            search_settings,
            statement: Statement::new(&engine, source, id, vector, &operator, tenant.zip(equality.as_ref()), &payload),
            divider: tenant.and_then(|column| Divider::new(registration.source, column)),
            filterable,
            tenant: tenant.cloned(),
            forgotten: Cell::new(None),
            engine,
            generation,
        })
    }

    /// What the column of the namespace's value must hold: the name, or what the `*` of a pattern stands for, as the column's type.
    /// Raises the type's own error, with a hint at
    /// the column.
    pub fn tenant_value(&self, name: &str) -> Option<Datum> {
        let column = self.tenant.as_ref()?;
        let text = if self.name.is_pattern { name.strip_prefix(&self.name.prefix).unwrap_or(name) } else { name };
        // Arguments of type text hold no zero byte.
        let text = CString::new(text).unwrap_or_default();
        Some(catalog::value_of_text_or(column.kind, column.modifier, &text, || {
            let kind = catalog::type_text(column.kind);
            let pattern = if self.name.is_pattern { format!(", by pattern \"{}\",", self.name) } else { String::new() };
            format!(
                "Namespace \"{name}\"{pattern} is the rows of a value of column \"{}\", of type {kind}.",
                column.name
            )
        }))
    }
}

fn depends_on_role(registration: &Registration, source: &Table) -> bool {
    let kind = relation::of(source).kind;
    // With exact freshness, a foreign table among them makes bypasses of all searches.
    kind == b'v' || !registration.is_exact() && !rights::foreign_members(source.oid(), kind).is_empty()
}

fn equality(column: &Column) -> Result<Operator, Error> {
    catalog::equality(column.kind)
        .ok_or_else(|| Error::NoEquality { column: column.name.clone(), kind: catalog::type_text(column.kind) })
}

/// `name=value`, taken apart. They run as the caller, so only settings of the engines are let through.
fn settings(list: &[String]) -> Result<Vec<(CString, CString)>, Error> {
    let mut settings = Vec::with_capacity(list.len());
    for setting in list {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        if !crate::engine::is_engine_setting(name) {
            return Err(Error::SearchSetting(name.to_owned()));
        }
        let refused = |_| Error::SearchSetting(name.to_owned());
        settings.push((CString::new(name).map_err(refused)?, CString::new(value).map_err(refused)?));
    }
    Ok(settings)
}

/// What a name means in a search.
pub struct Found {
    pub definition: Rc<Definition>,
    /// The open source, under AccessShareLock.
    pub source: Table,
}

/// A version of a registration: the registry, the version of its row, its revision.
type Version = (Oid, (u64, u32), i64);

thread_local! {
    /// What names mean, by vcache's schema.
    static NAMED: RefCell<Names> = RefCell::default();
    /// What has been derived in this backend.
    static DERIVED: RefCell<HashMap<Version, Rc<Definition>>> = RefCell::new(HashMap::new());
}

/// More than a backend works with; beyond it, all is derived anew.
const DERIVED_MOST: usize = 1000;
const NAMED_MOST: usize = 10_000;

/// What names were found to mean in one generation.
#[derive(Default)]
struct Names {
    generation: u64,
    all: HashMap<String, Named>,
}

/// What a name meant when nobody saw more than `since`. Whoever changes the registry tells of it, as of any change of a table; so until then
/// it is what every snapshot finds that sees as much.
struct Named {
    schema: Oid,
    definition: Rc<Definition>,
    since: Sight,
}

impl Names {
    fn get(&self, schema: Oid, name: &str) -> Option<&Named> {
        let is_current = self.generation == invalidation::generation();
        self.all.get(name).filter(|found| is_current && found.schema == schema)
    }

    /// Gives what is outdated, for its owner to drop.
    fn insert(&mut self, generation: u64, name: &str, named: Named) -> HashMap<String, Named> {
        let is_over = self.generation != generation || self.all.len() >= NAMED_MOST;
        let outdated = if is_over { std::mem::take(&mut self.all) } else { HashMap::new() };
        self.generation = generation;
        self.all.insert(name.to_owned(), named);
        outdated
    }
}

fn find_named(schema: Oid, name: &str) -> Option<Found> {
    let definition = NAMED.with_borrow(|named| {
        let found = named.get(schema, name).filter(|found| found.since.is_seen())?;
        Some(Rc::clone(&found.definition))
    })?;
    let generation = invalidation::generation();
    let source = Table::try_open(definition.source)?;
    // Changes of catalogs are accepted here even where the lock was held already, so the generation is today's.
    transaction::accept_changes_of_catalogs();
    (generation == invalidation::generation()).then_some(Found { definition, source })
}

/// Finds the namespace that a name means: the one registered under it, else that of the longest pattern that fits.
///
/// # Errors
/// [`Error::UnknownNamespace`], [`Error::SourceGone`], and those of [`Definition::derive`].
pub fn find(schema: Oid, name: &str) -> Result<Found, Error> {
    if let Some(found) = find_named(schema, name) {
        return Ok(found);
    }
    check_name(name)?;
    let registry = Registry::open(schema)?;
    if let Some(found) = registry.find_derived(schema, name) {
        return Ok(found);
    }
    let version = |row: &Tuple| Registration::read(row).map(|registration| (row.version, registration));
    let Some((version, registration)) = registry.find(name, View::Caller, version) else {
        return Err(Error::UnknownNamespace { name: name.to_owned(), known: registry.names() });
    };
    transaction::accept_changes_of_catalogs();
    let source =
        Table::try_open(registration.source).ok_or_else(|| Error::SourceGone(registration.name.to_string()))?;
    let key = (registry.table.oid(), version, registration.revision);
    let definition = Rc::new(Definition::derive(&registration, &source)?);
    let outdated = DERIVED.with_borrow_mut(|derived| {
        let outdated: Vec<_> = if derived.len() >= DERIVED_MOST {
            derived.drain().map(|(_, definition)| definition).collect()
        } else {
            // Versions before this one are not met again.
            derived.extract_if(|_, kept| kept.name == definition.name).map(|(_, kept)| kept).collect()
        };
        derived.insert(key, Rc::clone(&definition));
        outdated
    });
    if outdated.len() >= DERIVED_MOST {
        // Or names would keep them.
        drop(NAMED.take());
    }
    drop(outdated);
    Ok(Found { definition, source })
}

/// The open table of registrations.
pub struct Registry {
    pub table: Table,
}

impl Registry {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(schema: Oid) -> Result<Self, Error> {
        let oid = catalog::relation_in(schema, c"vcache_namespace");
        Table::try_open(oid).map(|table| Self { table }).ok_or(Error::NotInstalled)
    }

    /// Whether it is of a version that has this column.
    fn knows(&self, column: &str) -> bool {
        catalog::column_named(self.table.oid(), column).is_some()
    }

    /// What a name means, if that has been derived and is today's: of the row nothing but its version is read.
    fn find_derived(&self, schema: Oid, name: &str) -> Option<Found> {
        let registry = self.table.oid();
        invalidation::watch(registry);
        // What tells of DDL that concerns all, such as of an engine's new version.
        invalidation::watch(clock::secret(schema));
        transaction::accept_changes_of_catalogs();
        let generation = invalidation::generation();
        let version = |row: &Tuple| Some((registry, row.version, row.get(column::REVISION)?.value() as i64));
        let key = self.find(name, View::Caller, version)?;
        let definition = DERIVED.with_borrow(|derived| derived.get(&key).cloned())?;
        let source = Table::try_open(definition.source)?;
        // As in `find_named`.
        transaction::accept_changes_of_catalogs();
        if definition.generation != invalidation::generation() {
            return None;
        }
        // What this transaction itself has written, its older snapshots do not see.
        let may_remember = !time::transaction_has_written() && !transaction::is_serializable();
        let is_known = || NAMED.with_borrow(|named| named.get(schema, name).is_some());
        let is_latest = || self.find(name, View::Latest, version) == Some(key);
        if may_remember && !is_known() && is_latest() {
            let named = Named { schema, definition: Rc::clone(&definition), since: Sight::latest(&self.table) };
            drop(NAMED.with_borrow_mut(|all| all.insert(generation, name, named)));
        }
        Some(Found { definition, source })
    }

    fn find<T>(&self, name: &str, view: View, read: impl Fn(&Tuple) -> Option<T>) -> Option<T> {
        let index = scan::primary_key(&self.table);
        let exact = [Condition::BoolIs(column::IS_PATTERN, false), Condition::TextIs(column::PREFIX, name)];
        if let Some(found) = scan::last(&self.table, index, &exact, view, &read) {
            return found;
        }
        self.covering(name, view, read)
    }

    /// The longest pattern that fits a name.
    fn covering<T>(&self, name: &str, view: View, read: impl Fn(&Tuple) -> Option<T>) -> Option<T> {
        let index = scan::primary_key(&self.table);
        // The longest pattern that fits is the last one not behind the name, or it is a prefix of what that one and
        // the name begin with alike: were it longer, it would stand behind that one.
        let mut bound = name;
        loop {
            let pattern = [Condition::BoolIs(column::IS_PATTERN, true), Condition::TextAtMost(column::PREFIX, bound)];
            let (prefix, found) = scan::last(&self.table, index, &pattern, view, |row| {
                let prefix = varlena::text(row.get(column::PREFIX)?).to_owned();
                let found = name.starts_with(&prefix).then(|| read(row));
                Some((prefix, found))
            })??;
            match found {
                Some(found) => return found,
                None => bound = common_prefix(bound, &prefix),
            }
        }
    }

    /// The registration of exactly this name.
    pub fn get(&self, name: &Name) -> Option<Registration> {
        let conditions =
            [Condition::BoolIs(column::IS_PATTERN, name.is_pattern), Condition::TextIs(column::PREFIX, &name.prefix)];
        scan::last(&self.table, scan::primary_key(&self.table), &conditions, View::Caller, Registration::read).flatten()
    }

    /// Where the row of exactly this name stands.
    fn place(&self, name: &Name) -> Option<u64> {
        let conditions =
            [Condition::BoolIs(column::IS_PATTERN, name.is_pattern), Condition::TextIs(column::PREFIX, &name.prefix)];
        scan::last(&self.table, scan::primary_key(&self.table), &conditions, View::Caller, |row| row.version.0)
    }

    /// Every registration.
    pub fn all(&self, view: View) -> Vec<Registration> {
        scan::all(&self.table, usize::MAX, view, Registration::read).into_iter().flatten().collect()
    }

    /// The first of the registered names, for a hint.
    fn names(&self) -> Vec<String> {
        const MOST: usize = 10;
        let mut names: Vec<String> =
            self.all(View::Caller).iter().map(|registration| format!("\"{}\"", registration.name)).collect();
        names.sort();
        if names.len() > MOST {
            names.truncate(MOST);
            names.push("…".to_owned());
        }
        names
    }
}

/// What both begin with, in whole characters.
fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let length: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    a.get(..length).unwrap_or_default()
}
