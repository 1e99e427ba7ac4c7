//! What must hold of filters for any text: it is a filter or an error; a filter has one form, however it is written. Shared by the fuzz target, by `tests/filter.rs`,
//! and by `tests/corpus.rs`, which replays the target's corpus.

#[path = "meaning.rs"]
pub mod meaning;

use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use vcache_core::filter::diagram::{MOST, form_within};
use vcache_core::filter::line::{Allowed, Edge, Line, Point, Span};
use vcache_core::filter::normal::Normal;
use vcache_core::filter::parse::parse;
use vcache_core::filter::{Comparison, Test, Value};

const KINDS: usize = 3;

/// Reads the bytes as a filter. Whether they are one.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if parse(text).is_err() {
        return false;
    }
    let json: Json = serde_json::from_str(text).expect("JSON");
    let form = formed(&json);
    // Longer or deeper than it was, the other spelling may be refused.
    let other = meaning::respelled(&json);
    if parse(&other.to_string()).is_ok() {
        let other = formed(&other);
        // What is given up for its size may have two forms.
        let is_given_up = |form: &Option<Vec<u8>>| form.as_ref().is_some_and(|form| form[0] == 2);
        assert!(form == other || is_given_up(&form) || is_given_up(&other), "{json}");
    }
    // What is true of every row is true of one that holds nothing, and of one that holds something else than the filter names.
    if form.is_none() {
        assert!(meaning::is_true(&json, &|_| None));
        assert!(meaning::is_true(&json, &|_| Some(Json::Array(Vec::new()))));
    }
    true
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Text(String),
    Number(f64),
    Bool(bool),
}

#[derive(Debug, Clone, PartialEq)]
struct P(Key, Vec<u8>);

impl Point for P {
    fn image(&self) -> &[u8] {
        &self.1
    }
}

fn point(value: &Value) -> (usize, P) {
    match value {
        Value::Text(text) => (0, P(Key::Text(text.clone()), text.clone().into_bytes())),
        Value::Number(number) => (1, P(Key::Number(number.parse().expect("a number")), number.clone().into_bytes())),
        Value::Bool(value) => (2, P(Key::Bool(*value), vec![u8::from(*value)])),
        Value::Null => panic!("no point"),
    }
}

fn order(_: usize, a: &P, b: &P) -> Ordering {
    match (&a.0, &b.0) {
        (Key::Text(a), Key::Text(b)) => a.cmp(b),
        (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
        (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
        _ => panic!("of two kinds"),
    }
}

/// `false` and `true` have no neighbours: there is one cut at most, right before `true`.
fn edges(point: P) -> (Edge<P>, Edge<P>) {
    let yes = || P(Key::Bool(true), vec![1]);
    match point.0 {
        Key::Bool(false) => (Edge::Start, Edge::Before(yes())),
        Key::Bool(true) => (Edge::Before(yes()), Edge::End),
        _ => (Edge::Before(point.clone()), Edge::Behind(point)),
    }
}

/// The form of a filter.
pub fn formed(filter: &Json) -> Option<Vec<u8>> {
    formed_within(MOST, filter)
}

/// The same, where a diagram is given up at so many parts.
pub fn formed_within(most: usize, filter: &Json) -> Option<Vec<u8>> {
    let filter = parse(&filter.to_string()).expect("a filter");
    let mut names = BTreeSet::new();
    filter.each(&mut |test| names.extend([test.field.clone()]));
    let names: Vec<String> = names.into_iter().collect();
    let expression = filter.try_map(&mut |test| Ok::<_, ()>(resolve(&names, &test))).expect("fields");
    let lines: Vec<Line<P>> = (0..names.len())
        .map(|field| {
            let mut all = Vec::new();
            expression.each(&mut |allowed| all.push(allowed));
            Line::new(KINDS, true, all.into_iter().filter(|allowed| allowed.field == field), order)
        })
        .collect();
    let regions = expression
        .try_map(&mut |allowed: Allowed<P>| Ok::<_, ()>((allowed.field, lines[allowed.field].region(&allowed, order))))
        .expect("regions");
    // There and back again is the same.
    regions.each(&mut |(field, region)| {
        assert_eq!(lines[*field].region(&lines[*field].allowed(*field, region), order), *region);
    });
    let cells: Vec<u32> = lines.iter().map(Line::cells).collect();
    let names: Vec<Vec<u8>> = names.into_iter().map(String::into_bytes).collect();
    form_within(most, &Normal::new(&regions, &cells), &names, &lines)
}

fn resolve(names: &[String], test: &Test) -> Allowed<P> {
    let field = names.iter().position(|name| *name == test.field).expect("a field");
    let mut allowed = Allowed { field, spans: Vec::new(), others: false, missing: false };
    let all = |kind| Span { kind, from: Edge::Start, to: Edge::End };
    match &test.comparison {
        Comparison::Exists => {
            allowed.spans = (0..KINDS).map(all).collect();
            allowed.others = true;
        }
        Comparison::In(values) => {
            for value in values {
                if *value == Value::Null {
                    allowed.missing = true;
                } else {
                    let (kind, point) = point(value);
                    let (from, to) = edges(point);
                    allowed.spans.push(Span { kind, from, to });
                }
            }
        }
        Comparison::Less(value) | Comparison::AtMost(value) => {
            let (kind, point) = point(value);
            let (before, behind) = edges(point);
            let to = if matches!(test.comparison, Comparison::Less(_)) { before } else { behind };
            allowed.spans.push(Span { kind, from: Edge::Start, to });
        }
        Comparison::Greater(value) | Comparison::AtLeast(value) => {
            let (kind, point) = point(value);
            let (before, behind) = edges(point);
            let from = if matches!(test.comparison, Comparison::Greater(_)) { behind } else { before };
            allowed.spans.push(Span { kind, from, to: Edge::End });
        }
    }
    allowed
}
