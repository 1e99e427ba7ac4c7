//! Small sources to search, the same in every run.

use std::fmt::Write;

use crate::engine::Engine;
use crate::session::Session;

/// A generator of numbers with a seed (SplitMix64: Steele, Lea, Flood 2014): small, and the same on every machine.
pub struct Generator {
    state: u64,
}

impl Generator {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// A vector with elements between -1 and 1 that use all the digits of a `real`.
    pub fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| ((self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0) as f32).collect()
    }

    /// A vector with whole elements between -100 and 100, not all of them 0.
    pub fn whole_vector(&mut self, dimensions: usize) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dimensions).map(|_| self.below(201) as f32 - 100.0).collect();
        vector[0] = 1.0;
        vector
    }
}

/// A vector as `[…]`, each element in the fewest digits that name it.
pub fn brackets(vector: &[f32]) -> String {
    format!("[{}]", join(vector, |element| element.to_string()))
}

/// A vector as the `{…}` of an array.
pub fn braces(vector: &[f32]) -> String {
    format!("{{{}}}", join(vector, |element| element.to_string()))
}

/// A vector as `[…]` with 17 significant digits, as programs print a double.
pub fn digits17(vector: &[f32]) -> String {
    format!("[{}]", join(vector, |element| format!("{:.16e}", f64::from(element))))
}

fn join(vector: &[f32], render: impl Fn(f32) -> String) -> String {
    vector.iter().map(|element| render(*element)).collect::<Vec<_>>().join(",")
}

/// What the engines measure distances by; [`Engine::metrics`] tells which of them can do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `<->`
    L2,
    /// `<=>`
    Cosine,
    /// `<#>`
    InnerProduct,
    /// `<+>`
    L1,
}

impl Metric {
    /// vcache's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::InnerProduct => "inner_product",
            Self::L1 => "l1",
        }
    }

    /// Its operator.
    pub fn operator(self) -> &'static str {
        match self {
            Self::L2 => "<->",
            Self::Cosine => "<=>",
            Self::InnerProduct => "<#>",
            Self::L1 => "<+>",
        }
    }

    /// An engine's operator class for it.
    pub fn operator_class(self, engine: Engine) -> String {
        let name = match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::InnerProduct => "ip",
            Self::L1 => "l1",
        };
        format!("{}_{name}_ops", engine.extension())
    }
}

/// A table `id int PRIMARY KEY, title text, n int, embedding` of the engine's type `(dimensions)` with random vectors.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, in the search path.
    pub table: String,
    /// How long its vectors are.
    pub dimensions: usize,
    /// What it is searched by.
    pub metric: Metric,
}

impl Source {
    /// Makes the table `docs`; the seed is its number of rows, so that sources of other sizes have other vectors.
    pub fn docs(session: &mut Session, rows: usize, dimensions: usize) -> Self {
        Self::create(session, "docs", rows, dimensions)
    }

    /// Makes a table of another name.
    pub fn create(session: &mut Session, table: &str, rows: usize, dimensions: usize) -> Self {
        let kind = session.engine().extension();
        session.run(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, title text, n int, embedding {kind}({dimensions}))"
        ));
        let mut generator = Generator::new(rows as u64);
        let mut values = String::new();
        for id in 1..=rows {
            let separator = if id == 1 { "" } else { "," };
            let vector = brackets(&generator.vector(dimensions));
            write!(values, "{separator}({id}, 'title {id}', {}, '{vector}')", id % 7).expect("text");
        }
        if rows > 0 {
            session.run(&format!("INSERT INTO {table} VALUES {values}"));
        }
        session.run(&format!("ANALYZE {table}"));
        Self { table: table.to_owned(), dimensions, metric: Metric::L2 }
    }

    /// The same table, searched by another metric.
    pub fn by(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Adds an HNSW index of its metric.
    pub fn index(&self, session: &mut Session) {
        let (table, class) = (&self.table, self.metric.operator_class(session.engine()));
        session.run(&format!("CREATE INDEX ON {table} USING hnsw (embedding {class}); ANALYZE {table}"));
    }

    /// Registers it as a namespace by its metric; `options` is the rest of the arguments, as SQL.
    pub fn register(&self, session: &mut Session, namespace: &str, options: &str) {
        let (table, metric) = (&self.table, self.metric.name());
        let separator = if options.is_empty() { "" } else { ", " };
        session.run(&format!(
            "SELECT vcache_create_namespace('{namespace}', '{table}', 'embedding', metric => '{metric}'{separator}{options})"
        ));
    }

    /// A query that is none of its rows.
    pub fn query(&self, seed: u64) -> String {
        brackets(&Generator::new(seed + 1_000_000).vector(self.dimensions))
    }
}
