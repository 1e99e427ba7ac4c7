//! Owns the news from PostgreSQL's caches that something in the catalogs has changed.
//!
//! What is derived from the catalogs is kept with the [`generation`] it was derived in, and derived anew in another. A
//! generation ends when a watched relation changes, or any schema or operator. The callbacks may run wherever PostgreSQL
//! accepts invalidation messages, in the middle of anything: they look, and count, and do nothing else.
//!
//! An [`era`] is the same for who may do what: it ends when a role changes, who is a member of which, a foreign server, or the role
//! that somebody is to it.

use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

thread_local! {
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    static HEARD: Cell<u64> = const { Cell::new(0) };
    static ERA: Cell<u64> = const { Cell::new(0) };
    static GRANTS: Cell<u64> = const { Cell::new(0) };
    static WATCHED: RefCell<HashSet<pg_sys::Oid>> = RefCell::default();
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The current generation of what is known of the catalogs.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// The current era of roles.
pub fn era() -> u64 {
    ERA.get()
}

/// How many memberships and functions have changed: what may come and go without a trace.
pub fn grants() -> u64 {
    GRANTS.get()
}

/// How much has been heard of, of any relation.
pub fn heard() -> u64 {
    HEARD.get()
}

/// Makes a change of this relation end the generation from now on.
pub fn watch(relation: pg_sys::Oid) {
    watch_all([&relation]);
}

/// Makes a change of any of these relations end the generation from now on.
pub fn watch_all<'a>(relations: impl IntoIterator<Item = &'a pg_sys::Oid>) {
    if !REGISTERED.replace(true) {
        // SAFETY: the callbacks stay for the life of the backend; there is no way to take them back, and no need.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null());
            for cache in [pg_sys::SysCacheIdentifier::NAMESPACEOID, pg_sys::SysCacheIdentifier::OPEROID] {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(catalog_changed), pg_sys::Datum::null());
            }
            for cache in ROLES {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(roles_changed), pg_sys::Datum::null());
            }
        }
    }
    WATCHED.with_borrow_mut(|watched| watched.extend(relations));
}

/// A database's owner is the member of pg_database_owner.
const ROLES: [pg_sys::SysCacheIdentifier::Type; 6] = [
    pg_sys::SysCacheIdentifier::AUTHOID,
    // What a view's function was trusted for, its owner may replace.
    pg_sys::SysCacheIdentifier::PROCOID,
    pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
    pg_sys::SysCacheIdentifier::DATABASEOID,
    pg_sys::SysCacheIdentifier::FOREIGNSERVEROID,
    pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER,
];

fn end_generation() {
    GENERATION.set(GENERATION.get() + 1);
}

#[pg_guard]
extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    HEARD.set(HEARD.get() + 1);
    // The invalid OID stands for all relations; a list that is just being changed counts as holding everything.
    let watched = WATCHED.with(|list| list.try_borrow().map_or(true, |list| list.contains(&relation)));
    if relation == pg_sys::InvalidOid || watched {
        end_generation();
    }
}

#[pg_guard]
extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: pg_sys::uint32) {
    end_generation();
}

#[pg_guard]
extern "C-unwind" fn roles_changed(_argument: pg_sys::Datum, cache: i32, _hash: pg_sys::uint32) {
    ERA.set(ERA.get() + 1);
    if [pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM, pg_sys::SysCacheIdentifier::PROCOID].contains(&(cache as u32)) {
        GRANTS.set(GRANTS.get() + 1);
    }
}
