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

/// How often all masters are gone through as long as keys turn out to have moved between them.
const ROUNDS: usize = 4;

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
    for _ in 0..ROUNDS {
        let Some(asked) = with_route(|route| (route.masters(Purpose::Flush), route.is_cluster())) else {
            return Ok(());
        };
        let (masters, is_cluster) = asked;
        let mut moved = false;
        for master in 0..masters? {
            moved |= of_master(To::Master(master), is_cluster, freed)?;
        }
        if !moved {
            return Ok(());
        }
    }
    Err(Error::Moving)
}

/// Whether some of its entries have moved meanwhile, to another master that may have been gone through before.
fn of_master(master: To, is_cluster: bool, freed: &mut u64) -> Result<bool, Error> {
    let prefix = settings::key_prefix().into_bytes();
    let pattern = keyspace::pattern(&prefix);
    let (mut cursor, mut moved) = (b"0".to_vec(), false);
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
        let Some(reply) = ask(master, &scan, KEYS)? else {
            return Ok(moved);
        };
        let (next, keys) = scanned(reply).ok_or(Error::Unexpected)?;
        let mut entries: Vec<_> = keys.into_iter().filter(|key| keyspace::is_entry(&prefix, key)).collect();
        // A cluster takes the keys of one slot at once.
        let slot = |key: &Vec<u8>| if is_cluster { slot(key) } else { 0 };
        entries.sort_by_key(slot);
        let slots = entries.chunk_by(|one, next| slot(one) == slot(next));
        for step in slots.flat_map(|keys| keys.chunks(STEP)) {
            moved |= unlink(master, step, freed)?;
        }
        if next == b"0" {
            return Ok(moved);
        }
        cursor = next;
    }
}

/// Frees keys, in a cluster of one slot. Whether some of them have moved.
fn unlink(master: To, keys: &[Vec<u8>], freed: &mut u64) -> Result<bool, Error> {
    match ask(master, cmd("UNLINK").arg(keys), Bounds::bulk(0)) {
        Ok(Some(Value::Int(unlinked))) => *freed += unlinked.unsigned_abs(),
        Ok(_) => {}
        Err(error) if !is_on_its_way(&error) => return Err(error),
        Err(_) if keys.len() == 1 => return Ok(true),
        // Some of the keys may still be there.
        Err(_) => {
            let mut moved = false;
            for key in keys.chunks(1) {
                moved |= unlink(master, key, freed)?;
            }
            return Ok(moved);
        }
    }
    Ok(false)
}

/// Whether a node refuses keys because their slot is on its way to another, or has arrived there.
fn is_on_its_way(error: &Error) -> bool {
    match error {
        Error::Redirected(_) => true,
        Error::Refused(code) => code == "TRYAGAIN",
        _ => false,
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
