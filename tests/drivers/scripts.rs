//! Runs the scripts: each in a database of its own, told by libpq's variables where that is.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Database, Engine, PATIENCE, Pgbouncer};

use crate::documents;

/// A file of those that scripts/drivers.sh has fetched.
fn fetched(path: &str) -> PathBuf {
    let drivers = std::env::var_os("VCACHE_DRIVERS")
        .expect("VCACHE_DRIVERS is not set: the integration tests are run by `make test`");
    Path::new(&drivers).join(path)
}

/// Runs a program with arguments on a script of this directory; gives what it wrote. `host` and `port` are where the
/// script is to connect.
fn run(database: &Database<'_>, host: &Path, port: u16, program: &Path, arguments: &[&str]) -> String {
    let server = database.server();
    // A script that hangs has failed.
    let output = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .arg(program)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers"))
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", database.name())
        .env("SERVER_HOST", server.socket_directory())
        .env("SERVER_PORT", server.port().to_string())
        .env("VECTOR_TYPE", server.engine().extension())
        .env("NODE_PATH", fetched("node/node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{written}{complaints}", output.status);
    written
}

fn run_directly(program: &Path, arguments: &[&str]) {
    let (database, _) = documents(8);
    let server = database.server();
    run(&database, server.socket_directory(), server.port(), program, arguments);
}

/// The example: what it logs is what it says of the cache, and its table is gone when it ends.
#[test]
fn the_example_for_python() {
    let (database, _) = documents(8);
    let server = database.server();
    if server.engine() != Engine::RuVector {
        return; // whose type it names
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cache_integration_example.py");
    let written = run(
        &database,
        server.socket_directory(),
        server.port(),
        &fetched("python/bin/python"),
        &[example.to_str().expect("a path")],
    );
    for line in [
        "INFO article 7 at 0.000: {'title': 'article 7'}",
        "INFO articles: 1 lookups, 0 hits, 1 misses, 0 bypasses, hit rate 0.0 %",
        "WARNING articles: hit rate below 50 %",
        // 50 searches for 5 vectors, one for the first, and one that asks the engine.
        "INFO articles: 53 lookups, 46 hits, 6 misses, 1 bypasses, hit rate 86.8 %",
    ] {
        assert!(written.contains(line), "no line {line:?} in\n{written}");
    }
    assert_eq!(written.matches("WARNING").count(), 1, "{written}");
    assert_eq!(database.session().value("SELECT to_regclass('articles') IS NULL"), "t");
}

fn python(arguments: &[&str]) {
    run_directly(&fetched("python/bin/python"), arguments);
}

#[test]
fn psycopg() {
    python(&["with_psycopg.py"]);
}

#[test]
fn asyncpg() {
    python(&["with_asyncpg.py"]);
}

#[test]
fn sqlalchemy() {
    python(&["with_sqlalchemy.py"]);
}

#[test]
fn pgvector_for_python() {
    python(&["with_pgvector.py"]);
}

#[test]
fn node_postgres() {
    run_directly(&fetched("node/node"), &["with_pg.js"]);
}

#[test]
fn psql() {
    let (database, source) = documents(3);
    let server = database.server();
    let program = server.installation().program("psql");
    let arguments = ["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", "with_psql.sql"];
    let written = run(&database, server.socket_directory(), server.port(), &program, &arguments);

    // As the script says.
    let found = source.assert_search(&mut database.session(), "documents", "[0.1,0.9,0]", 3);
    let row =
        |row: &harness::Row| format!("{}|{}|{}", row.id, row.distance, row.payload.as_deref().unwrap_or_default());
    let rows: Vec<String> = found.iter().map(row).collect();
    let mut expected = [rows.clone(), rows.clone(), rows].concat();
    expected.extend(["id|text", "distance|double precision", "payload|jsonb"].map(str::to_owned));
    expected.extend([found[0].id.clone(), "42704".to_owned()]);
    assert_eq!(written.lines().collect::<Vec<_>>(), expected);
    // \gdesc asks for the columns only.
    assert_eq!(database.stats("documents").outcomes(), (4, 1, 0));
}

#[test]
fn pgbouncer() {
    for (settings, argument) in [("", "keeps"), ("server_reset_query_always = 1", "resets")] {
        let (database, _) = documents(8);
        let bouncer = Pgbouncer::start(&database, settings);
        let program = fetched("python/bin/python");
        run(&database, bouncer.socket_directory(), bouncer.port(), &program, &["through_pgbouncer.py", argument]);
        run(&database, bouncer.socket_directory(), bouncer.port(), &fetched("node/node"), &["through_pgbouncer.js"]);
    }
}
