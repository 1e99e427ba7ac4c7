//! Owns what PostgreSQL makes of a statement before it plans it: views taken apart, policies of row-level security put in. It tells
//! which relations the statement reads, as whom, and what decides its rows beside them.
//!
//! It is PostgreSQL's own rewriter that is asked, so whose policies apply, and to whom a view lends its owner's rights, is its word.

use super::varlena::c_string;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{CStr, CString, c_void};

/// Where in a rewritten statement something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// In the statement itself.
    Statement,
    /// In the definition of a view.
    View,
    /// In what row-level security lets through of this table.
    Policy(Oid),
}

/// A relation that a statement reads, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub relation: Oid,
    pub kind: u8,
    /// What must be granted, and on which columns, counted as PostgreSQL counts them in its sets; to whom, the invalid OID being the current role.
    pub needs: pg_sys::AclMode,
    pub columns: Vec<i32>,
    pub as_user: Oid,
    /// Whether row-level security is in force for that role.
    pub is_secured: bool,
}

/// What may decide the rows of a statement beside the rows that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    Function(Oid),
    /// A setting, by its name in small letters. Unless it may be missing, it is an error that it is.
    Setting {
        name: String,
        may_be_missing: bool,
    },
    CurrentUser,
    SessionUser,
    /// A value of this type. Those in policies alone are told.
    Value(Oid),
    /// Something else, in words.
    Other(&'static str),
}

/// A statement, rewritten.
#[derive(Debug)]
pub struct Rewritten {
    /// All of it, in PostgreSQL's own notation: who executes the same text does the same.
    pub text: String,
    pub reads: Vec<Read>,
    pub uses: Vec<(Part, Use)>,
}

/// Has a statement rewritten for the current role. Raises the statement's own errors.
pub fn rewrite(statement: &CStr, parameters: &[Oid]) -> Rewritten {
    let mut walk = Walk { part: Part::Statement, is_call: false, reads: Vec::new(), uses: Vec::new() };
    // SAFETY: the text is terminated, the types are as many as said; all nodes live in the current memory context.
    unsafe {
        let raw = pg_sys::pg_parse_query(statement.as_ptr());
        let raw = (*(*raw).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let count = parameters.len() as i32;
        let none = std::ptr::null_mut();
        let list =
            pg_sys::pg_analyze_and_rewrite_fixedparams(raw, statement.as_ptr(), parameters.as_ptr(), count, none);
        visit(list.cast(), (&raw mut walk).cast());
        let text = c_string(pg_sys::nodeToString(list.cast_const().cast()));
        Rewritten { text, reads: walk.reads, uses: walk.uses }
    }
}

/// What stands in the expression of a policy on a table, given as the catalog has it.
pub fn uses_of_policy(table: Oid, expression: &str) -> Vec<Use> {
    let mut walk = Walk { part: Part::Policy(table), is_call: false, reads: Vec::new(), uses: Vec::new() };
    let Ok(expression) = CString::new(expression) else { return Vec::new() };
    // SAFETY: the text is what nodeToString has made of an expression.
    unsafe { visit(pg_sys::stringToNode(expression.as_ptr()).cast(), (&raw mut walk).cast()) };
    walk.uses.into_iter().map(|(_, found)| found).collect()
}

/// Stable functions that are told by what they read.
pub const TOLD: [u32; 5] = [
    pg_sys::F_CURRENT_SETTING_TEXT,
    pg_sys::F_CURRENT_SETTING_TEXT_BOOL,
    pg_sys::F_CURRENT_USER,
    pg_sys::F_GETPGUSERNAME,
    pg_sys::F_SESSION_USER,
];

struct Walk {
    part: Part,
    /// Whether the node that is looked at is a call of a function by its name.
    is_call: bool,
    reads: Vec<Read>,
    uses: Vec<(Part, Use)>,
}

impl Walk {
    fn found(&mut self, what: Use) {
        if !self.uses.contains(&(self.part, what.clone())) {
            self.uses.push((self.part, what));
        }
    }
}

/// # Safety
/// `node` is null or a node, `context` a [`Walk`] that nobody else holds.
#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: by this function's contract; what a node is, its tag says.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == NodeTag::T_Query {
            let query = node.cast::<pg_sys::Query>();
            for entry in nodes((*query).rtable) {
                visit_entry(entry.cast(), context);
            }
            let flags = pg_sys::QTW_IGNORE_RANGE_TABLE as i32;
            return pg_sys::query_tree_walker(query, Some(visit), context, flags);
        }
        look(node, context.cast());
        pg_sys::expression_tree_walker(node, Some(visit), context)
    }
}

/// The elements of a list of pointers.
///
/// # Safety
/// `list` is null or such a list, and lives as long as what comes back is used.
unsafe fn nodes(list: *mut pg_sys::List) -> impl Iterator<Item = *mut c_void> {
    // SAFETY: by this function's contract.
    let count = if list.is_null() { 0 } else { unsafe { (*list).length } };
    // SAFETY: a list has as many elements as it says.
    (0..count).map(move |i| unsafe { (*(*list).elements.add(i as usize)).ptr_value })
}

/// # Safety
/// As of [`visit`].
unsafe fn visit_entry(entry: *mut pg_sys::RangeTblEntry, context: *mut c_void) {
    use pg_sys::RTEKind::{RTE_FUNCTION, RTE_JOIN, RTE_RELATION, RTE_SUBQUERY, RTE_TABLEFUNC, RTE_VALUES};
    let walk = context.cast::<Walk>();
    // SAFETY: by the contract; of an entry's fields those are read that its kind has.
    unsafe {
        let part = (*walk).part;
        match (*entry).rtekind {
            RTE_RELATION => {
                (*walk).reads.push(read(entry));
                if !(*entry).tablesample.is_null() {
                    (*walk).found(Use::Other("takes a sample of a table"));
                }
            }
            RTE_SUBQUERY => {
                // The statement itself has none.
                if part == Part::Statement {
                    (*walk).part = Part::View;
                }
                visit((*entry).subquery.cast(), context);
            }
            RTE_JOIN => {
                visit((*entry).joinaliasvars.cast(), context);
            }
            RTE_FUNCTION => {
                visit((*entry).functions.cast(), context);
            }
            RTE_VALUES => {
                visit((*entry).values_lists.cast(), context);
            }
            RTE_TABLEFUNC => (*walk).found(Use::Other("uses XMLTABLE")),
            _ => {}
        }
        if !(*entry).securityQuals.is_null() {
            (*walk).part = Part::Policy((*entry).relid);
            visit((*entry).securityQuals.cast(), context);
        }
        (*walk).part = part;
    }
}

/// # Safety
/// `entry` is one of a relation.
unsafe fn read(entry: *mut pg_sys::RangeTblEntry) -> Read {
    // SAFETY: by this function's contract; a set of columns is null or valid.
    unsafe {
        let mut columns = Vec::new();
        let mut member = pg_sys::bms_next_member((*entry).selectedCols, -1);
        while member >= 0 {
            columns.push(member);
            member = pg_sys::bms_next_member((*entry).selectedCols, member);
        }
        Read {
            relation: (*entry).relid,
            kind: (*entry).relkind as u8,
            needs: (*entry).requiredPerms,
            columns,
            as_user: (*entry).checkAsUser,
            is_secured: !(*entry).securityQuals.is_null(),
        }
    }
}

/// The nodes that an expression of a policy may be made of.
const OF_POLICIES: [NodeTag; 21] = [
    NodeTag::T_Var,
    NodeTag::T_Const,
    NodeTag::T_FuncExpr,
    NodeTag::T_OpExpr,
    NodeTag::T_DistinctExpr,
    NodeTag::T_NullIfExpr,
    NodeTag::T_ScalarArrayOpExpr,
    NodeTag::T_BoolExpr,
    NodeTag::T_RelabelType,
    NodeTag::T_CoerceViaIO,
    NodeTag::T_ArrayCoerceExpr,
    NodeTag::T_CollateExpr,
    NodeTag::T_CaseExpr,
    NodeTag::T_CaseTestExpr,
    NodeTag::T_ArrayExpr,
    NodeTag::T_CoalesceExpr,
    NodeTag::T_MinMaxExpr,
    NodeTag::T_SQLValueFunction,
    NodeTag::T_NullTest,
    NodeTag::T_BooleanTest,
    NodeTag::T_SubscriptingRef,
];

/// # Safety
/// As of [`visit`].
unsafe fn look(node: *mut pg_sys::Node, walk: *mut Walk) {
    // SAFETY: by the contract; what a node is, its tag says.
    unsafe {
        let tag = (*node).type_;
        if matches!((*walk).part, Part::Policy(_)) {
            match tag {
                NodeTag::T_List | NodeTag::T_CaseWhen => {}
                NodeTag::T_SubLink => (*walk).found(Use::Other("has a subquery")),
                NodeTag::T_Var if (*node.cast::<pg_sys::Var>()).varattno < 0 => {
                    (*walk).found(Use::Other("reads a system column"));
                }
                _ if OF_POLICIES.contains(&tag) => (*walk).found(Use::Value(pg_sys::exprType(node))),
                _ => (*walk).found(Use::Other("has an expression of a kind that vcache does not know")),
            }
        }
        match tag {
            NodeTag::T_SQLValueFunction => (*walk).found(value((*node.cast::<pg_sys::SQLValueFunction>()).op)),
            NodeTag::T_FuncExpr => look_at_call(node.cast(), walk),
            NodeTag::T_NextValueExpr => (*walk).found(Use::Other("takes a value from a sequence")),
            NodeTag::T_CoerceToDomain => (*walk).found(Use::Other("casts to a domain")),
            NodeTag::T_XmlExpr => (*walk).found(Use::Other("makes or reads XML")),
            NodeTag::T_CurrentOfExpr => (*walk).found(Use::Other("asks for the row of a cursor")),
            _ => {}
        }
        (*walk).is_call = tag == NodeTag::T_FuncExpr;
        if tag != NodeTag::T_CoerceViaIO || !look_at_array(node.cast(), walk) {
            pg_sys::check_functions_in_node(node, Some(note_function), walk.cast());
        }
    }
}

/// # Safety
/// `context` is a [`Walk`] that nobody else holds.
#[pg_guard]
unsafe extern "C-unwind" fn note_function(function: Oid, context: *mut c_void) -> bool {
    // SAFETY: by this function's contract.
    unsafe {
        let walk = context.cast::<Walk>();
        (*walk).found(Use::Function(function));
        // What it reads, its arguments tell; of an operator or a cast that calls it, nobody has looked at them.
        if TOLD.contains(&function.to_u32()) && !(*walk).is_call {
            (*walk).found(Use::Other("reads a setting, or who asks, by an operator or a cast"));
        }
    }
    false
}

fn value(of: pg_sys::SQLValueFunctionOp::Type) -> Use {
    use pg_sys::SQLValueFunctionOp as op;
    match of {
        op::SVFOP_CURRENT_ROLE | op::SVFOP_CURRENT_USER | op::SVFOP_USER => Use::CurrentUser,
        op::SVFOP_SESSION_USER => Use::SessionUser,
        op::SVFOP_CURRENT_CATALOG => Use::Other("reads current_catalog"),
        op::SVFOP_CURRENT_SCHEMA => Use::Other("reads current_schema"),
        _ => Use::Other("reads the time"),
    }
}

/// # Safety
/// `call` is a node of a call, `walk` nobody else's.
unsafe fn look_at_call(call: *mut pg_sys::FuncExpr, walk: *mut Walk) {
    // SAFETY: by this function's contract; arguments are nodes.
    unsafe {
        match (*call).funcid.to_u32() {
            pg_sys::F_CURRENT_USER | pg_sys::F_GETPGUSERNAME => (*walk).found(Use::CurrentUser),
            pg_sys::F_SESSION_USER => (*walk).found(Use::SessionUser),
            pg_sys::F_CURRENT_SETTING_TEXT | pg_sys::F_CURRENT_SETTING_TEXT_BOOL => {
                let mut constants = nodes((*call).args).map(|node| constant(node.cast()));
                let name = constants.next().flatten().map(|name| super::varlena::text(name).to_ascii_lowercase());
                let may_be_missing = match constants.next() {
                    None => Some(false),
                    Some(given) => given.map(|given| given.value() & 1 == 1),
                };
                (*walk).found(match (name, may_be_missing) {
                    (Some(name), Some(may_be_missing)) => Use::Setting { name, may_be_missing },
                    _ => Use::Other("reads a setting whose name it computes"),
                });
            }
            _ => {}
        }
    }
}

/// The value of a constant that is not NULL.
///
/// # Safety
/// `node` is a node.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<pg_sys::Datum> {
    // SAFETY: by this function's contract.
    unsafe {
        let constant = node.cast::<pg_sys::Const>();
        ((*node).type_ == NodeTag::T_Const && !(*constant).constisnull).then(|| (*constant).constvalue)
    }
}

/// Notes the functions of a cast to an array by way of text; `false` if it is none. An array is read as its elements are: what the
/// catalogs say of the function for arrays, they say for elements of any kind.
///
/// # Safety
/// `cast` is a node of such a cast, `walk` nobody else's.
unsafe fn look_at_array(cast: *mut pg_sys::CoerceViaIO, walk: *mut Walk) -> bool {
    // SAFETY: by this function's contract; catalog look-ups.
    unsafe {
        let element = pg_sys::get_element_type((*cast).resulttype);
        if element == pg_sys::InvalidOid {
            return false;
        }
        let (mut input, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeInputInfo(element, &mut input, &mut parameter);
        let output = super::catalog::output_function(pg_sys::exprType((*cast).arg.cast()));
        [input, output].into_iter().for_each(|function| (*walk).found(Use::Function(function)));
        true
    }
}
