//! Owns the filter of a search: which fields there are, what its values mean to them, and what names it in a key. The language and the form that all spellings
//! of a filter share are vcache-core's; the SQL is sql.rs'.
//!
//! A field is a column that the namespace has declared, or a path into its metadata column. A value in a filter is read by the input function of the column's
//! type, under the caller's settings, as a literal in SQL would be; in metadata it stays the JSON that it is. NULL, a key that is not there and a JSON
//! null are one: no value.

mod sql;

use crate::engine::{self, Condition};
use crate::error::{Error, shortened};
use crate::pg::catalog::{self, Column};
use crate::pg::function::Call;
use crate::pg::order::{self, Order};
use crate::pg::spi::jsonb_text;
use crate::pg::{json, varlena, wait};
use pgrx::pg_sys::{self, Datum, Oid};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use vcache_core::filter::diagram;
use vcache_core::filter::line::{Allowed, Edge, Line, Point, Span};
use vcache_core::filter::normal::Normal;
use vcache_core::filter::parse::{self, MAX_BYTES};
use vcache_core::filter::region::Region;
use vcache_core::filter::{Comparison, Expression, Test, Value as Written};

/// What searches of a namespace may have conditions on.
pub struct Filterable {
    source: Oid,
    columns: Vec<Filtered>,
    metadata: Option<Metadata>,
}

/// A column that is declared for filters.
struct Filtered {
    column: Column,
    order: Order,
}

/// The column whose keys are fields.
struct Metadata {
    column: Column,
    order: Order,
    /// How `jsonb` orders strings, and numbers.
    texts: Order,
    numbers: Order,
}

/// The kinds of values in JSON, in their order.
const KINDS: [&str; 3] = ["string", "number", "boolean"];
const STRINGS: usize = 0;
const NUMBERS: usize = 1;
const BOOLEANS: usize = 2;

impl Filterable {
    /// # Errors
    /// [`Error::NotOrdered`], [`Error::NotJsonb`].
    pub fn new(source: Oid, columns: Vec<&Column>, metadata: Option<&Column>) -> Result<Self, Error> {
        let filtered = |column: &Column| {
            let order = Order::of(catalog::base_type(column.kind), column.collation);
            let missing = || Error::NotOrdered { column: column.name.clone(), kind: catalog::type_text(column.kind) };
            order.ok_or_else(missing).map(|order| Filtered { column: column.clone(), order })
        };
        let metadata = metadata.map(|column| {
            let order = Order::of(pg_sys::JSONBOID, pg_sys::InvalidOid)
                .filter(|_| catalog::base_type(column.kind) == pg_sys::JSONBOID);
            let other = || Error::NotJsonb { column: column.name.clone(), kind: catalog::type_text(column.kind) };
            let texts = Order::of(pg_sys::TEXTOID, pg_sys::DEFAULT_COLLATION_OID);
            let numbers = Order::of(pg_sys::NUMERICOID, pg_sys::InvalidOid);
            let orders = order.zip(texts).zip(numbers).ok_or_else(other);
            orders.map(|((order, texts), numbers)| Metadata { column: column.clone(), order, texts, numbers })
        });
        let columns = columns.into_iter().map(filtered).collect::<Result<_, _>>()?;
        Ok(Self { source, columns, metadata: metadata.transpose()? })
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|filtered| filtered.column.name.clone()).collect()
    }

    /// What a name in a filter means: a declared column, or else a path.
    fn field(&self, test: &Test) -> Result<What, Error> {
        let name = test.field.as_str();
        if let Some(n) = self.columns.iter().position(|filtered| filtered.column.name == name) {
            return Ok(What::Column(n));
        }
        // A column that is not declared is not taken for a key, which would be found nowhere.
        let is_column = catalog::column_named(self.source, name).is_some();
        if self.metadata.is_none() || is_column {
            let (field, at, known) = (name.to_owned(), test.at.clone(), self.names());
            return Err(Error::UnknownField { field, at, known, is_column });
        }
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(Error::EmptyKey { path: name.to_owned(), at: test.at.clone() });
        }
        Ok(What::Path(path))
    }
}

/// Where a field's value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// In the declared column of this number, from 0.
    Column(usize),
    /// In the metadata column, behind these keys.
    Path(Vec<String>),
}

/// The filter of a call, with names that mean something.
pub struct Parsed<'a> {
    of: &'a Filterable,
    fields: Vec<Field>,
    expression: Expression<(usize, Test)>,
}

struct Field {
    /// What tells it from others, and says what its values are compared by.
    image: Vec<u8>,
    what: What,
}

/// Reads argument `n`; `None` when there is no filter.
///
/// # Errors
/// [`Error::Filter`], [`Error::UnknownField`], [`Error::EmptyKey`].
pub fn read<'a>(call: &Call, n: usize, filterable: &'a Filterable) -> Result<Option<Parsed<'a>>, Error> {
    let Some(datum) = call.datum(n) else { return Ok(None) };
    // Of what is far too large, no text is made: a number of a dozen bytes may have a hundred thousand digits.
    if json::is_longer_than(datum, MAX_BYTES) {
        return Err(Error::too_large_a_filter());
    }
    let written = parse::parse(&jsonb_text(datum))?;
    let mut fields: BTreeMap<Vec<u8>, What> = BTreeMap::new();
    let expression = written.try_map(&mut |test: Test| {
        let what = filterable.field(&test)?;
        let image = filterable.image(&what);
        fields.insert(image.clone(), what);
        Ok::<_, Error>((image, test))
    })?;
    let numbers: HashMap<&Vec<u8>, usize> = fields.keys().enumerate().map(|(number, image)| (image, number)).collect();
    let number = |image: &Vec<u8>| numbers.get(image).copied().unwrap_or_default();
    let expression = expression.try_map(&mut |(image, test)| Ok::<_, Error>((number(&image), test)))?;
    let fields = fields.into_iter().map(|(image, what)| Field { image, what }).collect();
    Ok(Some(Parsed { of: filterable, fields, expression }))
}

impl Filterable {
    fn image(&self, what: &What) -> Vec<u8> {
        const COLUMN: u8 = 0;
        const PATH: u8 = 1;
        let mut image = Vec::new();
        let mut text = |text: &str| {
            image.extend((text.len() as u32).to_be_bytes());
            image.extend(text.as_bytes());
        };
        match what {
            What::Column(n) => {
                if let Some(Filtered { column, .. }) = self.columns.get(*n) {
                    text(&column.name);
                    image.extend(column.kind.to_u32().to_be_bytes());
                    image.extend(column.collation.to_u32().to_be_bytes());
                }
                image.insert(0, COLUMN);
            }
            What::Path(path) => {
                text(self.metadata.as_ref().map(|metadata| metadata.column.name.as_str()).unwrap_or_default());
                path.iter().for_each(|key| text(key));
                image.insert(0, PATH);
            }
        }
        image
    }

    /// What values of a kind of the field are compared by.
    fn order(&self, what: &What, kind: usize) -> Option<&Order> {
        match what {
            What::Column(n) => self.columns.get(*n).map(|filtered| &filtered.order),
            What::Path(_) => self.metadata.as_ref().map(|metadata| match kind {
                STRINGS => &metadata.texts,
                _ => &metadata.numbers,
            }),
        }
    }
}

/// A value in a filter, as the field's type has it.
#[derive(Debug, Clone)]
struct Value {
    datum: Datum,
    image: Vec<u8>,
    /// Of a type that has next values.
    number: Option<i64>,
    /// What it is compared by: itself, or what is in it as text or numeric, where it is JSON.
    sort: Datum,
}

impl Point for Value {
    fn image(&self) -> &[u8] {
        &self.image
    }
}

impl Parsed<'_> {
    /// The columns (from 1) that it names: what the caller must be allowed to read.
    pub fn columns(&self) -> impl Iterator<Item = i16> + '_ {
        self.fields.iter().filter_map(|field| match field.what {
            What::Column(n) => self.of.columns.get(n).map(|filtered| filtered.column.number),
            What::Path(_) => self.of.metadata.as_ref().map(|metadata| metadata.column.number),
        })
    }

    /// Gives its values the fields' types; `None` when every row fulfils it.
    ///
    /// # Errors
    /// [`Error::FilterType`]; the types' own errors are raised.
    pub fn compile(self) -> Result<Option<Filter>, Error> {
        let Self { of, fields, expression } = self;
        let allowed = expression.try_map(&mut |(n, test): (usize, Test)| {
            let what = fields.get(n).map(|field| &field.what);
            what.map_or(Ok(Allowed { field: n, spans: Vec::new(), others: false, missing: false }), |what| {
                of.allowed(n, what, &test)
            })
        })?;
        let order = |n: usize, kind: usize, a: &Value, b: &Value| match (a.number, b.number) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => {
                let order = fields.get(n).and_then(|field| of.order(&field.what, kind));
                order.map_or(Ordering::Equal, |order| order.compare(a.sort, b.sort))
            }
        };
        let mut by_field: Vec<Vec<&Allowed<Value>>> = fields.iter().map(|_| Vec::new()).collect();
        allowed.each(&mut |one| by_field.get_mut(one.field).into_iter().for_each(|all| all.push(one)));
        let line = |(n, all): (usize, Vec<&Allowed<Value>>)| {
            let is_path = fields.get(n).is_some_and(|field| matches!(field.what, What::Path(_)));
            let kinds = if is_path { KINDS.len() } else { 1 };
            Line::new(kinds, is_path, all.into_iter(), |kind, a, b| order(n, kind, a, b))
        };
        let lines: Vec<Line<Value>> = by_field.into_iter().enumerate().map(line).collect();
        let regions = allowed.try_map(&mut |one: Allowed<Value>| {
            let region = lines.get(one.field).map(|line| line.region(&one, |kind, a, b| order(one.field, kind, a, b)));
            Ok::<_, Error>((one.field, region.unwrap_or_default()))
        })?;
        let cells: Vec<u32> = lines.iter().map(Line::cells).collect();
        let normal = Normal::new(&regions, &cells);
        let (images, whats) = fields.into_iter().map(|field| (field.image, field.what)).unzip::<_, _, Vec<_>, _>();
        Ok(diagram::form(&normal, &images, &lines).map(|form| Filter { form, normal, lines, fields: whats }))
    }
}

/// A filter that leaves some rows out, ready to be asked.
pub struct Filter {
    /// Equal for two filters exactly when they let the same rows through.
    pub form: Vec<u8>,
    normal: Normal,
    lines: Vec<Line<Value>>,
    fields: Vec<What>,
}

impl Filter {
    /// Its condition in SQL, with parameters that follow the first `before` ones.
    pub fn condition(&self, filterable: &Filterable, before: usize) -> Condition {
        sql::bound(self, filterable, before)
    }

    /// The same for a person, with the values themselves.
    pub fn explained(&self, filterable: &Filterable) -> String {
        let _fixed = engine::fixed_settings();
        sql::literal(self, filterable)
    }

    /// What a region of a field lets through, and what it does not.
    fn sides(&self, field: usize, region: &Region) -> Option<(&What, Allowed<Value>, Allowed<Value>)> {
        let line = self.lines.get(field)?;
        let rest = region.complement(line.cells());
        Some((self.fields.get(field)?, line.allowed(field, region), line.allowed(field, &rest)))
    }
}

impl Filterable {
    /// What a test lets through of its field, the `n`th of the filter's.
    fn allowed(&self, n: usize, what: &What, test: &Test) -> Result<Allowed<Value>, Error> {
        let at = |place: Option<usize>| match place {
            Some(place) if test.at.ends_with("$in") || test.at.ends_with("$nin") => format!("{}[{place}]", test.at),
            _ => test.at.clone(),
        };
        let edges = |value, place| self.edges(what, value, &|| at(place));
        let below = |(kind, to)| vec![Span { kind, from: Edge::Start, to }];
        let above = |(kind, from)| vec![Span { kind, from, to: Edge::End }];
        let spans = match &test.comparison {
            Comparison::In(values) => {
                let values = values.iter().enumerate().filter(|(_, value)| **value != Written::Null);
                let span = |(place, value)| edges(value, Some(place)).map(|(kind, from, to)| Span { kind, from, to });
                values.map(span).collect::<Result<_, _>>()?
            }
            Comparison::Less(value) => edges(value, None).map(|(kind, before, _)| below((kind, before)))?,
            Comparison::AtMost(value) => edges(value, None).map(|(kind, _, behind)| below((kind, behind)))?,
            Comparison::Greater(value) => edges(value, None).map(|(kind, _, behind)| above((kind, behind)))?,
            Comparison::AtLeast(value) => edges(value, None).map(|(kind, before, _)| above((kind, before)))?,
            Comparison::Exists => {
                let kinds = if matches!(what, What::Path(_)) { KINDS.len() } else { 1 };
                (0..kinds).map(|kind| Span { kind, from: Edge::Start, to: Edge::End }).collect()
            }
        };
        let others = test.comparison == Comparison::Exists;
        let missing = matches!(&test.comparison, Comparison::In(values) if values.contains(&Written::Null));
        Ok(Allowed { field: n, spans, others, missing })
    }

    /// The kind of a value, and what lies right before and right behind it.
    fn edges(
        &self,
        what: &What,
        value: &Written,
        at: &impl Fn() -> String,
    ) -> Result<(usize, Edge<Value>, Edge<Value>), Error> {
        // There may be thousands of values.
        wait::accept_interrupts();
        match what {
            What::Column(n) => {
                let Some(filtered) = self.columns.get(*n) else { return Ok((0, Edge::Start, Edge::Start)) };
                let datum = filtered.value(value, at)?;
                let (before, behind) = around(filtered.order.kind, datum);
                Ok((0, before, behind))
            }
            What::Path(_) => {
                let point = |text: &str, image: Vec<u8>, sort: Option<Datum>| {
                    let datum = json::jsonb(text).map_err(|json::NotJson| Error::not_a_filter())?;
                    let value = Value { datum, image, number: None, sort: sort.unwrap_or(datum) };
                    Ok::<_, Error>((Edge::Before(value.clone()), Edge::Behind(value)))
                };
                Ok(match value {
                    Written::Text(text) => {
                        let (before, behind) = {
                            let sort = Some(varlena::text_datum(text));
                            point(&Json::from(text.as_str()).to_string(), text.as_bytes().to_vec(), sort)?
                        };
                        (STRINGS, before, behind)
                    }
                    Written::Number(number) => {
                        let (before, behind) = {
                            let digits = CString::new(number.as_str()).unwrap_or_default();
                            let sort = catalog::value_of_text(pg_sys::NUMERICOID, -1, &digits);
                            point(number, number.as_bytes().to_vec(), Some(sort))?
                        };
                        (NUMBERS, before, behind)
                    }
                    // Between them there is nothing.
                    Written::Bool(value) => {
                        let (before_true, _) = point("true", vec![1], None)?;
                        if *value { (BOOLEANS, before_true, Edge::End) } else { (BOOLEANS, Edge::Start, before_true) }
                    }
                    Written::Null => (0, Edge::Start, Edge::Start),
                })
            }
        }
    }
}

impl Filtered {
    /// A value as the column's type has it.
    fn value(&self, value: &Written, at: &impl Fn() -> String) -> Result<Datum, Error> {
        let kind = self.order.kind;
        // Of whole numbers there may be thousands. What is none of the column's is left to its type's input function, which says so.
        if let (Written::Number(number), Some(steps)) = (value, steps(kind))
            && let Ok(number) = number.parse()
            && is_number(kind)
            && (steps.least..=steps.most).contains(&number)
        {
            return Ok((steps.datum)(number));
        }
        let text = match value {
            Written::Text(text) if kind == pg_sys::BPCHAROID => text.trim_end_matches(' '),
            Written::Text(text) => text,
            Written::Number(number) if is_number(kind) => number,
            Written::Bool(value) if kind == pg_sys::BOOLOID => {
                if *value {
                    "true"
                } else {
                    "false"
                }
            }
            other => {
                let expected = match kind {
                    pg_sys::BOOLOID => "a boolean or a string",
                    kind if is_number(kind) => "a number or a string",
                    _ => "a string",
                };
                let (column, kind) = (self.column.name.clone(), catalog::type_text(self.column.kind));
                return Err(Error::FilterType { at: at(), column, kind, expected, found: other.kind() });
            }
        };
        // jsonb holds no zero byte.
        let text = CString::new(text).unwrap_or_default();
        let value = catalog::value_of_text_or(kind, -1, &text, || {
            format!(
                "At {} of the filter: column \"{}\" has type {}.",
                shortened(&at()),
                self.column.name,
                catalog::type_text(kind)
            )
        });
        Ok(order::canonical(kind, value))
    }
}

fn is_number(kind: Oid) -> bool {
    matches!(
        kind,
        pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
            | pg_sys::NUMERICOID
    )
}

/// What lies right before and right behind a value of a type. Of whole numbers that is where the next one begins.
fn around(kind: Oid, value: Datum) -> (Edge<Value>, Edge<Value>) {
    let Some(Steps { least, most, number, datum }) = steps(kind) else {
        let value = Value { datum: value, image: varlena::image(value, kind), number: None, sort: value };
        return (Edge::Before(value.clone()), Edge::Behind(value));
    };
    let value_of = |number: i64| Value {
        datum: datum(number),
        image: number.to_be_bytes().to_vec(),
        number: Some(number),
        sort: datum(number),
    };
    let before = |number: i64| Edge::Before(value_of(number));
    let number = number(value);
    (
        if number == least { Edge::Start } else { before(number) },
        if number == most { Edge::End } else { before(number + 1) },
    )
}

/// A type of which every value but the last has a next one.
struct Steps {
    least: i64,
    most: i64,
    number: fn(Datum) -> i64,
    datum: fn(i64) -> Datum,
}

fn steps(kind: Oid) -> Option<Steps> {
    Some(match kind {
        pg_sys::BOOLOID => Steps {
            least: 0,
            most: 1,
            number: |datum| (datum.value() & 1) as i64,
            datum: |number| Datum::from(number == 1),
        },
        pg_sys::INT2OID => Steps {
            least: i16::MIN.into(),
            most: i16::MAX.into(),
            number: |datum| i64::from(datum.value() as i16),
            datum: |number| Datum::from(number as i16),
        },
        pg_sys::INT4OID => Steps {
            least: i32::MIN.into(),
            most: i32::MAX.into(),
            number: |datum| i64::from(datum.value() as i32),
            datum: |number| Datum::from(number as i32),
        },
        pg_sys::INT8OID => {
            Steps { least: i64::MIN, most: i64::MAX, number: |datum| datum.value() as i64, datum: Datum::from }
        }
        _ => return None,
    })
}
