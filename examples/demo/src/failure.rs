//! The one error of this program: what went wrong, and what to do about it, in plain words.

use std::error::Error;
use std::process::ExitCode;

/// Result of everything that can fail.
pub type Outcome<T> = Result<T, Failure>;

/// What went wrong, and, where it is known, the cure.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure without a known cure.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    /// Adds the cure.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Puts what was being done before what went wrong.
    pub fn during(self, doing: &str) -> Self {
        Self { what: format!("{doing}: {}", self.what), ..self }
    }

    /// Prints it for a person; the exit status of a failed run.
    pub fn report(self) -> ExitCode {
        eprintln!("\nvcache-demo: {}", self.what);
        if let Some(hint) = self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::FAILURE
    }
}

impl From<postgres::Error> for Failure {
    /// The server's own message and hint where the error is the server's, else the chain of causes.
    fn from(error: postgres::Error) -> Self {
        if let Some(server) = error.as_db_error() {
            let mut what = server.message().to_owned();
            if let Some(detail) = server.detail() {
                what.push_str(&format!(" ({detail})"));
            }
            return Self { what, hint: server.hint().map(str::to_owned) };
        }
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Some errors already print their cause.
            let text = inner.to_string();
            if !what.contains(&text) {
                what.push_str(&format!(": {text}"));
            }
            cause = inner.source();
        }
        Self::new(what)
    }
}
