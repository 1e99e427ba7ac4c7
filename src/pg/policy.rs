//! Owns reading the policies of row-level security as the catalog has them.

use super::scan::{self, Condition, Table, View};
use super::{array, varlena};
use pgrx::pg_sys::{self, Oid};

// From catalog/pg_policy.h, which pgrx leaves out.
const RELATION: u32 = 3256;
const TABLE_INDEX: u32 = 3258;
const OID: i16 = 1;
const NAME: i16 = 2;
const TABLE: i16 = 3;
const COMMAND: i16 = 4;
const ROLES: i16 = 6;
const EXPRESSION: i16 = 7;

/// A policy on what may be read of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub oid: Oid,
    pub name: String,
    /// The transaction that wrote it so, as the row says.
    pub writer: u32,
    /// As the catalog has it.
    pub expression: Option<String>,
}

/// The policies of a table that a query of a role must heed, by name.
pub fn of(table: Oid, role: Oid) -> Vec<Policy> {
    let catalog = Table::open(Oid::from(RELATION));
    let condition = [Condition::OidIs(TABLE, table)];
    let policies = scan::each(&catalog, Oid::from(TABLE_INDEX), &condition, View::Latest, |row| {
        let command = row.get(COMMAND)?.value() as u8;
        let is_for = |of: &Oid| {
            // SAFETY: a look-up. The invalid OID stands for everybody.
            *of == pg_sys::InvalidOid || unsafe { pg_sys::has_privs_of_role(role, *of) }
        };
        let is_heeded = matches!(command, b'*' | b'r') && array::read_oids(row.get(ROLES)?).iter().any(is_for);
        is_heeded.then_some(())?;
        Some(Policy {
            oid: Oid::from(row.get(OID)?.value() as u32),
            name: varlena::name(row.get(NAME)?),
            writer: row.version.1,
            expression: row.get(EXPRESSION).map(|expression| varlena::text(expression).to_owned()),
        })
    });
    policies.into_iter().flatten().collect()
}
