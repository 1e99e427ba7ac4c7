//! Owns one connection to one server: commands out, replies in, each within a deadline.
//!
//! A command is answered before the next is sent, and nothing may follow the reply that was asked for: a server that says more
//! than it was asked ends the connection, so a reply can never be taken for another command's. After any error the connection
//! is to be dropped; its users own it by value, so that is what happens.

use super::endpoint::Endpoint;
use super::transport::Transport;
use ::redis::{Value, parse_redis_value};
use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use vcache_core::cluster::Redirect;
use vcache_core::resp::{self, Bounds, ReplyError, nested_frame_length};

/// Why Redis could not be used. It shows no secret: what a server or a library says is shown only where it cannot hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The URL cannot be used, and why.
    Url(&'static str),
    /// What the file that this setting names is or lacks.
    File(&'static str, &'static str),
    /// TLS could not be agreed on, or was broken.
    Tls(String),
    /// The host's name has no address.
    Address(String),
    /// The deadline has passed.
    TimedOut,
    /// The other end has closed the connection; of the reply, if there was to be one, nothing or not all has come.
    Closed,
    /// The system refused something.
    Io(ErrorKind),
    /// The backend has too many files open.
    Descriptors,
    /// The reply is not of a kind that was asked for.
    Reply(ReplyError),
    /// The reply cannot be parsed, or is not the one that the command has.
    Unexpected,
    /// The server refused the command with this code, such as NOAUTH.
    Refused(String),
    /// The server is a node of a cluster, and the key is another one's.
    Redirected(Redirect),
    /// Nodes of a cluster sent the command from one to the next.
    Circles,
    /// The servers are to be a cluster's, and are none.
    NoCluster,
    /// No node of the cluster has the key's slot.
    NoOwner,
    /// A master of the cluster tells nobody where it is.
    Untold,
    /// Slots of the cluster move from node to node, and their keys with them.
    Moving,
    /// The servers are to be sentinels, and are none.
    NoSentinel,
    /// The sentinels know no master of this name.
    NoMaster,
    /// The server that the sentinels call the master is none.
    NotMaster,
    /// It has failed so often that it is not asked for a while.
    LeftAlone,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "{why}"),
            Self::File(setting, why) => write!(f, "the file of {setting} {why}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Address(why) => write!(f, "no address: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Closed => f.write_str("connection closed"),
            Self::Io(ErrorKind::NotFound) => f.write_str("there is no such socket"),
            Self::Io(ErrorKind::PermissionDenied) => {
                f.write_str("permission denied: the server's account may not connect to it")
            }
            Self::Io(kind) => write!(f, "{kind}"),
            Self::Descriptors => f.write_str("too many open files"),
            Self::Reply(error) => write!(f, "{error}"),
            Self::Unexpected => f.write_str("unexpected reply"),
            Self::Refused(code) => write!(f, "refused with {code}"),
            Self::Redirected(Redirect { ask: false, .. }) => {
                f.write_str("refused with MOVED: it is a node of a cluster")
            }
            Self::Redirected(_) => f.write_str("refused with ASK: it is a node of a cluster"),
            Self::Circles => f.write_str("redirected too often"),
            Self::NoCluster => f.write_str("it is no node of a cluster"),
            Self::NoOwner => f.write_str("no node of the cluster has the key's slot"),
            Self::Untold => f.write_str("a master of the cluster does not tell its address"),
            Self::Moving => f.write_str("slots of the cluster are being moved"),
            Self::NoSentinel => f.write_str("it is no sentinel"),
            Self::NoMaster => f.write_str("the sentinels know no master of this name"),
            Self::NotMaster => f.write_str("it is no master now"),
            Self::LeftAlone => f.write_str("left alone after failures"),
        }
    }
}

impl std::error::Error for Error {}

/// What the reply to a greeting may hold.
pub const SMALL: Bounds = Bounds::bulk(1024);

/// How often what has arrived is taken after the deadline: a reply of any size that is there already.
const MAX_LATE_READS: u32 = 64;

pub struct Connection {
    transport: Transport,
    /// What has been received and not yet been parsed.
    received: Vec<u8>,
    /// When the last reply came.
    used: Instant,
}

impl Connection {
    /// Connects and greets.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn open(endpoint: &Endpoint, deadline: Instant) -> Result<Self, Error> {
        let greeting = endpoint.greeting()?;
        let transport = Transport::connect(endpoint, deadline)?;
        let mut connection = Self { transport, received: Vec::new(), used: Instant::now() };
        for command in greeting {
            connection.run(&command.get_packed_command(), &SMALL, deadline)?;
        }
        Ok(connection)
    }

    /// The connection, if nothing has come on it since the last reply, which was less than this ago.
    pub fn quiet(mut self, idle: Duration) -> Option<Self> {
        (self.used.elapsed() < idle && self.transport.is_quiet()).then_some(self)
    }

    /// Sends a packed command and gives its reply.
    ///
    /// # Errors
    /// Any [`Error`]; the connection is then to be dropped, unless it is [`Error::Redirected`].
    pub fn run(&mut self, command: &[u8], bounds: &Bounds, deadline: Instant) -> Result<Value, Error> {
        self.transport.send(command, deadline)?;
        let frame = self.receive(bounds, deadline)?;
        // The parser of everything takes longer for an entry than Redis does.
        let value = match resp::bulk(frame) {
            Some(bytes) => Value::BulkString(bytes.to_vec()),
            None => parse_redis_value(frame).map_err(|_| Error::Unexpected)?,
        };
        self.received.clear();
        self.used = Instant::now();
        match value {
            Value::ServerError(error) => {
                Err(match Redirect::parse(error.code(), error.details().unwrap_or_default()) {
                    Some(redirect) => Error::Redirected(redirect),
                    None => Error::Refused(code(error.code())),
                })
            }
            value => Ok(value),
        }
    }

    /// Exactly one reply.
    fn receive(&mut self, bounds: &Bounds, deadline: Instant) -> Result<&[u8], Error> {
        let mut late = 0;
        loop {
            let length = nested_frame_length(&self.received, bounds).map_err(Error::Reply)?;
            match length {
                Some(length) if self.received.len() == length => return Ok(&self.received),
                Some(length) if self.received.len() > length => return Err(Error::Unexpected),
                Some(length) => self.received.reserve(length - self.received.len()),
                None => {}
            }
            // A server that sends a little at a time is not listened to for longer than that.
            late += u32::from(Instant::now() >= deadline);
            if late > MAX_LATE_READS {
                return Err(Error::TimedOut);
            }
            if self.transport.receive(&mut self.received, deadline)? == 0 {
                return Err(Error::Closed);
            }
        }
    }
}

/// A refusal's code, if it is one: what else a server says goes into no log.
fn code(said: &str) -> String {
    let usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if said.len() <= 32 && said.bytes().all(usual) { said.to_owned() } else { String::from("an error") }
}
