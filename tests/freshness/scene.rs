//! A source that is searched, and one who reads how each search ended. Every search is compared with the plain query in one statement,
//! so under one snapshot, payloads included.

use std::cell::RefCell;
use std::collections::BTreeMap;

use harness::{Database, Metric, Row, Session, Source, assert_same, literal};

/// Where the tests look: far from the rows of a [`Source`].
pub const QUERY: &str = "[9,9,9]";

/// A row that is nearer to it than all of them.
pub const NEAREST: &str = "INSERT INTO docs VALUES (1000, 'nearest', 0, '[9,9,9]')";

const TOP_K: usize = 5;

/// See the head of this file.
pub struct Scene {
    /// The table.
    pub source: Source,
    namespace: String,
    /// What the plain query orders among.
    condition: String,
    observer: RefCell<Session>,
}

impl Scene {
    /// The table `docs` of 30 rows, registered as `docs`, and a session.
    pub fn new(database: &Database) -> (Self, Session) {
        let mut session = database.session();
        let source = Source::docs(&mut session, 30, 3);
        let scene = Self::of(source, database.session());
        scene.register(&mut session, "");
        (scene, session)
    }

    /// The table `docs` made by statements, with the columns `id, title, n, embedding`, registered as `docs`. `VECTOR` in the text is the
    /// vectors' type.
    pub fn made_by(database: &Database, statements: &str) -> (Self, Session) {
        let mut session = database.session();
        let vector = format!("{}(3)", session.engine().extension());
        session.run(&statements.replace("VECTOR", &vector));
        let scene = Self::of(docs(), database.session());
        scene.register(&mut session, "");
        (scene, session)
    }

    /// A source that is, or will be, registered under the name of its table.
    pub fn of(source: Source, observer: Session) -> Self {
        Self { namespace: source.table.clone(), condition: "true".to_owned(), source, observer: RefCell::new(observer) }
    }

    /// The same source as another server, or another namespace, has it; `observer` is a session there.
    pub fn seen_by(&self, namespace: &str, observer: Session) -> Self {
        Self {
            source: self.source.clone(),
            namespace: namespace.to_owned(),
            condition: self.condition.clone(),
            observer: RefCell::new(observer),
        }
    }

    /// The same, for a namespace of the rows that meet a condition.
    pub fn among(mut self, condition: &str) -> Self {
        condition.clone_into(&mut self.condition);
        self
    }

    /// Registers the source; `options` is the rest of the arguments, as SQL.
    pub fn register(&self, session: &mut Session, options: &str) {
        let separator = if options.is_empty() { "" } else { ", " };
        let all = format!("freshness => 'exact', payload_columns => '{{title}}'{separator}{options}");
        self.source.register(session, &self.namespace, &all);
    }

    /// The plain query and the search in one statement.
    pub fn comparison(&self, engine: harness::Engine, query: &str) -> String {
        let (query, kind, table) = (literal(query), engine.extension(), &self.source.table);
        let distance = format!("embedding {} {query}::{kind}", self.source.metric.operator());
        format!(
            "SELECT true, f.id, f.distance, f.payload::text, f.ordinality \
             FROM vcache_search({}, {query}, {TOP_K}) WITH ORDINALITY f \
             UNION ALL \
             SELECT false, p.id, p.distance, p.payload, row_number() OVER (ORDER BY p.distance) \
             FROM (SELECT id::text, ({distance})::float8 AS distance, jsonb_build_object('title', title)::text AS payload \
                   FROM {table} WHERE embedding IS NOT NULL AND ({}) ORDER BY {distance} FETCH FIRST {TOP_K} ROWS WITH TIES) p \
             ORDER BY 1, 5",
            literal(&self.namespace),
            self.condition
        )
    }

    /// Asserts what [`Self::comparison`] gave: that both are the same; the rows of the search.
    #[track_caller]
    pub fn assert_equal(rows: Vec<Vec<Option<String>>>) -> Vec<Row> {
        let (mut found, mut plain) = (Vec::new(), Vec::new());
        for row in rows {
            let text = |column: usize| row[column].clone().expect("no null");
            let of_search = text(0) == "t";
            let row = Row { id: text(1), distance: text(2).parse().expect("a distance"), payload: row[3].clone() };
            if of_search { found.push(row) } else { plain.push(row) }
        }
        assert_same(&found, &plain, TOP_K);
        for row in &found {
            let same = plain.iter().find(|other| other.id == row.id).expect("a row of the plain query's");
            assert_eq!(row.payload, same.payload, "the payload of {}", row.id);
        }
        found
    }

    /// Searches, and asserts the answer; what vcache counted.
    #[track_caller]
    fn look(&self, session: &mut Session, query: &str) -> (Vec<Row>, String) {
        let explained = session.value(&format!(
            "SELECT outcome FROM vcache_explain({}, {}, {TOP_K})",
            literal(&self.namespace),
            literal(query)
        ));
        let before = self.counted();
        let rows = session.rows(&self.comparison(session.engine(), query));
        let found = Self::assert_equal(rows);
        let outcome = difference(&before, &self.counted());
        assert!(outcome.contains(&explained), "vcache_explain says {explained}, and it was one of {outcome}");
        (found, outcome)
    }

    /// What has been counted so far.
    pub fn counted(&self) -> BTreeMap<String, i64> {
        let rows = self.observer.borrow_mut().rows(&format!(
            "SELECT key, value FROM vcache_stats s, jsonb_each_text(to_jsonb(s)) \
             WHERE namespace = {} AND key ~ '_hits$|^misses_|^bypasses_'",
            literal(&self.namespace)
        ));
        let pair = |row: Vec<Option<String>>| match row.as_slice() {
            [Some(name), Some(count)] => (name.clone(), count.parse().expect("a count")),
            other => panic!("no count: {other:?}"),
        };
        rows.into_iter().map(pair).collect()
    }

    /// A search that must be answered from a tier.
    #[track_caller]
    pub fn hit(&self, session: &mut Session) -> Vec<Row> {
        self.ends(session, "_hits")
    }

    /// A search that must ask the engine, and may store.
    #[track_caller]
    pub fn miss(&self, session: &mut Session) -> Vec<Row> {
        self.ends(session, "misses_")
    }

    /// A search that must ask the engine because its entry is of another version.
    #[track_caller]
    pub fn stale(&self, session: &mut Session) -> Vec<Row> {
        self.ends(session, "misses_stale")
    }

    /// A search that must leave the tiers alone, for a reason as `vcache_stats` names it.
    #[track_caller]
    pub fn bypass(&self, session: &mut Session, reason: &str) -> Vec<Row> {
        self.ends(session, &format!("bypasses_{reason}"))
    }

    /// Only asserts the answer.
    #[track_caller]
    pub fn right(&self, session: &mut Session) -> Vec<Row> {
        self.look(session, QUERY).0
    }

    /// Searches until there is an entry.
    #[track_caller]
    pub fn warm(&self, session: &mut Session) -> Vec<Row> {
        self.right(session);
        self.hit(session)
    }

    #[track_caller]
    fn ends(&self, session: &mut Session, wanted: &str) -> Vec<Row> {
        let (found, outcome) = self.look(session, QUERY);
        assert!(outcome.contains(wanted), "{outcome}, not {wanted}");
        found
    }
}

/// The one count that has grown.
#[track_caller]
pub fn difference(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> String {
    let grown: Vec<_> =
        after.iter().filter(|(name, count)| before.get(*name).copied().unwrap_or_default() != **count).collect();
    let [(name, count)] = grown.as_slice() else { panic!("not one count has grown: {grown:?}") };
    assert_eq!(**count, before.get(*name).copied().unwrap_or_default() + 1, "{name}");
    (*name).clone()
}

/// A table `docs` that somebody else makes.
pub fn docs() -> Source {
    Source { table: "docs".to_owned(), dimensions: 3, metric: Metric::L2 }
}

/// Whether a row is among them.
pub fn has(rows: &[Row], id: &str) -> bool {
    rows.iter().any(|row| row.id == id)
}
