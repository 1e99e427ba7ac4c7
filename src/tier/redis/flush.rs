//! Owns freeing all entries in Redis, those of other databases and servers under the same prefix included: their keys do not tell whose
//! they are.
//!
//! It goes through the keys in bounded steps, each a command with a deadline of its own, and a cancel acts in every one.
//! Redis goes on serving others meanwhile: SCAN and UNLINK are meant for that, where KEYS and DEL stop everybody.

use super::breaker::Purpose;
use super::connection::Error;
use super::route::To;
use super::{run, with_route};
use crate::settings;
use ::redis::{Cmd, Value, cmd};
use vcache_core::cluster::slot;
use vcache_core::keyspace;
use vcache_core::resp::Bounds;

/// Keys that one step looks at, and frees, about: a step takes Redis some 0.1 ms.
const STEP: usize = 500;

/// What the reply to a SCAN may hold. One with COUNT gives more keys than that where its table has chains, or is being
/// enlarged: never that many more.
const KEYS: Bounds = Bounds { bulk: 64 * 1024, bytes: 8 << 20, elements: 100 * STEP, depth: 2 };

/// Why not all was freed.
#[derive(Debug)]
pub struct Unfreed {
    /// In words, without a secret.
    pub why: String,
    /// The server did not let the user do it.
    pub forbidden: bool,
    /// Entries that were freed before.
    pub freed: u64,
}

/// Frees them; how many there were. None where Redis is off.
///
/// # Errors
/// [`Unfreed`].
pub fn all() -> Result<u64, Unfreed> {
    let mut freed = 0;
    try_all(&mut freed).map_err(|error| {
        let forbidden = matches!(&error, Error::Refused(code) if code == "NOPERM");
        Unfreed { why: error.to_string(), forbidden, freed }
    })?;
    Ok(freed)
}

fn try_all(freed: &mut u64) -> Result<(), Error> {
    let Some(asked) = with_route(|route| (route.masters(Purpose::Flush), route.is_cluster())) else {
        return Ok(());
    };
    let (masters, is_cluster) = asked;
    for master in 0..masters? {
        of_master(To::Master(master), is_cluster, freed)?;
    }
    Ok(())
}

fn of_master(master: To, is_cluster: bool, freed: &mut u64) -> Result<(), Error> {
    let prefix = settings::key_prefix().into_bytes();
    let pattern = keyspace::pattern(&prefix);
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
        let Some(reply) = ask(master, &scan, KEYS)? else {
            return Ok(());
        };
        let (next, keys) = scanned(reply).ok_or(Error::Unexpected)?;
        let mut entries: Vec<_> = keys.into_iter().filter(|key| keyspace::is_entry(&prefix, key)).collect();
        // A cluster takes the keys of one slot at once.
        let slot = |key: &Vec<u8>| if is_cluster { slot(key) } else { 0 };
        entries.sort_by_key(slot);
        let slots = entries.chunk_by(|one, next| slot(one) == slot(next));
        for step in slots.flat_map(|keys| keys.chunks(STEP)) {
            if let Some(Value::Int(unlinked)) = ask(master, cmd("UNLINK").arg(step), Bounds::bulk(0))? {
                *freed += unlinked.unsigned_abs();
            }
        }
        if next == b"0" {
            return Ok(());
        }
        cursor = next;
    }
}

fn ask(master: To, command: &Cmd, bounds: Bounds) -> Result<Option<Value>, Error> {
    run(command, master, Purpose::Flush, bounds, |reply| matches!(reply, Value::Int(_) | Value::Array(_))).transpose()
}

/// The next cursor, and keys.
fn scanned(reply: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else { return None };
    let [Value::BulkString(next), Value::Array(keys)] = <[Value; 2]>::try_from(parts).ok()? else { return None };
    let bytes = |key| if let Value::BulkString(key) = key { Some(key) } else { None };
    let keys = keys.into_iter().map(bytes).collect::<Option<_>>()?;
    (!next.is_empty() && next.iter().all(u8::is_ascii_digit)).then_some((next, keys))
}
