//! Runs pg_regress over `pg_test/`: the SQL contract, as text that one can read.
//!
//! `pg_test/sql` is copied to a throw-away directory, where pg_regress also writes; results that differ are printed
//! as a diff. To take over new results after reading them: `VCACHE_ACCEPT=1` copies them to `pg_test/expected`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Directory, Stand};

/// In the order they run, each dropping what it made; all in one database, unless they make one of their own.
const TESTS: [&str; 10] =
    ["tour", "catalog", "namespaces", "tenants", "filters", "vectors", "inputs", "security", "privileges", "pgvector"];

#[test]
fn pg_regress_finds_what_is_expected() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the top of the tree").join("pg_test");
    let listed: Vec<String> = TESTS.map(|test| format!("{test}.sql")).to_vec();
    for entry in fs::read_dir(source.join("sql")).expect("pg_test/sql") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        assert!(listed.contains(&name), "{name} is not in the list of tests");
    }
    let stand = Stand::start();
    let directory = Directory::new("regress");
    let work: PathBuf = directory.path().join("pg_test");
    let copied = Command::new("cp").arg("-RL").arg(&source).arg(&work).status().expect("cp");
    assert!(copied.success());
    for test in TESTS {
        // pg_regress stops at a file that is not there; an empty one shows all of a new test's results.
        File::options().append(true).create(true).open(work.join(format!("expected/{test}.out"))).expect(test);
    }

    let installation = stand.server.installation();
    let output = Command::new(installation.pg_regress())
        .arg(format!("--inputdir={}", work.display()))
        .arg(format!("--outputdir={}", work.display()))
        .arg(format!("--bindir={}", installation.bin().display()))
        .arg(format!("--host={}", stand.server.socket_directory().display()))
        .arg(format!("--port={}", stand.server.port()))
        .args(["--user=postgres", "--dbname=regression", "--encoding=UTF8", "--no-locale"])
        .args(TESTS)
        .current_dir(&work)
        .output()
        .expect("pg_regress");
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if std::env::var_os("VCACHE_ACCEPT").is_some() {
        for test in TESTS {
            fs::copy(work.join(format!("results/{test}.out")), source.join(format!("expected/{test}.out")))
                .expect(test);
        }
        return;
    }
    if !output.status.success() {
        panic!("{}", fs::read_to_string(work.join("regression.diffs")).unwrap_or_default());
    }
}
