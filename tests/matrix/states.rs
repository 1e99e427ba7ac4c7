//! Owns the states of row-level security that the cells begin in.

use crate::scene::{DECLARED, TABLES};

/// A policy.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub name: &'static str,
    /// `PERMISSIVE` or `RESTRICTIVE`.
    kind: &'static str,
    pub to: &'static str,
    pub expression: &'static str,
}

impl Policy {
    /// The statement that makes it.
    pub fn create(&self, table: &str) -> String {
        let Self { name, kind, to, expression } = self;
        format!("CREATE POLICY {name} ON {table} AS {kind} FOR SELECT TO {to} USING ({expression})")
    }
}

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub name: &'static str,
    pub enabled: bool,
    pub forced: bool,
    pub policies: &'static [Policy],
    /// The setting that its policies read.
    pub setting: Option<&'static str>,
}

const fn permissive(expression: &'static str) -> Policy {
    Policy { name: "own", kind: "PERMISSIVE", to: "PUBLIC", expression }
}

/// A policy that any state may be given besides.
pub const MORE: Policy = Policy { name: "more", kind: "PERMISSIVE", to: "PUBLIC", expression: "tenant = 'c'" };

/// The same, restrictive.
pub const LESS: Policy = Policy { name: "less", kind: "RESTRICTIVE", to: "PUBLIC", expression: "id % 2 = 1" };

const BY_USER: &[Policy] = &[permissive("reader = current_user")];
const BY_SETTING: &[Policy] = &[permissive("tenant = current_setting('app.tenant', true)")];

const fn state(name: &'static str, policies: &'static [Policy], setting: Option<&'static str>) -> State {
    State { name, enabled: true, forced: false, policies, setting }
}

/// All of them.
pub const STATES: [State; 19] = [
    State { enabled: false, ..state("off", BY_USER, None) },
    state("by user", BY_USER, None),
    state("by setting", BY_SETTING, Some(DECLARED)),
    State { forced: true, ..state("by user forced", BY_USER, None) },
    State { forced: true, ..state("by setting forced", BY_SETTING, Some(DECLARED)) },
    // Forced, but not enabled.
    State { enabled: false, forced: true, ..state("forced only", BY_USER, None) },
    state(
        "by setting or default",
        &[permissive("tenant = coalesce(current_setting('app.tenant', true), 'b')")],
        Some(DECLARED),
    ),
    state(
        "restricted",
        &[
            permissive("tenant = current_setting('app.tenant', true)"),
            Policy { name: "even", kind: "RESTRICTIVE", to: "PUBLIC", expression: "id % 2 = 0" },
        ],
        Some(DECLARED),
    ),
    state("no policy", &[], None),
    State { forced: true, ..state("no policy forced", &[], None) },
    state(
        "by role",
        &[
            Policy { name: "own", kind: "PERMISSIVE", to: "reader, columns, keeper", expression: "tenant = 'a'" },
            Policy { name: "teams", kind: "PERMISSIVE", to: "team", expression: "tenant = 'b'" },
        ],
        None,
    ),
    state("by function", &[permissive("library.may_see(tenant)")], None),
    state("by operator", &[permissive("tenant OPERATOR(library.===) 'a'")], None),
    state(
        "by subquery",
        &[permissive("tenant IN (SELECT m.tenant FROM library.members m WHERE m.who = current_user)")],
        None,
    ),
    // Built-in functions, but not of what the key can hold.
    state("by session user", &[permissive("reader = session_user")], None),
    state("by membership", &[permissive("tenant = 'b' AND pg_has_role(current_user, 'team', 'usage')")], None),
    state(
        "by privilege",
        &[permissive("tenant = 'a' AND has_table_privilege(current_user, 'library.members', 'SELECT')")],
        None,
    ),
    // A setting that nobody declares.
    state("by other setting", &[permissive("tenant = current_setting('app.other', true)")], Some("app.other")),
    state(
        "by computed setting",
        &[permissive("tenant = current_setting('app.' || lower('OTHER'), true)")],
        Some("app.other"),
    ),
];

impl State {
    /// The statements that put both tables into this state, whatever they were.
    pub fn set_up(&self) -> Vec<String> {
        let mut statements = vec![
            "DO $$DECLARE p record; BEGIN
                 FOR p IN SELECT polname, polrelid::regclass AS of FROM pg_policy LOOP
                     EXECUTE format('DROP POLICY %I ON %s', p.polname, p.of);
                 END LOOP;
             END$$"
                .to_owned(),
        ];
        for table in TABLES {
            statements.extend(self.policies.iter().map(|policy| policy.create(table)));
            let (enabled, forced) =
                (if self.enabled { "ENABLE" } else { "DISABLE" }, if self.forced { "FORCE" } else { "NO FORCE" });
            statements.push(format!("ALTER TABLE {table} {enabled} ROW LEVEL SECURITY, {forced} ROW LEVEL SECURITY"));
        }
        statements
    }
}
