//! Owns a server and the connection to it, made when it is first needed; what a command is; and the time that an operation has.

use super::connection::{Connection, Error, SMALL};
use super::endpoint::Endpoint;
use crate::settings;
use ::redis::{Cmd, Value};
use std::time::{Duration, Instant};
use vcache_core::resp::Bounds;

/// What is sent, and what may come back.
pub struct Command {
    pub packed: Vec<u8>,
    pub bounds: Bounds,
    /// Whether a reply is one to this command. If it is not, whose it is cannot be known, and the connection is closed.
    pub fits: fn(&Value) -> bool,
}

impl Command {
    pub fn new(command: &Cmd, bounds: Bounds, fits: fn(&Value) -> bool) -> Self {
        Self { packed: command.get_packed_command(), bounds, fits }
    }

    /// One that is answered by OK.
    pub fn plain(command: &Cmd) -> Self {
        Self::new(command, SMALL, |reply| *reply == Value::Okay)
    }
}

/// The time of one operation: one deadline for all of it, and one for each connection and each command in it.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    end: Instant,
    connect: Duration,
    command: Duration,
}

impl Deadlines {
    /// Of an operation that begins now.
    pub fn begin() -> Self {
        let (connect, command) = (settings::redis_connect_timeout(), settings::redis_timeout());
        Self { end: Instant::now() + connect + command, connect, command }
    }

    /// Of one that has this part of the time that is left.
    pub fn share(self, parts: usize) -> Self {
        let (now, parts) = (Instant::now(), u32::try_from(parts.max(1)).unwrap_or(u32::MAX));
        Self { end: now + self.end.saturating_duration_since(now) / parts, ..self }
    }

    /// When a connection that is begun now must stand.
    pub fn connecting(&self) -> Instant {
        self.end.min(Instant::now() + self.connect)
    }

    /// When a command that is sent now must be answered.
    pub fn command(&self) -> Instant {
        self.end.min(Instant::now() + self.command)
    }
}

/// The connection is taken out while it is used: an error, or a cancel that is raised in the middle, leaves nothing behind that
/// owes a reply.
pub struct Link {
    pub endpoint: Endpoint,
    connection: Option<Connection>,
}

impl Link {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    /// Runs commands one after the other, on the connection that stands or else a new one; the reply to the last of them.
    ///
    /// # Errors
    /// Any [`Error`]; the connection is then closed, unless it is [`Error::Redirected`].
    pub fn run(&mut self, commands: &[&Command], deadlines: &Deadlines) -> Result<Value, Error> {
        match self.run_if_open(commands, deadlines) {
            Some(result) => result,
            None => {
                let connection = Connection::open(&self.endpoint, deadlines.connecting())?;
                self.run_on(connection, commands, deadlines)
            }
        }
    }

    /// The same, on the connection that stands: `None` if none does, or if it turns out that the other end had closed it. No
    /// reply is owed then, and the commands may be said again.
    pub fn run_if_open(&mut self, commands: &[&Command], deadlines: &Deadlines) -> Option<Result<Value, Error>> {
        let idle = settings::redis_idle_timeout();
        // What has come unasked would be taken for the reply to what is sent next.
        let connection = self.connection.take().and_then(|connection| connection.quiet(idle))?;
        match self.run_on(connection, commands, deadlines) {
            Err(Error::Closed) => None,
            result => Some(result),
        }
    }

    fn run_on(
        &mut self,
        mut connection: Connection,
        commands: &[&Command],
        deadlines: &Deadlines,
    ) -> Result<Value, Error> {
        let mut result = Err(Error::Unexpected);
        for Command { packed, bounds, fits } in commands {
            result = connection.run(packed, bounds, deadlines.command());
            match &result {
                Ok(reply) if fits(reply) => {}
                Ok(_) => return Err(Error::Unexpected),
                Err(Error::Redirected(_)) => break,
                Err(_) => return result,
            }
        }
        self.connection = Some(connection);
        result
    }

    /// Whether a connection stands.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Ends the connection, if there is one.
    pub fn close(&mut self) {
        self.connection = None;
    }
}
