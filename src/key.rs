//! Owns what a search's entry is named by: everything that decides its answer, but neither top_k nor time.

use crate::engine;
use crate::error::Error;
use crate::namespace::Definition;
use crate::pg::{catalog, guc, scan, scan::Table, varlena};
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::rc::Rc;
use vcache_core::codec::FORMAT;
use vcache_core::key::{CacheKey, KeyBuilder, Secret};

/// The parts of a key. The numbers are part of the key, too: a new meaning takes a new number.
mod part {
    pub const FORMAT: u8 = 1;
    pub const SYSTEM: u8 = 2;
    pub const DATABASE: u8 = 3;
    pub const NAMESPACE: u8 = 4;
    pub const REVISION: u8 = 5;
    pub const ENGINE: u8 = 6;
    pub const ENGINE_VERSION: u8 = 7;
    pub const SHAPE: u8 = 8;
    pub const SETTING: u8 = 9;
    pub const SETTING_VALUE: u8 = 10;
    pub const VECTOR: u8 = 11;
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
    let read = scan::all(&table, 1, |row| row.get(1).and_then(|datum| Secret::new(varlena::bytes(datum))));
    let secret = Rc::new(read.into_iter().flatten().next().ok_or(Error::NotInstalled)?);
    SECRET.set(Some((oid, Rc::clone(&secret))));
    Ok(secret)
}

/// The key of a search for `vector` in the namespace that is called `name`.
pub fn of(name: &str, definition: &Definition, vector: &[f32], secret: &Secret) -> CacheKey {
    let (engine, version) = definition.engine.version();
    let settings = guc::changed(engine::changes_answers);
    BUILDER.with_borrow_mut(|key| {
        key.clear()
            .number(part::FORMAT, FORMAT.into())
            .number(part::SYSTEM, catalog::system_identifier())
            .number(part::DATABASE, catalog::database().to_u32().into())
            .part(part::NAMESPACE, name.as_bytes())
            .number(part::REVISION, definition.revision as u64)
            .part(part::ENGINE, engine.as_bytes())
            .part(part::ENGINE_VERSION, version.as_bytes())
            .part(part::SHAPE, definition.shape.as_bytes());
        for (setting, value) in &settings {
            key.part(part::SETTING, setting.as_bytes()).part(part::SETTING_VALUE, value.as_bytes());
        }
        key.floats(part::VECTOR, vector).finish(secret)
    })
}
