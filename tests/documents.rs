//! Runs the documents: every block of SQL in them, in order, by psql in a database of the document's own. The text block right behind one is
//! what psql prints for it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Postgres, Stand};

const DOCUMENTS: [&str; 1] = ["README.md"];

/// A block of SQL, the line it begins at, and what it is said to print.
struct Example {
    line: usize,
    sql: String,
    printed: Option<String>,
}

fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = document.lines().enumerate().peekable();
    let mut directly_behind = false;
    while let Some((number, line)) = lines.next() {
        let language = line.strip_prefix("```");
        if language.is_none() {
            directly_behind = false;
            continue;
        }
        let mut block = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            block.push_str(line);
            block.push('\n');
        }
        match language {
            Some("sql") => examples.push(Example { line: number + 1, sql: block, printed: None }),
            Some("text") if directly_behind => examples.last_mut().expect("an example").printed = Some(block),
            _ => {}
        }
        directly_behind = language == Some("sql");
    }
    examples
}

fn psql(server: &Postgres, database: &str, sql: &str) -> String {
    let mut child = Command::new(server.installation().program("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
        .arg(server.socket_directory())
        .args(["-p", &server.port().to_string(), "-d", database])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql");
    child.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("psql reads");
    let output = child.wait_with_output().expect("psql");
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn documents_say_what_happens() {
    let stand = Stand::start();
    for (number, name) in DOCUMENTS.iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the top of the tree").join(name);
        let examples = examples(&std::fs::read_to_string(path).expect(name));
        assert!(examples.iter().any(|example| example.printed.is_some()), "{name} shows nothing");
        let database = format!("document_{number}");
        stand.server.connect("postgres", "postgres").run(&format!("CREATE DATABASE {database} TEMPLATE template0"));
        for Example { line, sql, printed } in examples {
            let output = psql(&stand.server, &database, &sql);
            if let Some(printed) = printed {
                assert_eq!(output.trim_end(), printed.trim_end(), "{name}, line {line}:\n{sql}\nprints\n{output}");
            }
        }
    }
}
