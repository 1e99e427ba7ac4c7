//! The two ways to ask for the nearest texts, their answers, and what it means that two answers agree.

use postgres::Row;

use crate::failure::Outcome;
use crate::print;

/// Without vcache: RuVector's index alone. Parameter: the vector. The limit is a literal because with a parameter PostgreSQL would plan
/// the statement anew every time, and the comparison would flatter the cache.
pub const PLAIN: &str = "\
    SELECT id::text, (embedding <=> $1)::float8, kind, name, body
      FROM docs ORDER BY embedding <=> $1 LIMIT 10";

/// With vcache: the same columns, from the payload. Parameters: the vector, how many.
pub const CACHED: &str = "\
    SELECT id, distance, payload->>'kind', payload->>'name', payload->>'body'
      FROM vcache_search('documents', $1::ruvector, $2)";

/// One row of an answer.
#[derive(Debug, PartialEq)]
pub struct Answer {
    id: String,
    distance: f64,
    kind: String,
    name: String,
    body: String,
}

impl Answer {
    /// The answers in the rows of either statement, nearest first.
    pub fn all(rows: Vec<Row>) -> Outcome<Vec<Self>> {
        rows.iter()
            .map(|row| {
                Ok(Self {
                    id: row.try_get(0)?,
                    distance: row.try_get(1)?,
                    kind: row.try_get(2)?,
                    name: row.try_get(3)?,
                    body: row.try_get(4)?,
                })
            })
            .collect()
    }
}

/// The rows as lines of a terminal: distance, kind, name, and as much of the text as fits, in columns as wide as these rows need.
pub fn lines(answers: &[Answer]) -> Vec<String> {
    let longest =
        |of: fn(&Answer) -> &str, most| answers.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).min(most);
    let kind = longest(|row| &row.kind, 20);
    let name = longest(|row| &row.name, 34);
    let body = print::WIDTH.saturating_sub("    0.123  ".len() + kind + 2 + name + 2);
    answers
        .iter()
        .map(|row| {
            format!(
                "    {:.3}  {:<kind$}  {:<name$}  {}",
                row.distance,
                print::shorten(&row.kind, kind),
                print::shorten(&row.name, name),
                print::shorten(&row.body, body)
            )
        })
        .collect()
}

/// Whether two answers to the same question are the same, ties apart: distances are equal place by place, and rows of the same distance
/// are the same ones in any order. The last distance may be cut off by the limit, so there any row of that distance will do.
pub fn agree(one: &[Answer], other: &[Answer]) -> bool {
    if one.len() != other.len() || !one.iter().zip(other).all(|(a, b)| a.distance == b.distance) {
        return false;
    }
    let Some(last) = one.last().map(|answer| answer.distance) else {
        return true;
    };
    one.iter().filter(|answer| answer.distance != last).all(|answer| other.contains(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, f64)]) -> Vec<Answer> {
        let text = String::new;
        rows.iter()
            .map(|&(id, distance)| Answer { id: id.to_owned(), distance, kind: text(), name: text(), body: text() })
            .collect()
    }

    #[test]
    fn answers_agree_up_to_ties() {
        let one = rows(&[("1", 0.1), ("2", 0.2), ("3", 0.2), ("4", 0.3)]);
        assert!(agree(&one, &one));
        assert!(agree(&[], &[]));
        assert!(agree(&one, &rows(&[("1", 0.1), ("3", 0.2), ("2", 0.2), ("4", 0.3)])));
        assert!(agree(&one, &rows(&[("1", 0.1), ("2", 0.2), ("3", 0.2), ("5", 0.3)])), "the limit cuts a tie");
    }

    #[test]
    fn other_rows_distances_or_lengths_are_seen() {
        let one = rows(&[("1", 0.1), ("2", 0.2), ("3", 0.2), ("4", 0.3)]);
        assert!(!agree(&one, &rows(&[("9", 0.1), ("2", 0.2), ("3", 0.2), ("4", 0.3)])));
        assert!(!agree(&one, &rows(&[("1", 0.1), ("2", 0.2), ("9", 0.2), ("4", 0.3)])));
        assert!(!agree(&one, &rows(&[("1", 0.1), ("2", 0.2), ("3", 0.2), ("4", 0.4)])));
        assert!(!agree(&one, &one[..3]));
        assert!(!agree(&one, &[]));
    }
}
