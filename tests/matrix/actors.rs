//! Owns who asks: as which role, how it came to be it, and by what it asks.

use crate::scene::{Filter, Grant, HEIR, LENDERS, Namespace, ROLES};

/// How a session comes to be a role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enters {
    /// It logs in.
    Login,
    /// Another role logs in, and sets it.
    SetRole(&'static str),
    /// The superuser logs in, and sets it for the session.
    Authorization,
    /// In one session of the superuser's, which becomes every role in turn.
    Pool,
}

/// By what it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    Directly,
    /// By a statement that is prepared once.
    Prepared,
    /// By a function of another role's, SECURITY DEFINER.
    Lent(&'static str),
    /// By a view of the owner's.
    View,
    /// By a view with security_invoker.
    InvokerView,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who asks.
    pub role: &'static str,
    pub enters: Enters,
    pub asks: Asks,
}

impl Actor {
    /// Its name in that of a cell.
    pub fn name(&self) -> String {
        let who = match self.enters {
            Enters::Login => self.role.to_owned(),
            Enters::SetRole(from) => format!("{from} as {}", self.role),
            Enters::Authorization => format!("postgres for {}", self.role),
            Enters::Pool => format!("pooled {}", self.role),
        };
        match self.asks {
            Asks::Directly => who,
            Asks::Prepared => format!("{who} prepared"),
            Asks::Lent(by) => format!("{who} by function of {by}"),
            Asks::View => format!("{who} by view"),
            Asks::InvokerView => format!("{who} by invoker view"),
        }
    }

    /// Whether its session is this role's own.
    pub fn logs_in(&self, role: &str) -> bool {
        self.enters == Enters::Login && self.role == role
    }

    /// The role whose privileges count.
    pub fn counts(&self) -> &'static str {
        if let Asks::Lent(by) = self.asks { by } else { self.role }
    }

    /// Whether it may search, from the start and with this filter.
    pub fn may_search(&self, filter: Filter) -> bool {
        let lacks = |name: &str| {
            ROLES.iter().find(|role| role.name == name).is_some_and(|role| match role.grant {
                Grant::Nothing => true,
                Grant::Table => !role.usage,
                Grant::Without(columns) => ["id", "embedding", "title"]
                    .into_iter()
                    .chain(filter.column())
                    .any(|column| columns.contains(&column)),
            })
        };
        match self.counts() {
            "postgres" => true,
            "member" => !lacks("team"),
            HEIR => false,
            name => !lacks(name),
        }
    }

    /// How it asks: the search, and the plain query.
    pub fn texts(&self, namespace: Namespace, filter: Filter) -> (String, String) {
        let (search, plain) = (namespace.search(filter), namespace.plain(filter));
        match self.asks {
            Asks::Directly | Asks::Prepared => (search, plain),
            Asks::Lent(by) => {
                let lent = |query: &str| format!("SELECT * FROM lent_by_{by}({})", harness::literal(query));
                (lent(&search), lent(&plain))
            }
            Asks::View | Asks::InvokerView => {
                let view = |of| format!("SELECT * FROM {}", namespace.view(of, filter, self.asks == Asks::InvokerView));
                (view("search"), view("plain"))
            }
        }
    }
}

/// All of them.
pub fn all() -> Vec<Actor> {
    let mut actors = Vec::new();
    let mut add = |role, enters, asks| actors.push(Actor { role, enters, asks });
    for enters in [Enters::Login, Enters::Pool] {
        for role in ROLES.iter().map(|role| role.name).chain([HEIR, "postgres"]) {
            add(role, enters, Asks::Directly);
        }
    }
    for (from, to) in [("postgres", "reader"), ("postgres", "stranger"), ("member", "team"), ("loner", "team")] {
        add(to, Enters::SetRole(from), Asks::Directly);
    }
    add("reader", Enters::Authorization, Asks::Directly);
    for role in ["reader", "columns", "member", "stranger"] {
        add(role, Enters::Login, Asks::Prepared);
        add(role, Enters::Pool, Asks::Prepared);
    }
    for lender in LENDERS {
        add(if lender == "stranger" { "postgres" } else { "stranger" }, Enters::Login, Asks::Lent(lender));
    }
    for role in ["reader", "stranger"] {
        add(role, Enters::Login, Asks::View);
        add(role, Enters::Login, Asks::InvokerView);
    }
    actors
}
