//! Owns reading PostgreSQL's catalogs through its caches: relations, columns, types, operators, extensions.

use super::scan::{self, Condition, Table};
use super::varlena::{c_string, text};
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{PgLogLevel, PgTryBuilder, pg_sys};
use std::ffi::{CStr, CString};
use std::panic::AssertUnwindSafe;

/// A row of pg_class.
#[derive(Debug, Clone)]
pub struct Class {
    pub name: String,
    pub schema: pg_sys::Oid,
    pub kind: u8,
    pub persistence: u8,
    /// Whether other tables may inherit from it.
    pub has_children: bool,
    /// The number of its file, which a rewrite changes.
    pub file: u32,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// From 1.
    pub number: i16,
    pub name: String,
    pub kind: pg_sys::Oid,
    pub modifier: i32,
    pub collation: pg_sys::Oid,
    /// Whether PostgreSQL computes it from others, and stores it.
    pub is_generated: bool,
}

/// Reads the row of a catalog that has `key` in the cache `cache`, as `T`.
///
/// # Safety
/// `T` is the fixed part of that catalog's rows.
unsafe fn cached<T, R>(cache: i32, key: pg_sys::Datum, read: impl FnOnce(&T) -> R) -> Option<R> {
    // SAFETY: by this function's contract; the tuple is released after `read`.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, key);
        if tuple.is_null() {
            return None;
        }
        let result = read(&*pg_sys::GETSTRUCT(tuple).cast::<T>());
        pg_sys::ReleaseSysCache(tuple);
        Some(result)
    }
}

fn name_of(name: &pg_sys::NameData) -> String {
    // SAFETY: a NameData holds a terminated string.
    unsafe { c_string(name.data.as_ptr()) }
}

/// What pg_class says of a relation; `None` when there is none.
pub fn class(oid: pg_sys::Oid) -> Option<Class> {
    // SAFETY: RELOID's rows are pg_class.
    unsafe {
        cached(pg_sys::SysCacheIdentifier::RELOID as i32, oid.into(), |row: &pg_sys::FormData_pg_class| Class {
            name: name_of(&row.relname),
            schema: row.relnamespace,
            kind: row.relkind as u8,
            persistence: row.relpersistence as u8,
            has_children: row.relhassubclass,
            file: row.relfilenode.to_u32(),
        })
    }
}

/// The name of a schema; empty when it is gone.
pub fn schema_name(oid: pg_sys::Oid) -> String {
    // SAFETY: a null or terminated string comes back.
    unsafe { c_string(pg_sys::get_namespace_name(oid)) }
}

/// The OID of a relation by its name in a schema; the invalid OID when there is none.
pub fn relation_in(schema: pg_sys::Oid, name: &CStr) -> pg_sys::Oid {
    // SAFETY: the name is terminated.
    unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) }
}

/// Whether queries may use an index.
pub fn index_is_valid(oid: pg_sys::Oid) -> bool {
    // SAFETY: INDEXRELID's rows are pg_index.
    unsafe {
        cached(pg_sys::SysCacheIdentifier::INDEXRELID as i32, oid.into(), |row: &pg_sys::FormData_pg_index| {
            row.indisvalid
        })
        .unwrap_or(false)
    }
}

/// The function of this name in a schema that takes these types; the invalid OID when there is none.
pub fn function_in(schema: pg_sys::Oid, name: &CStr, arguments: &[pg_sys::Oid]) -> pg_sys::Oid {
    let Ok(schema) = CString::new(schema_name(schema)) else { return pg_sys::InvalidOid };
    // SAFETY: a list of two string nodes that point to terminated strings.
    unsafe {
        let mut list = std::ptr::null_mut();
        for part in [schema.as_c_str(), name] {
            list = pg_sys::lappend(list, pg_sys::makeString(pg_sys::pstrdup(part.as_ptr())).cast());
        }
        pg_sys::LookupFuncName(list, arguments.len() as i32, arguments.as_ptr(), true)
    }
}

/// A name as it stands in SQL text.
pub fn quoted(name: &str) -> String {
    // Always in quotes: what needs them depends on the server's list of key words.
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name with its schema, as it stands in SQL text; empty when it is gone.
pub fn qualified(table: pg_sys::Oid) -> String {
    class(table)
        .map_or_else(String::new, |class| format!("{}.{}", quoted(&schema_name(class.schema)), quoted(&class.name)))
}

/// Whether some column is of the table's row type, or of an array of it.
pub fn is_row_type_in_use(table: pg_sys::Oid) -> bool {
    let connection = super::spi::Connection::open();
    let statement = c"SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a \
                      ON a.atttypid OPERATOR(pg_catalog.=) t.oid OR a.atttypid OPERATOR(pg_catalog.=) t.typarray \
                      WHERE t.typrelid OPERATOR(pg_catalog.=) $1 LIMIT 1";
    connection.write(statement, &[(pg_sys::OIDOID, Some(table.into()))]).len() > 0
}

/// The columns of an open table, dropped ones left out.
pub fn columns(table: &Table) -> Vec<Column> {
    // SAFETY: the relation is open, and its descriptor has natts attributes.
    unsafe {
        let descriptor = (*table.relation()).rd_att;
        let attributes = (*descriptor).attrs.as_slice((*descriptor).natts as usize);
        attributes.iter().filter(|attribute| !attribute.attisdropped).map(column).collect()
    }
}

/// The column of this name of a table, which need not be open.
pub fn column_named(table: pg_sys::Oid, name: &str) -> Option<Column> {
    let c_name = CString::new(name).ok()?;
    // SAFETY: the name is terminated; a row of pg_attribute comes back, or null, and is released.
    unsafe {
        let tuple = pg_sys::SearchSysCacheAttName(table, c_name.as_ptr());
        if tuple.is_null() {
            return None;
        }
        let attribute = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
        let column = column(attribute);
        pg_sys::ReleaseSysCache(tuple);
        Some(column)
    }
}

fn column(attribute: &pg_sys::FormData_pg_attribute) -> Column {
    Column {
        number: attribute.attnum,
        name: name_of(&attribute.attname),
        kind: attribute.atttypid,
        modifier: attribute.atttypmod,
        collation: attribute.attcollation,
        is_generated: attribute.attgenerated != 0,
    }
}

/// The transactions that made the columns of a table what they are.
pub fn column_writers(table: pg_sys::Oid) -> Vec<pg_sys::TransactionId> {
    let catalog = Table::open(pg_sys::AttributeRelationId);
    let condition = Condition::OidIs(pg_sys::Anum_pg_attribute_attrelid as i16, table);
    let index = pg_sys::Oid::from(pg_sys::AttributeRelidNumIndexId);
    scan::each(&catalog, index, &[condition], scan::View::Latest, |row| row.writer)
}

/// The columns (from 1) of the table's primary key; empty when it has none.
pub fn primary_key_columns(table: &Table) -> Vec<i16> {
    let Some(index) = Table::try_open(scan::primary_key(table)) else {
        return Vec::new();
    };
    // SAFETY: an index's relation has rd_index, and indkey begins with as many columns as the key has.
    unsafe {
        let form = (*index.relation()).rd_index;
        (*form).indkey.values.as_slice((*form).indnkeyatts as usize).to_vec()
    }
}

/// An operator, by its schema and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub oid: pg_sys::Oid,
    pub schema: String,
    pub name: String,
    pub result: pg_sys::Oid,
}

impl Operator {
    /// As it stands in SQL text. An operator's name holds no character that could end it early.
    pub fn sql(&self) -> String {
        format!("OPERATOR({}.{})", quoted(&self.schema), self.name)
    }
}

/// The operator with this OID.
pub fn operator(oid: pg_sys::Oid) -> Option<Operator> {
    // SAFETY: OPEROID's rows are pg_operator.
    unsafe {
        cached(pg_sys::SysCacheIdentifier::OPEROID as i32, oid.into(), |row: &pg_sys::FormData_pg_operator| Operator {
            oid,
            schema: schema_name(row.oprnamespace),
            name: name_of(&row.oprname),
            result: row.oprresult,
        })
    }
}

/// The operator of this name in a schema that takes `operand` on both sides.
pub fn operator_on(schema: &str, name: &str, operand: pg_sys::Oid) -> Option<Operator> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    // SAFETY: a list of two string nodes that point to terminated strings.
    let oid = unsafe {
        let mut list = std::ptr::null_mut();
        for part in [&schema, &name] {
            list = pg_sys::lappend(list, pg_sys::makeString(pg_sys::pstrdup(part.as_ptr())).cast());
        }
        pg_sys::OpernameGetOprid(list, operand, operand)
    };
    operator(oid)
}

/// The operator that the default order of a type takes for equal.
pub fn equality(kind: pg_sys::Oid) -> Option<Operator> {
    // SAFETY: the entry is valid while no invalidation is accepted, and is read at once.
    let oid = unsafe { (*pg_sys::lookup_type_cache(kind, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr };
    operator(oid)
}

/// A row of pg_proc.
#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    pub schema: pg_sys::Oid,
    pub is_immutable: bool,
    /// Neither an aggregate nor a window function nor a procedure.
    pub is_plain: bool,
    pub is_compiled: bool,
    /// Whether it takes values of more types than one.
    pub takes_any: bool,
}

impl Function {
    /// Whether it calls no function of a user's: one in C, which only superusers make, for values of certain types. One that takes values of any
    /// type may call other functions for them.
    pub fn is_closed(&self) -> bool {
        self.is_compiled && self.is_plain && !self.takes_any
    }
}

/// The function by which values of a type, or of what it is made of, are cast to json, if it is none of PostgreSQL's own; as row_to_json asks for one.
pub fn casts_to_json(kind: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let base = base_type(kind);
    if let Some(element) = element_type(base) {
        return casts_to_json(element);
    }
    // SAFETY: catalog look-ups; a row type never holds itself.
    unsafe {
        let table = pg_sys::get_typ_typrelid(base);
        if table != pg_sys::InvalidOid {
            let open = Table::try_open(table);
            return open.iter().flat_map(columns).flat_map(|column| casts_to_json(column.kind)).collect();
        }
        let mut function = pg_sys::InvalidOid;
        let explicit = pg_sys::CoercionContext::COERCION_EXPLICIT;
        let path = pg_sys::find_coercion_pathway(pg_sys::JSONOID, base, explicit, &mut function);
        let is_function = path == pg_sys::CoercionPathType::COERCION_PATH_FUNC && !is_built_in(base);
        if is_function { vec![function] } else { Vec::new() }
    }
}

/// The function with this OID.
pub fn function(oid: pg_sys::Oid) -> Option<Function> {
    // From catalog/pg_language.dat: internal, c.
    const COMPILED: [u32; 2] = [12, 13];
    // SAFETY: PROCOID's rows are pg_proc.
    unsafe {
        cached(pg_sys::SysCacheIdentifier::PROCOID as i32, oid.into(), |row: &pg_sys::FormData_pg_proc| Function {
            name: name_of(&row.proname),
            schema: row.pronamespace,
            is_immutable: row.provolatile as u8 == b'i',
            is_plain: row.prokind as u8 == b'f',
            is_compiled: COMPILED.contains(&row.prolang.to_u32()),
            takes_any: row
                .proargtypes
                .values
                .as_slice(row.pronargs.unsigned_abs().into())
                .iter()
                .any(|kind| pg_sys::get_typtype(*kind) as u8 == pg_sys::TYPTYPE_PSEUDO),
        })
    }
}

/// The function behind an operator.
pub fn function_of_operator(operator: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::get_opcode(operator) }
}

/// Whether PostgreSQL itself brings an object of this OID. What is made in a server that runs for a single user has one below FirstNormalObjectId,
/// and none that is pinned.
pub fn is_built_in(oid: pg_sys::Oid) -> bool {
    oid.to_u32() < pg_sys::FirstUnpinnedObjectId
}

/// A type's name and schema.
pub fn type_name(oid: pg_sys::Oid) -> Option<(String, pg_sys::Oid)> {
    // SAFETY: TYPEOID's rows are pg_type.
    unsafe {
        cached(pg_sys::SysCacheIdentifier::TYPEOID as i32, oid.into(), |row: &pg_sys::FormData_pg_type| {
            (name_of(&row.typname), row.typnamespace)
        })
    }
}

/// A type as a person writes it.
pub fn type_text(oid: pg_sys::Oid) -> String {
    // SAFETY: a terminated string comes back, for an unknown type as well.
    unsafe { c_string(pg_sys::format_type_extended(oid, -1, pg_sys::FORMAT_TYPE_ALLOW_INVALID as u16)) }
}

/// A type as SQL text that stands for it without a length.
pub fn type_text_in_sql(oid: pg_sys::Oid) -> String {
    // SAFETY: a terminated string comes back, for an unknown type as well.
    unsafe {
        c_string(pg_sys::format_type_extended(
            oid,
            -1,
            (pg_sys::FORMAT_TYPE_ALLOW_INVALID | pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN) as u16,
        ))
    }
}

/// The element type of an array type; `None` for any other.
pub fn element_type(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a catalog look-up.
    Some(unsafe { pg_sys::get_element_type(oid) }).filter(|element| *element != pg_sys::InvalidOid)
}

/// The type behind a domain, or the type itself.
pub fn base_type(oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::getBaseType(oid) }
}

/// Whether a value of the type, or a part of one, is shown as the name of some other object, which may change while the value does not. DDL
/// on types and collations is heard of, whoever's names they are.
pub fn shows_names(kind: pg_sys::Oid) -> bool {
    const NAMES: [pg_sys::Oid; 10] = [
        pg_sys::REGPROCOID,
        pg_sys::REGPROCEDUREOID,
        pg_sys::REGOPEROID,
        pg_sys::REGOPERATOROID,
        pg_sys::REGCLASSOID,
        pg_sys::REGROLEOID,
        pg_sys::REGNAMESPACEOID,
        pg_sys::REGCONFIGOID,
        pg_sys::REGDICTIONARYOID,
        pg_sys::ACLITEMOID,
    ];
    let base = base_type(kind);
    if NAMES.contains(&base) {
        return true;
    }
    if let Some(element) = element_type(base) {
        return shows_names(element);
    }
    // SAFETY: a catalog look-up; the invalid OID for what is no row type. A row type never holds itself.
    match unsafe { pg_sys::get_typ_typrelid(base) } {
        pg_sys::InvalidOid => false,
        table => {
            Table::try_open(table).is_some_and(|open| columns(&open).iter().any(|column| shows_names(column.kind)))
        }
    }
}

/// Whether its values are rows, of which IS NULL says what their fields are.
pub fn is_row(kind: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::type_is_rowtype(base_type(kind)) }
}

pub fn is_enum(kind: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::get_typtype(kind) as u8 == pg_sys::TYPTYPE_ENUM }
}

/// The extension that a type belongs to; the invalid OID when it belongs to none.
pub fn extension_of_type(oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::getExtensionOfObject(pg_sys::TypeRelationId, oid) }
}

/// The same for an operator.
pub fn extension_of_operator(oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::getExtensionOfObject(pg_sys::OperatorRelationId, oid) }
}

/// The OID of an extension by its name; the invalid OID when it is not installed.
pub fn extension_named(name: &str) -> pg_sys::Oid {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the name is terminated.
    unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) }
}

/// Name and installed version of an extension.
pub fn extension(oid: pg_sys::Oid) -> Option<(String, String)> {
    if oid == pg_sys::InvalidOid {
        return None;
    }
    let table = Table::open(pg_sys::ExtensionRelationId);
    let condition = Condition::OidIs(pg_sys::Anum_pg_extension_oid as i16, oid);
    let index = pg_sys::Oid::from(pg_sys::ExtensionOidIndexId);
    let row = scan::last(&table, index, &[condition], scan::View::Caller, |row| {
        let name = row.get(pg_sys::Anum_pg_extension_extname as i16)?;
        let version = row.get(pg_sys::Anum_pg_extension_extversion as i16)?;
        // SAFETY: extname is a name.
        Some((unsafe { c_string(name.cast_mut_ptr()) }, text(version).to_owned()))
    });
    row.flatten()
}

/// The value of `kind` that its text form stands for, in the current memory context. Raises the type's own error.
pub fn value_of_text(kind: pg_sys::Oid, modifier: i32, text: &CStr) -> pg_sys::Datum {
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: the input function takes a terminated string, which it may write to: it gets a copy.
    unsafe {
        pg_sys::getTypeInputInfo(kind, &mut function, &mut parameter);
        pg_sys::OidInputFunctionCall(function, pg_sys::pstrdup(text.as_ptr()), parameter, modifier)
    }
}

/// The same; to the type's own error, which knows nothing of where the text comes from, `hint` is added.
pub fn value_of_text_or(kind: pg_sys::Oid, modifier: i32, text: &CStr, hint: impl Fn() -> String) -> pg_sys::Datum {
    let mut add_hint = AssertUnwindSafe(|error| match error {
        CaughtError::PostgresError(report) => {
            let (code, message) = (report.sql_error_code(), report.message().to_owned());
            let hints = [Some(hint()), report.hint().map(str::to_owned)];
            let hints: Vec<String> = hints.into_iter().flatten().collect();
            let mut told = ErrorReport::new(code, message, "vcache").set_hint(hints.join(" "));
            if let Some(detail) = report.detail() {
                told = told.set_detail(detail.to_owned());
            }
            told.report(PgLogLevel::ERROR);
            unreachable!("an ERROR does not return")
        }
        other => other.rethrow(),
    });
    PgTryBuilder::new(|| value_of_text(kind, modifier, text))
        .catch_others(move |error| {
            let whole = &mut add_hint;
            whole(error)
        })
        .execute()
}

/// The function that makes text of a type's values.
pub fn output_function(kind: pg_sys::Oid) -> pg_sys::Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::getTypeOutputInfo(kind, &mut function, &mut is_varlena) };
    function
}

/// Loads the library that a type's functions are in, and with it the settings that it defines.
pub fn load_library_of(kind: pg_sys::Oid) {
    let mut function = pg_sys::FmgrInfo::default();
    // SAFETY: fills `function`, which is not called.
    unsafe { pg_sys::fmgr_info(output_function(kind), &mut function) };
}

/// The current database.
pub fn database() -> pg_sys::Oid {
    // SAFETY: set for the life of a backend.
    unsafe { pg_sys::MyDatabaseId }
}

/// The number that initdb drew for this cluster; a physical standby has its primary's.
pub fn system_identifier() -> u64 {
    // SAFETY: reads shared memory that is set at start.
    unsafe { pg_sys::GetSystemIdentifier() }
}
