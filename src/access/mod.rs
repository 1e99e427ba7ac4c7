//! Owns who may see what: on every call, hits included, under the current role.

pub mod rights;
mod statistics;

pub use statistics::{Statistics, may_see_statistics_of};

use crate::namespace::Definition;
use crate::pg::access::{self, RowSecurity};
use crate::pg::guc::{self, Shown};
use crate::pg::scan::Table;
use crate::pg::{catalog, invalidation};
use pgrx::pg_sys::Oid;
use rights::Rights;
use std::ffi::CString;
use std::rc::Rc;

/// What a role that may search at all gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// All rows: what is cached for one such role answers for every other.
    AllRows,
    /// Rows that depend on this, which is part of the key.
    Scoped(Box<Scope>),
    /// Rows that depend on what cannot be named, for the reason given in words: nothing is shared.
    OwnRows(String),
}

/// What decides which rows a role sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub role: Oid,
    pub role_name: String,
    /// Where policies ask for it.
    pub session_user: Option<(Oid, String)>,
    /// What built-in functions read besides, as the settings below.
    pub rendering: Vec<(String, Option<String>)>,
    /// The settings that the namespace declares, and their values; `None` of one that is missing.
    pub settings: Vec<(String, Option<String>)>,
    /// The policies that let rows through, and the versions of their rows.
    pub policies: Vec<(String, String)>,
    /// A digest of the statement as PostgreSQL rewrites it.
    pub statement: u128,
}

/// How a role may read a namespace's source.
pub struct Access {
    pub sight: Sight,
    rights: Option<Rc<Rights>>,
    is_secured: bool,
    /// Whether what roles are to one another decides which rows there are, or whether policies do.
    by_role: bool,
    era: u64,
    grants: u64,
    /// The role, and the version of its row in the catalog.
    role: (Oid, u32),
}

impl Access {
    /// Whether a plan may be used that was made before. PostgreSQL makes one anew when another role executes it. That it does so when the same role
    /// has become another's member, or has lost what raised it above the policies, holds for newer minor versions (15.20, for one), and is
    /// promised nowhere.
    pub fn may_keep_plans(&self) -> bool {
        !self.is_secured
    }

    /// What the key must hold of it.
    pub fn scope(&self) -> Option<&Scope> {
        match &self.sight {
            Sight::Scoped(scope) => Some(scope),
            Sight::AllRows | Sight::OwnRows(_) => None,
        }
    }

    /// The relations behind the source that are read as well.
    pub fn behind(&self) -> impl Iterator<Item = Oid> {
        self.rights.iter().flat_map(|rights| rights.behind.iter().map(|read| read.relation))
    }

    /// Whether the current role still sees what it did, now that the engine has been asked. It raises nothing.
    pub fn is_still(&self, definition: &Definition) -> bool {
        // A membership that was there while the engine was asked, and is gone again, leaves everything as it was; a role that was changed and
        // changed back is of another version.
        let is_moved = || self.grants != invalidation::grants() || self.role != role();
        if self.by_role && self.era != invalidation::era() && is_moved() {
            return false;
        }
        let is_current = self.rights.as_ref().is_none_or(|rights| rights.is_current());
        // What is found out anew may raise an error where row_security is off.
        (is_current || access::is_row_security_on()) && sight(definition).sight == self.sight
    }
}

/// Raises PostgreSQL's own error unless the current role may run the plain query over the namespace's source.
///
/// `more` are columns (from 1) that this call reads besides.
pub fn check(definition: &Definition, more: impl Iterator<Item = i16>, source: &Table) -> Access {
    // In the order of the plain query: it is parsed, rewritten, executed.
    access::check_schema(source);
    let access = sight(definition);
    let behind = access.rights.iter().flat_map(|rights| &rights.behind);
    if !cfg!(feature = "fault-no-privileges") {
        access::check_select(source, definition.read_columns.iter().copied().chain(more), behind);
    }
    access
}

fn role() -> (Oid, u32) {
    let role = access::role();
    (role, access::version_of_role(role))
}

fn sight(definition: &Definition) -> Access {
    let row_security = access::row_security(definition.source, false);
    let is_in_force = row_security == RowSecurity::InForce;
    let is_told = is_in_force && definition.rls_settings.is_some();
    let rights = (is_told || definition.depends_on_role).then(|| Rights::of(definition));
    let is_secured = is_in_force || rights.as_ref().is_some_and(|rights| rights.is_secured);
    let functions = rights.as_ref().map_or(definition.functions.as_slice(), |rights| &rights.functions);
    let sight = match &rights {
        _ if cfg!(feature = "fault-no-scope") => Sight::AllRows,
        // Whether it is an error, the engine tells: of what is planned away, nothing is executed.
        _ if !access::may_execute(functions) => {
            Sight::OwnRows("the current role may not execute a function that the search calls".to_owned())
        }
        _ if let Some(function) =
            definition.json_casts.iter().find(|function| !rights::is_trusted_cast(**function)) =>
        {
            let name = catalog::function(*function).map_or_else(String::new, |function| function.name);
            Sight::OwnRows(format!(
                "function {name}() makes json of a value of the payload, and may make another of it for another role"
            ))
        }
        None if is_in_force => Sight::OwnRows(
            "row-level security is in force for the current role, and the namespace declares no rls_settings"
                .to_owned(),
        ),
        None => Sight::AllRows,
        Some(rights) => match scope(definition, rights) {
            Ok(scope) => Sight::Scoped(Box::new(scope)),
            Err(why) => Sight::OwnRows(why),
        },
    };
    let by_role = rights.is_some() || row_security != RowSecurity::None;
    let role = if by_role { role() } else { Default::default() };
    Access { sight, rights, is_secured, by_role, era: invalidation::era(), grants: invalidation::grants(), role }
}

fn scope(definition: &Definition, rights: &Rights) -> Result<Scope, String> {
    let named = rights.named.as_ref().map_err(Clone::clone)?;
    let declared = definition.rls_settings.iter().flatten();
    let value = |name: &str, is_needed: bool| match guc::shown(&CString::new(name).unwrap_or_default()) {
        Shown::Value(value) => Ok((name.to_owned(), Some(value))),
        Shown::Missing if is_needed => Err(format!("there is no setting {name}, which is needed")),
        Shown::Missing => Ok((name.to_owned(), None)),
        Shown::Hidden => Err(format!("the current role may not see the setting {name}")),
        Shown::Garbled => Err(format!("the setting {name} is not valid UTF-8")),
    };
    let name_of = |role| access::role_name(role).ok_or_else(|| "a role's name is not valid UTF-8".to_owned());
    let (role, session) = (access::role(), access::session_role());
    Ok(Scope {
        role,
        role_name: name_of(role)?,
        session_user: if named.session_user { Some((session, name_of(session)?)) } else { None },
        rendering: guc::READ_BY_IMMUTABLE.into_iter().map(|name| value(name, true)).collect::<Result<_, _>>()?,
        settings: declared.map(|name| value(name, named.needed.contains(name))).collect::<Result<_, _>>()?,
        policies: named.policies.clone(),
        statement: named.statement,
    })
}
