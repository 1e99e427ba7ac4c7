//! Owns PostgreSQL's own permission checks: who may read which columns, and whose row-level security is in force.

use super::rewrite::Read;
use super::scan::Table;
use pgrx::{PgBox, pg_sys};

/// Raises PostgreSQL's own error unless the current role may use the table's schema.
pub fn check_schema(table: &Table) {
    // SAFETY: the relation is open.
    unsafe {
        let schema = (*(*table.relation()).rd_rel).relnamespace;
        let allowed = pg_sys::pg_namespace_aclcheck(schema, pg_sys::GetUserId(), pg_sys::ACL_USAGE);
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            let name = pg_sys::get_namespace_name(schema);
            pg_sys::aclcheck_error(allowed, pg_sys::ObjectType::OBJECT_SCHEMA, name);
        }
    }
}

/// Raises PostgreSQL's own error unless the current role may read these columns (from 1), as a plain query over them would need, and what that
/// query reads `behind` the table, as whomever it does. The executor's hook (sepgsql, pgaudit) is asked as for that query.
pub fn check_select<'a>(table: &Table, columns: impl Iterator<Item = i16>, behind: impl Iterator<Item = &'a Read>) {
    let own = Read {
        relation: table.oid(),
        // SAFETY: the relation is open.
        kind: unsafe { (*(*table.relation()).rd_rel).relkind } as u8,
        needs: pg_sys::ACL_SELECT,
        columns: columns.map(|column| i32::from(column) - pg_sys::FirstLowInvalidHeapAttributeNumber).collect(),
        as_user: pg_sys::InvalidOid,
        is_secured: false,
    };
    // SAFETY: the entries and the list live until the check has returned.
    unsafe {
        let mut list = pg_sys::lappend(std::ptr::null_mut(), entry(&own).cast());
        for read in behind {
            list = pg_sys::lappend(list, entry(read).cast());
        }
        pg_sys::ExecCheckRTPerms(list, true);
    }
}

fn entry(read: &Read) -> *mut pg_sys::RangeTblEntry {
    // SAFETY: a node of this kind, and a set that grows.
    unsafe {
        let mut entry = PgBox::<pg_sys::RangeTblEntry>::alloc_node(pg_sys::NodeTag::T_RangeTblEntry);
        entry.rtekind = pg_sys::RTEKind::RTE_RELATION;
        entry.relid = read.relation;
        entry.relkind = read.kind as std::ffi::c_char;
        entry.rellockmode = pg_sys::AccessShareLock as i32;
        entry.inh = true;
        entry.inFromCl = true;
        entry.requiredPerms = read.needs;
        entry.checkAsUser = read.as_user;
        for member in &read.columns {
            entry.selectedCols = pg_sys::bms_add_member(entry.selectedCols, *member);
        }
        entry.into_pg()
    }
}

/// Whether the current role may execute all of these functions.
pub fn may_execute(functions: &[pg_sys::Oid]) -> bool {
    // SAFETY: catalog look-ups. It raises for a function that is gone, which what is known of the catalogs would have told.
    functions.iter().all(|function| unsafe {
        pg_sys::pg_proc_aclcheck(*function, pg_sys::GetUserId(), pg_sys::ACL_EXECUTE) == pg_sys::AclResult::ACLCHECK_OK
    })
}

/// The current role.
pub fn role() -> pg_sys::Oid {
    // SAFETY: set while a function runs.
    unsafe { pg_sys::GetUserId() }
}

/// The role that the session is.
pub fn session_role() -> pg_sys::Oid {
    // SAFETY: as above.
    unsafe { pg_sys::GetSessionUserId() }
}

/// The name of a role; `None` where it is no UTF-8, and cannot be told from others.
pub fn role_name(role: pg_sys::Oid) -> Option<String> {
    // SAFETY: null or a terminated string comes back.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { None } else { std::ffi::CStr::from_ptr(name).to_str().ok().map(str::to_owned) }
    }
}

/// The setting row_security.
pub fn is_row_security_on() -> bool {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::row_security }
}

/// Whether the current role may read every column of the table, its system columns included: privileges on single columns never
/// cover those.
pub fn may_read_all_columns(oid: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up; for a table that is gone the answer is no.
    let allowed = unsafe {
        let mut is_missing = false;
        pg_sys::pg_class_aclcheck_ext(oid, pg_sys::GetUserId(), pg_sys::ACL_SELECT, &mut is_missing)
    };
    allowed == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether the current role may read this column (from 1) by a privilege on it alone.
pub fn may_read_column(oid: pg_sys::Oid, column: i16) -> bool {
    // SAFETY: as above.
    let allowed = unsafe {
        let mut is_missing = false;
        pg_sys::pg_attribute_aclcheck_ext(oid, column, pg_sys::GetUserId(), pg_sys::ACL_SELECT, &mut is_missing)
    };
    allowed == pg_sys::AclResult::ACLCHECK_OK
}

/// The same of every column.
pub fn may_read_each_column(oid: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up; for a table that is gone the answer is no.
    let allowed = unsafe {
        let all = pg_sys::AclMaskHow::ACLMASK_ALL;
        pg_sys::pg_attribute_aclcheck_all(oid, pg_sys::GetUserId(), pg_sys::ACL_SELECT, all)
    };
    allowed == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether the current role may use the schema that a table is in; not, if the table is gone.
pub fn may_use_schema_of(oid: pg_sys::Oid) -> bool {
    super::catalog::class(oid).is_some_and(|class| {
        // SAFETY: a catalog look-up.
        let allowed = unsafe { pg_sys::pg_namespace_aclcheck(class.schema, pg_sys::GetUserId(), pg_sys::ACL_USAGE) };
        allowed == pg_sys::AclResult::ACLCHECK_OK
    })
}

/// What row-level security is to the current role, of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSecurity {
    /// The table has none.
    None,
    /// The role is above it.
    Above,
    /// It decides which rows there are.
    InForce,
}

/// Row-level security of a table. Where it is in force and `row_security = off`, PostgreSQL raises its own error, unless that is not to be.
pub fn row_security(oid: pg_sys::Oid, without_error: bool) -> RowSecurity {
    // SAFETY: a catalog look-up.
    let state = unsafe { pg_sys::check_enable_rls(oid, pg_sys::InvalidOid, without_error) };
    match state {
        state if state == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 => RowSecurity::InForce,
        state if state == pg_sys::CheckEnableRlsResult::RLS_NONE as i32 => RowSecurity::None,
        _ => RowSecurity::Above,
    }
}

/// Whether the current role may see the settings that are hidden from ordinary ones.
pub fn may_see_all_settings() -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::ROLE_PG_READ_ALL_SETTINGS.into()) }
}

/// Whether the current role may see the statistics of all.
pub fn may_see_all_statistics() -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::ROLE_PG_READ_ALL_STATS.into()) }
}

/// Whether the current role owns the table.
pub fn is_owner(oid: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up; superusers own everything. It raises for a table that is gone, which is asked first.
    super::catalog::class(oid).is_some() && unsafe { pg_sys::pg_class_ownercheck(oid, pg_sys::GetUserId()) }
}

/// Raises PostgreSQL's own error unless the current role owns the table.
pub fn check_owner(oid: pg_sys::Oid, kind: std::ffi::c_char, name: &std::ffi::CStr) {
    // SAFETY: plain catalog look-ups.
    unsafe {
        if !pg_sys::pg_class_ownercheck(oid, pg_sys::GetUserId()) {
            let object = pg_sys::get_relkind_objtype(kind);
            pg_sys::aclcheck_error(pg_sys::AclResult::ACLCHECK_NOT_OWNER, object, name.as_ptr());
        }
    }
}

/// Which transaction made a role's row in the catalog what it is; 0 where there is none.
pub fn version_of_role(role: pg_sys::Oid) -> u32 {
    // SAFETY: a row of pg_authid comes back, or null, and is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::AUTHOID as i32, role.into());
        if tuple.is_null() {
            return 0;
        }
        let writer = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
        pg_sys::ReleaseSysCache(tuple);
        writer.into_inner()
    }
}
