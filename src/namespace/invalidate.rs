//! Owns `vcache_invalidate`: a new token in the registration's clock, so that what was cached is found no more. It takes effect when
//! the transaction commits, and for every session then.

use super::row::check_owner;
use super::{Name, Registration, Registry};
use crate::clock::{self, Scope};
use crate::error::Error;
use crate::pg::function::{Call, sql_function};
use crate::pg::scan::View;
use crate::pg::{access, catalog, lock};
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
        let all = registry.all(View::Caller);
        for registration in all.iter().filter(|registration| access::is_owner(registration.source)) {
            forget(call, registration);
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
    forget(call, &registration);
    Ok(())
}

fn forget(call: &Call, registration: &Registration) {
    clock::advance(call.schema(), Scope::Registration(registration.revision));
    lock::tell_of_change(registration.source);
}
