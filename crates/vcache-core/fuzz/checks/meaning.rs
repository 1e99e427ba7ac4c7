//! What must hold of filters: what one means, by an evaluator that knows nothing of cells, and another spelling of it. Shared by
//! the checks of the fuzz target and by the tests against a server.

use serde_json::{Map, Value as Json, json};
use std::cmp::Ordering;

/// Whether a filter is true of a row, as the documents say it. `held` gives what a field holds; `None` for no value.
pub fn is_true(filter: &Json, held: &dyn Fn(&str) -> Option<Json>) -> bool {
    filter.as_object().expect("a filter").iter().all(|(name, value)| match name.as_str() {
        "$and" => value.as_array().expect("a list").iter().all(|part| is_true(part, held)),
        "$or" => value.as_array().expect("a list").iter().any(|part| is_true(part, held)),
        "$not" => !is_true(value, held),
        field => match value {
            Json::Object(operators) => holds(operators, held(field).as_ref()),
            value => is(held(field).as_ref(), value),
        },
    })
}

fn holds(operators: &Map<String, Json>, held: Option<&Json>) -> bool {
    operators.iter().all(|(operator, value)| match operator.as_str() {
        "$eq" => is(held, value),
        "$ne" => !is(held, value),
        "$in" => value.as_array().expect("a list").iter().any(|value| is(held, value)),
        "$nin" => !value.as_array().expect("a list").iter().any(|value| is(held, value)),
        "$exists" => held.is_some() == value.as_bool().expect("a boolean"),
        "$not" => !holds(value.as_object().expect("operators"), held),
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

/// The same filter, written otherwise.
pub fn respelled(filter: &Json) -> Json {
    let conditions = |value: &Json| match value {
        Json::Object(operators) => operators
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
            .collect(),
        value => vec![json!({ "$eq": value })],
    };
    let member = |(name, inner): (&String, &Json)| match (name.as_str(), inner) {
        ("$and" | "$or", Json::Array(parts)) => {
            let parts: Vec<Json> = parts.iter().rev().map(respelled).collect();
            vec![json!({ name: parts })]
        }
        ("$not", inner) => vec![json!({ "$not": respelled(inner) })],
        (field, inner) => conditions(inner).into_iter().map(|part| json!({ field: part })).collect(),
    };
    let mut parts: Vec<Json> = filter.as_object().expect("a filter").iter().rev().flat_map(member).collect();
    if parts.is_empty() {
        return json!({});
    }
    parts.push(parts[0].clone());
    json!({ "$and": parts })
}
