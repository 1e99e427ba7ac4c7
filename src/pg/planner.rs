//! Owns what the planner is told for the length of a statement of vcache's own: that indexes of an extension give no bitmaps, though they say
//! so. Other queries of the session are planned as ever.

use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;

thread_local! {
    /// The extension; the invalid OID for none.
    static WITHOUT: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
    static NEXT: Cell<pg_sys::get_relation_info_hook_type> = const { Cell::new(None) };
}

/// Has the planner ask before it looks at a table's indexes. Called once, when the library is loaded.
pub fn install() {
    // SAFETY: PostgreSQL's own variable, in a process of one thread.
    unsafe {
        NEXT.set(pg_sys::get_relation_info_hook);
        pg_sys::get_relation_info_hook = Some(leave_out);
    }
}

/// While it lives, no bitmap scan of an extension's indexes is planned.
pub struct WithoutBitmaps {
    before: pg_sys::Oid,
}

impl WithoutBitmaps {
    pub fn of(extension: pg_sys::Oid) -> Self {
        Self { before: WITHOUT.replace(extension) }
    }
}

impl Drop for WithoutBitmaps {
    fn drop(&mut self) {
        WITHOUT.set(self.before);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_out(
    root: *mut pg_sys::PlannerInfo,
    table: pg_sys::Oid,
    is_parent: bool,
    relation: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: called by the planner, with what it has made of the table; its list holds what it says.
    unsafe {
        if let Some(next) = NEXT.get() {
            next(root, table, is_parent, relation);
        }
        let extension = WITHOUT.get();
        let list = (*relation).indexlist;
        if extension == pg_sys::InvalidOid || list.is_null() {
            return;
        }
        for cell in std::slice::from_raw_parts((*list).elements, (*list).length.unsigned_abs() as usize) {
            let index = cell.ptr_value.cast::<pg_sys::IndexOptInfo>();
            let method = (*index).relam;
            let is_own = super::catalog::is_built_in(method);
            if !is_own && pg_sys::getExtensionOfObject(pg_sys::AccessMethodRelationId, method) == extension {
                (*index).amhasgetbitmap = false;
            }
        }
    }
}
