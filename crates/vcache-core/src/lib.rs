//! What vcache decides without PostgreSQL and without I/O.
//!
//! | module | owns |
//! | --- | --- |
//! | [`vector`] | the text form of a vector, and its canonical values |
//! | [`key`] | from the parts of a search to the 128 bits that name its entry |
//! | [`codec`] | the bytes of an entry, in both directions |
//! | [`digest`] | what versions are told apart by |
//! | [`filter`] | conditions on the rows of a search |
//! | [`resp`] | how many bytes a Redis reply has, before it is read |
//! | [`keyspace`] | what entries are called among the keys of others |
//! | [`cluster`] | the slot of a key, and where a redirection of Redis Cluster points |
//! | [`breaker`] | whether to ask a server that has failed |
//! | [`arena`] | entries in shared memory |
//! | [`sketch`] | how often keys have been asked for lately |
//! | [`ladder`] | how many rows a miss asks for |

pub mod arena;
pub mod breaker;
pub mod cluster;
pub mod codec;
pub mod digest;
pub mod filter;
pub mod key;
pub mod keyspace;
pub mod ladder;
pub mod resp;
pub mod sketch;
pub mod vector;
