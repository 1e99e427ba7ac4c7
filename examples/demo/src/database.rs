//! The server's side of things: connecting, creating the database and the extensions, the wire format of a vector, vcache's counters.

use bytes::{BufMut, BytesMut};
use postgres::error::SqlState;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, GenericClient, NoTls, SimpleQueryMessage};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::print;

/// Connects to one database of the server that the arguments name.
pub fn connect(arguments: &Arguments, dbname: &str) -> Outcome<Client> {
    let mut config = Config::new();
    config
        .host(&arguments.host)
        .port(arguments.port)
        .user(&arguments.user)
        .dbname(dbname)
        .application_name("vcache-demo");
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.password(password);
    }
    config.connect(NoTls).map_err(|error| {
        let refused = error.as_db_error().is_none();
        let failure =
            Failure::from(error).during(&format!("no connection to {} port {}", arguments.host, arguments.port));
        if refused {
            failure.hint("is the server running there? `make demo` starts one and calls this program with its address")
        } else {
            failure
        }
    })
}

/// Creates the database unless it is there.
pub fn create_if_missing(arguments: &Arguments) -> Outcome<()> {
    let mut client = connect(arguments, "postgres")?;
    if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&arguments.dbname])?.is_some() {
        println!("  database {} is there already", arguments.dbname);
        return Ok(());
    }
    // An identifier cannot be a parameter; the server quotes it.
    let quoted: String = client.query_one("SELECT quote_ident($1)", &[&arguments.dbname])?.try_get(0)?;
    // The texts are UTF-8 whatever the server's default is.
    client.batch_execute(&format!("CREATE DATABASE {quoted} TEMPLATE template0 ENCODING 'UTF8'"))?;
    println!("  CREATE DATABASE {quoted};");
    // RuVector 2.0.6 lets the planner answer count(*) from its HNSW index, which then yields no row (RuVector's issue 813). The demo
    // counts nothing, but who goes on by hand may.
    client.batch_execute(&format!("ALTER DATABASE {quoted} SET enable_indexonlyscan = off"))?;
    println!("  ALTER DATABASE {quoted} SET enable_indexonlyscan = off;  -- for RuVector's issue 813");
    Ok(())
}

/// Creates the extension unless it is there; its version.
pub fn create_extension(client: &mut Client, name: &str) -> Outcome<String> {
    client
        .batch_execute(&format!("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS {name}"))
        .map_err(|error| {
            // The first is what PostgreSQL 15 and later say of an extension without a control file.
            let absent = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::UNDEFINED_FILE];
            let absent = error.code().is_some_and(|code| absent.contains(code));
            let failure = Failure::from(error).during(&format!("CREATE EXTENSION {name}"));
            if absent {
                failure.hint("`make demo` builds and installs RuVector and vcache; the README tells how to by hand")
            } else {
                failure
            }
        })?;
    Ok(client.query_one("SELECT extversion FROM pg_extension WHERE extname = $1", &[&name])?.try_get(0)?)
}

/// By this comment the demo knows its own tables again, and replaces no others.
const OWN_TABLE: &str = "made by vcache-demo";

/// Creates a table anew; a failure if there is one of that name that the demo did not make.
pub fn replace_table(client: &mut impl GenericClient, name: &str, columns: &str) -> Outcome<()> {
    let comment = client
        .query_opt("SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass($1)", &[&name])?;
    if let Some(row) = comment
        && row.try_get::<_, Option<&str>>(0)? != Some(OWN_TABLE)
    {
        return Err(Failure::new(format!("this database has a table {name} that is not the demo's"))
            .hint("give the demo a database of its own with --dbname"));
    }
    Ok(client.batch_execute(&format!(
        "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns}); COMMENT ON TABLE {name} IS '{OWN_TABLE}'"
    ))?)
}

/// A vector on its way to the server, in the binary format of RuVector's type: the number of dimensions in two bytes, then each value.
#[derive(Debug, Clone)]
pub struct Vector(pub Vec<f32>);

impl ToSql for Vector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_u16(u16::try_from(self.0.len())?);
        for &value in &self.0 {
            out.put_f32(value);
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        ty.name() == "ruvector"
    }

    to_sql_checked!();
}

/// What vcache counted for the namespace since the last reset.
#[derive(Debug)]
pub struct Counters {
    pub lookups: u64,
    pub hits: u64,
    pub misses: u64,
    pub redis_failures: u64,
    /// Hits in a lookup, between 0 and 1.
    pub hit_rate: f64,
}

impl Counters {
    /// Reads them from `vcache_stats`.
    pub fn read(client: &mut Client) -> Outcome<Self> {
        let row = client.query_one(
            "SELECT lookups::bigint, (shared_hits + redis_hits)::bigint, misses::bigint, (redis_errors + redis_timeouts)::bigint,
                    coalesce(hit_rate, 0)::float8
               FROM vcache_stats WHERE namespace = 'documents'",
            &[],
        )?;
        let count = |column: usize| -> Outcome<u64> { Ok(row.try_get::<_, i64>(column)?.unsigned_abs()) };
        Ok(Self {
            lookups: count(0)?,
            hits: count(1)?,
            misses: count(2)?,
            redis_failures: count(3)?,
            hit_rate: row.try_get(4)?,
        })
    }

    /// One line on who answered, and, if Redis failed, where to look.
    pub fn print_line(&self) {
        println!(
            "  vcache counted {} searches: {} answered from the cache, {} by RuVector",
            print::thousands(self.lookups),
            print::thousands(self.hits),
            print::thousands(self.misses)
        );
        if self.redis_failures > 0 {
            println!(
                "  Redis failed {} times: is it running where vcache.redis_url says?",
                print::thousands(self.redis_failures)
            );
        }
    }
}

/// Prints the whole of `vcache_stats`, a line for each column as psql's `\x` does: the row is too wide for a terminal.
pub fn print_stats(client: &mut Client) -> Outcome<()> {
    println!("  SELECT * FROM vcache_stats;");
    for message in client.simple_query("SELECT * FROM vcache_stats")? {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        println!();
        for (index, column) in row.columns().iter().enumerate() {
            println!("    {:<16} {}", column.name(), row.try_get(index)?.unwrap_or(""));
        }
    }
    Ok(())
}
