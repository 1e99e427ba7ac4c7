//! Owns the uncached query: which engine a vector's column belongs to, the statement that asks it, and its answer.
//!
//! The statement is `SELECT id, vector <op> $1, payload …, tableoid, ctid FROM … ORDER BY vector <op> $1 LIMIT K`, every name in
//! it with its schema. It runs under the caller's role, snapshot and settings, as the plain query would. Only afterwards, and
//! under settings of their own, are ids and payloads turned into text, so that an entry reads the same whoever computed it.
//!
//! K is a literal: with a parameter the planner would take it for a tenth of the table and plan every call anew.

use crate::error::Error;
use crate::pg::access;
use crate::pg::catalog::{self, Column, Operator, quoted};
use crate::pg::guc::{self, Temporarily};
use crate::pg::planner::WithoutBitmaps;
use crate::pg::rewrite::{self, Rewritten};
use crate::pg::scan::Table;
use crate::pg::spi::{Connection, Plan, Planning, ResultSet, float, is_float};
use crate::pg::varlena::Elements;
use pgrx::pg_sys::{self, Oid};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::rc::Rc;
use vcache_core::codec::{Answer, Row};

/// The most dimensions that a vector takes, in RuVector (2.0.6, `src/lib.rs`) and in pgvector (0.8.0, `src/vector.h`).
pub const MAX_DIMENSIONS: usize = 16_000;

/// The extensions that are engines.
const ENGINES: [&str; 2] = ["ruvector", "vector"];

/// Their types of vectors, with what their elements are in memory.
const TYPES: [(&str, &str, Elements); 3] = [
    ("ruvector", "ruvector", Elements::Singles),
    ("vector", "vector", Elements::Singles),
    ("vector", "halfvec", Elements::Halves),
];

/// What begins the names of the engines' settings.
const SETTINGS: [&str; 3] = ["ruvector.", "hnsw.", "ivfflat."];

/// What the planner compares an index with a scan by, besides its switches `enable_*`.
const PLANNER: [&str; 10] = [
    "seq_page_cost",
    "random_page_cost",
    "cpu_tuple_cost",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "effective_cache_size",
    "max_parallel_workers_per_gather",
    "min_parallel_table_scan_size",
];

/// The metrics that have a name, with their operators.
const METRICS: [(&str, &str); 4] = [("l2", "<->"), ("cosine", "<=>"), ("inner_product", "<#>"), ("l1", "<+>")];

const LIMIT: &str = " LIMIT";

/// How ids and payloads are rendered, whatever the session's settings are.
const RENDERING: [(&CStr, &CStr); 9] = [
    (c"TimeZone", c"UTC"),
    (c"DateStyle", c"ISO, MDY"),
    (c"IntervalStyle", c"postgres"),
    (c"bytea_output", c"hex"),
    (c"extra_float_digits", c"1"),
    (c"xmlbinary", c"base64"),
    (c"quote_all_identifiers", c"off"),
    (c"lc_monetary", c"C"),
    (c"search_path", c"\"\""),
];

/// While it lives, values are rendered alike in all sessions.
pub fn fixed_settings() -> Temporarily {
    let temporarily = Temporarily::new();
    for (name, value) in RENDERING {
        temporarily.set_unless_same(name, value);
    }
    temporarily
}

/// Whether a setting is one of an engine's.
pub fn is_engine_setting(name: &str) -> bool {
    // Names of settings are the same in any case.
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    SETTINGS.iter().any(|prefix| begins(prefix) && name.len() > prefix.len())
}

/// Whether a setting can change the engine's answer: its own settings, and those by which the planner takes an approximate index
/// or the exact scan.
pub fn changes_answers(name: &str) -> bool {
    name.starts_with("enable_") || PLANNER.contains(&name) || is_engine_setting(name)
}

/// The engines of this database, each with its version.
pub fn installed() -> Vec<String> {
    let extensions = ENGINES.iter().filter_map(|extension| catalog::extension(catalog::extension_named(extension)));
    extensions.map(|(name, version)| format!("{name} {version}")).collect()
}

/// The extension that searches a column, known by the column's type.
#[derive(Debug, Clone)]
pub struct Engine {
    pub vector_type: Oid,
    pub elements: Elements,
    schema: String,
    /// Its extension's name and installed version, which answers depend on.
    pub version: (String, String),
}

impl Engine {
    /// # Errors
    /// [`Error::NotAVector`] for a column of a type that belongs to no engine.
    pub fn of(column: &Column) -> Result<Self, Error> {
        let not_a_vector = || Error::NotAVector { column: column.name.clone(), kind: catalog::type_text(column.kind) };
        let (_, schema) = catalog::type_name(column.kind).ok_or_else(not_a_vector)?;
        let elements = elements_of(column.kind).ok_or_else(not_a_vector)?;
        // An update of an extension ends the generation of what is known of the catalogs, as all DDL that concerns every source.
        let version = catalog::extension(catalog::extension_of_type(column.kind)).unwrap_or_default();
        Ok(Self { vector_type: column.kind, elements, schema: catalog::schema_name(schema), version })
    }

    /// Whether an index finds its candidates first, and a condition is looked at among those alone.
    pub fn filters_candidates(&self) -> bool {
        self.version.0 == "ruvector"
    }

    /// Whether an index by this method looks for more candidates when a condition leaves too few, with these settings of a namespace and the
    /// session's own.
    pub fn looking_further(&self, method: &str, settings: &[(CString, CString)]) -> LooksFurther {
        if self.filters_candidates() {
            return LooksFurther::Never;
        }
        let setting = format!("{method}.iterative_scan");
        // Those of before 0.8.0 have no such setting.
        let name = CString::new(setting.as_str()).unwrap_or_default();
        let of_namespace = settings.iter().rfind(|(of, _)| of.to_bytes().eq_ignore_ascii_case(setting.as_bytes()));
        match of_namespace.map(|(_, value)| value.clone()).or_else(|| guc::current(&name)) {
            None => LooksFurther::Never,
            Some(value) if value.to_bytes() == b"off" => LooksFurther::With(format!("{setting} = relaxed_order")),
            Some(_) => LooksFurther::Does,
        }
    }

    /// Its extension, if its indexes give a bitmap scan a WARNING and no rows. By their costs the planner takes one where many rows are asked for,
    /// or where it takes a condition to leave few.
    fn without_bitmaps(&self) -> Option<Oid> {
        (self.version.0 == "ruvector").then(|| catalog::extension_named(&self.version.0))
    }

    /// The dimensions that a column is declared with: `ruvector(384)`.
    pub fn declared_dimensions(&self, column: &Column) -> Option<usize> {
        usize::try_from(column.modifier).ok().filter(|n| *n > 0)
    }

    /// The operator of a metric, given by its name or by the operator's.
    ///
    /// # Errors
    /// [`Error::UnknownMetric`], [`Error::NotADistance`].
    pub fn operator(&self, metric: &str, column: &Column) -> Result<Operator, Error> {
        let name = METRICS.iter().find(|(name, _)| *name == metric).map_or(metric, |(_, operator)| operator);
        // One that somebody else has put there may answer each role as it likes.
        let extension = catalog::extension_of_type(self.vector_type);
        let operator = catalog::operator_on(&self.schema, name, self.vector_type)
            .filter(|operator| catalog::extension_of_operator(operator.oid) == extension)
            .ok_or_else(|| Error::UnknownMetric { metric: metric.to_owned(), kind: catalog::type_text(column.kind) })?;
        if !is_float(operator.result) {
            return Err(Error::NotADistance { operator: operator.name, kind: catalog::type_text(operator.result) });
        }
        Ok(operator)
    }
}

/// Whether an index looks for more candidates when a condition leaves too few.
pub enum LooksFurther {
    Does,
    /// With this setting.
    With(String),
    Never,
}

/// An index that gives rows in the order of a distance.
pub struct Index {
    pub name: String,
    /// Its access method.
    pub method: String,
}

/// One over all rows of a table that orders its column `vector` (from 1) by the operator `distance`. For the rows of a `tenant`, `None` as well where there is one for
/// a part of the rows, or the table is divided into partitions by that column: whoever has made that has thought of it.
pub fn index_of_all(source: Oid, vector: i16, distance: Oid, tenant: Option<i16>) -> Option<Index> {
    let connection = Connection::open();
    let result = connection.write(
        c"SELECT x.name, x.method FROM ( \
              SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text AS name, m.amname::pg_catalog.text AS method, \
                     i.indpred IS NULL AS is_whole, pg_catalog.bool_and(i.indpred IS NULL) OVER () AS all_are_whole \
              FROM pg_catalog.pg_index i \
              JOIN pg_catalog.pg_opclass k ON k.oid OPERATOR(pg_catalog.=) i.indclass[0] \
              JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) k.opcmethod \
              JOIN pg_catalog.pg_amop a ON a.amopfamily OPERATOR(pg_catalog.=) k.opcfamily \
              WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indkey[0] OPERATOR(pg_catalog.=) $2 AND i.indisvalid \
                AND a.amopopr OPERATOR(pg_catalog.=) $3 AND a.amoppurpose OPERATOR(pg_catalog.=) 'o' \
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p \
                                WHERE p.partrelid OPERATOR(pg_catalog.=) $1 AND p.partattrs[0] OPERATOR(pg_catalog.=) $4) \
          ) x WHERE x.is_whole AND ($4 IS NULL OR x.all_are_whole) ORDER BY 1 LIMIT 1",
        &[
            (pg_sys::OIDOID, Some(source.into())),
            (pg_sys::INT2OID, Some(vector.into())),
            (pg_sys::OIDOID, Some(distance.into())),
            (pg_sys::INT2OID, tenant.map(Into::into)),
        ],
    );
    let row = result.rows().next()?;
    Some(Index { name: row.text(0)?.to_owned(), method: row.text(1)?.to_owned() })
}

/// What the elements of a type are, if it is one of an engine's types of vectors.
pub fn elements_of(kind: Oid) -> Option<Elements> {
    let (name, _) = catalog::type_name(kind)?;
    let (extension, _) = catalog::extension(catalog::extension_of_type(kind))?;
    TYPES.iter().find(|(of, kind, _)| *of == extension && *kind == name).map(|(_, _, elements)| *elements)
}

/// The name of the metric that an operator stands for, or the operator's own.
pub fn metric_name(operator: &str) -> &str {
    METRICS.iter().find(|(_, name)| *name == operator).map_or(operator, |(metric, _)| metric)
}

/// The statement of a namespace, with the plans that this backend has made of it.
pub struct Statement {
    /// Tells its plans from those of others.
    number: u64,
    source: Oid,
    /// The columns that every caller reads.
    columns: String,
    /// From the source to what every call's rows must fulfil.
    from: String,
    /// By which they are in order.
    order: String,
    has_condition: bool,
    without_bitmaps: Option<Oid>,
    parameters: Vec<Oid>,
    distance: Oid,
    id_output: Oid,
    payload: usize,
    id_is_unique: bool,
    /// Whether its rows have a table and a place in it.
    has_places: bool,
    is_partitioned: bool,
    plans: RefCell<Vec<KeptPlan>>,
}

impl Statement {
    /// The statement over `source`; `tenant` is the column whose value chooses the rows, with its operator.
    pub fn new(
        engine: &Engine,
        source: &Table,
        id: &Column,
        vector: &Column,
        operator: &Operator,
        tenant: Option<(&Column, &Operator)>,
        payload: &[&Column],
    ) -> Self {
        let class = catalog::class(source.oid());
        // The key of a table says nothing of the rows of those that inherit from it; that of a partitioned table does.
        let key_covers_all = class.as_ref().is_some_and(|class| class.kind == b'p' || !class.has_children);
        let has_places = class.as_ref().is_some_and(|class| !matches!(class.kind, b'v' | b'f'));
        let is_partitioned = class.as_ref().is_some_and(|class| class.kind == b'p');
        let table = class.map_or_else(String::new, |class| {
            format!("{}.{}", quoted(&catalog::schema_name(class.schema)), quoted(&class.name))
        });
        let distance = format!("s.{} {} $1", quoted(&vector.name), operator.sql());
        let mut columns = format!("s.{}, {distance}", quoted(&id.name));
        for column in payload {
            columns.push_str(&format!(", s.{}", quoted(&column.name)));
        }
        let condition = tenant.map_or_else(String::new, |(column, equals)| {
            format!(" WHERE s.{} {} $2", quoted(&column.name), equals.sql())
        });
        let mut parameters = vec![vector.kind];
        parameters.extend(tenant.map(|(column, _)| column.kind));
        Self {
            source: source.oid(),
            number: NUMBERS.replace(NUMBERS.get() + 1),
            columns,
            from: format!("FROM {table} s{condition}"),
            order: format!("ORDER BY {distance}{LIMIT}"),
            has_condition: tenant.is_some(),
            without_bitmaps: engine.without_bitmaps(),
            parameters,
            distance: operator.result,
            id_output: catalog::output_function(id.kind),
            payload: payload.len(),
            id_is_unique: key_covers_all && catalog::primary_key_columns(source) == [id.number],
            has_places,
            is_partitioned,
            plans: RefCell::default(),
        }
    }

    /// How many parameters it has without a filter's.
    pub fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Its text, without an end to its rows, as PostgreSQL rewrites it for the current role.
    pub fn rewritten(&self) -> Rewritten {
        let Self { columns, from, order, .. } = self;
        // A constant in it would be of interest to pg_stat_statements.
        let order = order.trim_end_matches(LIMIT);
        let text = CString::new(format!("SELECT {columns} {from} {order}")).unwrap_or_default();
        rewrite::rewrite(&text, &self.parameters)
    }

    /// Whether its source is partitioned.
    pub fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }

    /// Asks the engine for its nearest `k` rows and gives the first `most` of them: fewer when there are no more. Arguments:
    /// the vector, the tenant's value, and those of the condition.
    ///
    /// An index that was built while rows changed may yield a row twice. It counts once, and when that leaves too few rows
    /// though there may be more, more are asked for.
    pub fn run(
        &self,
        k: u32,
        most: usize,
        settings: &[(CString, CString)],
        arguments: &[pg_sys::Datum],
        condition: Option<&Condition>,
        may_keep: bool,
    ) -> Answer {
        let connection = Connection::open();
        let identity = self.identity();
        let mut asked = k;
        loop {
            let plan = self.plan(&connection, asked, identity, condition, may_keep);
            let result = {
                let _without = self.without_bitmaps.map(WithoutBitmaps::of);
                let temporarily = (!settings.is_empty()).then(Temporarily::new);
                for (name, value) in settings {
                    temporarily.iter().for_each(|temporarily| temporarily.set(name, value));
                }
                connection.run(&plan, arguments)
            };
            let Rendered { answer, came_short } = self.render(&result, most, identity);
            let may_be_more = came_short && result.len() as u64 == u64::from(asked);
            match asked.checked_mul(2).filter(|_| may_be_more) {
                Some(more) => asked = more,
                None => return answer,
            }
        }
    }

    /// By what the current role can tell one row from another.
    fn identity(&self) -> Identity {
        if self.has_places && access::may_read_all_columns(self.source) {
            Identity::Place
        } else if self.id_is_unique {
            Identity::Id
        } else {
            Identity::None
        }
    }

    /// The plan for so many rows; unless it may be kept, one that is made now.
    fn plan(
        &self,
        connection: &Connection,
        k: u32,
        identity: Identity,
        condition: Option<&Condition>,
        may_keep: bool,
    ) -> Rc<Plan> {
        if let Some(condition) = condition {
            let of = (self.number, k, identity);
            return kept_filtered(of, &condition.text, may_keep).unwrap_or_else(|| {
                let plan = self.prepare(connection, k, identity, Some(condition));
                if may_keep {
                    keep_filtered(FilteredPlan { of, condition: condition.text.clone(), plan: Rc::clone(&plan) });
                }
                plan
            });
        }
        let is_it = |kept: &&KeptPlan| may_keep && kept.of == (k, identity);
        let kept = self.plans.borrow().iter().find(is_it).map(|kept| Rc::clone(&kept.plan));
        kept.unwrap_or_else(|| {
            let plan = self.prepare(connection, k, identity, None);
            if may_keep {
                self.plans.borrow_mut().push(KeptPlan { of: (k, identity), plan: Rc::clone(&plan) });
            }
            plan
        })
    }

    fn prepare(&self, connection: &Connection, k: u32, identity: Identity, condition: Option<&Condition>) -> Rc<Plan> {
        let Self { columns, from, order, .. } = self;
        let place = if identity == Identity::Place { ", s.tableoid, s.ctid" } else { "" };
        let (filter, kinds): (_, &[Oid]) = condition.map_or_else(Default::default, |condition| {
            let word = if self.has_condition { "AND" } else { "WHERE" };
            (format!(" {word} ({})", condition.text), condition.parameters.as_slice())
        });
        // The text holds no zero byte: names come from catalogs.
        let text = CString::new(format!("SELECT {columns}{place} {from}{filter} {order} {k}")).unwrap_or_default();
        // What values a condition names says which index serves, such as one of a part of the rows.
        let planning = if condition.is_some() { Planning::ForValues } else { Planning::Once };
        Rc::new(connection.prepare(&text, &[&self.parameters, kinds].concat(), planning))
    }

    /// The first `most` rows with a vector, in the engine's order, as text.
    fn render(&self, result: &ResultSet<'_>, most: usize, identity: Identity) -> Rendered {
        const ID: usize = 0;
        const DISTANCE: usize = 1;
        const PAYLOAD: usize = 2;
        let (table, place) = (PAYLOAD + self.payload, PAYLOAD + self.payload + 1);
        let (mut answer, mut twice) = (Answer::default(), false);
        if result.len() == 0 {
            return Rendered { answer, came_short: false };
        }
        let _fixed = fixed_settings();
        let objects = (self.payload > 0).then(|| result.objects(PAYLOAD, self.payload));
        let mut seen = HashSet::with_capacity(most.min(result.len()));
        for row in result.rows() {
            // Distances are ordered, NULLs last: behind a row without a vector there are only more of them.
            let Some(distance) = row.get(DISTANCE) else {
                return Rendered { answer, came_short: false };
            };
            if answer.len() == most {
                break;
            }
            let id = row.output(ID, self.id_output);
            let is_new = match identity {
                // Rows of some foreign tables have no place.
                Identity::Place => match row.tid(place) {
                    Some((_, 0)) | None => true,
                    at => seen.insert((row.oid(table), at, None)),
                },
                Identity::Id => seen.insert((None, None, id.clone())),
                Identity::None => true,
            };
            if !is_new {
                twice = true;
                continue;
            }
            let payload = objects.as_ref().map(|objects| objects.of(&row));
            let distance = float(distance, self.distance);
            answer.push(Row { id: id.as_deref(), distance, payload: payload.as_deref() });
        }
        let came_short = twice && answer.len() < most;
        Rendered { answer, came_short }
    }
}

/// By what one row is told from another, so that a row which comes twice counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// Its table and its place in it. System columns need the privilege on the whole table.
    Place,
    /// Its id, which is the primary key.
    Id,
    /// Nothing that this role may read.
    None,
}

impl Drop for Statement {
    fn drop(&mut self) {
        // At the end of a session they may have gone before.
        drop(
            FILTERED.try_with(|plans| {
                plans.borrow_mut().extract_if(.., |plan| plan.of.0 == self.number).collect::<Vec<_>>()
            }),
        );
    }
}

/// A condition on rows that a call has brought, in SQL over the source's columns as `s`'s.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// Its parameters follow those of the statement.
    pub text: String,
    /// Their types.
    pub parameters: Vec<Oid>,
    pub arguments: Vec<pg_sys::Datum>,
}

/// The plan for one number of rows, one kind of identity, and conditions of one shape.
struct FilteredPlan {
    /// The number of the statement, of the rows, and the identity.
    of: (u64, u32, Identity),
    condition: String,
    plan: Rc<Plan>,
}

thread_local! {
    /// The number of the next statement.
    static NUMBERS: Cell<u64> = const { Cell::new(0) };
    /// The plans for conditions, of all statements; what was used last stands at the end.
    static FILTERED: RefCell<Vec<FilteredPlan>> = const { RefCell::new(Vec::new()) };
}

/// The most plans for conditions that a backend keeps: filters have as many shapes as their authors like.
const FILTERED_MOST: usize = 100;
/// The most bytes of their conditions' text. A plan takes some two hundred times as much.
const FILTERED_MOST_BYTES: usize = 64 * 1024;

fn kept_filtered(of: (u64, u32, Identity), condition: &str, may_keep: bool) -> Option<Rc<Plan>> {
    FILTERED.with_borrow_mut(|plans| {
        let is_it = |plan: &FilteredPlan| may_keep && plan.of == of && plan.condition == condition;
        let found = plans.iter().rposition(is_it)?;
        let plan = plans.remove(found);
        let kept = Rc::clone(&plan.plan);
        plans.push(plan);
        Some(kept)
    })
}

fn keep_filtered(plan: FilteredPlan) {
    if plan.condition.len() > FILTERED_MOST_BYTES {
        return;
    }
    let oldest = FILTERED.with_borrow_mut(|plans| {
        plans.push(plan);
        let is_too_much = |plans: &[FilteredPlan]| {
            let bytes: usize = plans.iter().map(|plan| plan.condition.len()).sum();
            plans.len() > FILTERED_MOST || bytes > FILTERED_MOST_BYTES
        };
        let mut oldest = Vec::new();
        while is_too_much(plans) {
            oldest.push(plans.remove(0));
        }
        oldest
    });
    drop(oldest);
}

/// The plan for one number of rows and one kind of identity.
struct KeptPlan {
    of: (u32, Identity),
    plan: Rc<Plan>,
}

/// An answer, and whether rows that came twice have left it with too few.
struct Rendered {
    answer: Answer,
    came_short: bool,
}
