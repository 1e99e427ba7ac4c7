//! Owns the question what decides, for one role, which of a source's rows there are, beside the rows themselves.
//!
//! PostgreSQL rewrites the engine's statement for the role (pg/rewrite.rs): views are taken apart, and of every table that row-level
//! security is in force for, the policies that apply to the role are put in. What stands there then decides the rows, together with what
//! its functions read. An answer may be cached where that can be told and named in the key:
//!
//! - **Policies** may use columns of the row, constants, built-in types and enums, and functions (operators, casts) that PostgreSQL brings and
//!   that are IMMUTABLE: their result depends on their arguments, and nobody but a superuser makes another function of one. Some of those read
//!   settings all the same (`float8out` is one): the few that there are stand in the key ([`READ_BY_IMMUTABLE`](crate::pg::guc::READ_BY_IMMUTABLE)).
//!   Of those that are STABLE there are five, which are in the key by what they read: `current_setting`, of a setting with a constant name that the
//!   namespace declares, `current_user` (also as `user`, `current_role`, `getpgusername()`) and `session_user`. All others are STABLE because they read the
//!   time, a setting, or tables. A subquery reads other rows, whose clock nobody looks at.
//! - **Views** have freshness 'ttl', so they may read whatever tables they like. Their functions may also be an extension's, IMMUTABLE and written in C, for
//!   values of certain types: those only a superuser makes. One in SQL or PL/pgSQL that says IMMUTABLE and reads a setting is a common mistake, and would show one tenant's rows to another.
//!
//! The statement as it was rewritten is in the key, whole, and with it every definition of a view and every policy; so are the policies' rows in the
//! catalog. With exact freshness the clock tells of every change of a row, whichever column it is of ([`Registration::reads`]): a policy
//! may read any, and may be made after the namespace. The marks and the clocks of tenants are of whole rows as it is: a policy reads no other row than
//! the one it lets through, and whoever changes that changes a row of that tenant.
//!
//! [`Registration::reads`]: crate::namespace::Registration::reads

use crate::namespace::Definition;
use crate::pg::rewrite::{self, Part, Read, Rewritten, Use};
use crate::pg::{access, catalog, foreign, inherits, invalidation, policy};
use pgrx::pg_sys::{InvalidOid, Oid};
use std::rc::Rc;
use vcache_core::digest::digest;

/// What decides which rows there are.
pub struct Rights {
    /// For whom: the role, and whether row_security is on.
    of: (Oid, bool),
    generation: u64,
    era: u64,
    /// What is read behind the source, and by whose rights.
    pub behind: Vec<Read>,
    /// The functions that are called on the way.
    pub functions: Vec<Oid>,
    /// Whether row-level security is in force for something that is read.
    pub is_secured: bool,
    /// What stands for all of it in the key, or in words why nothing can.
    pub named: Result<Named, String>,
}

/// What stands in the key for one role's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A digest of the rewritten statement, and of whom the role is to foreign servers.
    pub statement: u128,
    /// The policies, as table and name, and the versions of their rows.
    pub policies: Vec<(String, String)>,
    pub session_user: bool,
    /// Settings without which there is no answer.
    pub needed: Vec<String>,
}

/// More roles than a session works as; beyond them, all is found out anew.
const MOST: usize = 1000;

impl Rights {
    /// Those of the current role. Raises what the plain query raises before it is planned.
    pub fn of(definition: &Definition) -> Rc<Self> {
        let of = (access::role(), access::is_row_security_on());
        let is_it = |kept: &&Rc<Self>| kept.of == of && kept.is_current();
        let kept = definition.rights.borrow().iter().find(is_it).map(Rc::clone);
        kept.unwrap_or_else(|| {
            let found = Rc::new(Self::derive(definition, of));
            let outdated = {
                let mut all = definition.rights.borrow_mut();
                let outdated: Vec<_> = if all.len() >= MOST {
                    std::mem::take(&mut *all)
                } else {
                    all.extract_if(.., |kept| kept.of == of || !kept.is_current()).collect()
                };
                all.push(Rc::clone(&found));
                outdated
            };
            drop(outdated);
            found
        })
    }

    /// Whether nothing has been heard of since that it depends on.
    pub fn is_current(&self) -> bool {
        self.generation == invalidation::generation() && self.era == invalidation::era()
    }

    fn derive(definition: &Definition, of: (Oid, bool)) -> Self {
        loop {
            let heard = (invalidation::heard(), invalidation::era());
            let rewritten = definition.statement.rewritten();
            let found = Self::describe(definition, of, &rewritten);
            invalidation::watch_all(rewritten.reads.iter().map(|read| &read.relation));
            // What was heard of in between may have been of what was not watched yet.
            if (invalidation::heard(), invalidation::era()) == heard {
                return Self { generation: invalidation::generation(), era: invalidation::era(), ..found };
            }
        }
    }

    fn describe(definition: &Definition, of: (Oid, bool), rewritten: &Rewritten) -> Self {
        let Rewritten { text, reads, uses } = rewritten;
        let as_whom = |read: &Read| if read.as_user == InvalidOid { of.0 } else { read.as_user };
        let (mut bytes, mut policies) = (text.as_bytes().to_vec(), Vec::new());
        for read in reads {
            bytes.extend(access::version_of_role(as_whom(read)).to_le_bytes());
            for table in foreign_members(read.relation, read.kind) {
                bytes.extend(foreign::reader(table, as_whom(read)));
            }
            if read.is_secured {
                let table = name_of(read.relation);
                for policy in policy::of(read.relation, as_whom(read)) {
                    let version = format!("{} {}", policy.oid.to_u32(), policy.writer);
                    policies.push((format!("{table}.{}", policy.name), version));
                }
            }
        }
        let declared = definition.rls_settings.as_deref();
        let is_secured = reads.iter().any(|read| read.is_secured);
        let objection = uses.iter().find_map(|(part, found)| {
            let words = objection(*part, found, declared)?;
            Some(format!("{} {words}", subject(*part, declared, reads, &as_whom)))
        });
        // With row-level security on the source itself, nothing is asked of undeclared ones.
        let undeclared = || {
            let secured = reads.iter().find(|read| read.is_secured).filter(|_| declared.is_none())?;
            let table = name_of(secured.relation);
            Some(format!(
                "row-level security is in force for table \"{table}\", and the namespace declares no rls_settings"
            ))
        };
        let of_part = |part: &Part| *part != Part::Statement;
        let used = || uses.iter().filter(|(part, _)| of_part(part)).map(|(_, found)| found);
        let needed = used().filter_map(|found| match found {
            Use::Setting { name, may_be_missing: false } => Some(name.clone()),
            _ => None,
        });
        let named = match objection.or_else(undeclared) {
            Some(words) => Err(words),
            None => Ok(Named {
                statement: digest(&bytes),
                policies,
                session_user: used().any(|found| *found == Use::SessionUser),
                needed: needed.collect(),
            }),
        };
        let functions = uses.iter().filter_map(|(_, found)| match found {
            Use::Function(oid) => Some(*oid),
            _ => None,
        });
        Self {
            of,
            generation: 0,
            era: 0,
            behind: reads.iter().filter(|read| read.relation != definition.source).cloned().collect(),
            functions: functions.collect(),
            is_secured,
            named,
        }
    }
}

/// The foreign tables among a relation and what inherits from it, of whose changes is heard from now on.
pub fn foreign_members(relation: Oid, kind: u8) -> Vec<Oid> {
    match kind {
        b'f' => vec![relation],
        b'r' | b'p' if catalog::class(relation).is_some_and(|class| class.has_children) => {
            let (family, _) = inherits::watched_family(relation);
            let is_foreign = |oid: &Oid| catalog::class(*oid).is_some_and(|class| class.kind == b'f');
            // In their order, which that of a set is not.
            family.members.into_iter().filter(|oid| family.descendants.contains(oid) && is_foreign(oid)).collect()
        }
        _ => Vec::new(),
    }
}

fn name_of(relation: Oid) -> String {
    catalog::class(relation).map_or_else(String::new, |class| class.name)
}

/// Who has something that keeps answers from being cached.
fn subject(part: Part, declared: Option<&[String]>, reads: &[Read], as_whom: &dyn Fn(&Read) -> Oid) -> String {
    let Part::Policy(table) = part else { return "the definition of the source, or of a view in it,".to_owned() };
    let of_policy = |expression: &str| {
        let uses = rewrite::uses_of_policy(table, expression);
        uses.iter().any(|found| objection(part, found, declared).is_some())
    };
    let secured = reads.iter().filter(|read| read.is_secured && read.relation == table);
    let mut policies = secured.flat_map(|read| policy::of(table, as_whom(read)));
    // A library may add policies that are in no catalog.
    let policy = policies.find(|policy| policy.expression.as_deref().is_some_and(of_policy));
    let name = policy.map_or_else(|| "a policy".to_owned(), |policy| format!("policy \"{}\"", policy.name));
    format!("row-level security is in force: {name} of table \"{}\"", name_of(table))
}

/// In words why something keeps answers from being cached, if it does.
fn objection(part: Part, found: &Use, declared: Option<&[String]>) -> Option<String> {
    // The statement itself is vcache's own.
    if part == Part::Statement {
        return None;
    }
    let unless_declared =
        |what: &str| declared.is_none().then(|| format!("reads {what}, and the namespace declares no rls_settings"));
    match found {
        Use::Other(words) => Some((*words).to_owned()),
        Use::CurrentUser => unless_declared("current_user"),
        Use::SessionUser => unless_declared("session_user"),
        Use::Setting { name, .. } => match declared {
            Some(names) if names.contains(name) => None,
            Some(_) => Some(format!("reads the setting {name}, which is not among the namespace's rls_settings")),
            None => unless_declared(&format!("the setting {name}")),
        },
        Use::Value(kind) => of_value(*kind),
        Use::Function(oid) => of_function(part, *oid),
    }
}

fn of_value(kind: Oid) -> Option<String> {
    let base = catalog::base_type(kind);
    let base = catalog::element_type(base).map_or(base, catalog::base_type);
    let is_known = catalog::is_built_in(base) || catalog::is_enum(base);
    // What such a name means is in the catalogs.
    let is_fit = is_known && !catalog::shows_names(base);
    (!is_fit).then(|| format!("has a value of type {}", catalog::type_text(kind)))
}

fn of_function(part: Part, oid: Oid) -> Option<String> {
    let function = catalog::function(oid)?;
    let is_trusted = catalog::is_built_in(oid) || function.is_closed() && part == Part::View;
    if rewrite::TOLD.contains(&oid.to_u32()) || function.is_immutable && is_trusted {
        return None;
    }
    let name = function.name;
    Some(if is_trusted {
        format!("calls function {name}(), which is not immutable")
    } else {
        format!("calls function {}.{name}(), which is not PostgreSQL's own", catalog::schema_name(function.schema))
    })
}

/// Whether a function that makes json of a value depends on the value alone: one in C, as extensions bring.
pub fn is_trusted_cast(oid: Oid) -> bool {
    catalog::is_built_in(oid)
        || catalog::function(oid).is_some_and(|function| function.is_immutable && function.is_closed())
}
