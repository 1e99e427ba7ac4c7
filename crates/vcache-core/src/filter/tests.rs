//! Filters over two fields as JSON has them, against an evaluator that knows nothing of cells.

use super::diagram::form;
use super::line::{Allowed, Edge, Line, Point, Span};
use super::normal::Normal;
use super::parse::{MAX_BYTES, MAX_DEPTH, Problem, parse};
use super::{Comparison, Expression, Test, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::cmp::Ordering;

const FIELDS: [&str; 3] = ["a", "b", "c.d"];
const KINDS: usize = 3;

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
        Value::Number(number) => (1, P(Key::Number(number.parse().unwrap()), number.clone().into_bytes())),
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
fn edges(kind: usize, point: P) -> (Edge<P>, Edge<P>) {
    let yes = || P(Key::Bool(true), vec![1]);
    match point.0 {
        Key::Bool(false) => (Edge::Start, Edge::Before(yes())),
        Key::Bool(true) => (Edge::Before(yes()), Edge::End),
        _ => {
            let _ = kind;
            (Edge::Before(point.clone()), Edge::Behind(point))
        }
    }
}

fn resolve(test: Test) -> Result<Allowed<P>, ()> {
    let field = FIELDS.iter().position(|field| *field == test.field).unwrap();
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
                    let (from, to) = edges(kind, point);
                    allowed.spans.push(Span { kind, from, to });
                }
            }
        }
        Comparison::Less(value) | Comparison::AtMost(value) => {
            let (kind, point) = point(value);
            let (before, behind) = edges(kind, point);
            let to = if matches!(test.comparison, Comparison::Less(_)) { before } else { behind };
            allowed.spans.push(Span { kind, from: Edge::Start, to });
        }
        Comparison::Greater(value) | Comparison::AtLeast(value) => {
            let (kind, point) = point(value);
            let (before, behind) = edges(kind, point);
            let from = if matches!(test.comparison, Comparison::Greater(_)) { behind } else { before };
            allowed.spans.push(Span { kind, from, to: Edge::End });
        }
    }
    Ok(allowed)
}

fn formed(filter: &Json) -> Option<Vec<u8>> {
    let expression = parse(&filter.to_string()).unwrap().try_map(&mut resolve).unwrap();
    let lines: Vec<Line<P>> = (0..FIELDS.len())
        .map(|field| {
            let mut all = Vec::new();
            expression.each(&mut |allowed| all.push(allowed));
            Line::new(KINDS, true, all.into_iter().filter(|allowed| allowed.field == field), order)
        })
        .collect();
    let regions = expression
        .try_map(&mut |allowed: Allowed<P>| Ok::<_, ()>((allowed.field, lines[allowed.field].region(&allowed, order))))
        .unwrap();
    // There and back again is the same.
    regions.each(&mut |(field, region)| {
        assert_eq!(lines[*field].region(&lines[*field].allowed(*field, region), order), *region);
    });
    let cells: Vec<u32> = lines.iter().map(Line::cells).collect();
    let names: Vec<Vec<u8>> = FIELDS.iter().map(|name| name.as_bytes().to_vec()).collect();
    form(&Normal::new(&regions, &cells), &names, &lines)
}

/// What a field of a row holds: `None` for nothing, a JSON value else.
type Row = [Option<Json>; 3];

/// Whether a filter is true of a row, as the documents say it.
fn is_true(filter: &Json, row: &Row) -> bool {
    filter.as_object().unwrap().iter().all(|(name, value)| match name.as_str() {
        "$and" => value.as_array().unwrap().iter().all(|part| is_true(part, row)),
        "$or" => value.as_array().unwrap().iter().any(|part| is_true(part, row)),
        "$not" => !is_true(value, row),
        field => {
            let held = row[FIELDS.iter().position(|other| *other == field).unwrap()].as_ref();
            match value {
                Json::Object(operators) => holds(operators, held),
                value => is(held, value),
            }
        }
    })
}

fn holds(operators: &serde_json::Map<String, Json>, held: Option<&Json>) -> bool {
    operators.iter().all(|(operator, value)| match operator.as_str() {
        "$eq" => is(held, value),
        "$ne" => !is(held, value),
        "$in" => value.as_array().unwrap().iter().any(|value| is(held, value)),
        "$nin" => !value.as_array().unwrap().iter().any(|value| is(held, value)),
        "$exists" => held.is_some() == value.as_bool().unwrap(),
        "$not" => !holds(value.as_object().unwrap(), held),
        "$gt" => compare(held, value).is_some_and(Ordering::is_gt),
        "$gte" => compare(held, value).is_some_and(Ordering::is_ge),
        "$lt" => compare(held, value).is_some_and(Ordering::is_lt),
        "$lte" => compare(held, value).is_some_and(Ordering::is_le),
        other => panic!("{other}"),
    })
}

fn is(held: Option<&Json>, value: &Json) -> bool {
    if value.is_null() { held.is_none() } else { compare(held, value).is_some_and(Ordering::is_eq) }
}

/// Values of one kind compare; a list does with nothing.
fn compare(held: Option<&Json>, value: &Json) -> Option<Ordering> {
    match (held?, value) {
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        (Json::Number(a), Json::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Json::Bool(a), Json::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Every value that a field may hold which some filter of [`filters`] tells from another.
fn held() -> Vec<Option<Json>> {
    let mut all = vec![None, Some(json!([1])), Some(json!(false)), Some(json!(true))];
    all.extend((0..7).map(|n| Some(json!(f64::from(n) / 2.0))));
    all.extend(["", "b", "c", "d", "e"].map(|text| Some(json!(text))));
    all
}

fn rows() -> Vec<Row> {
    let held = held();
    let mut rows = Vec::new();
    for a in &held {
        for b in &held {
            // Of the third field a few do: filters name it as often, and cells are cells.
            for c in [&None, &Some(json!(1)), &Some(json!(1.5)), &Some(json!("b"))] {
                rows.push([a.clone(), b.clone(), c.clone()]);
            }
        }
    }
    rows
}

fn values() -> BoxedStrategy<Json> {
    prop_oneof![
        Just(json!(1)),
        Just(json!(2)),
        Just(json!(1.0)),
        Just(json!("b")),
        Just(json!("d")),
        any::<bool>().prop_map(|value| json!(value)),
    ]
    .boxed()
}

fn or_null() -> BoxedStrategy<Json> {
    prop_oneof![5 => values(), 1 => Just(Json::Null)].boxed()
}

fn operators() -> BoxedStrategy<Json> {
    let one = prop_oneof![
        or_null().prop_map(|value| json!({ "$eq": value })),
        or_null().prop_map(|value| json!({ "$ne": value })),
        (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), values())
            .prop_map(|(operator, value)| json!({ operator: value })),
        (prop::sample::select(vec!["$in", "$nin"]), prop::collection::vec(or_null(), 0..4))
            .prop_map(|(operator, list)| json!({ operator: list })),
        any::<bool>().prop_map(|value| json!({ "$exists": value })),
    ]
    .boxed();
    let two = (one.clone(), one.clone()).prop_map(|(mut a, b)| {
        a.as_object_mut().unwrap().extend(b.as_object().unwrap().clone());
        a
    });
    let two = two.boxed();
    prop_oneof![4 => one, 2 => two.clone(), 1 => two.prop_map(|inner| json!({ "$not": inner }))].boxed()
}

fn filters() -> impl Strategy<Value = Json> {
    let field = prop_oneof![4 => Just(0usize), 3 => Just(1), 1 => Just(2)];
    let of_c =
        |field: usize, value: Json| if field == 2 { json!({ FIELDS[2]: 1 }) } else { json!({ FIELDS[field]: value }) };
    let leaf = (field, prop_oneof![operators(), or_null()]).prop_map(move |(field, value)| of_c(field, value));
    leaf.boxed().prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            list.clone().prop_map(|parts| json!({ "$and": parts })),
            list.prop_map(|parts| json!({ "$or": parts })),
            inner.clone().prop_map(|part| json!({ "$not": part })),
            (inner.clone(), inner).prop_map(|(mut a, b)| {
                for (name, value) in b.as_object().unwrap() {
                    a.as_object_mut().unwrap().entry(name).or_insert(value.clone());
                }
                a
            }),
        ]
    })
}

/// The same filter, written otherwise.
fn respelled(filter: &Json) -> Json {
    let value = |value: &Json| match value {
        Json::Object(operators) => {
            let parts: Vec<Json> = operators
                .iter()
                .map(|(operator, value)| match (operator.as_str(), value) {
                    ("$in", Json::Array(list)) => {
                        let twice: Vec<Json> = list.iter().rev().chain(list).cloned().collect();
                        json!({ "$in": twice })
                    }
                    ("$ne", value) => json!({ "$not": { "$eq": value } }),
                    ("$eq", value) => json!({ "$in": [value] }),
                    ("$nin", list) => json!({ "$not": { "$in": list } }),
                    ("$lt", value) => json!({ "$lt": value, "$lte": value }),
                    (operator, value) => json!({ operator: value }),
                })
                .collect();
            parts
        }
        value => vec![json!({ "$eq": value })],
    };
    let member = |(name, inner): (&String, &Json)| match (name.as_str(), inner) {
        ("$and" | "$or", Json::Array(parts)) => {
            let parts: Vec<Json> = parts.iter().rev().map(respelled).collect();
            vec![json!({ name: parts })]
        }
        ("$not", inner) => vec![json!({ "$not": respelled(inner) })],
        (field, inner) => value(inner).into_iter().map(|part| json!({ field: part })).collect(),
    };
    let parts: Vec<Json> = filter.as_object().unwrap().iter().rev().flat_map(member).collect();
    json!({ "$and": [{ "$and": parts }] })
}

fn table(filter: &Json, rows: &[Row]) -> Vec<bool> {
    rows.iter().map(|row| is_true(filter, row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }))]

    /// Two filters have one form exactly when they are true of the same rows.
    #[test]
    fn forms_are_equal_exactly_when_answers_are(f in filters(), g in filters()) {
        let rows = rows();
        let others = [
            g.clone(),
            json!({ "$or": [f, g] }),
            json!({ "$and": [f, { "$or": [g, f] }] }),
            json!({ "$or": [{ "$and": [f, g] }, { "$and": [{ "$not": g }, f] }] }),
            json!({ "$not": f }),
            respelled(&f),
        ];
        let (truth, form) = (table(&f, &rows), formed(&f));
        prop_assert_eq!(form.is_none(), truth.iter().all(|is| *is));
        for other in others {
            prop_assert_eq!(truth == table(&other, &rows), form == formed(&other), "{} and {}", f, other);
        }
    }
}

#[test]
fn spellings_of_one_filter() {
    for (one, other) in [
        (json!({ "a": 1 }), json!({ "a": { "$eq": 1.0 } })),
        (json!({ "a": { "$in": [2, 1, 1] } }), json!({ "$or": [{ "a": 1 }, { "a": 2 }] })),
        (json!({ "a": { "$gte": 1, "$lte": 1 } }), json!({ "a": 1 })),
        (json!({ "a": null }), json!({ "a": { "$exists": false } })),
        (json!({ "a": { "$in": [true, false] } }), json!({ "a": { "$gte": false } })),
        (json!({ "a": { "$nin": [] } }), json!({})),
        (json!({ "a": 1, "b": 2 }), json!({ "$and": [{ "b": 2 }, { "a": 1 }] })),
        (json!({ "a": { "$gt": 2, "$lt": 1 } }), json!({ "b": { "$in": [] } })),
        (
            json!({ "a": { "$not": { "$gt": 1 } } }),
            json!({ "$or": [{ "a": { "$not": { "$gt": 1, "$exists": true } } }] }),
        ),
    ] {
        assert_eq!(formed(&one), formed(&other), "{one} and {other}");
    }
    assert_ne!(formed(&json!({ "a": 1 })), formed(&json!({ "a": "1" })));
    assert_ne!(formed(&json!({ "a": 1 })), formed(&json!({ "b": 1 })));
    assert_ne!(formed(&json!({ "a": { "$gt": 1 } })), formed(&json!({ "a": { "$gte": 1 } })));
}

#[test]
fn numbers_lose_zeros_that_say_nothing() {
    for (written, read) in [
        ("1.0", "1"),
        ("100", "100"),
        ("-0.0", "0"),
        ("0.10", "0.1"),
        ("12345678901234567890.5", "12345678901234567890.5"),
    ] {
        let Expression::All(parts) = parse(&format!("{{\"a\": {written}}}")).unwrap() else { panic!("not all") };
        let Expression::Leaf(Test { comparison, .. }) = &parts[0] else { panic!("not a leaf") };
        assert_eq!(*comparison, Comparison::In(vec![Value::Number(read.to_owned())]));
    }
}

/// A diagram that would be too large is given up, and the condition itself is the form.
#[test]
fn a_filter_without_a_small_diagram_has_a_form() {
    let values: Vec<Json> = (0..300).map(|n| json!({ "a": n, "b": { "$nin": [n, n + 1] } })).collect();
    let reversed: Vec<Json> = values.iter().rev().cloned().collect();
    let one = formed(&json!({ "$or": values }));
    assert_eq!(one.as_ref().map(|form| form[0]), Some(2), "a tree");
    assert_eq!(one, formed(&json!({ "$or": reversed })));
    assert_ne!(one, formed(&json!({ "$or": values[1..] })));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (filter, at, problem) in [
        ("[1]", "", Problem::NotAFilter("a list")),
        ("{\"$and\": {}}", "$and", Problem::NotAList("an object")),
        ("{\"$or\": []}", "$or", Problem::EmptyList),
        ("{\"$or\": [{}, 1]}", "$or[1]", Problem::NotAFilter("a number")),
        ("{\"$not\": \"x\"}", "$not", Problem::NotAFilter("a string")),
        ("{\"$near\": 1}", "$near", Problem::UnknownOperator("$near".to_owned())),
        ("{\"$gt\": 1}", "$gt", Problem::OperatorWithoutField("$gt".to_owned())),
        ("{\"\": 1}", "", Problem::NoName),
        ("{\"a\": {}}", "a", Problem::NoOperator),
        ("{\"a\": {\"b\": 1}}", "a.b", Problem::UnknownOperator("b".to_owned())),
        ("{\"a\": [1]}", "a", Problem::NotAValue("a list")),
        ("{\"a\": {\"$eq\": {}}}", "a.$eq", Problem::NotAValue("an object")),
        ("{\"$and\": [{\"a\": {\"$in\": [1, []]}}]}", "$and[0].a.$in[1]", Problem::NotAValue("a list")),
        ("{\"a\": {\"$in\": 1}}", "a.$in", Problem::NotAList("a number")),
        ("{\"a\": {\"$exists\": 1}}", "a.$exists", Problem::NotABoolean("a number")),
        ("{\"a\": {\"$not\": 1}}", "a.$not", Problem::NotOperators("a number")),
        ("{\"a\": {\"$gt\": null}}", "a.$gt", Problem::NullOrder),
        ("{\"a\": 1", "", Problem::NotJson),
    ] {
        let error = parse(filter).unwrap_err();
        assert_eq!((error.at.as_str(), &error.problem), (at, &problem), "{filter}");
        assert!(!problem.to_string().is_empty());
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |levels: usize| format!("{}{{}}{}", "{\"$not\":".repeat(levels - 1), "}".repeat(levels - 1));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH + 1)).unwrap_err().problem, Problem::TooDeep);
    let brackets = format!("{{\"a\": \"{}\\\"[\"}}", "[".repeat(100));
    assert!(parse(&brackets).is_ok());
    let long = |length: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(length - 9));
    assert!(parse(&long(MAX_BYTES)).is_ok());
    assert_eq!(parse(&long(MAX_BYTES + 1)).unwrap_err().problem, Problem::TooLarge);
}
