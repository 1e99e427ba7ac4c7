//! Owns what is counted of a run, and its table.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::scene::{DECLARED, Namespace};
use crate::states::State;

/// How searches ended, as vcache counted them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub bypasses: u64,
}

impl Counts {
    /// What was counted since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            bypasses: self.bypasses - before.bypasses,
        }
    }
}

/// A line of the table.
#[derive(Clone, Copy, Default, Debug)]
pub struct Line {
    /// Comparisons of two searches with a plain query.
    pub comparisons: u64,
    pub counts: Counts,
    /// Of the comparisons, those in which both sides were refused.
    pub refused: u64,
}

impl Line {
    fn add(&mut self, counts: Counts, is_refused: bool) {
        self.comparisons += 1;
        self.counts.hits += counts.hits;
        self.counts.misses += counts.misses;
        self.counts.bypasses += counts.bypasses;
        self.refused += u64::from(is_refused);
    }
}

/// See the head of this file.
#[derive(Default, Debug)]
pub struct Tally {
    pub cells: u64,
    pub all: Line,
    by_state: Vec<(&'static str, Line)>,
    pub by_namespace: BTreeMap<String, Line>,
    /// Where policies read the setting that some namespaces declare: those that do not, and those that do.
    pub by_setting: [Line; 2],
}

impl Tally {
    /// Adds a comparison.
    pub fn add(&mut self, state: &State, namespace: Namespace, counts: Counts, is_refused: bool) {
        self.all.add(counts, is_refused);
        if self.by_state.last().is_none_or(|(name, _)| *name != state.name) {
            self.by_state.push((state.name, Line::default()));
        }
        if let Some((_, line)) = self.by_state.last_mut() {
            line.add(counts, is_refused);
        }
        if state.enabled && state.setting == Some(DECLARED) {
            self.by_setting[usize::from(namespace.declared)].add(counts, is_refused);
        }
        self.by_namespace.entry(namespace.name()).or_default().add(counts, is_refused);
    }

    /// The table.
    pub fn told(&self) -> String {
        let mut text =
            format!("{:26}{:>12}{:>10}{:>10}{:>10}{:>10}", "", "comparisons", "hits", "misses", "bypasses", "refused");
        let mut line = |name: &str, line: &Line| {
            let Line { comparisons, counts: Counts { hits, misses, bypasses }, refused } = line;
            let _ = write!(text, "\n{name:26}{comparisons:>12}{hits:>10}{misses:>10}{bypasses:>10}{refused:>10}");
        };
        self.by_state.iter().for_each(|(name, state)| line(name, state));
        self.by_namespace.iter().for_each(|(name, namespace)| line(name, namespace));
        line("all", &self.all);
        text
    }
}
