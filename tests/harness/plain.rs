//! The plain query that a search stands for, and the comparison of both answers.

use std::collections::BTreeSet;

use crate::corpus::Source;
use crate::session::{Session, literal};

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The id as text.
    pub id: String,
    /// What the operator returned.
    pub distance: f64,
    /// The payload as jsonb renders it.
    pub payload: Option<String>,
}

impl Row {
    /// From the columns of a row; gives them back if they are no answer's.
    pub(crate) fn from_columns(columns: Vec<Option<String>>) -> Result<Self, Vec<Option<String>>> {
        if let [Some(id), Some(distance), payload] = columns.as_slice()
            && let Ok(distance) = distance.parse()
        {
            return Ok(Self { id: id.clone(), distance, payload: payload.clone() });
        }
        Err(columns)
    }
}

/// The ids of an answer, in its order.
pub fn ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

impl Source {
    /// What the engine answers without vcache, with some rows more than `top_k` so that ties at the end can be told.
    pub fn plain(&self, session: &mut Session, query: &str, top_k: usize) -> Vec<Row> {
        self.plain_where(session, query, top_k, "true")
    }

    /// The same among the rows that meet a condition.
    pub fn plain_where(&self, session: &mut Session, query: &str, top_k: usize, condition: &str) -> Vec<Row> {
        let kind = session.engine().extension();
        let distance = format!("embedding {} {}::{kind}", self.metric.operator(), literal(query));
        session.answer(&format!(
            "SELECT id::text, ({distance})::float8, NULL::jsonb FROM {} WHERE embedding IS NOT NULL AND {condition} \
             ORDER BY {distance} LIMIT {}",
            self.table,
            top_k + 10
        ))
    }

    /// Asserts that a search gives what the plain query gives.
    pub fn assert_search(&self, session: &mut Session, namespace: &str, query: &str, top_k: usize) -> Vec<Row> {
        let found = session.search(namespace, query, top_k);
        let plain = self.plain(session, query, top_k);
        assert_same(&found, &plain, top_k);
        found
    }
}

/// Asserts that `found` is the first `top_k` rows of `plain`, where rows of the same distance may stand in any order.
/// `plain` has some rows more, if there are any: of rows that tie at the end each is as good as the other.
pub fn assert_same(found: &[Row], plain: &[Row], top_k: usize) {
    let wanted = &plain[..top_k.min(plain.len())];
    assert_eq!(
        found.iter().map(|row| row.distance).collect::<Vec<_>>(),
        wanted.iter().map(|row| row.distance).collect::<Vec<_>>(),
        "the distances differ"
    );
    let unique: BTreeSet<&str> = found.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(unique.len(), found.len(), "a row was found twice: {:?}", ids(found));
    for row in found {
        let peers: Vec<&str> =
            plain.iter().filter(|peer| peer.distance == row.distance).map(|peer| peer.id.as_str()).collect();
        assert!(peers.contains(&row.id.as_str()), "{row:?} is none of {peers:?}");
    }
}
