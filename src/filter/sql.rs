//! Owns the SQL of a filter: a condition on the columns themselves, by the operators of their types' own order, so that their indexes serve; in metadata, by
//! containment and by `->`. Names come from the catalogs, and everything that the caller has written is a parameter, the keys of a path as well.
//!
//! No negation stands above a comparison with what may be NULL but `IS NOT TRUE`, so NULL is as good as false everywhere.

use super::{Filter, Filterable, Filtered, KINDS, Metadata, Value, What, steps};
use crate::engine::Condition;
use crate::pg::catalog::{self, Operator, quoted};
use crate::pg::order::{self, Order};
use crate::pg::spi::jsonb_text;
use crate::pg::{array, json, varlena};
use pgrx::pg_sys::{self, Datum, Oid};
use serde_json::Value as Json;
use vcache_core::filter::line::{Allowed, Edge, Span};
use vcache_core::filter::normal::Normal;
use vcache_core::filter::region::Region;

/// Everything that is written goes in as a parameter.
pub fn bound(filter: &Filter, filterable: &Filterable, before: usize) -> Condition {
    let mut writer = Writer { filter, filterable, table: "s.", bound: Some((before, Condition::default())), room: 0 };
    let text = writer.condition(&filter.normal);
    let condition = writer.bound.map(|(_, condition)| condition).unwrap_or_default();
    Condition { text, ..condition }
}

/// Everything that is written stands there.
pub fn literal(filter: &Filter, filterable: &Filterable) -> String {
    let mut condition =
        Writer { filter, filterable, table: "", bound: None, room: MAX_SHOWN }.condition(&filter.normal);
    if condition.len() > MAX_SHOWN {
        condition.truncate(condition.floor_char_boundary(MAX_SHOWN));
        condition.push('…');
    }
    condition
}

struct Writer<'a> {
    filter: &'a Filter,
    filterable: &'a Filterable,
    /// What stands before a column's name.
    table: &'static str,
    /// How many parameters there are besides, and those of the condition; `None` where values stand in the text.
    bound: Option<(usize, Condition)>,
    /// How many bytes of values may still be shown.
    room: usize,
}

/// The longest condition that is shown, in bytes.
const MAX_SHOWN: usize = 8 * 1024;

impl Writer<'_> {
    fn condition(&mut self, normal: &Normal) -> String {
        match normal {
            Normal::Everything => "true".to_owned(),
            Normal::Nothing => "false".to_owned(),
            Normal::Field(field, region) => self.field(*field, region),
            Normal::All(parts) => self.joined(parts, " AND "),
            Normal::Any(parts) => format!("({})", self.joined(parts, " OR ")),
        }
    }

    fn joined(&mut self, parts: &[Normal], word: &str) -> String {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Normal::All(_) => format!("({})", self.condition(part)),
                part => self.condition(part),
            })
            .collect();
        parts.join(word)
    }

    fn field(&mut self, field: usize, region: &Region) -> String {
        let (filter, filterable) = (self.filter, self.filterable);
        let Some((what, allowed, denied)) = filter.sides(field, region) else { return "false".to_owned() };
        let pieces = match what {
            What::Column(n) => filterable.columns.get(*n).map(|filtered| self.column(filtered, &allowed, &denied)),
            What::Path(path) => {
                filterable.metadata.as_ref().map(|metadata| self.path(metadata, path, &allowed, &denied))
            }
        };
        match pieces.as_deref().unwrap_or_default() {
            [] => "false".to_owned(),
            [one] => one.clone(),
            several => format!("({})", several.join(" OR ")),
        }
    }

    /// Conditions of which one must hold.
    fn column(&mut self, filtered: &Filtered, allowed: &Allowed<Value>, denied: &Allowed<Value>) -> Vec<String> {
        let name = format!("{}{}", self.table, quoted(&filtered.column.name));
        let order = &filtered.order;
        // Of a row, IS NULL would look into the fields.
        let [is_null, is_not_null] = if catalog::is_row(order.kind) {
            ["IS NOT DISTINCT FROM NULL", "IS DISTINCT FROM NULL"]
        } else {
            ["IS NULL", "IS NOT NULL"]
        };
        if allowed.spans.iter().any(is_whole) {
            return vec![format!("{name} {is_not_null}")];
        }
        let (points, ranges) = apart(order.kind, allowed);
        let (excluded, gaps) = apart(order.kind, denied);
        if ranges.len() > 1 && gaps.is_empty() {
            let is = self.equals(&name, order, &excluded);
            // Of a NULL it says NULL, which is not true.
            return vec![if allowed.missing { format!("({is}) IS NOT TRUE") } else { format!("NOT ({is})") }];
        }
        let mut pieces = Vec::new();
        if !points.is_empty() {
            pieces.push(self.equals(&name, order, &points));
        }
        pieces.extend(ranges.iter().map(|span| self.range(&name, order, span)));
        if allowed.missing {
            pieces.push(format!("{name} {is_null}"));
        }
        pieces
    }

    fn equals(&mut self, name: &str, order: &Order, points: &[Value]) -> String {
        let equal = self.operator(&order.equal);
        if let [point] = points {
            return format!("{name} {equal} {}", self.value(order.kind, point.datum));
        }
        let values: Vec<Datum> = points.iter().map(|point| point.datum).collect();
        if let Some(list) = order::array_type(order.kind) {
            return format!("{name} {equal} ANY ({})", self.list(list, order.kind, values));
        }
        let each = values.into_iter().map(|datum| format!("{name} {equal} {}", self.value(order.kind, datum)));
        format!("({})", each.collect::<Vec<_>>().join(" OR "))
    }

    fn range(&mut self, name: &str, order: &Order, span: &Span<Value>) -> String {
        let from = match &span.from {
            Edge::Before(value) => Some((&order.at_least, value.datum)),
            Edge::Behind(value) => Some((&order.greater, value.datum)),
            Edge::Start | Edge::End => None,
        };
        let to = match &span.to {
            Edge::Before(value) => Some(match steps(order.kind) {
                Some(steps) => (&order.at_most, (steps.datum)((steps.number)(value.datum) - 1)),
                None => (&order.less, value.datum),
            }),
            Edge::Behind(value) => Some((&order.at_most, value.datum)),
            Edge::Start | Edge::End => None,
        };
        let sides: Vec<String> = [from, to]
            .into_iter()
            .flatten()
            .map(|(operator, datum)| format!("{name} {} {}", self.operator(operator), self.value(order.kind, datum)))
            .collect();
        match sides.as_slice() {
            [one] => one.clone(),
            both => format!("({})", both.join(" AND ")),
        }
    }

    /// Conditions of which one must hold. Of what is let through and what is not, the shorter is said.
    fn path(
        &mut self,
        metadata: &Metadata,
        path: &[String],
        allowed: &Allowed<Value>,
        denied: &Allowed<Value>,
    ) -> Vec<String> {
        if pieces(denied) < pieces(allowed) {
            let denied = self.path_pieces(metadata, path, denied).join(" OR ");
            return vec![format!("({denied}) IS NOT TRUE")];
        }
        self.path_pieces(metadata, path, allowed)
    }

    fn path_pieces(&mut self, metadata: &Metadata, path: &[String], allowed: &Allowed<Value>) -> Vec<String> {
        let column = format!("{}{}", self.table, quoted(&metadata.column.name));
        let (points, ranges) = apart(pg_sys::JSONBOID, allowed);
        let mut pieces = Vec::new();
        if !points.is_empty() {
            pieces.push(self.holds(&column, path, &points));
        }
        if ranges.is_empty() && !allowed.others && !allowed.missing {
            return pieces;
        }
        let value = path.iter().fold(column, |inner, key| {
            let key = self.value(pg_sys::TEXTOID, varlena::text_datum(key));
            format!("{inner} {} {key}", self.own("->"))
        });
        let kind = format!("{}jsonb_typeof({value})", if self.bound.is_some() { "pg_catalog." } else { "" });
        if is_anything(allowed) {
            pieces.push(format!("{kind} {} 'null'", self.own("<>")));
        } else {
            for span in ranges {
                let is_kind =
                    format!("{kind} {} '{}'", self.own("="), KINDS.get(span.kind).copied().unwrap_or_default());
                pieces.push(if is_whole(&span) {
                    is_kind
                } else {
                    let range = self.range(&format!("({value})"), &metadata.order, &span);
                    format!("({range} AND {is_kind})")
                });
            }
            if allowed.others {
                pieces.push(format!("{kind} {} ANY ('{{array,object}}')", self.own("=")));
            }
        }
        if allowed.missing {
            pieces.push(format!("coalesce({kind}, 'null') {} 'null'", self.own("=")));
        }
        pieces
    }

    /// That one of these values stands behind the path: by containment, which indexes know.
    fn holds(&mut self, column: &str, path: &[String], points: &[Value]) -> String {
        let documents: Vec<Datum> = points
            .iter()
            .filter_map(|point| {
                let inner = jsonb_text(point.datum);
                let key = |key: &String| Json::from(key.as_str()).to_string();
                json::jsonb(&path.iter().rev().fold(inner, |inner, name| format!("{{{}: {inner}}}", key(name)))).ok()
            })
            .collect();
        let contains = self.own("@>");
        if let [document] = documents.as_slice() {
            return format!("{column} {contains} {}", self.value(pg_sys::JSONBOID, *document));
        }
        format!("{column} {contains} ANY ({})", self.list(pg_sys::JSONBARRAYOID, pg_sys::JSONBOID, documents))
    }

    /// An array of values.
    fn list(&mut self, kind: Oid, element: Oid, mut values: Vec<Datum>) -> String {
        if self.bound.is_some() {
            return self.value(kind, array::datum(&mut values, element));
        }
        let values: Vec<String> = values.into_iter().map(|datum| self.value(element, datum)).collect();
        format!("ARRAY[{}]", values.join(", "))
    }

    fn value(&mut self, kind: Oid, datum: Datum) -> String {
        match &mut self.bound {
            Some((before, condition)) => {
                condition.parameters.push(kind);
                condition.arguments.push(datum);
                format!("${}", *before + condition.arguments.len())
            }
            // Thousands of values, or one of a hundred thousand digits, tell a person nothing.
            None if self.room == 0 => "…".to_owned(),
            None => {
                let literal = order::literal(kind, datum);
                self.room = self.room.saturating_sub(literal.len());
                literal
            }
        }
    }

    fn operator(&self, operator: &Operator) -> String {
        if self.bound.is_none() && operator.schema == "pg_catalog" { operator.name.clone() } else { operator.sql() }
    }

    /// An operator of PostgreSQL's own.
    fn own(&self, name: &str) -> String {
        if self.bound.is_none() { name.to_owned() } else { format!("OPERATOR(pg_catalog.{name})") }
    }
}

/// Whether it is every value that there can be in JSON.
fn is_anything(allowed: &Allowed<Value>) -> bool {
    allowed.others && allowed.spans.iter().filter(|span| is_whole(span)).count() == KINDS.len()
}

/// How many conditions say it.
fn pieces(allowed: &Allowed<Value>) -> usize {
    let (points, ranges) = apart(pg_sys::JSONBOID, allowed);
    let of_kinds = if is_anything(allowed) { 1 } else { ranges.len() + usize::from(allowed.others) };
    usize::from(!points.is_empty()) + of_kinds + usize::from(allowed.missing)
}

fn is_whole(span: &Span<Value>) -> bool {
    matches!((&span.from, &span.to), (Edge::Start, Edge::End))
}

/// The single values among what is let through, and the rest.
fn apart(kind: Oid, allowed: &Allowed<Value>) -> (Vec<Value>, Vec<Span<Value>>) {
    let (mut points, mut ranges) = (Vec::new(), Vec::new());
    for span in &allowed.spans {
        match point(kind, span) {
            Some(point) => points.push(point),
            None => ranges.push(span.clone()),
        }
    }
    (points, ranges)
}

/// The only value of a span that has just one.
fn point(kind: Oid, span: &Span<Value>) -> Option<Value> {
    if let (Edge::Before(value), Edge::Behind(end)) = (&span.from, &span.to) {
        return (value.image == end.image).then(|| value.clone());
    }
    if kind == pg_sys::JSONBOID {
        // false and true
        let text = match (&span.from, &span.to) {
            (Edge::Start, Edge::Before(_)) if span.kind == super::BOOLEANS => "false",
            (Edge::Before(_), Edge::End) if span.kind == super::BOOLEANS => "true",
            _ => return None,
        };
        return json::jsonb(text).ok().map(|datum| Value { datum, image: text.into(), number: None, sort: datum });
    }
    let steps = steps(kind)?;
    let number = |edge: &Edge<Value>| match edge {
        Edge::Start => Some(steps.least),
        Edge::Before(value) => Some((steps.number)(value.datum)),
        Edge::Behind(_) | Edge::End => None,
    };
    let first = number(&span.from)?;
    let last = number(&span.to).map_or(Some(steps.most), |end| end.checked_sub(1))?;
    let point = || Value {
        datum: (steps.datum)(first),
        image: first.to_be_bytes().to_vec(),
        number: Some(first),
        sort: (steps.datum)(first),
    };
    (first == last).then(point)
}
