//! Owns what a tier is: a place that holds entries.
//!
//! A tier is asked for the bytes under a key, and given bytes to keep. It never raises: whatever goes wrong in it is a miss,
//! told apart only so that it can be counted. Whether bytes are the entry that was asked for is the caller's question.
//! (A cancel or a termination of the session is not the tier's failure, and is raised from within its waits.)

pub mod redis;
pub mod shared;

/// What a tier said when it was asked for an entry.
#[derive(Debug)]
pub enum Lookup {
    /// Bytes, not looked at yet.
    Found(Vec<u8>),
    /// It holds nothing under this key.
    Absent,
    /// It holds something that cannot be an entry, and that may be replaced.
    Unusable,
    /// There is no such tier.
    Off,
    /// It could not be asked.
    Failed(Failure),
    /// It has failed so often that it was not asked.
    LeftAlone,
}

/// What a tier said when it was given an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// It holds the entry now.
    Stored,
    /// It kept what it had.
    Kept,
    /// There is no such tier.
    Off,
    /// It could not be given anything.
    Failed(Failure),
    /// It has failed so often that it was not given it.
    LeftAlone,
}

/// How a tier failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It did not answer in time.
    TimedOut,
    /// Anything else.
    Broken,
}

/// What to do when a tier holds an entry under the key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replace,
    Keep,
}
