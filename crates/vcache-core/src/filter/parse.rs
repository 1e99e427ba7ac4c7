//! Owns the language of filters: from JSON text to an [`Expression`] of [`Test`]s.
//!
//! An object is the conjunction of its members. A member is a field with a value, which it must equal, or with an object of operators, which must
//! all hold; or it is `$and` or `$or` with a list of filters, or `$not` with one.

use super::{Comparison, Expression, Test, Value};
use serde_json::{Map, Value as Json};
use std::fmt;

/// The longest filter, in bytes of its text.
pub const MAX_BYTES: usize = 64 * 1024;
/// How deep objects and lists may stand in one another.
pub const MAX_DEPTH: usize = 64;

/// The operators between filters.
pub const LOGICAL: [&str; 3] = ["$and", "$or", "$not"];
/// The operators on a field's value.
pub const COMPARISONS: [&str; 10] = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$not"];

/// What is wrong with a filter, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// As in `$or[1].year.$gte`; empty for the whole of it.
    pub at: String,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No JSON.
    NotJson,
    /// More than [`MAX_BYTES`].
    TooLarge,
    /// More than [`MAX_DEPTH`].
    TooDeep,
    /// Something else than an object where a filter must stand: this.
    NotAFilter(&'static str),
    /// An operator that is none, among others or instead of a field.
    UnknownOperator(String),
    /// An operator on a field's value where a field must stand.
    OperatorWithoutField(String),
    /// A field, or part of a path, without a name.
    NoName,
    /// An object without an operator as a field's condition.
    NoOperator,
    /// Something else than a list with this operator: this.
    NotAList(&'static str),
    /// An empty list with `$and` or `$or`.
    EmptyList,
    /// A list or an object where a value must stand.
    NotAValue(&'static str),
    /// Something else than a boolean with `$exists`: this.
    NotABoolean(&'static str),
    /// Something else than an object of operators with a field's `$not`: this.
    NotOperators(&'static str),
    /// A null to compare by order with.
    NullOrder,
    /// A path of more than [`MAX_DEPTH`] keys.
    TooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the filter is not JSON"),
            Self::TooLarge => write!(f, "the filter is longer than {MAX_BYTES} bytes"),
            Self::TooDeep => write!(f, "the filter is nested more than {MAX_DEPTH} levels deep"),
            Self::NotAFilter(found) => write!(f, "a filter must be an object, not {found}"),
            Self::UnknownOperator(name) => write!(f, "unknown operator \"{name}\" in the filter"),
            Self::OperatorWithoutField(name) => write!(f, "operator \"{name}\" stands where a field must"),
            Self::NoName => f.write_str("a field in the filter has no name"),
            Self::NoOperator => f.write_str("a field in the filter has no operator"),
            Self::NotAList(found) => write!(f, "the operator takes a list, not {found}"),
            Self::EmptyList => f.write_str("the operator takes at least one filter"),
            Self::NotAValue(found) => {
                write!(f, "a field is compared with a string, a number, a boolean or null, not {found}")
            }
            Self::NotABoolean(found) => write!(f, "$exists takes true or false, not {found}"),
            Self::NotOperators(found) => write!(f, "a field's $not takes an object of operators, not {found}"),
            Self::TooLong => write!(f, "a path in the filter has more than {MAX_DEPTH} keys"),
            Self::NullOrder => f.write_str("nothing is greater or less than null"),
        }
    }
}

/// Reads a filter.
///
/// # Errors
/// [`FilterError`].
pub fn parse(text: &str) -> Result<Expression<Test>, FilterError> {
    let whole = |problem| FilterError { at: String::new(), problem };
    if text.len() > MAX_BYTES {
        return Err(whole(Problem::TooLarge));
    }
    if depth(text) > MAX_DEPTH {
        return Err(whole(Problem::TooDeep));
    }
    // With numbers of any length serde_json takes an object with this key for one.
    if text.contains("\"$serde_json::private::Number\":") {
        return Err(whole(Problem::UnknownOperator("$serde_json::private::Number".to_owned())));
    }
    let json: Json = serde_json::from_str(text).map_err(|_| whole(Problem::NotJson))?;
    filter(&json, "")
}

/// How deep brackets stand in one another outside of strings.
fn depth(text: &str) -> usize {
    let (mut deepest, mut depth, mut in_string, mut escaped) = (0, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn filter(json: &Json, at: &str) -> Result<Expression<Test>, FilterError> {
    let members = object(json, at, Problem::NotAFilter)?;
    let member = |(name, value): (&String, &Json)| {
        let at = join(at, name);
        match name.as_str() {
            "$and" => Ok(Expression::All(filters(value, &at)?)),
            "$or" => Ok(Expression::Any(filters(value, &at)?)),
            "$not" => Ok(not(filter(value, &at)?)),
            "" => Err(wrong(&at, Problem::NoName)),
            operator if COMPARISONS.contains(&operator) => Err(wrong(&at, Problem::OperatorWithoutField(name.clone()))),
            operator if operator.starts_with('$') => Err(wrong(&at, Problem::UnknownOperator(name.clone()))),
            path if path.split('.').count() > MAX_DEPTH => Err(wrong(&at, Problem::TooLong)),
            field => match value {
                Json::Object(operators) => conditions(field, operators, &at),
                value => Ok(test(field, &at, Comparison::In(vec![scalar(value, &at)?]))),
            },
        }
    };
    members.iter().map(member).collect::<Result<_, _>>().map(Expression::All)
}

fn filters(json: &Json, at: &str) -> Result<Vec<Expression<Test>>, FilterError> {
    let parts = list(json, at)?;
    if parts.is_empty() {
        return Err(wrong(at, Problem::EmptyList));
    }
    parts.iter().enumerate().map(|(n, part)| filter(part, &format!("{at}[{n}]"))).collect()
}

/// The operators on one field's value.
fn conditions(field: &str, operators: &Map<String, Json>, at: &str) -> Result<Expression<Test>, FilterError> {
    if operators.is_empty() {
        return Err(wrong(at, Problem::NoOperator));
    }
    let condition = |(operator, value): (&String, &Json)| {
        let at = join(at, operator);
        let is = |comparison| test(field, &at, comparison);
        let order = |comparison: fn(Value) -> Comparison| match scalar(value, &at)? {
            Value::Null => Err(wrong(&at, Problem::NullOrder)),
            value => Ok(is(comparison(value))),
        };
        let values = || {
            let values = list(value, &at)?.iter().enumerate();
            values.map(|(n, value)| scalar(value, &format!("{at}[{n}]"))).collect::<Result<_, _>>()
        };
        Ok(match operator.as_str() {
            "$eq" => is(Comparison::In(vec![scalar(value, &at)?])),
            "$ne" => not(is(Comparison::In(vec![scalar(value, &at)?]))),
            "$gt" => order(Comparison::Greater)?,
            "$gte" => order(Comparison::AtLeast)?,
            "$lt" => order(Comparison::Less)?,
            "$lte" => order(Comparison::AtMost)?,
            "$in" => is(Comparison::In(values()?)),
            "$nin" => not(is(Comparison::In(values()?))),
            "$exists" => match value {
                Json::Bool(true) => is(Comparison::Exists),
                Json::Bool(false) => not(is(Comparison::Exists)),
                other => return Err(wrong(&at, Problem::NotABoolean(kind(other)))),
            },
            "$not" => not(conditions(field, object(value, &at, Problem::NotOperators)?, &at)?),
            _ => return Err(wrong(&at, Problem::UnknownOperator(operator.clone()))),
        })
    };
    operators.iter().map(condition).collect::<Result<_, _>>().map(Expression::All)
}

fn test(field: &str, at: &str, comparison: Comparison) -> Expression<Test> {
    Expression::Leaf(Test { field: field.to_owned(), at: at.to_owned(), comparison })
}

fn not(part: Expression<Test>) -> Expression<Test> {
    Expression::Not(Box::new(part))
}

fn scalar(json: &Json, at: &str) -> Result<Value, FilterError> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(plain(&number.to_string())),
        Json::String(text) => Value::Text(text.clone()),
        other => return Err(wrong(at, Problem::NotAValue(kind(other)))),
    })
}

/// A number without the zeros at its end that say nothing: `1` for `1.0`, and `0` for `-0`. One with an exponent stays as it is: jsonb writes none.
fn plain(number: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let shorter = if number.contains('.') && number.bytes().all(is_plain) {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if shorter == "-0" { "0".to_owned() } else { shorter.to_owned() }
}

fn object<'a>(
    json: &'a Json,
    at: &str,
    problem: fn(&'static str) -> Problem,
) -> Result<&'a Map<String, Json>, FilterError> {
    json.as_object().ok_or_else(|| wrong(at, problem(kind(json))))
}

fn list<'a>(json: &'a Json, at: &str) -> Result<&'a [Json], FilterError> {
    json.as_array().map(Vec::as_slice).ok_or_else(|| wrong(at, Problem::NotAList(kind(json))))
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn wrong(at: &str, problem: Problem) -> FilterError {
    FilterError { at: at.to_owned(), problem }
}
