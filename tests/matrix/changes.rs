//! Owns what changes between two askings, and how it is undone.

use crate::actors::{Actor, Enters};
use crate::scene::{DECLARED, HEIR, RENAMED, ROLES, TABLES};
use crate::states::{LESS, MORE, State};

/// Who makes a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The superuser, for all.
    Administrator,
    /// The one who asks, for its session.
    Caller,
}

/// What a change is about, which decides what it is crossed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// Nothing changes.
    Nothing,
    /// Who may read.
    Privileges,
    /// Which role the session has.
    Role,
    /// Whether row-level security is in force, and for whom.
    Force,
    /// Which rows it leaves.
    Rows,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Change {
    pub name: &'static str,
    pub by: By,
    pub about: About,
    pub make: Vec<String>,
    pub undo: Vec<String>,
    /// The actors that can make it, if they do.
    callers: fn(&Actor) -> bool,
    /// The roles that it names.
    roles: &'static [&'static str],
}

impl Change {
    /// Whether it names the role that counts.
    pub fn names(&self, actor: &Actor) -> bool {
        self.roles.contains(&actor.counts())
    }

    /// Whether it can be tried with an actor.
    pub fn is_for(&self, actor: &Actor) -> bool {
        (self.callers)(actor)
    }
}

struct Changes(Vec<Change>);

impl Changes {
    /// By the administrator, once.
    fn once(&mut self, name: &'static str, about: About, make: &[String], undo: &[String]) {
        let (make, undo) = (make.to_vec(), undo.to_vec());
        self.0.push(Change { name, by: By::Administrator, about, make, undo, callers: |_| true, roles: &[] });
    }

    /// By the administrator, on each of the tables, which stand for `{t}`.
    fn each(&mut self, name: &'static str, about: About, make: &str, undo: &str) {
        let each = |sql: &str| TABLES.map(|table| sql.replace("{t}", table));
        self.once(name, about, &each(make), &each(undo));
    }

    fn roles(&mut self, name: &'static str, about: About, make: &str, undo: &str) {
        self.once(name, about, &[make.to_owned()], &[undo.to_owned()]);
    }

    /// The last one is about these.
    fn naming(&mut self, roles: &'static [&'static str]) {
        if let Some(change) = self.0.last_mut() {
            change.roles = roles;
        }
    }

    fn caller(&mut self, name: &'static str, about: About, make: &str, undo: &str, callers: fn(&Actor) -> bool) {
        let (make, undo) = (vec![make.to_owned()], vec![undo.to_owned()]);
        self.0.push(Change { name, by: By::Caller, about, make, undo, callers, roles: &[] });
    }
}

/// All that can change in a state.
pub fn of(state: &State) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    changes.once("nothing", About::Nothing, &[], &[]);
    // Privileges come before row-level security, whose states differ in nothing to them.
    if ["off", "by user"].contains(&state.name) {
        privileges(&mut changes);
    }
    who(&mut changes, state);
    if state.enabled || state.name == "off" {
        force(&mut changes, state);
    }
    if state.enabled {
        rows(&mut changes, state);
    }
    changes.0
}

fn privileges(changes: &mut Changes) {
    use About::Privileges;
    let granted = "reader, team, auditor, outsider";
    changes.each(
        "REVOKE SELECT ON TABLE",
        Privileges,
        &format!("REVOKE SELECT ON {{t}} FROM {granted}"),
        &format!("GRANT SELECT ON {{t}} TO {granted}"),
    );
    changes.each(
        "REVOKE from the owner",
        Privileges,
        "REVOKE SELECT ON {t} FROM keeper",
        "GRANT SELECT ON {t} TO keeper",
    );
    for (name, column) in [
        ("REVOKE SELECT (id)", "id"),
        ("REVOKE SELECT (embedding)", "embedding"),
        ("REVOKE SELECT (title)", "title"),
        ("REVOKE SELECT (tenant)", "tenant"),
        ("REVOKE SELECT (meta)", "meta"),
    ] {
        let columns = format!("REVOKE SELECT ({column}) ON {{t}} FROM columns");
        changes.each(name, Privileges, &columns, &format!("GRANT SELECT ({column}) ON {{t}} TO columns"));
    }
    let lacking = [
        ("id", "no_id"),
        ("embedding", "no_vector"),
        ("title", "no_payload"),
        ("tenant", "no_filter"),
        ("meta", "no_metadata"),
        ("secret", "columns"),
    ];
    let each = |verb: &str, word: &str| {
        let statement =
            |(column, role)| TABLES.map(|table| format!("{verb} SELECT ({column}) ON {table} {word} {role}"));
        lacking.iter().flat_map(|pair: &(&str, &str)| statement(*pair)).collect::<Vec<_>>()
    };
    changes.once("GRANT of what lacked", Privileges, &each("GRANT", "TO"), &each("REVOKE", "FROM"));
    changes.each(
        "GRANT TO stranger",
        Privileges,
        "GRANT SELECT ON {t} TO stranger",
        "REVOKE SELECT ON {t} FROM stranger",
    );
    changes.each("GRANT TO PUBLIC", Privileges, "GRANT SELECT ON {t} TO PUBLIC", "REVOKE SELECT ON {t} FROM PUBLIC");
    let some = "GRANT SELECT (id, embedding, title) ON {t} TO PUBLIC";
    changes.each(
        "GRANT (columns) TO PUBLIC",
        Privileges,
        some,
        "REVOKE SELECT (id, embedding, title) ON {t} FROM PUBLIC",
    );
    let usage: Vec<&str> = ROLES.iter().filter(|role| role.usage).map(|role| role.name).collect();
    let usage = usage.join(", ");
    changes.roles(
        "REVOKE USAGE ON SCHEMA",
        Privileges,
        &format!("REVOKE USAGE ON SCHEMA library FROM {usage}"),
        &format!("GRANT USAGE ON SCHEMA library TO {usage}"),
    );
    changes.roles(
        "GRANT USAGE TO PUBLIC",
        Privileges,
        "GRANT USAGE ON SCHEMA library TO PUBLIC",
        "REVOKE USAGE ON SCHEMA library FROM PUBLIC",
    );
    changes.roles("ALTER ROLE NOINHERIT", Privileges, "ALTER ROLE member NOINHERIT", "ALTER ROLE member INHERIT");
    changes.roles("ALTER ROLE INHERIT", Privileges, "ALTER ROLE loner INHERIT", "ALTER ROLE loner NOINHERIT");
    changes.roles(
        "ALTER ROLE SUPERUSER",
        Privileges,
        "ALTER ROLE stranger SUPERUSER",
        "ALTER ROLE stranger NOSUPERUSER",
    );
    let lender = "ALTER FUNCTION lent_by_reader OWNER TO stranger";
    changes.roles("ALTER FUNCTION OWNER", Privileges, lender, "ALTER FUNCTION lent_by_reader OWNER TO reader");
}

/// Who the roles are, in every state.
fn who(changes: &mut Changes, state: &State) {
    changes.roles(
        "REVOKE of a role",
        About::Rows,
        "REVOKE team FROM member, loner, guest",
        "GRANT team TO member, loner, guest",
    );
    changes.naming(&["member", "loner", "guest", "team"]);
    let owner = format!("ALTER TABLE {{t}} OWNER TO {HEIR}");
    changes.each("ALTER TABLE OWNER", About::Rows, &owner, "ALTER TABLE {t} OWNER TO keeper");
    changes.naming(&["keeper", HEIR]);
    if state.enabled {
        let (make, undo) =
            (format!("ALTER ROLE reader RENAME TO {RENAMED}"), format!("ALTER ROLE {RENAMED} RENAME TO reader"));
        changes.roles("ALTER ROLE RENAME", About::Rows, &make, &undo);
        changes.naming(&["reader"]);
    }
    changes.caller("SET ROLE reader", About::Role, "SET ROLE reader", "RESET ROLE", |actor| actor.logs_in("postgres"));
    let (make, undo) = ("SET SESSION AUTHORIZATION stranger", "RESET SESSION AUTHORIZATION");
    changes.caller("SET SESSION AUTHORIZATION", About::Role, make, undo, |actor| actor.logs_in("postgres"));
    let is_on_team = |actor: &Actor| actor.logs_in("member") || actor.logs_in("loner");
    changes.caller("SET ROLE team", About::Role, "SET ROLE team", "RESET ROLE", is_on_team);
    let is_team = |actor: &Actor| matches!(actor.enters, Enters::SetRole(_)) && actor.role == "team";
    changes.caller("RESET ROLE", About::Role, "RESET ROLE", "SET ROLE team", is_team);
}

/// Whether row-level security is in force, and for whom.
fn force(changes: &mut Changes, state: &State) {
    let (on, off) = ("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY", "ALTER TABLE {t} DISABLE ROW LEVEL SECURITY");
    if state.enabled {
        changes.each("DISABLE ROW LEVEL SECURITY", About::Force, off, on);
    } else {
        changes.each("ENABLE ROW LEVEL SECURITY", About::Force, on, off);
    }
    let (on, off) = ("ALTER TABLE {t} FORCE ROW LEVEL SECURITY", "ALTER TABLE {t} NO FORCE ROW LEVEL SECURITY");
    if state.forced {
        changes.each("NO FORCE ROW LEVEL SECURITY", About::Force, off, on);
    } else {
        changes.each("FORCE ROW LEVEL SECURITY", About::Force, on, off);
    }
    changes.naming(&["keeper"]);
    if state.enabled {
        changes.roles(
            "ALTER ROLE BYPASSRLS",
            About::Force,
            "ALTER ROLE reader BYPASSRLS",
            "ALTER ROLE reader NOBYPASSRLS",
        );
        changes.naming(&["reader"]);
        changes.roles(
            "ALTER ROLE NOBYPASSRLS",
            About::Force,
            "ALTER ROLE auditor NOBYPASSRLS",
            "ALTER ROLE auditor BYPASSRLS",
        );
        changes.naming(&["auditor"]);
        changes.caller("SET row_security", About::Force, "SET row_security = off", "SET row_security = on", |_| true);
    }
}

fn rows(changes: &mut Changes, state: &State) {
    use About::Rows;
    changes.each("CREATE POLICY", Rows, &MORE.create("{t}"), "DROP POLICY more ON {t}");
    changes.each("CREATE restrictive POLICY", Rows, &LESS.create("{t}"), "DROP POLICY less ON {t}");
    if let Some(policy) = state.policies.first() {
        let expression = policy.expression;
        changes.each(
            "ALTER POLICY",
            Rows,
            "ALTER POLICY own ON {t} USING (tenant = 'c')",
            &format!("ALTER POLICY own ON {{t}} USING ({expression})"),
        );
        let back = format!("ALTER POLICY own ON {{t}} TO {}", policy.to);
        changes.each("ALTER POLICY TO", Rows, "ALTER POLICY own ON {t} TO other, stranger", &back);
        // By the superuser, whose session then becomes the role.
        let make = TABLES.map(|table| format!("ALTER POLICY own ON {table} USING (tenant = 'c')"));
        let make = format!("BEGIN; {}", make.join("; "));
        changes.caller("ALTER POLICY in a transaction", Rows, &make, "ROLLBACK", |actor| actor.enters == Enters::Pool);
        changes.each("DROP POLICY", Rows, "DROP POLICY own ON {t}", &policy.create("{t}"));
    }
    let function = |language: &str, body: &str, from: &str| {
        let head = if from == "may_see" {
            "may_see(tenant text) RETURNS boolean STABLE"
        } else {
            "same(a text, b text) RETURNS boolean IMMUTABLE"
        };
        format!("CREATE OR REPLACE FUNCTION library.{head} LANGUAGE {language} AS $${body}$$")
    };
    match state.name {
        "by function" => changes.roles(
            "CREATE OR REPLACE FUNCTION",
            Rows,
            &function("sql", "SELECT tenant = 'b'", "may_see"),
            &function("sql", "SELECT tenant = 'a'", "may_see"),
        ),
        "by operator" => changes.roles(
            "CREATE OR REPLACE FUNCTION",
            Rows,
            &function("plpgsql", "BEGIN RETURN a <> b; END", "same"),
            &function("plpgsql", "BEGIN RETURN a = b; END", "same"),
        ),
        "by subquery" => {
            let update = |from, to| {
                format!("UPDATE library.members SET tenant = '{to}' WHERE tenant = '{from}' AND who <> 'renamed'")
            };
            changes.roles("UPDATE of what a policy reads", Rows, &update("a", "c"), &update("c", "a"));
        }
        _ => {}
    }
    if ["by subquery", "by privilege"].contains(&state.name) {
        let (make, undo) =
            ("REVOKE SELECT ON library.members FROM PUBLIC", "GRANT SELECT ON library.members TO PUBLIC");
        changes.roles("REVOKE of what a policy reads", Rows, make, undo);
    }
    match state.setting {
        Some(DECLARED) => {
            changes.caller("SET app.tenant", Rows, "SET app.tenant = 'c'", "SET app.tenant = 'a'", |_| true);
            let (make, undo) = ("BEGIN; SET LOCAL app.tenant = 'c'", "ROLLBACK");
            changes.caller("SET LOCAL app.tenant", Rows, make, undo, |_| true);
        }
        Some(_) => changes.caller("SET app.other", Rows, "SET app.other = 'c'", "SET app.other = 'a'", |_| true),
        None => {}
    }
}
