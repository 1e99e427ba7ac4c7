//! Owns what each connection did last, and when: what a failure is explained by.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How much of it is kept for each connection.
const KEPT: usize = 300;
/// How much of it is told: what ended within this time before the failure,
const TOLD: Duration = Duration::from_secs(3);
/// and of each connection at most so many of its last.
const TOLD_EACH: usize = 40;
/// A statement is told up to so many characters.
const WIDTH: usize = 260;

struct Record {
    start: Duration,
    end: Option<Duration>,
    text: String,
    outcome: String,
}

/// One connection's history; clones are the same one.
#[derive(Clone)]
pub struct History {
    name: String,
    clock: Instant,
    records: Arc<Mutex<VecDeque<Record>>>,
}

impl History {
    /// Times count from `clock`.
    pub fn new(name: String, clock: Instant) -> Self {
        Self { name, clock, records: Arc::default() }
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that something begins.
    pub fn begin(&self, text: String) {
        let mut records = self.records();
        if records.len() == KEPT {
            records.pop_front();
        }
        records.push_back(Record { start: self.clock.elapsed(), end: None, text, outcome: String::new() });
    }

    /// Notes how what began last has ended.
    pub fn end(&self, outcome: &str) {
        if let Some(record) = self.records().back_mut() {
            record.end = Some(self.clock.elapsed());
            record.outcome = outcome.to_owned();
        }
    }

    fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().expect("history")
    }
}

/// The last of all connections' histories, in the order in which things began.
pub fn told(histories: &[&History]) -> String {
    let mut lines = Vec::new();
    for history in histories {
        let records = history.records();
        let earliest = history.clock.elapsed().saturating_sub(TOLD);
        for record in records.iter().rev().take(TOLD_EACH) {
            if record.end.is_none_or(|end| end >= earliest) {
                let mut text: String = record.text.chars().take(WIDTH).collect();
                if text.len() < record.text.len() {
                    text.push('…');
                }
                let end = record.end.map_or_else(|| "runs".to_owned(), |end| format!("{:.4}", end.as_secs_f64()));
                let start = record.start.as_secs_f64();
                let line = format!("{start:.4}–{end} {}: {text}{}", history.name, record.outcome);
                lines.push((record.start, line));
            }
        }
    }
    lines.sort();
    lines.into_iter().fold(String::new(), |mut text, (_, line)| {
        writeln!(text, "{line}").expect("text");
        text
    })
}
