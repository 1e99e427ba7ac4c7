//! Owns what is searched and written: tables of every shape that a source can have, the namespaces over them, the vectors
//! that are searched for, and the SQL that compares a search with the plain query.

use harness::{Generator, Metric, Session, VECTOR, brackets};

/// Few, so that exact scans are quick.
pub const DIMENSIONS: usize = 4;
/// The vectors that are searched for: few, so that most searches meet an entry.
pub const QUERIES: usize = 6;
/// The tenants of the tables that have some.
pub const TENANTS: [&str; 3] = ["red", "green", "blue"];

/// What a definition says of a partition while a DETACH CONCURRENTLY of it is under way.
pub const DETACHING: &str = "detaching";

/// A name that is searched, and what the search stands for.
pub struct Namespace {
    /// As vcache_search is given it.
    pub name: &'static str,
    /// What the plain query reads.
    pub table: &'static str,
    pub metric: Metric,
    /// Which of its rows.
    condition: &'static str,
    /// The filter that says so, where the name does not; empty for none.
    filter: &'static str,
    /// The payload, as an expression over `r`.
    payload: &'static str,
}

impl Namespace {
    /// The rest of a call's arguments.
    fn filter(&self) -> String {
        if self.filter.is_empty() { String::new() } else { format!(", filter => '{}'", self.filter) }
    }
}

const TITLE: &str = "jsonb_build_object('title', r.title)";
const NOTHING: &str = "NULL::jsonb";
const WHOLE: &str = "to_jsonb(r) - 'embedding'";

const fn over(
    name: &'static str,
    table: &'static str,
    metric: Metric,
    condition: &'static str,
    payload: &'static str,
) -> Namespace {
    Namespace { name, table, metric, condition, filter: "", payload }
}

/// One that is always searched with a filter.
const fn filtered(filter: &'static str, namespace: Namespace) -> Namespace {
    Namespace { filter, ..namespace }
}

/// Every name that is searched.
pub const NAMESPACES: [Namespace; 22] = [
    over("flat", "flat", Metric::L2, "true", TITLE),
    over("flat_bare", "flat", Metric::Cosine, "true", NOTHING),
    over("shop", "shop", Metric::InnerProduct, "true", NOTHING),
    over("shop/red", "shop", Metric::L2, "r.tenant = 'red'", WHOLE),
    over("shop/green", "shop", Metric::L2, "r.tenant = 'green'", WHOLE),
    over("shop/blue", "shop", Metric::L2, "r.tenant = 'blue'", WHOLE),
    over("rooms", "rooms", Metric::L2, "true", NOTHING),
    over("red", "rooms", Metric::Cosine, "r.tenant = 'red'", TITLE),
    over("rooms/green", "rooms", Metric::L2, "r.tenant = 'green'", TITLE),
    over("rooms/blue", "rooms", Metric::L2, "r.tenant = 'blue'", TITLE),
    over("parts", "parts", Metric::L2, "true", TITLE),
    over("parts_b", "parts_b", Metric::L2, "true", TITLE),
    over("parts_c", "parts_c", Metric::Cosine, "true", NOTHING),
    over("tree", "tree", Metric::L2, "true", TITLE),
    over("tree_a", "tree_a", Metric::L2, "true", NOTHING),
    over("other", "other", Metric::L2, "true", TITLE),
    over("owned", "owned", Metric::L2, "true", "jsonb_build_object('title', r.title, 'owner', r.owner)"),
    filtered(r#"{"n": {"$lt": 50}}"#, over("flat_n", "flat", Metric::L2, "r.n < 50", TITLE)),
    filtered(r#"{"m": {"$gte": 50}}"#, over("flat_meta", "flat", Metric::L2, "r.n >= 50", NOTHING)),
    filtered(
        r#"{"$or": [{"n": {"$gt": 30, "$lte": 60}}, {"tenant": {"$in": ["red", "blue"]}}]}"#,
        over("parts_n", "parts", Metric::L2, "r.n > 30 AND r.n <= 60 OR r.tenant IN ('red', 'blue')", NOTHING),
    ),
    filtered(
        r#"{"n": {"$ne": 7}}"#,
        over("rooms_n/red", "rooms", Metric::L2, "r.tenant = 'red' AND r.n IS DISTINCT FROM 7", NOTHING),
    ),
    filtered(r#"{"title": {"$lt": "t5"}}"#, over("tree_t", "tree", Metric::L2, "r.title < 't5'", NOTHING)),
];

/// The namespaces as they are registered: name, source, payload columns, column of the tenant.
const REGISTERED: [(&str, &str, &str, &str); 19] = [
    ("flat", "flat", "{title}", ""),
    ("flat_bare", "flat", "", ""),
    ("shop", "shop", "", ""),
    ("shop/*", "shop", "{*}", "tenant"),
    ("rooms", "rooms", "", ""),
    ("red", "rooms", "{title}", "tenant"),
    ("rooms/*", "rooms", "{title}", "tenant"),
    ("parts", "parts", "{title}", ""),
    ("parts_b", "parts_b", "{title}", ""),
    ("parts_c", "parts_c", "", ""),
    ("tree", "tree", "{title}", ""),
    ("tree_a", "tree_a", "", ""),
    ("other", "other", "{title}", ""),
    ("owned", "owned", "{title,owner}", ""),
    ("flat_n", "flat", "{title}", ""),
    ("flat_meta", "flat", "", ""),
    ("parts_n", "parts", "", ""),
    ("rooms_n/*", "rooms", "", "tenant"),
    ("tree_t", "tree", "", ""),
];

/// What some of them declare for filters: the option, and its value.
const FILTERABLE: [(&str, &str, &str); 5] = [
    ("flat_n", "filter_columns", "{n}"),
    ("flat_meta", "metadata_column", "meta"),
    ("parts_n", "filter_columns", "{n,tenant}"),
    ("rooms_n/*", "filter_columns", "{n}"),
    ("tree_t", "filter_columns", "{title}"),
];

/// What is written to: a table, or a view of one.
pub struct Target {
    pub name: &'static str,
    /// The ids that rows are looked for by, inserted by upserts, and filled with.
    pub known: (i64, i64),
    /// The ids of new rows.
    pub fresh: (i64, i64),
    pub tenants: &'static [&'static str],
    /// The columns of its key.
    pub key: &'static str,
    /// Whether it is a table, that takes COPY, MERGE and TRUNCATE.
    pub is_table: bool,
}

const fn target(name: &'static str, known: (i64, i64), fresh: (i64, i64)) -> Target {
    Target { name, known, fresh, tenants: &TENANTS, key: "id", is_table: true }
}

const FRESH: (i64, i64) = (1000, 1_000_000_000);

/// Everything that is written to, sources twice: they are what most writes go to.
pub const TARGETS: [Target; 19] = [
    target("flat", (1, 60), FRESH),
    Target { is_table: false, ..target("flat_view", (1, 60), FRESH) },
    target("shop", (1, 60), FRESH),
    Target { key: "id, tenant", ..target("rooms", (1, 60), FRESH) },
    Target { key: "id, tenant", tenants: &["red"], ..target("rooms_red", (1, 60), FRESH) },
    Target { key: "id, tenant", tenants: &["green", "blue"], ..target("rooms_rest", (1, 60), FRESH) },
    target("parts", (0, 60), FRESH),
    target("parts_a", (0, 30), (0, 30)),
    target("parts_b", (30, 60), (60, 1000)),
    target("parts_c", (1000, 1030), FRESH),
    target("parts_c1", (-2000, -1990), (-2000, -1990)),
    target("parts_x", (-30, 0), (-1000, -30)),
    target("tree", (1, 60), FRESH),
    target("tree_a", (1, 30), FRESH),
    target("tree_aa", (30, 60), FRESH),
    target("tree_b", (60, 90), FRESH),
    target("other", (1, 60), FRESH),
    target("owned", (1, 60), FRESH),
    target("flat", (1, 60), FRESH),
];

/// The tables that are filled at the start: those without children of their own, and the parents that hold rows.
const FILLED: [&str; 12] =
    ["flat", "shop", "rooms", "parts", "parts_c", "parts_x", "tree", "tree_a", "tree_aa", "tree_b", "other", "owned"];

/// A row as the list of a VALUES: id, n, tenant, title, embedding.
pub fn row(generator: &mut Generator, id: i64, tenant: &str) -> String {
    let (n, title) = (generator.below(100), generator.below(1000));
    format!("({id}, {n}, '{tenant}', 't{title}', '{}'::{VECTOR})", vector(generator))
}

/// A vector as a row has it.
pub fn vector(generator: &mut Generator) -> String {
    brackets(&generator.whole_vector(DIMENSIONS))
}

/// See the head of this file.
pub struct Scene {
    queries: Vec<String>,
    freshness: &'static str,
}

impl Scene {
    /// The vectors are those of this seed; every namespace has this freshness.
    pub fn new(seed: u64, freshness: &'static str) -> Self {
        let mut generator = Generator::new(seed);
        Self { queries: (0..QUERIES).map(|_| vector(&mut generator)).collect(), freshness }
    }

    /// Makes the tables, fills them, registers the namespaces.
    pub fn create(&self, session: &mut Session, generator: &mut Generator) {
        let columns = format!("id int, n int, tenant text, title text, embedding {VECTOR}({DIMENSIONS})");
        session.run(&format!(
            "CREATE TABLE flat ({columns},
                 meta jsonb GENERATED ALWAYS AS (('{{\"m\": ' || n::text || '}}')::jsonb) STORED, PRIMARY KEY (id));
             CREATE VIEW flat_view AS SELECT * FROM flat;
             CREATE TABLE shop ({columns}, PRIMARY KEY (id));
             CREATE TABLE rooms ({columns}, PRIMARY KEY (id, tenant)) PARTITION BY LIST (tenant);
             CREATE TABLE rooms_red PARTITION OF rooms FOR VALUES IN ('red');
             CREATE TABLE rooms_rest PARTITION OF rooms DEFAULT;
             CREATE TABLE parts ({columns}, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE parts_x PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (0);
             CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (30);
             CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (30) TO (1000);
             CREATE TABLE parts_c PARTITION OF parts FOR VALUES FROM (1000) TO (MAXVALUE) PARTITION BY HASH (id);
             CREATE TABLE parts_c0 PARTITION OF parts_c FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parts_c1 PARTITION OF parts_c FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             CREATE TABLE tree ({columns}, PRIMARY KEY (id));
             CREATE TABLE other ({columns}, PRIMARY KEY (id));
             CREATE TABLE tree_a (PRIMARY KEY (id)) INHERITS (tree, other);
             CREATE TABLE tree_aa (PRIMARY KEY (id)) INHERITS (tree_a);
             CREATE TABLE tree_b (PRIMARY KEY (id)) INHERITS (tree);
             CREATE TABLE owner (id int PRIMARY KEY);
             CREATE TABLE owned ({columns},
                 owner int REFERENCES owner ON UPDATE CASCADE ON DELETE CASCADE, PRIMARY KEY (id));
             CREATE TABLE feed (id int, embedding {VECTOR}({DIMENSIONS}))"
        ));
        for target in FILLED.iter().filter_map(|name| TARGETS.iter().find(|target| target.name == *name)) {
            session.run(&format!("INSERT INTO {}", fill(target, generator)));
        }
        session.run("ANALYZE");
        for (name, source, payload, tenant) in REGISTERED {
            let metric =
                NAMESPACES.iter().find(|searched| is_registered_as(searched.name, name)).expect("searched").metric;
            let mut options = format!("metric => '{}', freshness => '{}'", metric.name(), self.freshness);
            for (option, value) in [("payload_columns", payload), ("namespace_column", tenant)] {
                if !value.is_empty() {
                    options.push_str(&format!(", {option} => '{value}'"));
                }
            }
            for (_, option, value) in FILTERABLE.iter().filter(|(of, ..)| *of == name) {
                options.push_str(&format!(", {option} => '{value}'"));
            }
            session.run(&format!(
                "SELECT vcache_create_namespace('{name}', '{source}', 'embedding', id_column => 'id', {options})"
            ));
        }
        self.create_functions(session);
    }

    /// What writes and compares inside the server. Names that begin with `a` and `z` stand on both sides of vcache's own triggers.
    fn create_functions(&self, session: &mut Session) {
        session.run(
            "CREATE FUNCTION same(fd float8[], ft text[], pd float8[], pt text[], k int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
                 SELECT fd = pd[1:k] AND NOT EXISTS (SELECT unnest(ft) EXCEPT ALL SELECT unnest(pt))
             $$;
             CREATE FUNCTION definition(source regclass) RETURNS text LANGUAGE sql STABLE AS $$
                 WITH RECURSIVE members(oid, pending) AS (
                     SELECT source::oid, false
                     UNION SELECT i.inhrelid, i.inhdetachpending FROM pg_inherits i JOIN members m ON i.inhparent = m.oid
                 )
                 SELECT string_agg(concat_ws(' ', c.oid, c.relfilenode, CASE WHEN m.pending THEN 'detaching' END), ', ' ORDER BY c.oid)
                 FROM members m JOIN pg_class c USING (oid)
             $$;
             CREATE FUNCTION planned_definition(source regclass) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN RETURN definition(source); END $$;
             CREATE FUNCTION written(statement text) RETURNS int LANGUAGE plpgsql AS $$
             BEGIN EXECUTE statement; RETURN 1; END $$;
             CREATE FUNCTION undone(statement text) RETURNS int LANGUAGE plpgsql AS $$
             BEGIN
                 BEGIN EXECUTE statement; RAISE EXCEPTION 'undo'; EXCEPTION WHEN raise_exception THEN NULL; END;
                 RETURN 1;
             END $$;
             CREATE FUNCTION carry() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 UPDATE flat SET embedding = NEW.embedding WHERE id = NEW.id;
                 DELETE FROM tree WHERE id = NEW.id + 1;
                 INSERT INTO parts VALUES (NEW.id, 0, 'blue', 'fed', NEW.embedding)
                     ON CONFLICT (id) DO UPDATE SET embedding = NEW.embedding;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER carry BEFORE INSERT ON feed FOR EACH ROW EXECUTE FUNCTION carry();
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE
                 difference record;
                 opened refcursor := 'opened';
             BEGIN
                 IF current_setting('checker.look', true) = 'on' THEN
                     FOR difference IN EXECUTE TG_ARGV[0] LOOP
                         RAISE EXCEPTION 'in the trigger %: %', TG_NAME, difference USING ERRCODE = 'VC001';
                     END LOOP;
                 ELSIF current_setting('checker.look', true) = 'open'
                     AND NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'opened') THEN
                     OPEN opened FOR EXECUTE TG_ARGV[0];
                 END IF;
                 RETURN coalesce(NEW, OLD);
             END $$",
        );
        let volatilities = [("volatile", "VOLATILE"), ("stable", "STABLE")];
        for (name, volatility) in volatilities {
            session.run(&format!(
                "CREATE FUNCTION compared_{name}(statement text)
                 RETURNS TABLE (query int, differs boolean, snapshot text, details text, definition text) LANGUAGE plpgsql {volatility} AS $$
                 BEGIN RETURN QUERY EXECUTE statement; END $$"
            ));
        }
        let looked = NAMESPACES.iter().find(|namespace| namespace.name == "owned").expect("owned");
        let sql = self.comparison(looked, &[0, 3], 5, true).replace('\'', "''");
        for (name, when, each) in [
            ("a_before", "BEFORE", "ROW"),
            ("z_before", "BEFORE", "ROW"),
            ("a_after", "AFTER", "ROW"),
            ("z_after", "AFTER", "ROW"),
            ("a_statement", "BEFORE", "STATEMENT"),
            ("z_statement", "AFTER", "STATEMENT"),
        ] {
            session.run(&format!(
                "CREATE TRIGGER {name} {when} INSERT OR UPDATE OR DELETE ON owned FOR EACH {each} EXECUTE FUNCTION look('{sql}');
                 ALTER TABLE owned ENABLE ALWAYS TRIGGER {name}"
            ));
        }
    }

    /// The statements that a session prepares, to be run by [`Scene::execute`].
    pub fn preparations(&self) -> Vec<String> {
        let prepare = |(number, namespace): (usize, &Namespace)| {
            let queries = "unnest($1, $3) q(v, n)";
            let comparison =
                compared(namespace, queries, &searched(namespace, "$2"), &plain(namespace, "$2"), "$2", true);
            format!("PREPARE compare_{number}(text[], int, int[]) AS {comparison}")
        };
        NAMESPACES.iter().enumerate().map(prepare).collect()
    }

    /// Runs the comparison that a session has prepared for a namespace.
    pub fn execute(&self, namespace: &Namespace, queries: &[usize], top_k: usize) -> String {
        let number = NAMESPACES.iter().position(|other| other.name == namespace.name).expect("a namespace");
        let vectors: Vec<String> = queries.iter().map(|query| format!("'{}'", self.queries[*query])).collect();
        format!("EXECUTE compare_{number}(ARRAY[{}], {top_k}, ARRAY{queries:?})", vectors.join(", "))
    }

    /// A statement that searches and asks the plain query in its one snapshot. A row: the number of the query, whether its
    /// answers differ, the snapshot, both answers, the source's definition if it was the
    /// same when the statement was planned; with `only_differences`, none where they agree.
    pub fn comparison(&self, namespace: &Namespace, queries: &[usize], top_k: usize, only_differences: bool) -> String {
        let top_k = top_k.to_string();
        compared(
            namespace,
            &self.values(queries),
            &searched(namespace, &top_k),
            &plain(namespace, &top_k),
            &top_k,
            only_differences,
        )
    }

    /// The first of two statements: one of both answers, distances and rows, for each query.
    pub fn first_of_two(&self, namespace: &Namespace, queries: &[usize], top_k: usize, search: bool) -> String {
        let top_k = top_k.to_string();
        let answer = if search { searched(namespace, &top_k) } else { plain(namespace, &top_k) };
        format!("SELECT q.n, a.d, a.t FROM {} CROSS JOIN LATERAL ({answer}) a ORDER BY q.n", self.values(queries))
    }

    /// The second: the other answer, compared with what the first one gave.
    pub fn second_of_two(
        &self,
        namespace: &Namespace,
        first: &[(String, String)],
        queries: &[usize],
        top_k: usize,
        search: bool,
    ) -> String {
        let value = |(query, (distances, rows)): (&usize, &(String, String))| {
            let rows = rows.replace('\'', "''");
            format!("({query}, '{}', '{distances}'::float8[], '{rows}'::text[])", self.queries[*query])
        };
        let values: Vec<String> = queries.iter().zip(first).map(value).collect();
        let from = format!("(VALUES {}) q(n, v, d, t)", values.join(", "));
        let top_k = top_k.to_string();
        let given = "SELECT q.d, q.t";
        if search {
            compared(namespace, &from, given, &plain(namespace, &top_k), &top_k, true)
        } else {
            compared(namespace, &from, &searched(namespace, &top_k), given, &top_k, true)
        }
    }

    /// Files and children of a namespace's source, as a snapshot sees them.
    pub fn definition(namespace: &Namespace) -> String {
        format!("SELECT definition('{}')", namespace.table)
    }

    /// What vcache says of a search.
    pub fn explanation(&self, namespace: &Namespace, query: usize, top_k: usize) -> String {
        let Namespace { name, .. } = namespace;
        let filter = namespace.filter();
        format!("SELECT e::text FROM vcache_explain('{name}', '{}', {top_k}{filter}) e", self.queries[query])
    }

    fn values(&self, queries: &[usize]) -> String {
        let values: Vec<String> =
            queries.iter().map(|query| format!("({query}, '{}')", self.queries[*query])).collect();
        format!("(VALUES {}) q(n, v)", values.join(", "))
    }
}

/// The rows that a table is filled with: its name and their values.
pub fn fill(target: &Target, generator: &mut Generator) -> String {
    let (from, to) = target.known;
    let rows: Vec<String> = (from..to)
        .step_by(2)
        .map(|id| {
            let tenant = target.tenants[generator.below(target.tenants.len() as u64) as usize];
            row(generator, id, tenant)
        })
        .collect();
    format!("{} (id, n, tenant, title, embedding) VALUES {}", target.name, rows.join(", "))
}

fn is_registered_as(searched: &str, registered: &str) -> bool {
    match registered.strip_suffix('*') {
        Some(prefix) => searched.starts_with(prefix),
        None => searched == registered,
    }
}

const ANSWER: &str = "coalesce(array_agg(a.distance), '{}') AS d, \
                      coalesce(array_agg(concat_ws(' ', a.distance, a.id, a.payload)), '{}') AS t";

fn searched(namespace: &Namespace, top_k: &str) -> String {
    format!("SELECT {ANSWER} FROM vcache_search('{}', q.v, {top_k}{}) a", namespace.name, namespace.filter())
}

/// All rows that tie with the last one are there: each of them is as good an answer as the other.
fn plain(namespace: &Namespace, top_k: &str) -> String {
    let Namespace { table, metric, condition, payload, .. } = namespace;
    let distance = format!("r.embedding {} q.v::{VECTOR}", metric.operator());
    format!(
        "SELECT {ANSWER} FROM (SELECT r.id::text, ({distance})::float8 AS distance, {payload} AS payload FROM {table} r \
         WHERE ({condition}) AND r.embedding IS NOT NULL ORDER BY {distance} FETCH FIRST ({top_k}) ROWS WITH TIES) a"
    )
}

fn compared(
    namespace: &Namespace,
    queries: &str,
    found: &str,
    plain: &str,
    top_k: &str,
    only_differences: bool,
) -> String {
    // Most answers are the same row by row; the rest may differ in the order of rows that tie.
    let differs = format!(
        "((f.d, f.t) IS DISTINCT FROM (p.d[1:{top_k}], p.t[1:{top_k}]) AND NOT same(f.d, f.t, p.d, p.t, {top_k}))"
    );
    let condition = if only_differences { format!(" WHERE {differs}") } else { String::new() };
    // A child that comes or goes between the planning and the snapshot is in one but not in the other. What is called immutable
    // has been called when the statement was planned.
    let source = namespace.table;
    let definition = format!(
        "CASE WHEN {differs} AND definition('{source}') = planned_definition('{source}') THEN definition('{source}') END"
    );
    format!(
        "SELECT q.n::int, {differs}, pg_current_snapshot()::text, format('found %s, plain %s', f.t, p.t), {definition} \
         FROM {queries} CROSS JOIN LATERAL ({found}) f CROSS JOIN LATERAL ({plain}) p{condition}"
    )
}
