//! Drivers: what people search with, against a live server. The scripts beside this file assert for themselves that
//! they get the plain query's rows, and what their searches are counted as.

mod joins;
mod rust;
mod samples;
mod scripts;

use std::sync::LazyLock;

use harness::{Database, Source, Stand};

/// The servers of all tests here.
fn stand() -> &'static Stand {
    static STAND: LazyLock<Stand> = LazyLock::new(Stand::start);
    &STAND
}

/// A database with what the scripts search: `docs`, with two namespaces that differ in their payloads.
fn documents(dimensions: usize) -> (Database<'static>, Source) {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 60, dimensions);
    session.run("ALTER TABLE docs ALTER id TYPE bigint; UPDATE docs SET title = NULL WHERE n = 3");
    source.register(&mut session, "documents", "payload_columns => '{title}', filter_columns => '{n}'");
    source.register(&mut session, "bare", "");
    (database, source)
}
