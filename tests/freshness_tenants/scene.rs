//! A table of several tenants' rows, and the namespaces that each reads its own by.

use harness::{Database, Metric, Session, Source, assert_same, literal};

/// Where searches look: far from the rows that a scene begins with.
const QUERY: &str = "[9,9,9]";
const TOP_K: usize = 5;

/// The tenants of most scenes.
pub const TENANTS: [&str; 3] = ["ann", "bob", "cid"];

/// A table `notes (id, title, n, tenant, embedding)`, and who searches it.
pub struct Scene {
    source: Source,
    searcher: Session,
    views: Vec<View>,
}

/// A namespace, and the rows that it is.
struct View {
    namespace: String,
    condition: String,
}

impl Scene {
    /// Ten rows of each of [`TENANTS`], registered as `docs/*`.
    pub fn new(database: &Database) -> (Self, Session) {
        let (mut scene, mut session) = Self::of_kind(database, "text", &TENANTS);
        register(&mut session, "docs/*", "namespace_column => 'tenant'");
        for tenant in TENANTS {
            scene.view(&format!("docs/{tenant}"), &format!("tenant = '{tenant}'"));
        }
        (scene, session)
    }

    /// Ten rows of each of these tenants, in a column of another type; nothing is registered.
    pub fn of_kind(database: &Database, kind: &str, tenants: &[&str]) -> (Self, Session) {
        let mut session = database.session();
        session.run(&format!("{}; {}", table(&session, kind), rows(tenants)));
        (Self::of_table(database), session)
    }

    /// A table `notes` that somebody else makes.
    pub fn of_table(database: &Database) -> Self {
        let source = Source { table: "notes".to_owned(), dimensions: 3, metric: Metric::L2 };
        Self { source, searcher: database.session(), views: Vec::new() }
    }

    /// Adds a namespace to those that are looked at.
    pub fn view(&mut self, namespace: &str, condition: &str) {
        self.views.push(View { namespace: namespace.to_owned(), condition: condition.to_owned() });
    }

    /// The session that looks.
    pub fn searcher(&mut self) -> &mut Session {
        &mut self.searcher
    }

    /// Asserts that every search is what the plain query answers; afterwards there are entries, where any are used.
    #[track_caller]
    pub fn right(&mut self) {
        for View { namespace, condition } in &self.views {
            let found = self.searcher.search(namespace, QUERY, TOP_K);
            assert_same(&found, &self.source.plain_where(&mut self.searcher, QUERY, TOP_K, condition), TOP_K);
            for row in found {
                let payload = format!("SELECT jsonb_build_object('title', title) FROM notes WHERE id = {}", row.id);
                assert_eq!(row.payload, Some(self.searcher.value(&payload)), "the payload of {}", row.id);
            }
        }
    }

    /// How a search of each namespace would end, in the words of vcache_explain: the namespaces that would miss, and that would be a bypass.
    pub fn outcomes(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut misses, mut bypasses) = (Vec::new(), Vec::new());
        for View { namespace, .. } in &self.views {
            let (name, query) = (literal(namespace), literal(QUERY));
            let outcome = self.searcher.value(&format!("SELECT outcome FROM vcache_explain({name}, {query}, {TOP_K})"));
            match outcome.as_str() {
                "hit" => {}
                "miss" => misses.push(namespace.clone()),
                _ => bypasses.push(namespace.clone()),
            }
        }
        (misses, bypasses)
    }

    /// Fills the cache, and asserts that all answers come from it.
    #[track_caller]
    pub fn warm(&mut self) {
        self.right();
        assert_eq!(self.outcomes(), (vec![], vec![]));
    }

    /// Asserts which entries are stale, and that all answers are right.
    #[track_caller]
    pub fn assert_stale(&mut self, stale: &[&str]) {
        assert_eq!(self.outcomes(), (stale.iter().map(|name| (*name).to_owned()).collect(), vec![]));
        self.right();
    }

    /// Asserts that no search uses the cache, and that all answers are right.
    #[track_caller]
    pub fn assert_bypassed(&mut self) {
        let all: Vec<_> = self.views.iter().map(|view| view.namespace.clone()).collect();
        assert_eq!(self.outcomes(), (vec![], all));
        self.right();
    }

    /// Runs statements as one transaction, and asserts whose entries they make stale.
    #[track_caller]
    pub fn changes(&mut self, session: &mut Session, statements: &str, stale: &[&str]) {
        self.warm();
        println!("{statements}");
        session.run(statements);
        self.assert_stale(stale);
    }
}

/// The statement that makes the table.
pub fn table(session: &Session, kind: &str) -> String {
    let vector = session.engine().extension();
    format!(
        "CREATE TABLE notes (id int PRIMARY KEY, title text DEFAULT 'title', n int DEFAULT 0, tenant {kind}, embedding {vector}(3))"
    )
}

/// The statement that fills it with ten rows of each of these tenants.
pub fn rows(tenants: &[&str]) -> String {
    let mut values = Vec::new();
    for (t, tenant) in tenants.iter().enumerate() {
        for i in 0..10 {
            values.push(format!("({}, 'title', 0, {}, '[{i},{t},1]')", t * 10 + i, literal(tenant)));
        }
    }
    format!("INSERT INTO notes VALUES {}", values.join(", "))
}

/// A row that is nearer to the query than those which a scene begins with; the tenant is SQL.
pub fn near(id: u32, tenant: &str) -> String {
    format!("INSERT INTO notes (id, tenant, embedding) VALUES ({id}, {tenant}, '[8,8,8.{id}]')")
}

/// Registers the table; `options` is the rest of the arguments.
pub fn register(session: &mut Session, namespace: &str, options: &str) {
    session.run(&format!(
        "SELECT vcache_create_namespace({}, 'notes', 'embedding', metric => 'l2', payload_columns => '{{title}}', {options})",
        literal(namespace)
    ));
}
