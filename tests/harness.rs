//! The fixtures themselves: what the other tests stand on must hold, RuVector's own ways among it.

use std::path::PathBuf;
use std::time::Duration;

use harness::{Directory, Engine, Generator, Metric, Postgres, Redis, Source, Stop, assert_same, brackets, until};

#[test]
fn a_server_starts_stops_restarts_and_leaves_nothing() {
    let server = Postgres::setup().preload(false).start();
    let directory = server.socket_directory().to_path_buf();
    let database = server.database_without_vcache();
    let mut session = database.session();
    session.run("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    server.restart(Stop::Fast);
    assert_eq!(database.session().number("SELECT n FROM t"), 1);
    server.restart(Stop::Immediate);
    assert_eq!(database.session().number("SELECT n FROM t"), 1);
    assert!(server.log().contains("was not properly shut down"));

    server.set("work_mem", "1MB");
    assert_eq!(database.session().value("SHOW work_mem"), "4MB");
    server.reload_with("work_mem", "2MB");
    assert_eq!(database.session().value("SHOW work_mem"), "2MB");

    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_directory_goes_with_what_runs_in_it_when_its_watcher_is_let_go() {
    let directory = Directory::new("self-check");
    let path: PathBuf = directory.path().to_path_buf();
    let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
    directory.note("TERM", &sleeper);
    // Drops while the process is still noted, as when the tests end with a fixture in a static.
    let waiting = std::thread::spawn(move || sleeper.wait().expect("wait for sleep"));
    drop(directory);
    assert!(!waiting.join().expect("thread").success());
    assert!(!path.exists());
}

#[test]
fn redis_starts_stops_hangs_and_forgets() {
    let redis = Redis::start();
    redis.set("a", b"1");
    assert_eq!(redis.only_key(), "a");
    assert_eq!(redis.get("a").as_deref(), Some(&b"1"[..]));
    assert_eq!(redis.lifetime("a"), -1);
    assert_eq!(redis.calls("set"), 1);

    redis.pause();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", redis.port())).expect("a hung server still accepts");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
    std::io::Write::write_all(&mut stream, b"PING\r\n").expect("PING");
    let mut answer = [0; 7];
    assert!(std::io::Read::read_exact(&mut stream, &mut answer).is_err());
    redis.resume();
    until("Redis answers again", || std::io::Read::read_exact(&mut stream, &mut answer).is_ok());
    assert_eq!(&answer, b"+PONG\r\n");

    redis.stop();
    redis.start_again();
    assert!(redis.keys().is_empty());

    let guarded = Redis::start_with(&["--requirepass", "secret"], Some("secret"));
    guarded.set("b", b"2");
    assert_eq!(guarded.only_key(), "b");
}

#[test]
fn an_engine_searches_with_and_without_an_index() {
    for engine in [Engine::RuVector, Engine::Pgvector] {
        searches_with_and_without_an_index(engine);
    }
}

fn searches_with_and_without_an_index(engine: Engine) {
    let server = Postgres::setup().engine(engine).preload(false).start();
    for metric in engine.metrics().iter().copied() {
        let database = server.database_without_vcache();
        let mut session = database.session();
        let source = Source::docs(&mut session, 200, 64).by(metric);
        let query = source.query(1);
        let exact = source.plain(&mut session, &query, 10);
        assert_eq!(exact.len(), 20);
        assert_same(&exact[..10], &exact, 10);
        source.index(&mut session);
        let plan = session.column(&format!(
            "EXPLAIN SELECT id FROM docs ORDER BY embedding {} '{query}' LIMIT 20",
            metric.operator()
        ));
        assert!(plan.iter().any(|line| line.contains("Index Scan")), "{plan:#?}");
        let indexed = source.plain(&mut session, &query, 10);
        if (engine, metric) == (Engine::RuVector, Metric::InnerProduct) {
            // RuVector's <#> returns the product itself, not its negative: sorted by it, the farthest rows come
            // first. Its index gives the nearest first. vcache answers what the engine answers.
            assert!(indexed[0].distance > indexed[1].distance && exact[0].distance < exact[1].distance);
        } else {
            assert_eq!(indexed[0], exact[0]);
        }
    }
}

#[test]
fn a_text_of_17_digits_names_the_same_vector() {
    for engine in [Engine::RuVector, Engine::Pgvector] {
        let server = Postgres::setup().engine(engine).preload(false).start();
        let mut session = server.database_without_vcache().session();
        for seed in 0..20 {
            let vector = Generator::new(seed).vector(64);
            let [short, long] = [brackets(&vector), harness::digits17(&vector)]
                .map(|text| session.value(&format!("SELECT '{text}'::{}", engine.extension())));
            assert_eq!(short, long);
        }
    }
}
