//! The samples of clients' code in the guide are lines of the scripts, or of these tests: what is told is what runs.
//! (Its SQL is run by tests/documents.rs.)

use std::path::Path;

const DOCUMENT: &str = "docs/usage.md";

/// Where the lines of a language run.
const RUN: [(&str, &[&str]); 3] = [
    (
        "python",
        &["with_psycopg.py", "with_asyncpg.py", "with_sqlalchemy.py", "with_pgvector.py", "through_pgbouncer.py"],
    ),
    ("js", &["with_pg.js"]),
    ("rust", &["rust.rs"]),
];

/// The lines of a text, without their indentation.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn samples_are_parts_of_what_runs() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = tests.parent().expect("the top of the tree").join(DOCUMENT);
    let document = std::fs::read_to_string(document).expect(DOCUMENT);
    for (language, files) in RUN {
        let read = |file: &&str| std::fs::read_to_string(tests.join("drivers").join(file)).expect(file);
        let run: String = files.iter().map(read).map(|text| lines(&text)).collect();
        let opening = format!("\n```{language}\n");
        let samples: Vec<&str> =
            document.split(&opening).skip(1).map(|rest| rest.split("\n```").next().expect("a block")).collect();
        assert!(!samples.is_empty(), "{DOCUMENT} has no sample in {language}");
        for sample in samples {
            assert!(run.contains(&lines(sample)), "{DOCUMENT}: none of {files:?} has these lines:\n{sample}");
        }
    }
}
