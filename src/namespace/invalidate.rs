//! Owns `vcache_invalidate`: a new revision, which is part of every key, so that what was cached is found no more. It takes effect
//! when the transaction commits, and for every session then.

use super::row::{check_owner, write};
use super::{Name, Registration, Registry};
use crate::error::Error;
use crate::pg::function::{Call, sql_function};
use crate::pg::{access, catalog, random};
use pgrx::pg_sys::Datum;

sql_function!(vcache_invalidate, pg_finfo_vcache_invalidate, invalidate);

fn invalidate(call: &Call) -> Datum {
    match try_invalidate(call) {
        Ok(()) => call.void(),
        Err(error) => error.raise(),
    }
}

fn try_invalidate(call: &Call) -> Result<(), Error> {
    let registry = Registry::open(call.schema())?;
    let Some(name) = call.text(0) else {
        // In the order of their names: two calls that meet wait for each other and do not deadlock.
        let mut all = registry.all();
        all.sort_by(|a, b| (a.name.is_pattern, &a.name.prefix).cmp(&(b.name.is_pattern, &b.name.prefix)));
        for registration in all.iter().filter(|registration| access::is_owner(registration.source)) {
            renew(&registry, registration);
        }
        return Ok(());
    };
    // A registered name, or one that a pattern stands for: then all that the pattern stands for is forgotten.
    let registered = Name::parse(name).ok().and_then(|name| registry.get(&name));
    let registration = match registered.or_else(|| registry.find(name, Registration::read)) {
        Some(registration) => registration,
        None => return Err(Error::UnknownNamespace { name: name.to_owned(), known: registry.names() }),
    };
    if let Some(class) = catalog::class(registration.source) {
        check_owner(registration.source, &class);
    }
    renew(&registry, &registration);
    Ok(())
}

fn renew(registry: &Registry, registration: &Registration) {
    let registration = Registration { revision: random::bits(), ..registration.clone() };
    write(
        registry,
        "UPDATE {table} SET revision = $3 \
         WHERE is_pattern OPERATOR(pg_catalog.=) $1 AND prefix OPERATOR(pg_catalog.=) $2",
        &registration,
    );
}
