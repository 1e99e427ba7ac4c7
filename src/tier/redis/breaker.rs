//! Owns whether Redis is asked at all: two breakers for each URL, or for each node of a cluster, shared by the whole server (without
//! preload, each backend's own), the last error that each saw, and what is told of it in the log. One is for reading and the other
//! for storing: a server may answer those who read and hang for those who store.
//!
//! What a failure is, docs/decisions/0006-the-breaker.md says; in short: no answer, half an answer, the wrong answer, or a refusal
//! to read that is not about the one key. A refusal to write does not keep anybody from reading.

use super::connection::Error;
use crate::pg::{exit, random, shmem};
use crate::settings;
use once_cell::sync::OnceCell;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vcache_core::breaker::{self as core, FAILURES, Permit, State};
use vcache_core::cluster::Target;
use vcache_core::resp::ReplyError;

/// Where there are more URLs and nodes than slots, some share one, which only matters when both fail at once.
const SLOTS: usize = 256;

/// Of an error's text, what is kept: more than any has that is not another's words.
const TEXT_BYTES: usize = 200;

shmem::shared_struct! {
    /// A breaker, and the last error under it.
    pub struct Slot {
        word: AtomicU64,
        /// The hash of whose it is; 0 for nobody's. It changes under the regions' lock.
        name: AtomicU64,
        /// Of the last refusal to store, the hash of its text; 0 when something was stored since. Of no meaning for reading.
        refused: AtomicU64,
        length: AtomicU32,
        /// Written under the regions' lock.
        text: [AtomicU8; TEXT_BYTES],
    }
}

static SHARED: shmem::Region<Slot> = shmem::Region::new(c"vcache breakers");
static OWN: [Slot; SLOTS] = [const {
    Slot {
        word: AtomicU64::new(0),
        name: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        length: AtomicU32::new(0),
        text: [const { AtomicU8::new(0) }; TEXT_BYTES],
    }
}; SLOTS];

/// What the breakers' clock counts from. Set before the first backend is forked, it is the same in all of them.
static START: OnceCell<Instant> = OnceCell::new();

thread_local! {
    /// What this backend is asking, and since when: it may be terminated meanwhile.
    static ASKING: Cell<Option<(Breaker, Permit, Instant)>> = const { Cell::new(None) };
}

/// Asks for the shared slots, at server start.
pub fn request() {
    SHARED.request(SLOTS);
    now();
}

fn now() -> u64 {
    milliseconds(START.get_or_init(Instant::now).elapsed())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a command is for: not every refusal means the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Read,
    Write,
    Flush,
    /// Asking a node of a cluster for the map, which says nothing of whether it can be read from.
    Map,
}

/// Those of one URL, or of one node of its cluster.
#[derive(Clone, Copy)]
pub struct Breakers {
    /// For all but storing.
    pub reads: Breaker,
    stores: Breaker,
}

impl Breakers {
    pub fn of(url: &CStr, node: Option<&Target>) -> Self {
        Self { reads: Breaker::of(url, node, false), stores: Breaker::of(url, node, true) }
    }

    /// Leave to ask, unless Redis is to be left alone. `server` is its address, for the log.
    ///
    /// # Errors
    /// [`Error::LeftAlone`].
    pub fn admit(self, purpose: Purpose, server: impl FnOnce() -> String) -> Result<Attempt, Error> {
        match purpose {
            Purpose::Read | Purpose::Map => self.reads.admit(server),
            Purpose::Write => self.stores.admit(server),
            // Who asks for it waits for it.
            Purpose::Flush => Ok(self.reads.attempt(Permit::Ordinary)),
        }
    }

    /// Why nothing is stored, and until when, where that is so.
    pub fn why_not_stored(&self) -> Option<String> {
        match self.stores.core().state() {
            State::Closed { .. } if self.stores.slot.refused.load(Ordering::Relaxed) == 0 => None,
            State::Closed { .. } => Some(format!("the last store was {}", self.stores.last_error())),
            State::Open { next, .. } => Some(format!("{}, next try in {}", self.stores.last_error(), from_now(next))),
        }
    }
}

#[derive(Clone, Copy)]
pub struct Breaker {
    slot: &'static Slot,
    hash: u64,
    /// Whether it is for storing.
    stores: bool,
}

impl Breaker {
    fn of(url: &CStr, node: Option<&Target>, stores: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (url, node, stores).hash(&mut hasher);
        let hash = hasher.finish();
        let slots = SHARED.slots().unwrap_or(&OWN);
        Self { slot: Slot::of(slots, hash), hash, stores }
    }

    fn admit(self, server: impl FnOnce() -> String) -> Result<Attempt, Error> {
        let permit = self.core().admit(now(), lease());
        if permit != Some(Permit::Ordinary) {
            self.tell(server);
        }
        permit.map(|permit| self.attempt(permit)).ok_or(Error::LeftAlone)
    }

    fn attempt(self, permit: Permit) -> Attempt {
        exit::at_exit(|| {
            if let Some((breaker, permit, since)) = ASKING.take() {
                breaker.cut_short(permit, since);
            }
        });
        let since = Instant::now();
        ASKING.set(Some((self, permit, since)));
        Attempt { breaker: self, permit, since }
    }

    fn core(&self) -> core::Breaker<'static> {
        core::Breaker::new(&self.slot.word, self.hash)
    }

    /// Ended from outside while it waited. That counts as no answer: with a statement_timeout shorter than the
    /// deadlines there would never be another kind of failure. It runs while an ERROR passes: atomics alone.
    fn cut_short(self, permit: Permit, since: Instant) {
        if permit.has_failed_after(milliseconds(since.elapsed())) {
            self.slot.length.store(0, Ordering::Relaxed);
            self.core().failed(permit, now(), 0.0);
        }
    }

    fn failed(self, permit: Permit, error: &Error, server: impl FnOnce() -> String) {
        self.keep(&error.to_string());
        self.core().failed(permit, now(), random::fraction());
        self.tell(server);
    }

    /// The server does not want to store anything, which may go on for long: what is known already is not written again.
    fn refused(self, error: &Error) {
        let text = error.to_string();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish().max(1);
        if self.slot.refused.load(Ordering::Relaxed) != hash {
            self.keep(&text);
            self.slot.refused.store(hash, Ordering::Relaxed);
        }
    }

    /// Keeps the text of the last error.
    fn keep(self, text: &str) {
        let text = if text.len() <= TEXT_BYTES {
            Cow::Borrowed(text)
        } else {
            let end = text.floor_char_boundary(TEXT_BYTES - '…'.len_utf8());
            Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
        };
        let slot = self.slot;
        shmem::exclusively(|| {
            for (to, from) in slot.text.iter().zip(text.as_bytes()) {
                to.store(*from, Ordering::Relaxed);
            }
            slot.length.store(text.len() as u32, Ordering::Relaxed);
        });
    }

    /// The server has answered: it is asked again.
    pub fn answered(self, server: impl FnOnce() -> String) {
        if self.core().succeeded() {
            let does = if self.stores { "stores in" } else { "uses" };
            log(format!("vcache {does} Redis at {} again", server()));
        }
    }

    /// Logs that it has opened, unless somebody has. Who may not see the setting must not see the line: it is for the log alone.
    fn tell(self, server: impl FnOnce() -> String) {
        if self.core().to_tell() {
            let (server, error) = (server(), self.last_error());
            let does = if self.stores {
                format!("stores nothing in Redis at {server}")
            } else {
                format!("leaves Redis at {server} alone")
            };
            log(format!("vcache {does} after {FAILURES} failures in a row: {error}"));
        }
    }

    /// The text of the last error.
    pub fn last_error(&self) -> String {
        let slot = self.slot;
        let mut bytes = [0; TEXT_BYTES];
        let length = shmem::exclusively(|| {
            for (to, from) in bytes.iter_mut().zip(&slot.text) {
                *to = from.load(Ordering::Relaxed);
            }
            slot.length.load(Ordering::Relaxed) as usize
        });
        match bytes.get(..length) {
            None | Some([]) => String::from("a search was ended while it waited"),
            Some(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}

impl Slot {
    /// The one of this name; or else one that is nobody's, one whose owner is well, or any.
    fn of(slots: &'static [Self], name: u64) -> &'static Self {
        let is_well = |slot: &&Self| {
            let owner = core::Breaker::new(&slot.word, slot.name.load(Ordering::Relaxed));
            owner.state() == State::Closed { failures: 0 }
        };
        shmem::exclusively(|| {
            let named = |name: u64| slots.iter().find(|slot| slot.name.load(Ordering::Relaxed) == name);
            let any = || slots.get(name as usize % SLOTS);
            let slot = named(name).or_else(|| named(0)).or_else(|| slots.iter().find(is_well)).or_else(any);
            let slot = slot.unwrap_or(&OWN[0]);
            slot.name.store(name, Ordering::Relaxed);
            slot
        })
    }
}

/// In words, for `vcache_health`.
impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.core().state() {
            State::Closed { failures: 0 } => f.write_str("breaker closed"),
            State::Closed { failures } => write!(f, "breaker closed, {failures} of {FAILURES} failures in a row"),
            State::Open { next, .. } => write!(f, "breaker open, next probe in {}", from_now(next)),
        }
    }
}

/// How long it is until then, in words.
fn from_now(time: u64) -> String {
    format!("{:.1} s", Duration::from_millis(time.saturating_sub(now())).as_secs_f64())
}

/// How long a prober may take. It is terminated or killed at the worst, and then somebody else takes its place.
fn lease() -> u64 {
    const MARGIN: Duration = Duration::from_millis(100);
    milliseconds(settings::redis_connect_timeout() + 2 * settings::redis_timeout() + MARGIN)
}

/// One command under way. Dropped before it has ended, it was cancelled.
pub struct Attempt {
    breaker: Breaker,
    permit: Permit,
    since: Instant,
}

impl Attempt {
    /// Reports how it ended.
    pub fn ended<T>(self, purpose: Purpose, result: &Result<T, Error>, server: impl Fn() -> String) {
        let Self { breaker, permit, .. } = self;
        std::mem::forget(self);
        ASKING.set(None);
        if purpose == Purpose::Write {
            match result {
                Ok(_) if breaker.slot.refused.load(Ordering::Relaxed) != 0 => {
                    breaker.slot.refused.store(0, Ordering::Relaxed);
                }
                Err(error @ Error::Refused(_)) => breaker.refused(error),
                _ => {}
            }
        }
        match result.as_ref().err().map(|error| (verdict(purpose, error), error)) {
            Some((Verdict::Failed, error)) => breaker.failed(permit, error, server),
            Some((Verdict::Unasked, _)) => breaker.core().returned(permit, now()),
            Some((Verdict::Nothing, _)) if permit == Permit::Ordinary => {}
            None if purpose == Purpose::Map => breaker.core().returned(permit, now()),
            _ => breaker.answered(server),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        ASKING.set(None);
        self.breaker.cut_short(self.permit, self.since);
    }
}

/// What an error says of the server.
enum Verdict {
    /// It is of no use.
    Failed,
    /// It has answered, and may be of use for another command.
    Answered,
    /// Neither.
    Nothing,
    /// It was not even asked.
    Unasked,
}

fn verdict(purpose: Purpose, error: &Error) -> Verdict {
    match error {
        // A key that another node has, or a value of another type.
        Error::Redirected(_) => Verdict::Answered,
        Error::Refused(code) if matches!(code.as_str(), "WRONGTYPE" | "MOVED" | "ASK" | "TRYAGAIN") => {
            Verdict::Answered
        }
        // OOM, READONLY, MISCONF, NOREPLICAS, NOPERM: those who read are answered as before.
        Error::Refused(_) if matches!(purpose, Purpose::Write | Purpose::Flush) => Verdict::Nothing,
        // A value that is larger than an entry may be costs no deadline, and was perhaps stored when the bound was higher.
        Error::Reply(ReplyError::TooLarge) if purpose == Purpose::Read => Verdict::Nothing,
        // This backend's own trouble; nobody to ask.
        Error::Descriptors | Error::Url(_) => Verdict::Unasked,
        _ => Verdict::Failed,
    }
}

fn log(line: String) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, line, "vcache").report(PgLogLevel::LOG_SERVER_ONLY);
}
