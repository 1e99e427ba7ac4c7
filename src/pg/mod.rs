//! Owns every call into PostgreSQL that Rust cannot check: all `unsafe` of the extension lives below here.
//!
//! Each file offers safe functions on one subject. An ERROR raised by PostgreSQL passes through them as a panic, runs the
//! destructors on its way, and becomes an ERROR again at the entry (`function.rs`). Destructors here do nothing while that
//! happens: the transaction's abort closes relations, scans and plans on its own.
#![allow(unsafe_code, reason = "the quarantine that the lint outside it is for")]

pub mod access;
pub mod array;
pub mod catalog;
pub mod clock_places;
pub mod clock_table;
pub mod exit;
pub mod extension;
pub mod file;
pub mod foreign;
pub mod function;
pub mod guc;
pub mod hash;
pub mod inherits;
pub mod invalidation;
pub mod json;
pub mod lock;
pub mod nonce;
pub mod order;
pub mod planner;
pub mod policy;
pub mod random;
pub mod relation;
pub mod result;
pub mod rewrite;
pub mod row;
pub mod scan;
pub mod shmem;
pub mod snapshot;
pub mod spi;
pub mod table_write;
pub mod time;
pub mod transaction;
pub mod trigger;
pub mod varlena;
pub mod wait;
