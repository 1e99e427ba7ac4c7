//! Runs the documents: every block of SQL in them, in order, by psql in a database of the document's own. The text block right behind one is
//! what psql prints for it. A block that begins with "```sql fails" shows errors, which psql prints too.
//!
//! `VCACHE_ACCEPT=1` writes what is printed into the documents instead.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Postgres, Stand};

const DOCUMENTS: [&str; 3] = ["README.md", "docs/usage.md", "docs/deployment.md"];

/// A block of SQL, the line it begins at, and the lines that it is said to print.
struct Example {
    line: usize,
    sql: String,
    fails: bool,
    printed: Option<Range<usize>>,
}

/// The blocks of a document, whose lines count from 0.
fn examples(document: &[String]) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut number = 0;
    let mut directly_behind = false;
    while number < document.len() {
        let Some(language) = document[number].strip_prefix("```") else {
            directly_behind = false;
            number += 1;
            continue;
        };
        let length = document[number + 1..].iter().position(|line| line == "```").expect("the end of a block");
        let block = number + 1..number + 1 + length;
        let is_sql = language == "sql" || language == "sql fails";
        if is_sql {
            let sql = document[block.clone()].join("\n") + "\n";
            examples.push(Example { line: number + 1, sql, fails: language != "sql", printed: None });
        } else if language == "text" && directly_behind {
            examples.last_mut().expect("an example").printed = Some(block.clone());
        }
        directly_behind = is_sql;
        number = block.end + 1;
    }
    examples
}

/// What psql prints, errors where they come; only SQL that is to fail may.
fn psql(server: &Postgres, database: &str, sql: &str, fails: bool) -> String {
    let stop = format!("ON_ERROR_STOP={}", if fails { "0" } else { "1" });
    let mut child = Command::new("sh")
        .args(["-c", r#"exec "$@" 2>&1"#, "sh"])
        .arg(server.installation().program("psql"))
        .args(["-X", "-q", "-v", &stop, "-U", "postgres", "-h"])
        .arg(server.socket_directory())
        .args(["-p", &server.port().to_string(), "-d", database])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql");
    child.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("psql reads");
    let output = child.wait_with_output().expect("psql");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{sql}\n{text}");
    assert_eq!(text.contains("ERROR:"), fails, "{sql}\n{text}");
    text.trim_end().to_owned()
}

#[test]
fn documents_say_what_happens() {
    let accept = std::env::var_os("VCACHE_ACCEPT").is_some();
    let stand = Stand::start();
    for (number, name) in DOCUMENTS.iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the top of the tree").join(name);
        let mut document: Vec<String> =
            std::fs::read_to_string(&path).expect(name).lines().map(str::to_owned).collect();
        let examples = examples(&document);
        assert!(!examples.is_empty(), "{name} shows nothing");
        let database = format!("document_{number}");
        stand.server.connect("postgres", "postgres").run(&format!("CREATE DATABASE {database} TEMPLATE template0"));
        let mut taken_over = Vec::new();
        for Example { line, sql, fails, printed } in examples {
            let output = psql(&stand.server, &database, &sql, fails);
            let Some(printed) = printed else { continue };
            if accept {
                taken_over.push((printed, output));
            } else {
                let shown = document[printed].join("\n");
                assert_eq!(output, shown.trim_end(), "{name}, line {line}:\n{sql}\nprints\n{output}");
            }
        }
        for (lines, output) in taken_over.into_iter().rev() {
            document.splice(lines, output.lines().map(str::to_owned));
        }
        if accept {
            std::fs::write(&path, document.join("\n") + "\n").expect(name);
        }
    }
}
