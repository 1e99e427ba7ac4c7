//! Owns `vcache_invalidate`: a new token in the registration's clock, so that what was cached is found no more. It takes effect when
//! the transaction commits, and for every session then. Objects of before 0.4.0 have no clocks: there the registration gets a new
//! revision, which is part of every key.

use super::row::{check_owner, delete, insert, take_turns};
use super::{Name, Registration, Registry};
use crate::clock::{self, Scope};
use crate::error::Error;
use crate::pg::function::{Call, sql_function};
use crate::pg::scan::View;
use crate::pg::snapshot::Newer;
use crate::pg::{access, catalog, lock, random, transaction};
use pgrx::pg_sys::Datum;

sql_function!(vcache_invalidate, pg_finfo_vcache_invalidate, invalidate);

fn invalidate(call: &Call) -> Datum {
    match try_invalidate(call) {
        Ok(()) => call.void(),
        Err(error) => error.raise(),
    }
}

fn try_invalidate(call: &Call) -> Result<(), Error> {
    transaction::prevent_unless_writable(c"vcache_invalidate()");
    let registry = Registry::open(call.schema())?;
    let Some(name) = call.text(0) else {
        let all = registry.all(View::Caller);
        for registration in all.iter().filter(|registration| access::is_owner(registration.source)) {
            forget(call, &registry, registration)?;
        }
        return Ok(());
    };
    // A registered name, or one that a pattern stands for: then all that the pattern stands for is forgotten.
    let registered = Name::parse(name).ok().and_then(|name| registry.get(&name));
    let registration = match registered.or_else(|| registry.find(name, View::Caller, Registration::read)) {
        Some(registration) => registration,
        None => return Err(Error::UnknownNamespace { name: name.to_owned(), known: registry.names() }),
    };
    if let Some(class) = catalog::class(registration.source) {
        check_owner(registration.source, &class);
    }
    forget(call, &registry, &registration)
}

fn forget(call: &Call, registry: &Registry, registration: &Registration) -> Result<(), Error> {
    if clock::is_there(call.schema()) {
        clock::advance(call.schema(), Scope::Registration(registration.revision));
    } else {
        renew(registry, &registration.name)?;
    }
    lock::tell_of_change(registration.source);
    Ok(())
}

fn renew(registry: &Registry, name: &Name) -> Result<(), Error> {
    take_turns(registry);
    let _newer = Newer::with_own_writes();
    // Another may have dropped it meanwhile: then it is forgotten.
    let Some(registration) = registry.get(name) else { return Ok(()) };
    delete(registry, name)?;
    insert(registry, &Registration { revision: random::bits(), ..registration });
    Ok(())
}
