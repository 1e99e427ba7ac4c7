//! Owns the way to a master that Redis Sentinel watches.
//!
//! A sentinel is asked when there is no connection to the master, and the connection to it is closed again. The server that
//! it names must say itself that it is a master. Any error closes the connection to the master, so that a sentinel is asked for
//! the next command; so does the READONLY of a master that has become a replica.

use super::connection::Error;
use super::endpoint::Endpoint;
use super::link::{Command, Deadlines, Link};
use ::redis::{Value, cmd};
use std::fmt;
use vcache_core::cluster::Target;
use vcache_core::resp::Bounds;

/// The reply to SENTINEL GET-MASTER-ADDR-BY-NAME: a host and a port.
const ADDRESS: Bounds = Bounds { bulk: 1024, bytes: 8 * 1024, elements: 2, depth: 1 };

/// The reply to ROLE: of a master, with three words for each of its replicas.
const ROLE: Bounds = Bounds { bulk: 1024, bytes: 256 * 1024, elements: 4096, depth: 3 };

pub struct Sentinels {
    /// The one that answered last stands first.
    sentinels: Vec<Endpoint>,
    name: String,
    /// Who one is at a master, wherever it is.
    template: Endpoint,
    /// The last that was found, be it of use or not.
    master: Option<Link>,
}

impl Sentinels {
    pub fn new(sentinels: Vec<Endpoint>, name: String, template: Endpoint) -> Self {
        Self { sentinels, name, template, master: None }
    }

    /// Runs one command on the master.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn run(&mut self, command: &Command, deadlines: &Deadlines) -> Result<Value, Error> {
        if let Some(link) = &mut self.master
            && let Some(result) = link.run_if_open(&[command], deadlines)
        {
            return result;
        }
        let target = self.find(deadlines)?;
        let mut link = Link::new(self.template.at(&target));
        let role = link.run(&[&Command::new(&cmd("ROLE"), ROLE, |reply| matches!(reply, Value::Array(_)))], deadlines);
        let result = role.and_then(|role| match &role {
            Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master") => {
                Ok(())
            }
            _ => Err(Error::NotMaster),
        });
        let link = self.master.insert(link);
        match result {
            Ok(()) => link.run(&[command], deadlines),
            Err(error) => {
                link.close();
                // This one has not heard of the change yet: the next question goes to another.
                self.sentinels.rotate_left(1);
                Err(error)
            }
        }
    }

    /// Where the first sentinel that knows it says the master is. Each has its share of the time, so that one that hangs leaves some
    /// to the others.
    fn find(&mut self, deadlines: &Deadlines) -> Result<Target, Error> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let question = Command::new(&question, ADDRESS, |reply| matches!(reply, Value::Array(_) | Value::Nil));
        let mut last = Error::NoMaster;
        for left in (1..=self.sentinels.len()).rev() {
            let sentinel = self.sentinels.first().ok_or(Error::NoMaster)?;
            match ask(sentinel, &question, &deadlines.share(left + 1)) {
                Ok(target) => return Ok(target),
                Err(error) => last = error,
            }
            self.sentinels.rotate_left(1);
        }
        Err(last)
    }
}

fn ask(sentinel: &Endpoint, question: &Command, deadlines: &Deadlines) -> Result<Target, Error> {
    let parts = match Link::new(sentinel.clone()).run(&[question], deadlines) {
        Ok(Value::Array(parts)) => parts,
        Ok(_) => return Err(Error::NoMaster),
        // "unknown command"
        Err(Error::Refused(code)) if code == "ERR" => return Err(Error::NoSentinel),
        Err(error) => return Err(error),
    };
    let said_by = sentinel.target().map(|target| target.host).unwrap_or_default();
    let [Value::BulkString(host), Value::BulkString(port)] = parts.as_slice() else { return Err(Error::Unexpected) };
    let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    let target = std::str::from_utf8(host).ok().zip(port).and_then(|(host, port)| Target::new(host, port));
    target.map(|target| target.said_by(&said_by)).ok_or(Error::Unexpected)
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.master {
            Some(link) => write!(f, "{}, the master {}", link.endpoint, self.name),
            None => write!(f, "the master {} by {} sentinels", self.name, self.sentinels.len()),
        }
    }
}
