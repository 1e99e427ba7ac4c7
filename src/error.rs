//! Owns every error that vcache raises itself: its SQLSTATE, its words, its cure. The one place where an error of the extension
//! becomes one of PostgreSQL.

use crate::tier::redis::flush::Unfreed;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys::panic::ErrorReport};
use vcache_core::filter::parse::{COMPARISONS, FilterError, LOGICAL, Problem};
use vcache_core::vector::VectorError;

/// What can be wrong with a call. Errors of PostgreSQL and of the engine pass by on their own.
#[derive(Debug)]
pub enum Error {
    /// A text is not valid UTF-8, so the database has another encoding.
    Encoding,
    /// SPI refused a statement with this code.
    Spi(i32),
    /// The library's tables are not there.
    NotInstalled,
    /// An argument is NULL that may not be.
    NullArgument(&'static str),
    /// An array has this many dimensions.
    ArrayDimensions(i32),
    /// The array's element n, from 1, is NULL.
    NullElement(usize),
    /// The vector's text or values are none.
    Vector(VectorError),
    /// A value of this type stands for no vector.
    VectorType(String),
    /// A vector of the engine's type is damaged.
    VectorDamaged,
    /// The vector has `found` dimensions, the column `expected`.
    Dimensions {
        expected: usize,
        found: usize,
    },
    TopK {
        given: i32,
        most: i32,
    },
    Ttl,
    FetchK(i32),
    NamespaceName(&'static str),
    UnknownNamespace {
        name: String,
        known: Vec<String>,
    },
    NamespaceExists(String),
    SourceGone(String),
    SourceColumnGone {
        namespace: String,
        column: String,
    },
    UnknownColumn {
        table: String,
        column: String,
    },
    NotATable(String),
    /// Nothing tells of changes of what it shows.
    TtlOnly(String),
    /// Of no use in rls_settings.
    RlsSetting(String),
    TemporarySource(String),
    NotAVector {
        column: String,
        kind: String,
    },
    NoPrimaryKey(String),
    CompositePrimaryKey(String),
    NoMetric {
        table: String,
        column: String,
    },
    AmbiguousMetric {
        column: String,
        metrics: Vec<String>,
    },
    UnknownMetric {
        metric: String,
        kind: String,
    },
    NotADistance {
        operator: String,
        kind: String,
    },
    NoEquality {
        column: String,
        kind: String,
    },
    PatternWithoutColumn(String),
    /// A column for filters is of a type without an order.
    NotOrdered {
        column: String,
        kind: String,
    },
    /// The column of the metadata is of another type than jsonb.
    NotJsonb {
        column: String,
        kind: String,
    },
    /// The filter itself is none.
    Filter(FilterError),
    /// A field of the filter is no column that is declared for it, though it may be a column.
    UnknownField {
        field: String,
        at: String,
        known: Vec<String>,
        is_column: bool,
    },
    /// A path into the metadata has a key without a name.
    EmptyKey {
        path: String,
        at: String,
    },
    /// A value in the filter is none of the column's.
    FilterType {
        at: String,
        column: String,
        kind: String,
        expected: &'static str,
        found: &'static str,
    },
    ShowsNames {
        column: String,
        kind: String,
    },
    Freshness(String),
    Options,
    UnknownOption {
        option: String,
        known: &'static [&'static str],
    },
    OptionType {
        option: String,
        expected: &'static str,
    },
    SearchSetting(String),
    StatisticsNeedPreload,
    Flush(Unfreed),
    /// A trigger's function was called by something else.
    NotATrigger,
    ClockIsNotRefreshed,
    SecretIsNotRefreshed,
    /// A trigger of somebody else's has the name of one of vcache's.
    TriggerExists {
        trigger: String,
        table: String,
    },
    /// A table of the source's family is another role's.
    NotOwnerOfRelative {
        relative: String,
        source: String,
        is_descendant: bool,
    },
    /// Another transaction has changed a registration since this one's snapshot.
    Concurrently,
    /// The library is newer than the extension's objects.
    NotUpdated,
}

impl Error {
    /// Raises the error; the statement ends.
    pub fn raise(self) -> ! {
        let (code, message, detail, hint) = self.parts();
        let mut report = ErrorReport::new(code, message, "vcache");
        if let Some(detail) = detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    fn parts(self) -> (PgSqlErrorCode, String, Option<String>, Option<String>) {
        use PgSqlErrorCode as Code;
        let hint = |code, message: String, hint: &str| (code, message, None, Some(hint.to_owned()));
        let plain = |code, message: String| (code, message, None, None);
        match self {
            Self::Encoding => hint(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "vcache works in databases with encoding UTF8".into(),
                "Create the database with ENCODING 'UTF8'.",
            ),
            Self::Spi(code) => plain(Code::ERRCODE_INTERNAL_ERROR, format!("SPI refused a statement with code {code}")),
            Self::NotInstalled => hint(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the tables of extension \"vcache\" are not where its functions are".into(),
                "Create the extension again: DROP EXTENSION vcache, then CREATE EXTENSION vcache.",
            ),
            Self::NullArgument(name) => hint(
                Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("{name} must not be null"),
                "Leave out an argument that has a default; leave out rows where there is nothing to search for.",
            ),
            Self::ArrayDimensions(n) => hint(
                Code::ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("the array has {n} dimensions"),
                "A vector, or a list of names, is an array of one dimension.",
            ),
            Self::NullElement(n) => hint(
                Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("element {n} of the array must not be null"),
                "A vector has a number in every place, and a list of columns a name.",
            ),
            Self::Vector(error @ VectorError::TooLong(_)) => hint(
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                error.to_string(),
                "That is the limit of both engines' types.",
            ),
            Self::Vector(error) => {
                let code = match error {
                    VectorError::Empty | VectorError::NotANumber(_) => Code::ERRCODE_DATA_EXCEPTION,
                    VectorError::OutOfRange(_) | VectorError::OutOfHalfRange(_) => {
                        Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
                    }
                    _ => Code::ERRCODE_INVALID_TEXT_REPRESENTATION,
                };
                let message = if code == Code::ERRCODE_INVALID_TEXT_REPRESENTATION {
                    "malformed vector"
                } else {
                    "invalid vector"
                };
                let detail = sentence(&error.to_string());
                let cure = match error {
                    VectorError::OutOfHalfRange(_) => "The elements of a halfvec are numbers from -65504 to 65504.",
                    _ => "A vector is written '[0.1, 0.2, 0.3]', of finite numbers in the range of type real.",
                };
                (code, message.into(), Some(detail), Some(cure.into()))
            }
            Self::VectorType(kind) => hint(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("a value of type {kind} is not a vector"),
                "Give the vector as text such as '[0.1, 0.2]', as the column's own type, or as an array of numbers.",
            ),
            Self::VectorDamaged => {
                plain(Code::ERRCODE_DATA_CORRUPTED, "the size of the vector does not fit its dimensions".into())
            }
            Self::Dimensions { expected, found } => hint(
                Code::ERRCODE_DATA_EXCEPTION,
                format!("expected {expected} dimensions, not {found}"),
                "Embed the query with the model that the column's vectors come from.",
            ),
            Self::TopK { given, most } => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("top_k must be between 1 and {most}, not {given}"),
                "The upper bound is the setting vcache.max_top_k.",
            ),
            Self::Ttl => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "ttl must not be negative".into(),
                "A ttl of '0' asks the engine and stores nothing.",
            ),
            Self::FetchK(given) => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("fetch_k must be at least 1, not {given}"),
                "It is the number of rows that a miss asks for; null takes the setting vcache.fetch_k.",
            ),
            Self::NamespaceName(problem) => hint(
                Code::ERRCODE_INVALID_NAME,
                format!("the name of a namespace {problem}"),
                "A name is any text of 1 to 200 bytes; one that ends in * is a pattern.",
            ),
            Self::UnknownNamespace { name, known } => {
                let cure = if known.is_empty() {
                    "There is none yet: register one with vcache_create_namespace().".into()
                } else {
                    format!("There are: {}.", known.join(", "))
                };
                (Code::ERRCODE_UNDEFINED_OBJECT, format!("namespace \"{name}\" does not exist"), None, Some(cure))
            }
            Self::NamespaceExists(name) => hint(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("namespace \"{name}\" already exists"),
                "Change it with vcache_alter_namespace(), or drop it first.",
            ),
            Self::SourceGone(name) => hint(
                Code::ERRCODE_UNDEFINED_TABLE,
                format!("the source of namespace \"{name}\" no longer exists"),
                "Drop the namespace with vcache_drop_namespace().",
            ),
            Self::SourceColumnGone { namespace, column } => hint(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("the source of namespace \"{namespace}\" no longer has a column \"{column}\""),
                "It has been dropped or renamed: name the column anew with vcache_alter_namespace().",
            ),
            Self::UnknownColumn { table, column } => hint(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{column}\" of table \"{table}\" does not exist"),
                "Names of columns are written as the catalog has them, without quotes.",
            ),
            Self::NotATable(name) => hint(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a table"),
                "The source of a namespace is a table, a view, a materialized view or a foreign table.",
            ),
            Self::TtlOnly(name) => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("\"{name}\" is not a table, so freshness 'exact' cannot be kept"),
                Some(
                    "No trigger tells of changes of what a view, a materialized view or a foreign table shows.".into(),
                ),
                Some(
                    "Say freshness => 'ttl': an answer may be as old as its ttl, and vcache_invalidate() forgets all."
                        .into(),
                ),
            ),
            Self::RlsSetting(name) => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{name}\" cannot stand in rls_settings"),
                "They are the names of the settings that policies read, such as app.tenant_id; none of an engine's.",
            ),
            Self::TemporarySource(name) => hint(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("table \"{name}\" is temporary"),
                "What is cached is shared by all sessions; a temporary table is one session's.",
            ),
            Self::NotAVector { column, kind } => hint(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("column \"{column}\" has type {kind}, which is not a vector"),
                "The vector's column is of RuVector's type ruvector, or of pgvector's type vector or halfvec.",
            ),
            Self::NoPrimaryKey(table) => hint(
                Code::ERRCODE_INVALID_TABLE_DEFINITION,
                format!("table \"{table}\" has no primary key, or a deferrable one"),
                "Name the column that identifies a row with id_column.",
            ),
            Self::CompositePrimaryKey(table) => hint(
                Code::ERRCODE_INVALID_TABLE_DEFINITION,
                format!("the primary key of table \"{table}\" has more than one column"),
                "Name the column that identifies a row with id_column.",
            ),
            Self::NoMetric { table, column } => hint(
                Code::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("column \"{column}\" of table \"{table}\" has no vector index to take the metric from"),
                "Say metric => 'l2', 'cosine', 'inner_product' or 'l1', or create the index first.",
            ),
            Self::AmbiguousMetric { column, metrics } => hint(
                Code::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("the indexes of column \"{column}\" have different metrics: {}", metrics.join(", ")),
                "Say which one with metric.",
            ),
            Self::UnknownMetric { metric, kind } => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("there is no metric \"{metric}\" for type {kind}"),
                "A metric is 'l2', 'cosine', 'inner_product', 'l1', or the name of an operator of the vector's type.",
            ),
            Self::NotADistance { operator, kind } => hint(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("operator {operator} returns {kind}, which is not a distance"),
                "A distance is of type real or double precision.",
            ),
            Self::NoEquality { column, kind } => hint(
                Code::ERRCODE_UNDEFINED_FUNCTION,
                format!("column \"{column}\" of type {kind} cannot be compared for equality"),
                "Choose a namespace_column of a type with a btree operator class, such as text, integer or uuid.",
            ),
            Self::PatternWithoutColumn(name) => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("namespace \"{name}\" is a pattern, but has no namespace_column"),
                "Name the column that holds what the * stands for.",
            ),
            Self::NotOrdered { column, kind } => hint(
                Code::ERRCODE_UNDEFINED_FUNCTION,
                format!("column \"{column}\" of type {kind} has no order to filter by"),
                "Columns for filters have a type with a default btree operator class, such as text, integer or timestamptz.",
            ),
            Self::NotJsonb { column, kind } => hint(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("column \"{column}\" has type {kind}, which is not jsonb"),
                "The metadata_column holds a jsonb object, whose keys are the fields of filters.",
            ),
            Self::Filter(FilterError { at, problem }) => {
                let code = match problem {
                    Problem::TooLarge | Problem::TooDeep | Problem::TooLong => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    Problem::NotAValue(_) | Problem::NotABoolean(_) | Problem::NotAList(_) => {
                        Code::ERRCODE_DATATYPE_MISMATCH
                    }
                    Problem::UnknownOperator(_) => Code::ERRCODE_UNDEFINED_FUNCTION,
                    _ => Code::ERRCODE_INVALID_PARAMETER_VALUE,
                };
                let cure = match problem {
                    Problem::TooLarge | Problem::TooDeep | Problem::TooLong => {
                        "Many values fit into one $in; what every search has in common is better a namespace of its own.".into()
                    }
                    Problem::UnknownOperator(_) | Problem::OperatorWithoutField(_) | Problem::NoOperator => format!(
                        "A field has {}; filters are joined by {}.",
                        COMPARISONS.join(", "),
                        LOGICAL.join(", ")
                    ),
                    Problem::NotAValue("a list") => "For one of several values, write {\"field\": {\"$in\": [1, 2]}}.".into(),
                    _ => "Write, for example, '{\"lang\": \"en\", \"year\": {\"$gte\": 2020}}'.".into(),
                };
                (code, shortened(&problem.to_string()), place(&at), Some(cure))
            }
            Self::UnknownField { field, at, known, is_column } => {
                let field = shortened(&field);
                let message = if is_column {
                    format!("column \"{field}\" is not one of the namespace's filter_columns")
                } else {
                    format!("the namespace has no field \"{field}\" to filter by")
                };
                let there_are = if known.is_empty() {
                    "It has none yet: declare".into()
                } else {
                    format!("There are: \"{}\". Declare others", known.join("\", \""))
                };
                let cure = format!("{there_are} with vcache_alter_namespace(): filter_columns, or a metadata_column.");
                (Code::ERRCODE_UNDEFINED_COLUMN, message, place(&at), Some(cure))
            }
            Self::EmptyKey { path, at } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("path \"{}\" has a key without a name", shortened(&path)),
                place(&at),
                Some("A path is keys of the metadata with dots between them: author.name.".into()),
            ),
            Self::FilterType { at, column, kind, expected, found } => (
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("column \"{column}\" has type {kind}: it is compared with {expected}, not {found}"),
                place(&at),
                Some("A string is read as a literal of the column's type is.".into()),
            ),
            Self::Freshness(given) => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("freshness \"{given}\" is not known"),
                "It is 'exact', what the database would answer, or 'ttl': an answer may be as old as its ttl.",
            ),
            Self::ShowsNames { column, kind } => hint(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("column \"{column}\" has type {kind}, whose values are shown by names of other objects"),
                "Those may change while the rows do not. Leave the column out of payload_columns, or use freshness 'ttl'.",
            ),
            Self::Options => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "options must be a JSON object".into(),
                "Write, for example, '{\"ttl\": \"1 hour\", \"fetch_k\": null}'.",
            ),
            Self::UnknownOption { option, known } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("namespaces have no option \"{option}\""),
                None,
                Some(format!("Options are: {}.", known.join(", "))),
            ),
            Self::OptionType { option, expected } => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("option \"{option}\" must be {expected}"),
                "Write, for example, '{\"ttl\": \"1 hour\", \"payload_columns\": [\"title\"], \"search_settings\": {\"hnsw.ef_search\": 100}}'.",
            ),
            Self::SearchSetting(name) => hint(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{name}\" cannot stand in search_settings"),
                "Only settings of the engines can: ruvector.*, hnsw.* and ivfflat.*.",
            ),
            Self::StatisticsNeedPreload => hint(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "vcache must be loaded via shared_preload_libraries to keep statistics".into(),
                "Add vcache to shared_preload_libraries and restart the server.",
            ),
            // Not of class 08: to drivers that would say that their own connection is gone.
            Self::NotATrigger => hint(
                Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "a function of vcache's triggers was not called by a trigger".into(),
                "vcache_create_namespace makes the triggers.",
            ),
            Self::ClockIsNotRefreshed => hint(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the clocks of vcache cannot be refreshed".into(),
                "They are kept by the triggers on the sources.",
            ),
            Self::SecretIsNotRefreshed => hint(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the secret of vcache cannot be refreshed".into(),
                "CREATE EXTENSION has drawn it once; vcache_invalidate() forgets what is cached.",
            ),
            Self::TriggerExists { trigger, table } => (
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("trigger \"{trigger}\" for table \"{table}\" already exists"),
                Some("It is not vcache's, which needs one of that name.".into()),
                Some("Give it another name: ALTER TRIGGER … RENAME TO ….".into()),
            ),
            Self::NotOwnerOfRelative { relative, source, is_descendant } => {
                let (child, parent) = if is_descendant { (&relative, &source) } else { (&source, &relative) };
                let other = if is_descendant { "" } else { ", or a table that inherits from it," };
                (
                    Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                    format!("must be owner of table {relative}"),
                    Some(format!(
                        "Table \"{child}\"{other} inherits from \"{parent}\": with freshness 'exact', vcache's triggers stand on both."
                    )),
                    Some("A superuser may register it; freshness 'ttl' needs no triggers.".into()),
                )
            }
            Self::Concurrently => hint(
                Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to concurrent update".into(),
                "Another transaction has changed the namespace: try again.",
            ),
            Self::NotUpdated => hint(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the extension vcache is of an older version than its library".into(),
                "Run ALTER EXTENSION vcache UPDATE.",
            ),
            Self::Flush(Unfreed { why, forbidden, freed }) => {
                let cure = if forbidden {
                    "A user of Redis' needs the commands SCAN and UNLINK for it: ACL SETUSER name +scan +unlink, and +select for another database than 0."
                } else {
                    "SELECT * FROM vcache_health() tells how Redis is. Called again, it goes on with what is left."
                };
                let detail = format!("{freed} entries were freed before.");
                let message = format!("could not free the entries in Redis: {why}");
                (Code::ERRCODE_SYSTEM_ERROR, message, Some(detail), Some(cure.into()))
            }
        }
    }
}

impl Error {
    /// Of a filter of which not even the text is made.
    pub fn too_large_a_filter() -> Self {
        Self::Filter(FilterError { at: String::new(), problem: Problem::TooLarge })
    }

    /// Of what jsonb does not take back.
    pub fn not_a_filter() -> Self {
        Self::Filter(FilterError { at: String::new(), problem: Problem::NotJson })
    }
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        Self::Filter(error)
    }
}

/// Where in the filter.
fn place(at: &str) -> Option<String> {
    (!at.is_empty()).then(|| format!("At {} of the filter.", shortened(at)))
}

/// What a caller has written, as long as a person reads it.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl From<VectorError> for Error {
    fn from(error: VectorError) -> Self {
        Self::Vector(error)
    }
}

/// With a capital and a full stop, as details are written.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), rest.as_str()))
}
