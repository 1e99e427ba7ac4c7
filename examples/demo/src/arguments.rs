//! The command line: where the server is, and how long the replay lasts.

use crate::failure::{Failure, Outcome};

/// What `--help` prints.
pub const USAGE: &str = "\
Loads the texts of PostgreSQL's catalogs as vectors, asks them questions in words, and compares a stream of
searches without and with vcache.

usage: vcache-demo [option value]...
  --host HOST       directory of the server's socket, or a host name (PGHOST, or /var/run/postgresql)
  --port PORT       (PGPORT, or 5432)
  --user USER       (PGUSER, or postgres); the password, if one is needed, is read from PGPASSWORD
  --dbname NAME     created if missing; its tables docs and questions are replaced (vcache_demo)
  --queries COUNT   length of the replayed stream (5000)";

/// Where the server is, and how long the replay lasts.
#[derive(Debug)]
pub struct Arguments {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub dbname: String,
    pub queries: usize,
}

impl Arguments {
    /// Reads the arguments after the program's name; `None` if help is asked for.
    pub fn parse(words: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let from_environment = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let mut parsed = Self {
            host: from_environment("PGHOST", "/var/run/postgresql"),
            port: number("PGPORT", &from_environment("PGPORT", "5432"))?,
            user: from_environment("PGUSER", "postgres"),
            dbname: "vcache_demo".to_owned(),
            queries: 5000,
        };
        let mut words = words;
        while let Some(option) = words.next() {
            if option == "--help" || option == "-h" {
                return Ok(None);
            }
            // Both `--port 5433` and `--port=5433`.
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (option, words.next()),
            };
            let value = value.ok_or_else(|| wrong(format!("{name} needs a value")))?;
            match name.as_str() {
                "--host" => parsed.host = value,
                "--port" => parsed.port = number("--port", &value)?,
                "--user" => parsed.user = value,
                "--dbname" => parsed.dbname = value,
                "--queries" => parsed.queries = number("--queries", &value)?,
                _ => return Err(wrong(format!("unknown option {name}"))),
            }
        }
        if parsed.queries == 0 {
            return Err(wrong("--queries must be at least 1".to_owned()));
        }
        Ok(Some(parsed))
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Outcome<T> {
    value.parse().map_err(|_| wrong(format!("{name} cannot be \"{value}\"")))
}

fn wrong(what: String) -> Failure {
    Failure::new(what).hint("vcache-demo --help lists the options")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Option<Arguments>> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let parsed =
            parse("--host /tmp/x --port=5433 --user me --dbname d --queries 10").expect("valid").expect("no help");
        assert_eq!((parsed.host.as_str(), parsed.port), ("/tmp/x", 5433));
        assert_eq!((parsed.user.as_str(), parsed.dbname.as_str(), parsed.queries), ("me", "d", 10));
        assert!(parse("--help").expect("valid").is_none());
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in ["--port x", "--port", "--queries 0", "--nothing 1", "docs"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
