//! Owns tier 2: entries in Redis, by way of connections of the backend's own, each made when it is first needed.
//!
//! Whatever goes wrong closes the connection; the next search makes a new one. A connection that turns out to have been
//! closed by the other end while it lay idle is made anew once within the same operation. Every command asks the breaker first.

pub mod breaker;
mod cluster;
mod connection;
mod endpoint;
mod files;
pub mod flush;
mod link;
mod resolve;
mod route;
mod sentinel;
mod tls;
mod topology;
mod transport;

pub use route::why_malformed;

use super::{Existing, Failure, Lookup, Store};
use crate::settings::{self, RedisAccess};
use ::redis::{Cmd, Value, cmd};
use breaker::Purpose;
use connection::Error;
use link::Command;
use route::{Route, To};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};
use vcache_core::key::CacheKey;
use vcache_core::keyspace;
use vcache_core::resp::{Bounds, ReplyError};

/// The way to Redis, with the backend's connections, and what it was made from.
#[derive(Default)]
struct State {
    access: RedisAccess,
    route: Option<Route>,
}

thread_local! {
    // Never dropped: at the exit of a process PostgreSQL's memory may be gone before it.
    static STATE: ManuallyDrop<RefCell<State>> = ManuallyDrop::new(RefCell::new(State::default()));
}

/// The bytes under a key.
pub fn get(key: CacheKey, most: usize) -> Lookup {
    let name = name(key);
    match run(cmd("GET").arg(&name), To::Key(&name), Purpose::Read, Bounds::bulk(most), is_value) {
        None => Lookup::Off,
        Some(Ok(Value::BulkString(bytes))) => Lookup::Found(bytes),
        Some(Ok(_)) => Lookup::Absent,
        // A value larger than any entry, or of another type of Redis'.
        Some(Err(Error::Reply(ReplyError::TooLarge))) => Lookup::Unusable,
        Some(Err(Error::Refused(code))) if code == "WRONGTYPE" => Lookup::Unusable,
        Some(Err(Error::LeftAlone)) => Lookup::LeftAlone,
        Some(Err(error)) => Lookup::Failed(failure(&error)),
    }
}

fn is_value(reply: &Value) -> bool {
    matches!(reply, Value::BulkString(_) | Value::Nil)
}

/// How Redis is, for a person. No secret is in it.
pub enum Health {
    Off,
    /// `unstored`: why it is not asked to store, where it is not.
    Ok {
        server: String,
        took: Duration,
        breaker: String,
        unstored: Option<String>,
    },
    Down {
        server: String,
        why: String,
        breaker: String,
    },
}

/// Asks Redis how it is, if the breaker lets it.
pub fn health() -> Health {
    let started = Instant::now();
    // What a search asks, which is all that a user needs a right for, and judged as that is. The key is as good as any.
    let (name, bounds) = (name(CacheKey(0)), Bounds::bulk(settings::max_entry_size()));
    let result = run(cmd("GET").arg(&name), To::Key(&name), Purpose::Read, bounds, is_value);
    let server = server();
    let (breaker, last, unstored) = STATE.with(|state| match &state.borrow().route {
        Some(route) => {
            let breaker = route.breakers().reads;
            (breaker.to_string(), breaker.last_error(), route.why_not_stored())
        }
        None => Default::default(),
    });
    match result {
        None => Health::Off,
        Some(Ok(_)) => Health::Ok { server, took: started.elapsed(), breaker, unstored },
        Some(Err(Error::LeftAlone)) => Health::Down { server, why: last, breaker },
        Some(Err(error)) => Health::Down { server, why: error.to_string(), breaker },
    }
}

/// Keeps bytes under a key for this many milliseconds, in one command.
pub fn put(key: CacheKey, bytes: &[u8], milliseconds: u64, existing: Existing) -> Store {
    let name = name(key);
    let mut command = cmd("SET");
    command.arg(&name).arg(bytes).arg("PX").arg(milliseconds);
    if existing == Existing::Keep {
        command.arg("NX");
    }
    match run(&command, To::Key(&name), Purpose::Write, Bounds::bulk(0), |reply| {
        matches!(reply, Value::Okay | Value::Nil)
    }) {
        None => Store::Off,
        Some(Ok(Value::Okay)) => Store::Stored,
        Some(Ok(_)) => Store::Kept,
        Some(Err(Error::LeftAlone)) => Store::LeftAlone,
        Some(Err(error)) => Store::Failed(failure(&error)),
    }
}

fn name(key: CacheKey) -> Vec<u8> {
    keyspace::entry_name(settings::key_prefix().as_bytes(), key)
}

/// Runs one command; `None` when Redis is off. A reply that does not fit the command is an error.
fn run(
    command: &Cmd,
    to: To,
    purpose: Purpose,
    bounds: Bounds,
    fits: fn(&Value) -> bool,
) -> Option<Result<Value, Error>> {
    with_route(|route| route.run(purpose, to, &Command::new(command, bounds, fits)))
}

/// `None` when Redis is off.
fn with_route<T>(ask: impl FnOnce(&mut Route) -> T) -> Option<T> {
    let access = settings::redis_access();
    // A cancel that is raised in here gives the borrow back.
    STATE.with(|state| {
        let mut state = state.borrow_mut();
        if access.url.is_empty() {
            // Its connections go with it.
            state.route = None;
            return None;
        }
        if state.access != access || state.route.is_none() {
            // A setting was reloaded: nothing of the old server is used any more.
            *state = State { route: Some(Route::of(&access)), access };
        }
        state.route.as_mut().map(ask)
    })
}

/// The servers' addresses as they may be shown.
fn server() -> String {
    STATE.with(|state| state.borrow().route.as_ref().map_or_else(String::new, Route::to_string))
}

fn failure(error: &Error) -> Failure {
    if *error == Error::TimedOut { Failure::TimedOut } else { Failure::Broken }
}
