//! Owns what a node says of its cluster's masters: the reply to CLUSTER SLOTS, read and checked.

use super::connection::Error;
use super::link::{Command, Deadlines, Link};
use ::redis::{Value, cmd};
use std::ops::RangeInclusive;
use vcache_core::cluster::{SLOTS, Target};
use vcache_core::resp::Bounds;

/// Ranges of slots are arrays of nodes, and nodes are arrays with an array in them. With two replicas a range has some 25 elements
/// and 400 bytes: there is room for 4,000 ranges, of 16,384 at the very most.
const BOUNDS: Bounds = Bounds { bulk: 1024, bytes: 2 * 1024 * 1024, elements: 100_000, depth: 4 };

/// Which slots a master has.
pub struct Range {
    pub slots: RangeInclusive<u16>,
    /// `None` where its address is not told.
    pub master: Option<Target>,
}

/// Asks a node.
///
/// # Errors
/// Any [`Error`].
pub fn ask(link: &mut Link, deadlines: &Deadlines) -> Result<Vec<Range>, Error> {
    let command = Command::new(cmd("CLUSTER").arg("SLOTS"), BOUNDS, |reply| matches!(reply, Value::Array(_)));
    let reply = link.run(&[&command], deadlines).map_err(|error| match error {
        // "This instance has cluster support disabled"
        Error::Refused(code) if code == "ERR" => Error::NoCluster,
        error => error,
    })?;
    let host = link.endpoint.target().map(|target| target.host).unwrap_or_default();
    let Value::Array(ranges) = reply else { return Err(Error::Unexpected) };
    let ranges: Result<Vec<_>, _> = ranges.iter().map(|range| read(range, &host)).collect();
    match ranges {
        // A node that has met nobody yet, or was reset, has no map.
        Ok(ranges) if ranges.iter().all(|range| range.master.is_none()) => Err(Error::NoOwner),
        Ok(ranges) => Ok(ranges),
        Err(error) => {
            link.close();
            Err(error)
        }
    }
}

/// `[first slot, last slot, [host, port, id, …] of the master, …]`.
fn read(range: &Value, said_by: &str) -> Result<Range, Error> {
    let Value::Array(parts) = range else { return Err(Error::Unexpected) };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
        return Err(Error::Unexpected);
    };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS).ok_or(Error::Unexpected);
    let slots = slot(first)?..=slot(last)?;
    let [host, Value::Int(port), ..] = master.as_slice() else { return Err(Error::Unexpected) };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).map_err(|_| Error::Unexpected)?,
        // The host that says so.
        Value::Nil => "",
        _ => return Err(Error::Unexpected),
    };
    let master =
        u16::try_from(*port).ok().and_then(|port| Target::new(host, port)).map(|target| target.said_by(said_by));
    Ok(Range { slots, master })
}
