//! Owns the read path, from top to bottom: the only file that knows the order of the tiers, and the only one that counts how
//! searches end.
//!
//! Why a hit is an answer that the database would have given: its entry carries the 128-bit key over everything that decides
//! an answer (key.rs), it was computed by the engine's own statement, under a snapshot no older than its time says, by a
//! transaction that had written nothing, and it is used only by a role that may read all of it, only while it is younger than
//! the ttl. That is what freshness 'ttl' promises.

use crate::access::{self, Sight};
use crate::error::Error;
use crate::key;
use crate::namespace::{self, Definition, Found};
use crate::pg::function::{Call, Interval, sql_function};
use crate::pg::result::Rows;
use crate::pg::{catalog, random, time, varlena};
use crate::settings;
use crate::stats::{self, Counter, Counters};
use crate::tier::{Existing, Failure, Lookup, Store, redis};
use crate::vector;
use pgrx::pg_sys::{Datum, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use std::ffi::CString;
use vcache_core::codec::{self, Answer, Damage, Entry, Header, Row};
use vcache_core::key::{CacheKey, Secret};
use vcache_core::ladder;

sql_function!(vcache_search, pg_finfo_vcache_search, search);

/// The arguments of `vcache_search`.
mod argument {
    pub const NAMESPACE: usize = 0;
    pub const VECTOR: usize = 1;
    pub const TOP_K: usize = 2;
    pub const TTL: usize = 3;
}

/// Entries that are stored together must not expire together: each lives up to this part shorter.
const JITTER: f64 = 0.1;

fn search(call: &Call) -> Datum {
    warn_without_preload();
    match answer(call) {
        Ok(rows) => rows.give(call),
        Err(error) => error.raise(),
    }
}

/// The read path.
fn answer(call: &Call) -> Result<Rows, Error> {
    let name = call.text(argument::NAMESPACE).ok_or(Error::NullArgument("namespace"))?;
    let top_k = top_k(call)?;

    // 1. What does the name mean?
    let Found { definition, source } = namespace::find(call.schema(), name)?;

    // 2. May this role see it?
    let sight = access::check(&definition, &source);
    let counters = stats::of(name);

    // 3. Which vector is it?
    let values = vector::read(call, argument::VECTOR, &definition)?;
    let ttl = ttl(call, &definition)?;
    let query = Query { name, definition: &definition, values: &values, counters };

    // What is this role's or this transaction's alone is neither looked up nor stored.
    if !settings::enabled() || ttl == 0 || sight == Sight::OwnRows || time::transaction_has_written() {
        let answer = query.ask_engine(ladder::step(top_k), top_k as usize);
        counters.count(Counter::Bypasses);
        return Ok(rows(answer.rows()));
    }

    // 4. What is its entry called?
    let secret = key::secret(call.schema())?;
    let key = key::of(name, &definition, &values, &secret);

    // 5. Does a tier hold it?
    let lookup = redis::get(key, settings::max_entry_size());
    let reachable = match lookup {
        Lookup::Found(bytes) => {
            let wanted = Wanted { key, name, top_k, ttl };
            match wanted.rows(&bytes, &secret) {
                Ok(Some(rows)) => {
                    counters.count(Counter::RedisHits);
                    return Ok(rows);
                }
                Ok(None) => {}
                Err(_) => counters.count(Counter::RedisErrors),
            }
            true
        }
        Lookup::Absent => true,
        Lookup::Unusable => {
            counters.count(Counter::RedisErrors);
            true
        }
        Lookup::Off => false,
        Lookup::Failed(failure) => {
            count_failure(counters, failure);
            false
        }
    };

    // 6. The engine knows.
    let k = ladder::step(top_k.max(definition.fetch_k.unwrap_or_else(settings::fetch_k)));
    let computed_at = time::snapshot_time();
    let answer = query.ask_engine(k, k as usize);
    counters.count(Counter::Misses);

    // 7. The next one shall find it. A tier that has just failed is not waited for a second time.
    if reachable {
        let header =
            Header { key, namespace: name, computed_at, expires_at: computed_at.saturating_add(ttl), asked: k };
        store(&header, &answer, &secret, counters);
    }
    Ok(rows(answer.rows().take(top_k as usize)))
}

/// What is being searched for.
struct Query<'a> {
    name: &'a str,
    definition: &'a Definition,
    values: &'a [f32],
    counters: Counters,
}

impl Query<'_> {
    /// Runs the engine's statement for `k` rows, of which the first `most` are the answer.
    fn ask_engine(&self, k: u32, most: usize) -> Answer {
        let failed = CountedWhenDropped { counters: self.counters, counter: Counter::EngineErrors };
        let mut arguments = vec![varlena::vector_datum(self.values)];
        if let Some(tenant) = &self.definition.tenant {
            let value = self.definition.tenant_value(self.name);
            // Arguments of type text hold no zero byte.
            let value = CString::new(value).unwrap_or_default();
            arguments.push(catalog::value_of_text(tenant.kind, tenant.modifier, &value));
        }
        let answer = self.definition.statement.run(k, most, &self.definition.search_settings, &arguments);
        failed.disarm();
        answer
    }
}

/// What an entry must be to answer a search.
struct Wanted<'a> {
    key: CacheKey,
    name: &'a str,
    top_k: u32,
    ttl: i64,
}

impl Wanted<'_> {
    /// The rows of an entry that answers; `None` when it does not.
    fn rows(&self, bytes: &[u8], secret: &Secret) -> Result<Option<Rows>, Damage> {
        let entry = Entry::decode(bytes, secret)?;
        let Header { key, namespace, computed_at, expires_at, asked } = entry.header;
        if key != self.key || namespace != self.name {
            return Err(Damage::Malformed);
        }
        let now = time::now();
        let young = now < expires_at && now.saturating_sub(computed_at) <= self.ttl;
        if !young || asked < self.top_k {
            return Ok(None);
        }
        let mut rows = Rows::with_capacity(self.top_k as usize);
        for row in entry.rows(self.top_k as usize) {
            rows.push(row?).map_err(|_| Damage::Column)?;
        }
        Ok(Some(rows))
    }
}

/// Stores an answer where the next search looks. It never fails the search.
fn store(header: &Header<'_>, answer: &Answer, secret: &Secret, counters: Counters) {
    let left = header.expires_at.saturating_sub(time::now()) as f64 * (1.0 - JITTER * random::fraction());
    let milliseconds = (left / 1000.0) as u64;
    if milliseconds == 0 {
        return;
    }
    let Some(bytes) = codec::encode(header, answer, secret, settings::max_entry_size()) else {
        return;
    };
    // An older snapshot, or a standby that lags behind, must not take the place of a newer answer.
    let existing = if time::is_current_reader() { Existing::Replace } else { Existing::Keep };
    match redis::put(header.key, &bytes, milliseconds, existing) {
        Store::Stored => counters.count(Counter::Stores),
        Store::Kept | Store::Off => {}
        Store::Failed(failure) => count_failure(counters, failure),
    }
}

fn count_failure(counters: Counters, failure: Failure) {
    counters.count(match failure {
        Failure::TimedOut => Counter::RedisTimeouts,
        Failure::Broken => Counter::RedisErrors,
    });
}

/// The engine's own rows as a result. Their payloads were made by PostgreSQL, so every one is taken.
fn rows<'a>(answer: impl Iterator<Item = Row<'a>>) -> Rows {
    let mut rows = Rows::default();
    for row in answer {
        if rows.push(row).is_err() {
            // row_to_json writes what jsonb refuses in one case alone: the text "\u0000" inside a json column.
            pgrx::ereport!(
                PgLogLevel::ERROR,
                PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
                "the payload of a row cannot be represented as jsonb"
            );
        }
    }
    rows
}

fn top_k(call: &Call) -> Result<u32, Error> {
    let (given, most) = (call.i32(argument::TOP_K).ok_or(Error::NullArgument("top_k"))?, settings::max_top_k());
    if given < 1 || given > most {
        return Err(Error::TopK { given, most });
    }
    Ok(given.unsigned_abs())
}

/// How long an answer may be used, in microseconds: as the call says, else the namespace, else the setting.
fn ttl(call: &Call, definition: &Definition) -> Result<i64, Error> {
    let given = call.interval(argument::TTL).map(Interval::total_microseconds);
    match given.or(definition.ttl).unwrap_or_else(settings::ttl) {
        negative if negative < 0 => Err(Error::Ttl),
        ttl => Ok(ttl),
    }
}

/// Counts when it is dropped, which an ERROR on its way does, unless it was disarmed.
struct CountedWhenDropped {
    counters: Counters,
    counter: Counter,
}

impl CountedWhenDropped {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for CountedWhenDropped {
    fn drop(&mut self) {
        self.counters.count(self.counter);
    }
}

/// Once in a session, tells that the server does less than it could.
fn warn_without_preload() {
    thread_local! {
        static TOLD: Cell<bool> = const { Cell::new(false) };
    }
    if !stats::are_kept() && !TOLD.replace(true) {
        let message = "vcache is not loaded via shared_preload_libraries";
        ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "vcache")
            .set_detail("Searches work and use Redis. There are no statistics.")
            .set_hint("Add vcache to shared_preload_libraries and restart the server.")
            .report(PgLogLevel::WARNING);
    }
}
