//! Owns what PostgreSQL tells a trigger's function of why it was called.

use super::function::Call;
use super::scan::Table;
use pgrx::pg_sys::{self, Datum};
use std::ffi::CStr;

/// Why a trigger fires.
pub struct Fired {
    data: *mut pg_sys::TriggerData,
}

/// The statement that it fires for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Insert,
    Delete,
    Update,
    Truncate,
}

impl Fired {
    /// `None` when the function was not called by a trigger.
    pub fn of(call: &Call) -> Option<Self> {
        let data = context(call, pg_sys::NodeTag::T_TriggerData)?.cast();
        Some(Self { data })
    }

    pub fn event(&self) -> Event {
        match self.bits() & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Event::Insert,
            pg_sys::TRIGGER_EVENT_DELETE => Event::Delete,
            pg_sys::TRIGGER_EVENT_UPDATE => Event::Update,
            _ => Event::Truncate,
        }
    }

    pub fn is_before(&self) -> bool {
        self.bits() & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_BEFORE
    }

    pub fn is_for_row(&self) -> bool {
        self.bits() & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    fn bits(&self) -> u32 {
        // SAFETY: valid during the call.
        unsafe { (*self.data).tg_event }
    }

    /// The table that the statement names, which the executor holds open and locked.
    pub fn table(&self) -> std::mem::ManuallyDrop<Table> {
        std::mem::ManuallyDrop::new(Table::opened(self.relation()))
    }

    pub fn relation(&self) -> pg_sys::Relation {
        // SAFETY: valid during the call.
        unsafe { (*self.data).tg_relation }
    }

    /// Whether an UPDATE sets any of these columns (from 1).
    pub fn sets_any_of(&self, columns: &[i16]) -> bool {
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: the set is valid during the call; an empty one is null.
        columns
            .iter()
            .any(|column| unsafe { pg_sys::bms_is_member(i32::from(*column) - offset, (*self.data).tg_updatedcols) })
    }
}

/// The command that an event trigger fires for, such as `ALTER TABLE`.
pub fn command(call: &Call) -> Option<&'static str> {
    let data = context(call, pg_sys::NodeTag::T_EventTriggerData)?.cast::<pg_sys::EventTriggerData>();
    // SAFETY: the node is valid during the call, and the names of commands are constants.
    unsafe { CStr::from_ptr(pg_sys::GetCommandTagName((*data).tag)).to_str().ok() }
}

/// Whether that command may give a table relatives that it had not.
pub fn makes_relatives(call: &Call) -> bool {
    use pg_sys::AlterTableType::{AT_AddInherit, AT_AttachPartition};
    use pg_sys::NodeTag::{T_CreateForeignTableStmt, T_CreateStmt};
    is_one_of(call, &[T_CreateStmt, T_CreateForeignTableStmt], &[AT_AddInherit, AT_AttachPartition])
}

/// Whether it may take some away.
pub fn parts_relatives(call: &Call) -> bool {
    use pg_sys::AlterTableType::{AT_DetachPartition, AT_DetachPartitionFinalize, AT_DropInherit};
    is_one_of(call, &[], &[AT_DetachPartition, AT_DetachPartitionFinalize, AT_DropInherit])
}

/// Whether that command is one of these, or an ALTER TABLE that does one of these.
fn is_one_of(call: &Call, statements: &[pg_sys::NodeTag], alterations: &[pg_sys::AlterTableType::Type]) -> bool {
    let Some(data) = context(call, pg_sys::NodeTag::T_EventTriggerData) else { return false };
    // SAFETY: the command's tree is valid during the call, and its nodes are what their tags say.
    unsafe {
        let tree = (*data.cast::<pg_sys::EventTriggerData>()).parsetree;
        if tree.is_null() || (*tree).type_ != pg_sys::NodeTag::T_AlterTableStmt {
            return !tree.is_null() && statements.contains(&(*tree).type_);
        }
        let list = (*tree.cast::<pg_sys::AlterTableStmt>()).cmds;
        let count = if list.is_null() { 0 } else { (*list).length };
        (0..count).any(|i| {
            let command = (*(*list).elements.add(i as usize)).ptr_value.cast::<pg_sys::AlterTableCmd>();
            alterations.contains(&(*command).subtype)
        })
    }
}

fn context(call: &Call, tag: pg_sys::NodeTag) -> Option<*mut pg_sys::Node> {
    // SAFETY: the call's context is null or a node.
    unsafe {
        let context = (*call.raw()).context;
        (!context.is_null() && (*context).type_ == tag).then_some(context)
    }
}

/// Whether a function is asked by a trigger's condition, whose first argument is NEW.tableoid or OLD.tableoid: then the table is open, and
/// locked.
pub fn is_condition(call: &Call) -> bool {
    // SAFETY: flinfo is valid during the call; the nodes are what their tags say. Rows of the executor's own, which a condition's are,
    // have no system columns elsewhere.
    unsafe {
        let expression = (*(*call.raw()).flinfo).fn_expr;
        if expression.is_null() || (*expression).type_ != pg_sys::NodeTag::T_FuncExpr {
            return false;
        }
        let arguments = (*expression.cast::<pg_sys::FuncExpr>()).args;
        if arguments.is_null() {
            return false;
        }
        let first = (*(*arguments).elements).ptr_value.cast::<pg_sys::Node>();
        if (*first).type_ != pg_sys::NodeTag::T_Var {
            return false;
        }
        let column = &*first.cast::<pg_sys::Var>();
        [pg_sys::INNER_VAR, pg_sys::OUTER_VAR].contains(&column.varno)
            && i32::from(column.varattno) == pg_sys::TableOidAttributeNumber
    }
}

/// The row that a trigger fires before, as it is, or none where a worker of logical replication applies it: then nothing happens to it.
/// Every backend is told that the table has changed. `None` when no trigger called.
pub fn row_unless_replicated(call: &Call) -> Option<Datum> {
    let fired = Fired::of(call)?;
    // SAFETY: a trigger that fires before a row is given it.
    unsafe {
        if pg_sys::IsLogicalWorker() {
            return Some(nothing());
        }
        pg_sys::CacheInvalidateRelcache(fired.relation());
        let data = &*fired.data;
        Some(Datum::from(if fired.event() == Event::Update { data.tg_newtuple } else { data.tg_trigtuple }))
    }
}

/// What a trigger's function gives back: no row.
pub fn nothing() -> Datum {
    Datum::null()
}
