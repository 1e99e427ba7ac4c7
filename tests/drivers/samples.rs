//! The samples of code in the document are lines of the scripts, or of these tests: what is told is what runs.

use std::path::Path;

const DOCUMENT: &str = "docs/usage-drivers.md";

/// The lines of a text, without their indentation.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn samples_are_parts_of_what_runs() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document =
        std::fs::read_to_string(tests.parent().expect("the top of the tree").join(DOCUMENT)).expect(DOCUMENT);
    let run: Vec<(&str, String)> = [
        (
            "python",
            vec![
                "with_psycopg.py",
                "with_asyncpg.py",
                "with_sqlalchemy.py",
                "with_pgvector.py",
                "through_pgbouncer.py",
            ],
        ),
        ("js", vec!["with_pg.js"]),
        ("rust", vec!["rust.rs"]),
        ("sql", vec!["with_psql.sql", "joins.rs"]),
    ]
    .into_iter()
    .map(|(language, files)| {
        let text: String = files
            .iter()
            .map(|file| {
                std::fs::read_to_string(tests.join("drivers").join(file))
                    .unwrap_or_else(|error| panic!("{file}: {error}"))
            })
            .collect();
        (language, lines(&text))
    })
    .collect();

    let mut blocks = document.split("\n```").skip(1).step_by(2).peekable();
    assert!(blocks.peek().is_some(), "{DOCUMENT} has no samples");
    for block in blocks {
        let (language, sample) = block.split_once('\n').expect("a block of code");
        let known = run.iter().find(|(name, _)| *name == language);
        let (_, text) = known.unwrap_or_else(|| panic!("{DOCUMENT}: nothing runs {language:?}:\n{sample}"));
        assert!(text.contains(&lines(sample)), "{DOCUMENT}: no test has these lines:\n{sample}");
    }
}
