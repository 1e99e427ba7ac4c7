//! Filters over fields as JSON has them, against an evaluator that knows nothing of cells.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: clippy knows only the functions marked so"
)]

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use vcache_core::filter::parse::{MAX_BYTES, MAX_DEPTH, Problem, parse};
use vcache_core::filter::{Comparison, Expression, Test, Value};

#[path = "../fuzz/checks/filter.rs"]
mod filter;

use filter::meaning::{is_true, respelled};
use filter::{formed, formed_within};

const FIELDS: [&str; 3] = ["a", "b", "c.d"];

/// What a field of a row holds: `None` for nothing, a JSON value else.
type Row = [Option<Json>; 3];

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

/// The same filter but for one operator, value or name: the `left`th that there is.
fn altered(filter: &Json, left: &mut usize) -> Json {
    fn is_it(left: &mut usize) -> bool {
        let is_it = *left == 0;
        *left = left.wrapping_sub(1);
        is_it
    }
    match filter {
        Json::Object(members) => {
            let mut other = serde_json::Map::new();
            for (name, value) in members {
                let renamed = match name.as_str() {
                    "$gt" => "$gte",
                    "$gte" => "$gt",
                    "$lt" => "$lte",
                    "$lte" => "$lt",
                    "$in" => "$nin",
                    "$and" => "$or",
                    "$or" => "$and",
                    "a" => "b",
                    name => name,
                };
                let name = if is_it(left) { renamed } else { name };
                other.insert(name.to_owned(), altered(value, left));
            }
            Json::Object(other)
        }
        Json::Array(parts) => Json::Array(parts.iter().map(|part| altered(part, left)).collect()),
        value if !is_it(left) => value.clone(),
        Json::Number(_) => json!("b"),
        Json::String(_) => json!(2),
        Json::Bool(value) => json!(!value),
        other => other.clone(),
    }
}

fn table(filter: &Json, rows: &[Row]) -> Vec<bool> {
    let held = |row: &Row, name: &str| row[FIELDS.iter().position(|field| *field == name).expect("a field")].clone();
    rows.iter().map(|row| is_true(filter, &|name| held(row, name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }))]

    /// Two filters have one form exactly when they are true of the same rows.
    #[test]
    fn forms_are_equal_exactly_when_answers_are(f in filters(), g in filters(), mut alteration in 0..12_usize) {
        let rows = rows();
        let others = [
            g.clone(),
            json!({ "$or": [f, g] }),
            json!({ "$and": [f, { "$or": [g, f] }] }),
            json!({ "$or": [{ "$and": [f, g] }, { "$and": [{ "$not": g }, f] }] }),
            json!({ "$not": f }),
            respelled(&f),
            altered(&f, &mut alteration),
        ];
        prop_assert!(filter::check(f.to_string().as_bytes()));
        let (truth, form) = (table(&f, &rows), formed(&f));
        prop_assert_eq!(form.is_none(), truth.iter().all(|is| *is));
        for other in others {
            let is_same = truth == table(&other, &rows);
            prop_assert_eq!(is_same, form == formed(&other), "{} and {}", f, other);
            // Those that have no diagram are never taken for one another, though two spellings may be.
            prop_assert!(is_same || formed_within(0, &f) != formed_within(0, &other), "{} and {}", f, other);
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
