//! Owns tier 2: entries in Redis, by way of one connection per backend, made when it is first needed.
//!
//! Whatever goes wrong closes the connection; the next search makes a new one. A connection that turns out to have been
//! closed by the other end while it lay idle is made anew once within the same operation. Every command asks the breaker first.

pub mod breaker;
mod connection;
mod endpoint;
mod files;
pub mod flush;
mod resolve;
mod tls;
mod transport;

use super::{Existing, Failure, Lookup, Store};
use crate::settings::{self, RedisAccess};
use ::redis::{Cmd, Value, cmd};
use breaker::{Breaker, Purpose};
use connection::{Connection, Error};
use endpoint::Endpoint;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vcache_core::key::CacheKey;
use vcache_core::keyspace;
use vcache_core::resp::{Bounds, ReplyError};

/// The backend's connection and what it was made from. It is taken out while it is used: an error, or a cancel that is
/// raised in the middle, leaves nothing behind that owes a reply.
#[derive(Default)]
struct State {
    access: RedisAccess,
    endpoint: Option<Result<Rc<Endpoint>, Error>>,
    breaker: Option<Breaker>,
    connection: Option<Connection>,
}

thread_local! {
    // Never dropped: at the exit of a process PostgreSQL's memory may be gone before it.
    static STATE: ManuallyDrop<RefCell<State>> = ManuallyDrop::new(RefCell::new(State::default()));
}

/// The bytes under a key.
pub fn get(key: CacheKey, most: usize) -> Lookup {
    match run(cmd("GET").arg(name(key)), Purpose::Read, &Bounds::bulk(most), is_value) {
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
    Ok { server: String, took: Duration, breaker: String },
    Down { server: String, why: String, breaker: String },
}

/// Asks Redis how it is, if the breaker lets it.
pub fn health() -> Health {
    let started = Instant::now();
    // What a user needs to search, and no more: PING is a right of its own. The key is as good as any.
    let result = run(cmd("GET").arg(name(CacheKey(0))), Purpose::Read, &Bounds::bulk(0), is_value);
    let server = server();
    let (breaker, last) = STATE.with(|state| match &state.borrow().breaker {
        Some(breaker) => (breaker.to_string(), breaker.last_error()),
        None => Default::default(),
    });
    match result {
        None => Health::Off,
        Some(Ok(_)) => Health::Ok { server, took: started.elapsed(), breaker },
        Some(Err(Error::LeftAlone)) => Health::Down { server, why: last, breaker },
        Some(Err(error)) => Health::Down { server, why: error.to_string(), breaker },
    }
}

/// Keeps bytes under a key for this many milliseconds, in one command.
pub fn put(key: CacheKey, bytes: &[u8], milliseconds: u64, existing: Existing) -> Store {
    let mut command = cmd("SET");
    command.arg(name(key)).arg(bytes).arg("PX").arg(milliseconds);
    if existing == Existing::Keep {
        command.arg("NX");
    }
    match run(&command, Purpose::Write, &Bounds::bulk(0), |reply| matches!(reply, Value::Okay | Value::Nil)) {
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
    purpose: Purpose,
    bounds: &Bounds,
    fits: impl Fn(&Value) -> bool,
) -> Option<Result<Value, Error>> {
    let access = settings::redis_access();
    if access.url.is_empty() {
        return None;
    }
    let (endpoint, breaker) = STATE.with(|state| {
        let mut state = state.borrow_mut();
        if state.access != access || state.endpoint.is_none() {
            // A setting was reloaded: nothing of the old server is used any more.
            *state = State {
                endpoint: Some(Endpoint::parse(&access).map(Rc::new)),
                breaker: Some(Breaker::of(&access.url)),
                access,
                connection: None,
            };
        }
        (state.endpoint.clone(), state.breaker)
    });
    let (endpoint, breaker) = endpoint.zip(breaker)?;
    let attempt = match purpose {
        Purpose::Read | Purpose::Write => breaker.admit(server),
        // Who asks for it waits for it.
        Purpose::Flush => Some(breaker.insist()),
    };
    let Some(attempt) = attempt else {
        return Some(Err(Error::LeftAlone));
    };
    let open = STATE.with(|state| state.borrow_mut().connection.take());
    let result = endpoint.and_then(|endpoint| {
        let (value, connection) = run_on(&endpoint, open, command, bounds)?;
        // No reply to this command: whose it is cannot be known, and the connection goes.
        if !fits(&value) {
            return Err(Error::Unexpected);
        }
        STATE.with(|state| state.borrow_mut().connection = Some(connection));
        Ok(value)
    });
    attempt.ended(purpose, &result, server);
    Some(result)
}

fn run_on(
    endpoint: &Endpoint,
    open: Option<Connection>,
    command: &Cmd,
    bounds: &Bounds,
) -> Result<(Value, Connection), Error> {
    let packed = command.get_packed_command();
    // One deadline for all of it, and one for each part: a connection that turns out to be closed only after a wait has taken
    // its time from what comes next.
    let (connecting, running) = (settings::redis_connect_timeout(), settings::redis_timeout());
    let last = Instant::now() + connecting + running;
    // What has come unasked would be taken for the reply to what is sent next.
    if let Some(mut connection) = open.and_then(|open| open.quiet(settings::redis_idle_timeout())) {
        match connection.run(&packed, bounds, Instant::now() + running) {
            // The other end had closed it before the command came: no reply is owed, and the command may be said again.
            Err(Error::Closed) => {}
            result => return result.map(|value| (value, connection)),
        }
    }
    let mut connection = Connection::open(endpoint, last.min(Instant::now() + connecting))?;
    connection.run(&packed, bounds, last.min(Instant::now() + running)).map(|value| (value, connection))
}

/// The server's address as it may be shown.
fn server() -> String {
    STATE.with(|state| match &state.borrow().endpoint {
        Some(Ok(endpoint)) => endpoint.to_string(),
        _ => String::from("vcache.redis_url"),
    })
}

fn failure(error: &Error) -> Failure {
    if *error == Error::TimedOut { Failure::TimedOut } else { Failure::Broken }
}
