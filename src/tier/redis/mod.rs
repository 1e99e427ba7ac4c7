//! Owns tier 2: entries in Redis, by way of one connection per backend, made when it is first needed.
//!
//! Whatever goes wrong closes the connection; the next search makes a new one. A connection that turns out to have been
//! closed by the other end while it lay idle is made anew once within the same operation. The first failure after a success is
//! logged, the following ones are only counted.

mod connection;
mod endpoint;
mod files;
mod resolve;
mod tls;
mod transport;

use super::{Existing, Failure, Lookup, Store};
use crate::settings::{self, RedisAccess};
use ::redis::{Cmd, Value, cmd};
use connection::{Connection, Error};
use endpoint::Endpoint;
use std::cell::RefCell;
use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vcache_core::key::CacheKey;
use vcache_core::resp::ReplyError;

/// The backend's connection and what it was made from. It is taken out while it is used: an error, or a cancel that is
/// raised in the middle, leaves nothing behind that owes a reply.
#[derive(Default)]
struct State {
    access: RedisAccess,
    endpoint: Option<Result<Rc<Endpoint>, Error>>,
    connection: Option<Connection>,
    failing: bool,
}

thread_local! {
    // Never dropped: at the exit of a process PostgreSQL's memory may be gone before it.
    static STATE: ManuallyDrop<RefCell<State>> = ManuallyDrop::new(RefCell::new(State::default()));
}

/// The bytes under a key.
pub fn get(key: CacheKey, most: usize) -> Lookup {
    match run(cmd("GET").arg(name(key)), most) {
        None => Lookup::Off,
        Some(Ok(Value::BulkString(bytes))) => Lookup::Found(bytes),
        Some(Ok(Value::Nil)) => Lookup::Absent,
        // A value larger than any entry, or of another type of Redis'.
        Some(Err(Error::Reply(ReplyError::TooLarge))) => Lookup::Unusable,
        // No reply to GET: whose it is cannot be known.
        Some(Ok(_)) => {
            close();
            Lookup::Failed(failed(&Error::Unexpected))
        }
        Some(Err(Error::Refused(code))) if code == "WRONGTYPE" => Lookup::Unusable,
        Some(Err(error)) => Lookup::Failed(failed(&error)),
    }
}

/// How Redis is, for a person. No secret is in it.
pub enum Health {
    Off,
    Ok { server: String, took: Duration },
    Down { server: String, why: String },
}

/// Asks Redis how it is.
pub fn health() -> Health {
    let started = Instant::now();
    // What a user needs to search, and no more: PING is a right of its own.
    let result = run(cmd("GET").arg(name("health")), 0);
    let server = server();
    match result {
        None => Health::Off,
        Some(Ok(_)) => Health::Ok { server, took: started.elapsed() },
        Some(Err(error)) => Health::Down { server, why: error.to_string() },
    }
}

/// Keeps bytes under a key for this many milliseconds, in one command.
pub fn put(key: CacheKey, bytes: &[u8], milliseconds: u64, existing: Existing) -> Store {
    let mut command = cmd("SET");
    command.arg(name(key)).arg(bytes).arg("PX").arg(milliseconds);
    if existing == Existing::Keep {
        command.arg("NX");
    }
    match run(&command, 0) {
        None => Store::Off,
        Some(Ok(Value::Okay)) => Store::Stored,
        Some(Ok(Value::Nil)) => Store::Kept,
        Some(Ok(_)) => {
            close();
            Store::Failed(failed(&Error::Unexpected))
        }
        Some(Err(error)) => Store::Failed(failed(&error)),
    }
}

fn name(key: impl Display) -> Vec<u8> {
    let mut name = settings::key_prefix().into_bytes();
    name.extend(format!(":{key}").bytes());
    name
}

/// Runs one command; `None` when Redis is off. A bulk reply holds `most` bytes at most.
fn run(command: &Cmd, most: usize) -> Option<Result<Value, Error>> {
    let access = settings::redis_access();
    if access.url.is_empty() {
        return None;
    }
    let (endpoint, open) = STATE.with(|state| {
        let mut state = state.borrow_mut();
        if state.access != access || state.endpoint.is_none() {
            // A setting was reloaded: nothing of the old server is used any more.
            *state = State {
                endpoint: Some(Endpoint::parse(&access).map(Rc::new)),
                access,
                connection: None,
                failing: state.failing,
            };
        }
        (state.endpoint.clone(), state.connection.take())
    });
    let endpoint = match endpoint? {
        Ok(endpoint) => endpoint,
        Err(error) => return Some(Err(error)),
    };
    let result = run_on(&endpoint, open, command, most);
    Some(result.map(|(value, connection)| {
        STATE.with(|state| {
            let mut state = state.borrow_mut();
            state.connection = Some(connection);
            state.failing = false;
        });
        value
    }))
}

fn run_on(
    endpoint: &Endpoint,
    open: Option<Connection>,
    command: &Cmd,
    most: usize,
) -> Result<(Value, Connection), Error> {
    let packed = command.get_packed_command();
    // One deadline for all of it, and one for each part: a connection that turns out to be closed only after a wait has taken
    // its time from what comes next.
    let (connecting, running) = (settings::redis_connect_timeout(), settings::redis_timeout());
    let last = Instant::now() + connecting + running;
    // What has come unasked would be taken for the reply to what is sent next.
    if let Some(mut connection) = open.and_then(|open| open.quiet(settings::redis_idle_timeout())) {
        match connection.run(&packed, most, Instant::now() + running) {
            // The other end had closed it before the command came: no reply is owed, and the command may be said again.
            Err(Error::Closed) => {}
            result => return result.map(|value| (value, connection)),
        }
    }
    let mut connection = Connection::open(endpoint, last.min(Instant::now() + connecting))?;
    connection.run(&packed, most, last.min(Instant::now() + running)).map(|value| (value, connection))
}

/// Ends the connection, if there is one.
fn close() {
    drop(STATE.with(|state| state.borrow_mut().connection.take()));
}

/// The server's address as it may be shown.
fn server() -> String {
    STATE.with(|state| match &state.borrow().endpoint {
        Some(Ok(endpoint)) => endpoint.to_string(),
        _ => String::from("vcache.redis_url"),
    })
}

/// Logs the first of a row of failures, and says of which kind it is.
fn failed(error: &Error) -> Failure {
    let first = STATE.with(|state| !std::mem::replace(&mut state.borrow_mut().failing, true));
    if first {
        pgrx::log!("vcache cannot use Redis at {}: {error}", server());
    }
    if *error == Error::TimedOut { Failure::TimedOut } else { Failure::Broken }
}
