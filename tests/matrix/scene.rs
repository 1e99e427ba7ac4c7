//! Owns what the cells stand on: two tables that differ in nothing but being partitioned, the roles with their privileges, and the
//! namespaces.

use harness::{Database, Generator, Session, VECTOR, brackets, literal};

/// The rows of each table.
const ROWS: usize = 132;

/// Rows asked for: more than a role has of its own, fewer than a tenant has.
const TOP_K: usize = 15;

const DIMENSIONS: usize = 4;

/// The setting that [`Namespace::declared`] declares.
pub const DECLARED: &str = "app.tenant";

/// What a role may read from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    Nothing,
    Table,
    /// All columns but these.
    Without(&'static [&'static str]),
}

/// A role, as it is before a change.
pub struct Role {
    pub name: &'static str,
    options: &'static str,
    pub grant: Grant,
    /// Whether it may use the schema.
    pub usage: bool,
}

const fn role(name: &'static str, options: &'static str, grant: Grant, usage: bool) -> Role {
    Role { name, options, grant, usage }
}

/// `keeper` owns the tables. Nobody who is granted columns may read `secret`.
pub const ROLES: [Role; 16] = [
    role("keeper", "", Grant::Table, true),
    role("reader", "", Grant::Table, true),
    role("other", "", Grant::Table, true),
    role("columns", "", Grant::Without(&["secret"]), true),
    role("no_id", "", Grant::Without(&["secret", "id"]), true),
    role("no_vector", "", Grant::Without(&["secret", "embedding"]), true),
    role("no_payload", "", Grant::Without(&["secret", "title"]), true),
    role("no_filter", "", Grant::Without(&["secret", "tenant"]), true),
    role("no_metadata", "", Grant::Without(&["secret", "meta"]), true),
    role("team", "", Grant::Table, true),
    role("member", "INHERIT IN ROLE team", Grant::Nothing, true),
    role("loner", "NOINHERIT IN ROLE team", Grant::Nothing, true),
    role("guest", "INHERIT IN ROLE team", Grant::Table, true),
    role("stranger", "", Grant::Nothing, true),
    role("auditor", "BYPASSRLS", Grant::Table, true),
    role("outsider", "", Grant::Table, false),
];

/// Who owns the tables after the change that is about that.
pub const HEIR: &str = "heir";

/// Who `reader` is after the change that is about that.
pub const RENAMED: &str = "renamed";

/// The column `reader` holds these names in turn.
const READERS: [&str; 12] = [
    "keeper", "reader", "other", "columns", "team", "member", "loner", "stranger", "auditor", RENAMED, "postgres", HEIR,
];

/// The columns of both tables.
pub const COLUMNS: [&str; 7] = ["id", "title", "tenant", "reader", "secret", "meta", "embedding"];

/// The tables.
pub const TABLES: [&str; 2] = ["library.docs", "library.parts"];

/// A table that policies look at.
pub const READ_BY_POLICIES: &str = "members";

/// All columns but these.
fn columns(without: &[&str]) -> String {
    COLUMNS.iter().filter(|column| !without.contains(column)).copied().collect::<Vec<_>>().join(", ")
}

/// Which rows a search is to be among.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Filter {
    None,
    Column,
    Metadata,
    Secret,
}

impl Filter {
    pub const ALL: [Self; 4] = [Self::None, Self::Column, Self::Metadata, Self::Secret];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Column => "by tenant",
            Self::Metadata => "by metadata",
            Self::Secret => "by secret",
        }
    }

    /// The column that it reads.
    pub fn column(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Column => Some("tenant"),
            Self::Metadata => Some("meta"),
            Self::Secret => Some("secret"),
        }
    }

    fn json(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Column => r#"{"tenant": {"$in": ["a", "b"]}}"#,
            Self::Metadata => r#"{"lang": "en"}"#,
            Self::Secret => r#"{"secret": "s1"}"#,
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::None => "true",
            Self::Column => "tenant IN ('a', 'b')",
            Self::Metadata => "meta->>'lang' = 'en'",
            Self::Secret => "secret = 's1'",
        }
    }
}

/// A search of one of the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Namespace {
    table: &'static str,
    freshness: &'static str,
    /// Whether it declares what policies read.
    pub declared: bool,
}

impl Namespace {
    /// Its name.
    pub fn name(self) -> String {
        let Self { table, freshness, declared } = self;
        let table = table.trim_start_matches("library.");
        format!("{table} {freshness}{}", if declared { " declared" } else { "" })
    }

    /// What the tests search it for; one vector, so that entries of one cell meet the searches of another.
    pub fn search(self, filter: Filter) -> String {
        format!("SELECT id, distance, payload FROM public.vcache_search({})", self.arguments(filter))
    }

    /// What tells what that would do.
    pub fn explain(self, filter: Filter) -> String {
        format!("SELECT outcome FROM public.vcache_explain({})", self.arguments(filter))
    }

    fn arguments(self, filter: Filter) -> String {
        let (name, vector) = (literal(&self.name()), literal(&query()));
        let filter =
            if filter == Filter::None { String::new() } else { format!(", filter => {}", literal(filter.json())) };
        format!("{name}, {vector}, {TOP_K}{filter}")
    }

    /// The plain query that this stands for.
    pub fn plain(self, filter: Filter) -> String {
        let (table, condition) = (self.table, filter.condition());
        let distance = format!("embedding <-> {}::{VECTOR}", literal(&query()));
        format!(
            "SELECT id::text, ({distance})::float8, jsonb_build_object('title', title) FROM {table} \
             WHERE {condition} ORDER BY {distance} LIMIT {TOP_K}"
        )
    }

    /// The name of a view over one of both.
    pub fn view(self, of: &str, filter: Filter, is_invokers: bool) -> String {
        format!("\"{of} {} {}{}\"", self.name(), filter.name(), if is_invokers { " invoker" } else { "" })
    }
}

fn query() -> String {
    brackets(&Generator::new(1).vector(DIMENSIONS))
}

/// Makes it all in a database; the namespaces.
pub fn create(database: &Database) -> Vec<Namespace> {
    let mut session = database.session();
    roles(&mut session);
    tables(&mut session);
    functions(&mut session);
    let namespaces = register(&mut session);
    views(&mut session, &namespaces);
    namespaces
}

fn roles(session: &mut Session) {
    session.run("CREATE SCHEMA library");
    for Role { name, options, usage, .. } in &ROLES {
        session.run(&format!("CREATE ROLE {name} LOGIN {options}"));
        if *usage {
            session.run(&format!("GRANT USAGE ON SCHEMA library TO {name}"));
        }
    }
    session.run(&format!("CREATE ROLE {HEIR} LOGIN; GRANT USAGE ON SCHEMA library TO {HEIR}"));
}

fn tables(session: &mut Session) {
    let columns_of = format!(
        "id int PRIMARY KEY, title text, tenant text, reader name, secret text, meta jsonb, embedding {VECTOR}({DIMENSIONS})"
    );
    session.run(&format!(
        "CREATE TABLE library.docs ({columns_of});
         CREATE TABLE library.parts ({columns_of}) PARTITION BY RANGE (id);
         CREATE TABLE library.parts_1 PARTITION OF library.parts FOR VALUES FROM (MINVALUE) TO ({half});
         CREATE TABLE library.parts_2 PARTITION OF library.parts FOR VALUES FROM ({half}) TO (MAXVALUE)",
        half = ROWS / 2
    ));
    let mut generator = Generator::new(ROWS as u64);
    let values: Vec<String> = (0..ROWS)
        .map(|id| {
            let (reader, tenant) = (READERS[id % READERS.len()], ["a", "b", "c"][id / READERS.len() % 3]);
            let (lang, secret) = (["en", "de"][id / 5 % 2], id / 3 % 2);
            let vector = brackets(&generator.vector(DIMENSIONS));
            format!("({id}, 'title {id}', '{tenant}', '{reader}', 's{secret}', '{{\"lang\": \"{lang}\"}}', '{vector}')")
        })
        .collect();
    for table in TABLES {
        session.run(&format!(
            "INSERT INTO {table} VALUES {}; ANALYZE {table}; ALTER TABLE {table} OWNER TO keeper",
            values.join(",")
        ));
        let distances = format!(
            "SELECT count(DISTINCT embedding <-> {}::{VECTOR}) FROM {table} WHERE embedding IS NOT NULL",
            literal(&query())
        );
        assert_eq!(session.number(&distances), ROWS as i64, "no two rows are equally far");
        for Role { name, grant, .. } in &ROLES {
            match grant {
                Grant::Nothing => {}
                Grant::Table => session.run(&format!("GRANT SELECT ON {table} TO {name}")),
                Grant::Without(without) => {
                    session.run(&format!("GRANT SELECT ({}) ON {table} TO {name}", columns(without)));
                }
            }
        }
    }
    // What policies look at.
    session.run(
        "CREATE TABLE library.members (who name, tenant text);
         INSERT INTO library.members SELECT rolname, 'a' FROM pg_roles WHERE rolname !~ '^pg_';
         INSERT INTO library.members VALUES ('renamed', 'b');
         GRANT SELECT ON library.members TO PUBLIC;
         CREATE FUNCTION library.may_see(tenant text) RETURNS boolean STABLE LANGUAGE sql AS $$SELECT tenant = 'a'$$;
         CREATE FUNCTION library.same(a text, b text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN a = b; END$$;
         CREATE OPERATOR library.=== (FUNCTION = library.same, LEFTARG = text, RIGHTARG = text)",
    );
}

/// Who lends its rights by a function.
pub const LENDERS: [&str; 4] = ["keeper", "reader", "auditor", "stranger"];

fn functions(session: &mut Session) {
    let make = |name: &str, security: &str| {
        format!(
            "CREATE FUNCTION {name}(query text) RETURNS TABLE (id text, distance float8, payload jsonb) LANGUAGE plpgsql \
             SECURITY {security} SET search_path = pg_catalog, public AS $$BEGIN RETURN QUERY EXECUTE query; END$$"
        )
    };
    session.run(&make("asked", "INVOKER"));
    for lender in LENDERS {
        let name = format!("lent_by_{lender}");
        session.run(&format!("{}; ALTER FUNCTION {name} OWNER TO {lender}", make(&name, "DEFINER")));
    }
}

fn register(session: &mut Session) -> Vec<Namespace> {
    // Before version 0.7 nothing could be declared.
    let can_declare = session.value(
        "SELECT bool_or('rls_settings' = ANY (proargnames)) FROM pg_proc WHERE proname = 'vcache_create_namespace'",
    ) == "t";
    let mut namespaces = Vec::new();
    for declared in if can_declare { &[false, true][..] } else { &[false] } {
        for table in TABLES {
            for freshness in ["exact", "ttl"] {
                let namespace = Namespace { table, freshness, declared: *declared };
                let declares = if *declared { format!(", rls_settings => '{{{DECLARED}}}'") } else { String::new() };
                session.run(&format!(
                    "SELECT vcache_create_namespace('{}', '{table}', 'embedding', metric => 'l2', payload_columns => '{{title}}', \
                     filter_columns => '{{tenant,secret}}', metadata_column => 'meta', freshness => '{freshness}', \
                     ttl => '1 day'{declares})",
                    namespace.name()
                ));
                namespaces.push(namespace);
            }
        }
    }
    namespaces
}

fn views(session: &mut Session, namespaces: &[Namespace]) {
    let mut sql = String::new();
    for namespace in namespaces {
        for filter in Filter::ALL {
            let plain = format!("SELECT * FROM asked({})", literal(&namespace.plain(filter)));
            for (of, query) in [("search", namespace.search(filter)), ("plain", plain)] {
                for is_invokers in [false, true] {
                    let view = namespace.view(of, filter, is_invokers);
                    sql.push_str(&format!(
                        "CREATE VIEW {view} WITH (security_invoker = {is_invokers}) AS {query};
                         ALTER VIEW {view} OWNER TO keeper; GRANT SELECT ON {view} TO PUBLIC;"
                    ));
                }
            }
        }
    }
    session.run(&sql);
}
