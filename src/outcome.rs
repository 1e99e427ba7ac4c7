//! Owns how a search can end, and the words for it.

use crate::stats::Counter;

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from shared memory.
    SharedHit,
    /// Answered from Redis.
    RedisHit,
    /// Asked the engine, to fill the cache.
    Miss(Miss),
    /// Asked the engine; nothing was looked up or stored.
    Bypass(Bypass),
}

/// Why no entry answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// There is none.
    Cold,
    /// It is too old.
    Expired,
    /// It answers for another version of the source.
    Stale,
    /// It has too few rows.
    Short,
    /// Redis could not be asked.
    Unreachable,
}

/// Why no entry was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    Disabled,
    Ttl,
    RowSecurity,
    Written,
    Serializable,
    Replica,
    Triggers,
    Clock,
}

impl Outcome {
    /// What it is counted as, and where its time goes.
    pub fn counters(self) -> (Counter, Counter) {
        match self {
            Self::SharedHit => (Counter::SharedHits, Counter::HitTime),
            Self::RedisHit => (Counter::RedisHits, Counter::HitTime),
            Self::Miss(Miss::Cold) => (Counter::MissesCold, Counter::MissTime),
            Self::Miss(Miss::Expired) => (Counter::MissesExpired, Counter::MissTime),
            Self::Miss(Miss::Stale) => (Counter::MissesStale, Counter::MissTime),
            Self::Miss(Miss::Short) => (Counter::MissesShort, Counter::MissTime),
            Self::Miss(Miss::Unreachable) => (Counter::MissesUnreachable, Counter::MissTime),
            Self::Bypass(Bypass::Disabled) => (Counter::BypassesDisabled, Counter::BypassTime),
            Self::Bypass(Bypass::Ttl) => (Counter::BypassesTtl, Counter::BypassTime),
            Self::Bypass(Bypass::RowSecurity) => (Counter::BypassesRowSecurity, Counter::BypassTime),
            Self::Bypass(Bypass::Written) => (Counter::BypassesWritten, Counter::BypassTime),
            Self::Bypass(Bypass::Serializable) => (Counter::BypassesSerializable, Counter::BypassTime),
            Self::Bypass(Bypass::Replica) => (Counter::BypassesReplica, Counter::BypassTime),
            Self::Bypass(Bypass::Triggers) => (Counter::BypassesTriggers, Counter::BypassTime),
            Self::Bypass(Bypass::Clock) => (Counter::BypassesClock, Counter::BypassTime),
        }
    }
}

impl Miss {
    /// In words, for `vcache_explain`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Cold => "there is no entry under this key",
            Self::Expired => "the entry under this key is older than the ttl",
            Self::Stale => "the rows have changed since the entry under this key was stored",
            Self::Short => "the entry under this key has fewer rows than top_k",
            Self::Unreachable => "Redis cannot be reached",
        }
    }
}

impl Bypass {
    /// In words, for `vcache_explain`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Disabled => "vcache.enabled is off",
            Self::Ttl => "the ttl is 0",
            Self::RowSecurity => "row-level security is in force for the current role",
            Self::Written => "the transaction has written to the source",
            Self::Serializable => "the transaction is serializable",
            Self::Replica => "session_replication_role is replica",
            Self::Triggers => "changes of the source may go unseen: vcache's triggers on it are not as they must be",
            Self::Clock => {
                "the snapshot is too old for the source's clock, or what all sources share has changed a moment ago"
            }
        }
    }
}
