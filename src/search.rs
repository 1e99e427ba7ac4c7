//! Owns the read path, from top to bottom: the only file that knows the order of the tiers, and the only one that counts how
//! searches end.
//!
//! Why a hit is an answer that the database would have given: its entry carries the 128-bit key over everything that decides
//! an answer (key.rs), it was computed by the engine's own statement, under a snapshot no older than its time says, and it is used
//! only by a role that may read all of it, only while it is younger than the ttl, and only where the source has the version that
//! the entry was computed at: its clock (clock.rs) in the caller's snapshot, and its shape (source.rs). A transaction that has
//! written to the source has it to itself (mark.rs).
//!
//! An answer is stored in the place of the entry that stands, unless that may be newer: in a transaction of one snapshot, and on a standby
//! that has replayed nothing later than it, an entry stays where it is.
//!
//! With freshness 'ttl' the version is what vcache_invalidate makes it, and a transaction that has written anything at all asks
//! the engine.

use crate::access::{self, Access, Sight};
use crate::clock::Scope;
use crate::error::Error;
use crate::filter::{self, Filter};
use crate::flight::{self, Flight};
use crate::freshness;
use crate::key::{self, Asked};
use crate::namespace::{self, Definition, Found};
use crate::outcome::{Bypass, Miss, Outcome};
use crate::pg::function::{Call, Interval, sql_function};
use crate::pg::result::Rows;
use crate::pg::{json, random, snapshot, time, varlena};
use crate::settings;
use crate::source;
use crate::stats::{self, Counter, Counters};
use crate::tier::shared::{self, Use};
use crate::tier::{Existing, Failure, Lookup, Store, redis};
use crate::vector;
use pgrx::pg_sys::{Datum, Oid, panic::ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;
use vcache_core::codec::{self, Answer, Damage, Entry, Header, Row, Seal, Version};
use vcache_core::key::{CacheKey, Secret};
use vcache_core::ladder;

sql_function!(vcache_search, pg_finfo_vcache_search, search);

/// The arguments of `vcache_search`, and of `vcache_explain`.
mod argument {
    pub const NAMESPACE: usize = 0;
    pub const VECTOR: usize = 1;
    pub const TOP_K: usize = 2;
    pub const FILTER: usize = 3;
    pub const TTL: usize = 4;
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// Entries that are stored together must not expire together: each lives up to this part shorter.
const JITTER: f64 = 0.1;

fn search(call: &Call) -> Datum {
    warn_without_preload();
    let started = settings::track_timing().then(Instant::now);
    match prepare(call, stats::of).and_then(|query| Ok((query.counters, query.answer()?))) {
        Ok((counters, (rows, outcome))) => {
            counters.count_outcome(outcome, started.map(|started| started.elapsed()));
            rows.give(call)
        }
        Err(error) => error.raise(),
    }
}

/// A search that is known to be allowed, and where its answer may stand.
pub struct Query<'a> {
    pub name: &'a str,
    pub top_k: u32,
    /// In microseconds.
    pub ttl: i64,
    pub definition: Rc<Definition>,
    pub values: Vec<f32>,
    /// What the column of the namespace's value must hold.
    tenant: Option<Datum>,
    /// How the current role may read the source.
    access: Access,
    /// Which rows may be in the answer, unless all may.
    pub filter: Option<Filter>,
    pub counters: Counters,
    pub schema: Oid,
    /// Where an entry would be, or why none is used.
    pub place: Result<Place, Bypass>,
}

/// What an entry is called, what its sum is made with, and which version of the source it must be of.
pub struct Place {
    pub key: CacheKey,
    pub secret: Rc<Secret>,
    pub version: Version,
}

/// The first half of the read path: everything that is the same whether there is an entry or not.
pub fn prepare(call: &Call, counters: impl FnOnce(&str) -> Counters) -> Result<Query<'_>, Error> {
    let name = call.text(argument::NAMESPACE).ok_or(Error::NullArgument("namespace"))?;
    let top_k = top_k(call)?;

    let schema = call.schema();

    // 1. What does the name mean?
    let Found { definition, source } = namespace::find(schema, name)?;

    // 2. May this role see it?
    let has_filter = call.count() == argument::COUNT;
    let filter =
        has_filter.then(|| filter::read(call, argument::FILTER, &definition.filterable)).transpose()?.flatten();
    let access = access::check(&definition, filter.iter().flat_map(|filter| filter.columns()), &source);

    // 3. Which vector is it, and which rows?
    let values = vector::read(call, argument::VECTOR, &definition)?;
    let filter = filter.map(|filter| filter.compile()).transpose()?.flatten();
    let ttl = ttl(call, &definition)?;
    let tenant = definition.tenant_value(name);

    // 4. What is its entry called? What is this role's or this transaction's alone is neither looked up nor stored.
    let bypass = match access.sight {
        _ if !settings::enabled() => Some(Bypass::Disabled),
        _ if ttl == 0 => Some(Bypass::Ttl),
        Sight::OwnRows(_) => Some(Bypass::RowSecurity),
        Sight::AllRows | Sight::Scoped(_) => None,
    };
    // 5. Of which version of the source must it be?
    let version = match bypass {
        Some(bypass) => Err(bypass),
        None => freshness::version(&definition, tenant, schema),
    };
    let place = match version {
        Err(bypass) => Err(bypass),
        Ok(version) => {
            let secret = key::secret(schema)?;
            let tenant = image(&definition, tenant);
            let (tenant, filter) = (tenant.as_deref(), filter.as_ref().map(|filter| filter.form.as_slice()));
            let asked = Asked { name, definition: &definition, tenant, filter, vector: &values, scope: access.scope() };
            Ok(Place { key: key::of(asked, &secret), secret, version })
        }
    };
    // Last, so that a name takes a slot of the statistics only when it is searched.
    let counters = counters(name);
    Ok(Query { name, top_k, ttl, definition, values, tenant, access, filter, schema, counters, place })
}

fn image(definition: &Definition, tenant: Option<Datum>) -> Option<Vec<u8>> {
    definition.tenant.as_ref().zip(tenant).map(|(column, value)| varlena::image(value, column.kind))
}

impl Query<'_> {
    /// The second half of the read path.
    fn answer(&self) -> Result<(Rows, Outcome), Error> {
        let place = match &self.place {
            Ok(place) => place,
            Err(bypass) => {
                let (answer, _) = self.ask_engine(ladder::step(self.top_k), self.top_k as usize);
                return Ok((rows(answer.rows()), Outcome::Bypass(*bypass)));
            }
        };

        // 6. Does a tier hold it?
        let looked = self.look_up(place, Purpose::Answer);
        let miss = match looked.found {
            Ok(hit) => return Ok(hit.end()),
            Err(miss) => miss,
        };

        // 7. One session at a time asks the engine for it, and it knows.
        let may_be_stored = shared::is_on() || looked.is_redis_asked;
        let glance = || self.look_up_shared(place, Use::Uncounted).ok();
        let look = || self.look_up(place, Purpose::Answer).found.ok();
        let flight = match may_be_stored.then(|| flight::join(place.key, place.version, glance, look)) {
            Some(Flight::Landed(hit)) => return Ok(hit.end()),
            Some(Flight::Own(own)) => Some(own),
            None => None,
        };
        // fetch_k is anybody's to set; what a search may hold in memory is not.
        let fetch_k =
            self.definition.fetch_k.unwrap_or_else(settings::fetch_k).min(settings::max_top_k().unsigned_abs());
        let k = ladder::step(self.top_k.max(fetch_k));
        let computed_at = time::snapshot_time();
        let (answer, snapshot) = self.ask_engine(k, k as usize);
        let rows = rows(answer.rows().take(self.top_k as usize));

        // 8. The next one shall find it, if the source is still what it was.
        let is_as_it_was = || {
            freshness::is_still(place.version, &self.definition, self.schema) && self.access.is_still(&self.definition)
        };
        let is_asked_for = match snapshot {
            Snapshot::Current => true,
            Snapshot::Newer => !self.definition.is_exact,
            Snapshot::Outdated => false,
        };
        let is_stored = may_be_stored && is_asked_for && is_as_it_was() && {
            let expires_at = computed_at.saturating_add(self.ttl);
            let version = place.version;
            let header = Header { key: place.key, namespace: self.name, computed_at, expires_at, asked: k, version };
            // A tier that has just failed is not waited for a second time.
            let existing = looked.is_redis_asked.then(|| existing(time::may_replace(looked.standing)));
            self.store(&header, &answer, &rows, &place.secret, existing)
        };
        if let Some(flight) = flight {
            // Of what was kept, it may be an entry for others.
            flight.end(is_stored || glance().is_some());
        }
        Ok((rows, Outcome::Miss(miss)))
    }

    /// Asks the tiers, in their order. It counts failures of an answer's, and nothing else.
    pub fn look_up(&self, place: &Place, purpose: Purpose) -> Looked {
        let kind = if purpose == Purpose::Answer { Use::Counted } else { Use::Uncounted };
        let in_shared = match self.look_up_shared(place, kind) {
            Ok(hit) => return Looked { found: Ok(hit), standing: None, failure: None, is_redis_asked: true },
            Err(miss) => miss,
        };
        let miss = |miss, failure| {
            let is_redis_asked = miss != Miss::Unreachable;
            Looked { found: Err(miss), standing: None, failure, is_redis_asked }
        };
        let looked = match redis::get(place.key, settings::max_entry_size()) {
            Lookup::Found(bytes) => match self.read(&bytes, place) {
                Ok((entry, Ok(hit))) => {
                    if purpose == Purpose::Answer {
                        self.keep(&entry, place, &hit.rows);
                    }
                    Looked { found: Ok(hit), standing: None, failure: None, is_redis_asked: true }
                }
                Ok((_, Err((why, computed_at)))) => Looked { standing: Some(computed_at), ..miss(why, None) },
                Err(_) => miss(Miss::Cold, Some(Failure::Broken)),
            },
            Lookup::Unusable => miss(Miss::Cold, Some(Failure::Broken)),
            // What tier 1 held is all that there is.
            Lookup::Absent => miss(in_shared, None),
            Lookup::Off => Looked { is_redis_asked: false, ..miss(in_shared, None) },
            Lookup::Failed(failure) => miss(Miss::Unreachable, Some(failure)),
            Lookup::LeftAlone => miss(Miss::Unreachable, None),
        };
        if let Some(failure) = looked.failure {
            self.counters.count_failure(failure);
        }
        looked
    }

    fn look_up_shared(&self, place: &Place, kind: Use) -> Result<Hit, Miss> {
        let read = |bytes: &[u8]| {
            let entry: Entry<'_> = Entry::decode_local(bytes, &place.secret)?;
            let top_k = self.top_k as usize;
            self.judge(&entry.header, place, || Rows::of_images(entry.local_rows(top_k)), Outcome::SharedHit)
        };
        match shared::get(place.key, kind, read) {
            shared::Lookup::Found(Ok(found)) => found.map_err(|(miss, _)| miss),
            shared::Lookup::Found(Err(_)) => Err(Miss::Cold),
            shared::Lookup::Expired => Err(Miss::Expired),
            shared::Lookup::Absent => Err(Miss::Cold),
        }
    }

    /// Copies what Redis has to shared memory; `rows` are those of it that have been made.
    fn keep(&self, entry: &Entry<'_>, place: &Place, rows: &Rows) {
        if shared::largest().is_none() {
            return;
        }
        let mut answer = Answer::default();
        for row in entry.rows(usize::MAX) {
            let Ok(row) = row else { return };
            answer.push(row);
        }
        self.put_shared(&entry.header, &answer, &place.secret, entry.header.expires_at, rows);
    }

    /// Puts an answer into shared memory: all of it, or the first `top_k` rows if all of it is too large there. `rows` are as many
    /// of them as have been made already.
    fn put_shared(&self, header: &Header<'_>, answer: &Answer, secret: &Secret, expires_at: i64, rows: &Rows) -> Store {
        let Some(most) = shared::largest().map(|largest| largest.min(settings::max_entry_size())) else {
            return Store::Off;
        };
        let mut payloads: Vec<_> = rows.payloads().collect();
        let rest = answer.rows().skip(payloads.len()).map(|row| Ok::<_, json::NotJson>(row.payload));
        let Ok(rest) = json::jsonbs(rest) else { return Store::Off };
        payloads.extend(rest);
        let bytes = self.encode(header, answer, |header, answer| {
            let images = payloads.iter().take(answer.len()).map(|payload| payload.map(json::image));
            codec::encode_local(header, answer, images, secret, most)
        });
        let existing = existing(time::is_newest_reader());
        bytes.map_or(Store::Off, |bytes| shared::put(header.key, &bytes, expires_at, existing, self.counters))
    }

    /// The same with Redis, for so many milliseconds.
    fn put_redis(
        &self,
        header: &Header<'_>,
        answer: &Answer,
        secret: &Secret,
        milliseconds: u64,
        existing: Existing,
    ) -> Store {
        let most = settings::max_entry_size();
        let encode = |header: &Header<'_>, answer: &Answer| codec::encode(header, answer, secret, seal(), most);
        let bytes = self.encode(header, answer, encode);
        bytes.map_or(Store::Off, |bytes| redis::put(header.key, &bytes, milliseconds, existing))
    }

    /// An entry of all of an answer, or of its first `top_k` rows where `encode` finds that too large.
    fn encode(
        &self,
        header: &Header<'_>,
        answer: &Answer,
        encode: impl Fn(&Header<'_>, &Answer) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        encode(header, answer).or_else(|| {
            let fewer = Header { asked: self.top_k, ..*header };
            (header.asked > self.top_k).then(|| encode(&fewer, &answer.first(self.top_k as usize))).flatten()
        })
    }

    /// Stores an answer where the next search looks. It never fails the search. `existing`: what Redis is to do, if it is to be given it.
    /// Whether a tier has taken it.
    fn store(
        &self,
        header: &Header<'_>,
        answer: &Answer,
        rows: &Rows,
        secret: &Secret,
        existing: Option<Existing>,
    ) -> bool {
        let lives = header.expires_at.saturating_sub(time::now()) as f64 * (1.0 - JITTER * random::fraction());
        let milliseconds = (lives / 1000.0) as u64;
        if milliseconds == 0 {
            return false;
        }
        let expires_at = time::now().saturating_add(lives as i64);
        let in_shared = self.put_shared(header, answer, secret, expires_at, rows);
        let put_redis = |existing| self.put_redis(header, answer, secret, milliseconds, existing);
        let in_redis = existing.map_or(Store::Off, put_redis);
        if let Store::Failed(failure) = in_redis {
            self.counters.count_failure(failure);
        }
        let is_stored = [in_shared, in_redis].contains(&Store::Stored);
        if is_stored {
            self.counters.count(Counter::Stores);
        }
        is_stored
    }

    /// An entry of Redis', and its rows if it answers, or why it does not.
    fn read<'b>(&self, bytes: &'b [u8], place: &Place) -> Result<(Entry<'b>, Judged), Damage> {
        let entry = Entry::decode(bytes, &place.secret, seal())?;
        let rows = || Rows::of(entry.rows(self.top_k as usize));
        Ok((entry, self.judge(&entry.header, place, rows, Outcome::RedisHit)?))
    }

    /// The rows of the entry with this header, if it answers, or why it does not and what time it is from.
    fn judge(
        &self,
        header: &Header<'_>,
        place: &Place,
        rows: impl FnOnce() -> Result<Rows, Damage>,
        outcome: Outcome,
    ) -> Result<Judged, Damage> {
        let &Header { key, namespace, computed_at, expires_at, asked, version } = header;
        if key != place.key || namespace != self.name {
            return Err(Damage::Malformed);
        }
        if version != place.version {
            return Ok(Err((Miss::Stale, computed_at)));
        }
        let now = time::now();
        // By a clock that runs ahead of this one, an entry may come from the future: how far says how wrong its age may be.
        let age = now.saturating_sub(computed_at).saturating_abs();
        if now >= expires_at || age > self.ttl {
            return Ok(Err((Miss::Expired, computed_at)));
        }
        if asked < self.top_k {
            return Ok(Err((Miss::Short, computed_at)));
        }
        Ok(Ok(Hit { rows: rows()?, computed_at, expires_at, asked, outcome }))
    }

    /// Asks the engine for `k` rows, of which the first `most` are the answer.
    ///
    /// A plain query locks its tables before it takes its snapshot; this one's snapshot is the caller's, and older. What was truncated
    /// or rewritten in between is empty to it, so the engine, which now holds the locks, is asked once more under a new one.
    fn ask_engine(&self, k: u32, most: usize) -> (Answer, Snapshot) {
        let answer = self.run_statement(k, most);
        let mut read = self.access.behind().chain([self.definition.source]);
        if !read.any(snapshot::is_outdated_for) {
            return (answer, Snapshot::Current);
        }
        match snapshot::Newer::latest() {
            Some(_latest) => (self.run_statement(k, most), Snapshot::Newer),
            None => (answer, Snapshot::Outdated),
        }
    }

    /// The parts of its key, for a person.
    pub fn key_parts(&self) -> String {
        let tenant = image(&self.definition, self.tenant);
        let asked = Asked {
            name: self.name,
            definition: &self.definition,
            tenant: tenant.as_deref(),
            filter: self.filter.as_ref().map(|filter| filter.form.as_slice()),
            vector: &self.values,
            scope: self.access.scope(),
        };
        let filterable = &self.definition.filterable;
        let condition = || self.filter.as_ref().map(|filter| filter.explained(filterable)).unwrap_or_default();
        key::explained(asked, condition)
    }

    /// Why it is a bypass, in words.
    pub fn why_bypassed(&self, bypass: Bypass) -> &str {
        match (&self.access.sight, bypass) {
            (Sight::OwnRows(why), Bypass::RowSecurity) => why,
            _ => bypass.reason(),
        }
    }

    /// The clocks of what it reads.
    pub fn scopes(&self) -> Vec<Scope> {
        freshness::scopes(&self.definition, self.tenant)
    }

    fn run_statement(&self, k: u32, most: usize) -> Answer {
        let failed = CountedWhenDropped { counters: self.counters, counter: Counter::EngineErrors };
        let mut arguments = vec![varlena::vector_datum(&self.values, self.definition.engine.elements)];
        arguments.extend(self.tenant);
        let Definition { statement, search_settings, filterable, source: oid, .. } = &*self.definition;
        let condition = self.filter.as_ref().map(|filter| filter.condition(filterable, statement.parameters()));
        arguments.extend(condition.iter().flat_map(|condition| &condition.arguments));
        // What was planned before the half of a DETACH that has happened would still be believed.
        let is_whole = || !statement.is_partitioned() || !source::of(*oid, self.schema).is_being_detached_from();
        let may_keep = self.access.may_keep_plans() && is_whole();
        let answer = statement.run(k, most, search_settings, &arguments, condition.as_ref(), may_keep);
        failed.disarm();
        answer
    }
}

/// What the snapshot that an answer was computed under shows of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    /// Its rows.
    Current,
    /// Its rows, later than the caller's own snapshot does: of a version that has not been asked for.
    Newer,
    /// Its rows before a rewrite, of which there are none: PostgreSQL's own answer under such a snapshot, and nobody else's.
    Outdated,
}

/// What a look-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Answer,
    /// To tell of it: then it changes nothing.
    Explanation,
}

/// What the tiers said.
pub struct Looked {
    pub found: Result<Hit, Miss>,
    /// The time that an entry is from which was found and does not answer.
    standing: Option<i64>,
    /// What went wrong with one of them.
    pub failure: Option<Failure>,
    /// Whether Redis could be asked, and can be given something.
    is_redis_asked: bool,
}

/// An entry that answers. Times in microseconds since the Unix epoch.
pub struct Hit {
    rows: Rows,
    pub computed_at: i64,
    pub expires_at: i64,
    /// K, the rows that it was computed for.
    pub asked: u32,
    /// By the tier that holds it.
    pub outcome: Outcome,
}

/// What an entry is good for: a hit, or why it is none and what time it is from.
type Judged = Result<Hit, (Miss, i64)>;

impl Hit {
    fn end(self) -> (Rows, Outcome) {
        (self.rows, self.outcome)
    }
}

/// An older snapshot must not take the place of a newer answer; nor must, in what it shares with others, a standby that lags behind.
fn existing(may_replace: bool) -> Existing {
    if may_replace { Existing::Replace } else { Existing::Keep }
}

/// What an entry in Redis must have to be one.
fn seal() -> Seal {
    if settings::redis_authenticate_entries() { Seal::Tag } else { Seal::Sum }
}

/// The engine's own rows as a result. Their payloads were made by PostgreSQL, so every one is taken.
fn rows<'a>(answer: impl Iterator<Item = Row<'a>>) -> Rows {
    Rows::of(answer.map(Ok::<_, json::NotJson>)).unwrap_or_else(|_| {
        // row_to_json writes what jsonb refuses of a json column alone: the text "\u0000", or a number beyond numeric.
        pgrx::ereport!(
            PgLogLevel::ERROR,
            PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
            "the payload of a row cannot be represented as jsonb"
        );
        Rows::default()
    })
}

impl From<json::NotJson> for Damage {
    fn from(_: json::NotJson) -> Self {
        Self::Column
    }
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
    // In objects of before 0.6.0 there is no filter before it.
    let place = argument::TTL - (argument::COUNT - call.count());
    let given = call.interval(place).map(Interval::total_microseconds);
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
