//! One session of a server, as a test speaks to it: statements as text, values as text, errors and notices as what
//! they are.

use std::sync::{Arc, Mutex};

use postgres::error::DbError;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::engine::Engine;
use crate::plain::Row;
use crate::postgres::Postgres;

/// How a statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Five characters such as `42501`.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// The detail; empty if there is none.
    pub detail: String,
    /// The hint; empty if there is none.
    pub hint: String,
}

impl Failure {
    /// Asserts its SQLSTATE, or the beginning of it, and words that its message or detail holds, in any case.
    #[track_caller]
    pub fn assert(&self, sqlstate: &str, words: &[&str]) {
        assert!(self.is(sqlstate, words), "not {sqlstate} {words:?}: {self:?}");
    }

    fn is(&self, sqlstate: &str, words: &[&str]) -> bool {
        let said = format!("{} {}", self.message, self.detail).to_lowercase();
        self.sqlstate.starts_with(sqlstate) && words.iter().all(|word| said.contains(&word.to_lowercase()))
    }

    /// PostgreSQL's style of messages: they begin in lower case, unless by a name, and end without a full stop.
    fn in_style(&self) -> bool {
        let word = self.message.split(' ').next().unwrap_or_default();
        let name = word.chars().skip(1).any(char::is_uppercase);
        (name || !word.starts_with(char::is_uppercase)) && !self.message.ends_with('.')
    }
}

/// What a server said beside its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `WARNING`, `NOTICE`, …
    pub severity: String,
    /// The primary message.
    pub message: String,
    /// The detail; empty if there is none.
    pub detail: String,
    /// The hint; empty if there is none.
    pub hint: String,
}

/// See the head of this file.
pub struct Session {
    client: Client,
    engine: Engine,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Session {
    pub(crate) fn try_connect(server: &Postgres, user: &str, database: &str) -> Result<Self, postgres::Error> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        let mut config = Config::new();
        config.host_path(server.socket_directory()).port(server.port()).user(user).dbname(database);
        config.notice_callback(move |notice| {
            let optional = |text: Option<&str>| text.unwrap_or_default().to_owned();
            heard.lock().expect("notices").push(Notice {
                severity: notice.severity().to_owned(),
                message: notice.message().to_owned(),
                detail: optional(notice.detail()),
                hint: optional(notice.hint()),
            });
        });
        Ok(Self { client: config.connect(NoTls)?, engine: server.engine(), notices })
    }

    /// The driver itself, for typed parameters, cursors and prepared statements of the protocol.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The engine of the session's database.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Runs statements that must succeed. Several in one text are one transaction.
    pub fn run(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}\n{}", describe(&error)));
    }

    /// The rows of a statement that must succeed, every value as the server renders it.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_rows(sql).unwrap_or_else(|failure| panic!("{sql}\n{failure:?}"))
    }

    /// The rows of a statement, or how it failed.
    pub fn try_rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let messages = self.client.simple_query(sql).map_err(|error| failure(&error))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The only column of every row, which must not be null.
    pub fn column(&mut self, sql: &str) -> Vec<String> {
        let value = |row: Vec<Option<String>>| match row.as_slice() {
            [Some(value)] => value.clone(),
            other => panic!("{sql}\nnot one value: {other:?}"),
        };
        self.rows(sql).into_iter().map(value).collect()
    }

    /// The only value of the only row, which must not be null.
    pub fn value(&mut self, sql: &str) -> String {
        match self.column(sql).as_slice() {
            [value] => value.clone(),
            other => panic!("{sql}\nnot one row: {other:?}"),
        }
    }

    /// As `value`, for a number.
    pub fn number(&mut self, sql: &str) -> i64 {
        let value = self.value(sql);
        value.parse().unwrap_or_else(|_| panic!("{sql}\nnot a number: {value}"))
    }

    /// How a statement that must fail fails.
    pub fn fails(&mut self, sql: &str) -> Failure {
        match self.try_rows(sql) {
            Err(failure) => failure,
            Ok(rows) => panic!("{sql}\ndid not fail: {rows:?}"),
        }
    }

    /// Runs statements that must each fail, with a SQLSTATE that begins so and these words in message or detail;
    /// tells all that do otherwise.
    #[track_caller]
    pub fn refuses<'case>(&mut self, cases: impl IntoIterator<Item = (String, &'case str, &'case [&'case str])>) {
        let mut wrong = Vec::new();
        for (sql, sqlstate, words) in cases {
            match self.try_rows(&sql) {
                Err(failure) if failure.is(sqlstate, words) && failure.in_style() => {}
                result => wrong.push(format!("{sql}: not {sqlstate} {words:?}: {result:?}")),
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// A search whose vector is given as text.
    pub fn search(&mut self, namespace: &str, vector: &str, top_k: usize) -> Vec<Row> {
        self.search_by(&format!("{}, {}, {top_k}", literal(namespace), literal(vector)))
    }

    /// A search whose arguments are given as SQL.
    pub fn search_by(&mut self, arguments: &str) -> Vec<Row> {
        self.answer(&format!("SELECT id, distance, payload FROM vcache_search({arguments})"))
    }

    /// The rows of a query for ids, distances and payloads.
    pub fn answer(&mut self, sql: &str) -> Vec<Row> {
        self.try_answer(sql).unwrap_or_else(|failure| panic!("{sql}\n{failure:?}"))
    }

    /// The same, or how it failed.
    pub fn try_answer(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        let row = |row| Row::from_columns(row).unwrap_or_else(|row| panic!("{sql}\nnot an answer: {row:?}"));
        Ok(self.try_rows(sql)?.into_iter().map(row).collect())
    }

    /// The process of the server that serves this session.
    pub fn pid(&mut self) -> i64 {
        self.number("SELECT pg_backend_pid()")
    }

    /// What the server has said since the last call.
    pub fn notices(&mut self) -> Vec<Notice> {
        // Notices that came with an answer are handed over when the connection is next polled.
        self.run("");
        std::mem::take(&mut *self.notices.lock().expect("notices"))
    }
}

/// A text as an SQL literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn failure(error: &postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => from_db_error(error),
        // The connection itself went away: no server said so.
        None => {
            Failure { sqlstate: String::new(), message: error.to_string(), detail: String::new(), hint: String::new() }
        }
    }
}

fn from_db_error(error: &DbError) -> Failure {
    Failure {
        sqlstate: error.code().code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().unwrap_or_default().to_owned(),
        hint: error.hint().unwrap_or_default().to_owned(),
    }
}

fn describe(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{:?}", from_db_error(error)))
}
