//! Owns what a search's entry is named by: everything that decides its answer, but neither top_k nor time.

use crate::access::Scope;
use crate::engine;
use crate::error::Error;
use crate::namespace::Definition;
use crate::pg::function::{Call, sql_function};
use crate::pg::{
    catalog, extension, guc, scan,
    scan::{Table, View},
    varlena,
};
use pgrx::pg_sys::{Datum, Oid};
use serde_json::{Map, Value as JsonValue, json};
use std::cell::RefCell;
use std::rc::Rc;
use vcache_core::codec::FORMAT;
use vcache_core::key::{CacheKey, KeyBuilder, Secret};

/// A part of a key: its number, which goes into the hash, so that a new meaning takes a new number; and its name in
/// `vcache_explain`.
struct Part(u8, &'static str);

const FORMAT_PART: Part = Part(1, "format");
const SYSTEM: Part = Part(2, "system_identifier");
const DATABASE: Part = Part(3, "database");
const NAMESPACE: Part = Part(4, "namespace");
const REVISION: Part = Part(5, "revision");
const ENGINE: Part = Part(6, "engine");
const ENGINE_VERSION: Part = Part(7, "engine_version");
const SHAPE: Part = Part(8, "columns");
const SETTING: Part = Part(9, "settings");
const SETTING_VALUE: u8 = 10;
const VECTOR: Part = Part(11, "vector");
const TENANT: Part = Part(12, "namespace_value");
const FILTER: Part = Part(13, "filter");
const ROLE_OID: Part = Part(14, "role_oid");
const ROLE: Part = Part(15, "role");
const SESSION_USER: Part = Part(16, "session_user");
const POLICY: Part = Part(17, "policies");
const RLS_SETTING: Part = Part(18, "rls_settings");
/// In the place of a value: NULL is not ''.
const SETTING_MISSING: u8 = 19;
const STATEMENT: Part = Part(20, "statement");
const SESSION_OID: Part = Part(21, "session_user_oid");
const RENDERING: Part = Part(22, "rendering");

sql_function!(vcache_secret_is_drawn, pg_finfo_vcache_secret_is_drawn, is_drawn);

/// Refuses to draw a secret anew: running sessions would not know.
fn is_drawn(_: &Call) -> Datum {
    if !extension::is_being_made() {
        Error::SecretIsNotRefreshed.raise();
    }
    Datum::from(true)
}

thread_local! {
    /// The database's secret, by the table it was read from: a re-created extension has another table.
    static SECRET: RefCell<Option<(Oid, Rc<Secret>)>> = const { RefCell::new(None) };
    static BUILDER: RefCell<KeyBuilder> = RefCell::default();
}

/// The secret that CREATE EXTENSION has drawn for this database.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn secret(schema: Oid) -> Result<Rc<Secret>, Error> {
    let oid = catalog::relation_in(schema, c"vcache_secret");
    if let Some((_, secret)) = SECRET.with_borrow(|kept| kept.clone()).filter(|(from, _)| *from == oid) {
        return Ok(secret);
    }
    let table = Table::try_open(oid).ok_or(Error::NotInstalled)?;
    let read =
        scan::all(&table, 1, View::Caller, |row| row.get(1).and_then(|datum| Secret::new(varlena::bytes(datum))));
    let secret = Rc::new(read.into_iter().flatten().next().ok_or(Error::NotInstalled)?);
    SECRET.set(Some((oid, Rc::clone(&secret))));
    Ok(secret)
}

/// What a part is.
enum Value<'a> {
    Number(u64),
    Text(&'a str),
    /// By its name; `None` where there is none.
    Setting(&'a str, Option<&'a str>),
    Vector(&'a [f32]),
    Bytes(&'a [u8]),
}

/// What a search is for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The namespace's name, as the call has it.
    pub name: &'a str,
    pub definition: &'a Definition,
    /// What the column of the namespace's value must hold.
    pub tenant: Option<&'a [u8]>,
    /// The form of the filter.
    pub filter: Option<&'a [u8]>,
    pub vector: &'a [f32],
    /// What decides which rows the role sees, unless it sees all.
    pub scope: Option<&'a Scope>,
}

/// Hands out the parts of a search's key.
fn parts(asked: Asked<'_>, mut take: impl FnMut(Part, Value<'_>)) {
    let Asked { name, definition, tenant, filter, vector, scope } = asked;
    let (engine, version) = &definition.engine.version;
    take(FORMAT_PART, Value::Number(FORMAT.into()));
    take(SYSTEM, Value::Number(catalog::system_identifier()));
    take(DATABASE, Value::Number(catalog::database().to_u32().into()));
    take(NAMESPACE, Value::Text(name));
    take(REVISION, Value::Number(definition.revision as u64));
    take(ENGINE, Value::Text(engine));
    take(ENGINE_VERSION, Value::Text(version));
    take(SHAPE, Value::Text(&definition.shape));
    for (setting, value) in guc::changed(engine::changes_answers) {
        take(SETTING, Value::Setting(&setting, Some(&value)));
    }
    // The name alone does not say which value it stands for: that takes DateStyle, TimeZone, search_path.
    if let Some(tenant) = tenant {
        take(TENANT, Value::Bytes(tenant));
    }
    if let Some(filter) = filter {
        take(FILTER, Value::Bytes(filter));
    }
    if let Some(Scope { role, role_name, session_user, rendering, settings, policies, statement }) = scope {
        take(ROLE_OID, Value::Number(role.to_u32().into()));
        take(ROLE, Value::Text(role_name));
        if let Some((oid, name)) = session_user {
            take(SESSION_OID, Value::Number(oid.to_u32().into()));
            take(SESSION_USER, Value::Text(name));
        }
        rendering.iter().for_each(|(name, value)| take(RENDERING, Value::Setting(name, value.as_deref())));
        policies.iter().for_each(|(name, version)| take(POLICY, Value::Setting(name, Some(version))));
        settings.iter().for_each(|(name, value)| take(RLS_SETTING, Value::Setting(name, value.as_deref())));
        take(STATEMENT, Value::Bytes(&statement.to_le_bytes()));
    }
    take(VECTOR, Value::Vector(vector));
}

/// The key of a search.
pub fn of(asked: Asked<'_>, secret: &Secret) -> CacheKey {
    BUILDER.with_borrow_mut(|key| {
        key.clear();
        parts(asked, |Part(number, _), value| {
            match value {
                Value::Number(value) => key.number(number, value),
                Value::Text(text) => key.part(number, text.as_bytes()),
                Value::Setting(setting, value) => {
                    let (tag, value) = value.map_or((SETTING_MISSING, ""), |value| (SETTING_VALUE, value));
                    key.part(number, setting.as_bytes()).part(tag, value.as_bytes())
                }
                Value::Vector(values) => key.floats(number, values),
                Value::Bytes(bytes) => key.part(number, bytes),
            };
        });
        key.finish(secret)
    })
}

/// The same parts for a person: a JSON object. Of the vector it tells dimensions and a hash, by which two can be compared; of the filter, its
/// `condition`.
pub fn explained(asked: Asked<'_>, condition: impl Fn() -> String) -> String {
    let mut object = Map::new();
    parts(asked, |Part(number, label), value| match value {
        Value::Bytes(bytes) if number == FILTER.0 => {
            let hash = KeyBuilder::default().part(number, bytes).shown();
            object.insert(label.into(), json!({ "condition": condition(), "hash": hash }));
        }
        Value::Bytes(bytes) => {
            object.insert(label.into(), KeyBuilder::default().part(number, bytes).shown().into());
        }
        // As text: a number in JSON may lose digits on its way through a client.
        Value::Number(value) => drop(object.insert(label.into(), value.to_string().into())),
        Value::Text(text) => drop(object.insert(label.into(), text.trim_end().into())),
        Value::Setting(setting, value) => {
            if let Some(settings) = object.entry(label).or_insert_with(|| Map::new().into()).as_object_mut() {
                settings.insert(setting.into(), value.into());
            }
        }
        Value::Vector(values) => {
            let hash = KeyBuilder::default().floats(number, values).shown();
            object.insert(label.into(), json!({ "dimensions": values.len(), "hash": hash }));
        }
    });
    JsonValue::Object(object).to_string()
}
