//! How things look on a terminal: headings, numbers, shortened texts, steps that show that they move.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Columns that everything fits in.
pub const WIDTH: usize = 100;

/// A numbered step of the story.
pub fn heading(number: usize, title: &str) {
    println!("\n{number}. {title}");
}

/// `12345` as `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration as a person reads it: in milliseconds, from one second on in seconds, to the microsecond while that tells something.
pub fn time(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        ..100.0 => format!("{millis:.3} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.3} s", millis / 1000.0),
    }
}

/// A duration in seconds.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The first line's worth of a text: at most `width` characters, with an ellipsis if something is left out.
pub fn shorten(text: &str, width: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= width {
        return text;
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A step that takes a while: one line that is rewritten in place on a terminal, and printed once, at the end, anywhere else.
pub struct Progress {
    label: String,
    start: Instant,
    shown: Option<Instant>,
    moving: bool,
}

impl Progress {
    /// Begins the step.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), start: Instant::now(), shown: None, moving: std::io::stdout().is_terminal() }
    }

    /// Says how far it is. Cheap enough to be called for every row.
    pub fn show(&mut self, state: &str) {
        // Ten times a second is as much as an eye follows.
        if self.moving && self.shown.is_none_or(|shown| shown.elapsed() >= Duration::from_millis(100)) {
            let line = shorten(&format!("{}: {state}", self.label), WIDTH - 4);
            print!("\r  {line:<width$}", width = WIDTH - 4);
            // A progress line that cannot be shown is no reason to stop.
            let _ = std::io::stdout().flush();
            self.shown = Some(Instant::now());
        }
    }

    /// Ends the step with what it came to; the time is added.
    pub fn finish(self, result: &str) {
        let line = format!("{}: {result}, {}", self.label, seconds(self.start.elapsed()));
        if self.shown.is_some() {
            println!("\r  {line:<width$}", width = WIDTH - 4);
        } else {
            println!("  {line}");
        }
    }

    /// Runs one long call that tells nothing of its own progress, while the seconds count up.
    pub fn while_running<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (done, waiting) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while waiting.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                    let elapsed = seconds(self.start.elapsed());
                    self.show(&elapsed);
                }
            });
            let result = call();
            drop(done);
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn a_text_is_shortened_by_characters() {
        assert_eq!(shorten("grüße  an\nalle", 14), "grüße an alle");
        assert_eq!(shorten("grüße an alle", 6), "grüße…");
    }
}
