//! Owns conditions on the rows of a search: the language they are written in ([`parse`]), the values that each of them lets through
//! ([`line`], [`region`]), what is left of them when all that says nothing is taken out ([`normal`]), and the form by which two that mean the
//! same are known ([`diagram`]).
//!
//! The language is that of vector stores: `{"lang": "en", "year": {"$gte": 2020}}`. There are two truth values. A field that has no value — a
//! NULL, a key that is not there, a JSON null: they are one — compares with nothing, so every comparison of it is false, and `$ne`, `$nin` and
//! `$not` are true exactly where what they negate is false.
//!
//! Why two spellings of one filter get one form, and two filters never do: each field's values stand on a line, which the values that the
//! filter names cut into cells. No comparison tells the rows of one cell apart, so a filter is a boolean function of the fields' cells, and
//! a reduced, ordered decision diagram is the only one of its function (Bryant, 1986; for many-valued variables, Srinivasan et al., 1990). Cuts that change
//! nothing are in no diagram; those that are left stand there with their values. Beyond [`diagram::MOST`] cells in its parts a diagram is given up, and
//! the simplified condition is the form: then two spellings may have two, and two filters still never have one.

pub mod diagram;
pub mod line;
pub mod normal;
pub mod parse;
pub mod region;

/// A condition made of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression<L> {
    /// All of them are true. True of none.
    All(Vec<Self>),
    /// One of them is true. False of none.
    Any(Vec<Self>),
    /// It is false.
    Not(Box<Self>),
    /// A condition on one field.
    Leaf(L),
}

impl<L> Expression<L> {
    /// The same with other leaves.
    ///
    /// # Errors
    /// The first of `map`.
    pub fn try_map<M, E>(self, map: &mut impl FnMut(L) -> Result<M, E>) -> Result<Expression<M>, E> {
        let mut all = |parts: Vec<Self>| parts.into_iter().map(|part| part.try_map(map)).collect::<Result<_, E>>();
        Ok(match self {
            Self::All(parts) => Expression::All(all(parts)?),
            Self::Any(parts) => Expression::Any(all(parts)?),
            Self::Not(part) => Expression::Not(Box::new(part.try_map(map)?)),
            Self::Leaf(leaf) => Expression::Leaf(map(leaf)?),
        })
    }

    /// Hands every leaf to `see`.
    pub fn each<'a>(&'a self, see: &mut impl FnMut(&'a L)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(see)),
            Self::Not(part) => part.each(see),
            Self::Leaf(leaf) => see(leaf),
        }
    }
}

/// A condition on one field, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// The field's name: a column, or a dotted path.
    pub field: String,
    /// Where in the filter it stands.
    pub at: String,
    /// What is asked of the field's value.
    pub comparison: Comparison,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It is one of these; a [`Value::Null`] among them stands for having none.
    In(Vec<Value>),
    /// It is less.
    Less(Value),
    /// It is less or equal.
    AtMost(Value),
    /// It is greater.
    Greater(Value),
    /// It is greater or equal.
    AtLeast(Value),
    /// There is one.
    Exists,
}

/// A value in a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// None at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, by its decimal digits, without zeros that say nothing: `1` for `1.0`.
    Number(String),
    /// A string.
    Text(String),
}

impl Value {
    /// What it is, for a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
        }
    }
}
