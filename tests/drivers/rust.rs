//! tokio-postgres: typed parameters, and the payload as a JSON value.

use std::future::Future;

use harness::{Generator, Pgbouncer, brackets};
use serde_json::Value;
use tokio_postgres::types::{Json, ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use crate::documents;

/// Runs a test's future with a client.
fn with_client<F: Future<Output = ()>>(host: &std::path::Path, port: u16, name: &str, test: impl FnOnce(Client) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(host).port(port).user("postgres").dbname(name);
        let (client, connection) = config.connect(NoTls).await.expect("a connection");
        runtime.spawn(connection);
        test(client).await;
    });
}

async fn nearest(client: &Client, vector: &[f32], top_k: i32) -> Result<Vec<Row>, tokio_postgres::Error> {
    let search = "SELECT id, distance, payload FROM vcache_search($1, $2::real[], $3)";
    client.query(search, &[&"documents", &vector, &top_k]).await
}

fn ids(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.get("id")).collect()
}

#[test]
fn tokio_postgres() {
    let (database, source) = documents(8);
    let server = database.server();
    let vector = Generator::new(1).vector(source.dimensions);
    let text = brackets(&vector);
    let expected: Vec<String> =
        source.plain(&mut database.session(), &text, 3).into_iter().take(3).map(|row| row.id).collect();

    with_client(server.socket_directory(), server.port(), database.name(), |client| async move {
        for _ in 0..8 {
            let rows = nearest(&client, &vector, 3).await.expect("a search");
            assert_eq!(ids(&rows), expected);
            let (distance, payload): (f64, Option<Json<Value>>) = (rows[0].get("distance"), rows[0].get("payload"));
            assert!(distance > 0.0 && payload.expect("a payload").0.get("title").is_some());
        }

        let doubles: Vec<f64> = vector.iter().map(|element| f64::from(*element)).collect();
        let forms: [(Type, &(dyn ToSql + Sync)); 4] = [
            (Type::TEXT, &text),
            (Type::FLOAT4_ARRAY, &vector),
            (Type::FLOAT8_ARRAY, &doubles),
            (Type::FLOAT4_ARRAY, &vector.as_slice()),
        ];
        for (kind, form) in forms {
            let search = "SELECT id FROM vcache_search($1, $2, $3, ttl => $4::text::interval)";
            let statement = client.prepare_typed(search, &[Type::TEXT, kind.clone()]).await.expect("a statement");
            let rows = client.query(&statement, &[&"documents", form, &3i32, &"1 hour"]).await.expect("a search");
            assert_eq!(ids(&rows), expected, "{kind}");
        }

        let rows = client.query("SELECT payload FROM vcache_search('bare', $1, 1)", &[&text]).await.expect("a search");
        assert!(rows[0].get::<_, Option<Json<Value>>>(0).is_none());

        let filter = serde_json::json!({ "n": 3 });
        let search = "SELECT id FROM vcache_search($1, $2::real[], filter => $3)";
        let rows = client.query(search, &[&"documents", &vector, &filter]).await.expect("a search");
        let found = ids(&rows);
        assert!(!found.is_empty() && found.iter().all(|id| id.parse::<i32>().expect("an id") % 7 == 3), "{found:?}");

        // Without a type the parameter is text, and the driver refuses an array for it.
        let untyped = client.query("SELECT id FROM vcache_search('documents', $1, 1)", &[&vector]).await;
        assert!(untyped.expect_err("a type that does not fit").as_db_error().is_none());

        let error = nearest(&client, &vector[1..], 3).await.expect_err("a wrong dimension");
        let error = error.as_db_error().expect("the server's error");
        assert_eq!(error.code().code(), "22000");
        assert_eq!(error.message(), "expected 8 dimensions, not 7");
        assert!(error.hint().is_some());
    });
    assert_eq!(database.stats("documents").outcomes(), (11, 2, 0));
}

#[test]
fn tokio_postgres_through_pgbouncer() {
    let (database, source) = documents(8);
    let bouncer = Pgbouncer::start(&database, "");
    let vector = Generator::new(1).vector(source.dimensions);
    for _ in 0..2 {
        let vector = vector.clone();
        with_client(bouncer.socket_directory(), bouncer.port(), database.name(), |client| async move {
            // Prepared and executed in one go, under no name.
            let search = "SELECT id FROM vcache_search($1, $2, $3)";
            let typed: [(&(dyn ToSql + Sync), Type); 3] =
                [(&"documents", Type::TEXT), (&vector, Type::FLOAT4_ARRAY), (&3i32, Type::INT4)];
            assert_eq!(client.query_typed(search, &typed).await.expect("a search").len(), 3);
        });
    }
    assert_eq!(database.stats("documents").outcomes(), (1, 1, 0));
}
