//! Redis by TLS: who is believed, and that nothing of the rules of a backend's waiting is lost under it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Authority, Certificate, Redis, Setup, Stand, Valid, free_port, until};

use crate::{assert_down, assert_searches, assert_up, health, prepared};

/// A Redis with a certificate, which takes plain connections on another port.
struct Tls {
    redis: Redis,
    port: u16,
}

impl Tls {
    fn start(certificate: &Certificate, clients: &Authority, options: &[&str]) -> Self {
        let port = free_port();
        let own = certificate.options(port, &clients.file());
        let options: Vec<&str> = own.iter().map(String::as_str).chain(options.iter().copied()).collect();
        Self { redis: Redis::start_with(&options, None), port }
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}/0", self.port)
    }
}

/// The setup of a server that believes this authority.
fn believing(authority: &Authority, url: &str) -> Setup {
    Stand::setup(url).set("vcache.redis_tls_ca_file", authority.file().to_str().expect("UTF-8"))
}

fn presenting(setup: Setup, certificate: &Certificate) -> Setup {
    setup
        .set("vcache.redis_tls_cert_file", certificate.certificate.to_str().expect("UTF-8"))
        .set("vcache.redis_tls_key_file", certificate.key.to_str().expect("UTF-8"))
}

#[test]
fn by_name_by_address_with_a_user_and_a_database() {
    let authority = Authority::new();
    let user = ["--user", "reader", "on", ">p@ss/word", "~vcache:*", "+get", "+set", "+select"];
    let tls = Tls::start(&authority.issue(&["localhost", "127.0.0.1"], Valid::Now), &authority, &user);
    let port = tls.port;
    for (number, url) in [
        format!("rediss://localhost:{port}"),
        format!("rediss://127.0.0.1:{port}/1"),
        format!("rediss://reader:p%40ss%2Fword@localhost:{port}/2?protocol=resp2"),
        format!("valkeys://localhost:{port}/3"),
    ]
    .into_iter()
    .enumerate()
    {
        let server = believing(&authority, &url).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        assert_searches(&mut session, &source, [1, 1, 2, 1]);
        assert_searches(&mut database.session(), &source, [1, 2]);
        let stats = database.stats("docs");
        assert_eq!((stats.outcomes(), stats.stores, stats.redis_errors), ((4, 2, 0), 2, 0), "{url}");
        assert_eq!(tls.redis.keys_of(number as i64).len(), 2, "{url}");
    }
}

#[test]
fn answers_larger_than_a_record() {
    let authority = Authority::new();
    let tls = Tls::start(&authority.issue(&["localhost"], Valid::Now), &authority, &[]);
    let server = believing(&authority, &tls.url()).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    session.run("ALTER TABLE docs ADD body text; UPDATE docs SET body = repeat(md5(id::text), 300)");
    source.register(&mut session, "large", "payload_columns => '{body}'");
    let found = session.search("large", &source.query(1), 20);
    assert_eq!(found.len(), 20);
    for _ in 0..3 {
        assert_eq!(session.search("large", &source.query(1), 20), found);
    }
    assert_eq!(database.stats("large").outcomes(), (3, 1, 0));
    assert!(tls.redis.get(&tls.redis.only_key()).expect("an entry").len() > 150_000);
    // A small record behind a full one comes in with it, and is decrypted with it: there is no more news of it on the socket.
    for step in 0..32 {
        let length = 700 + step * 50;
        session.run(&format!("UPDATE docs SET body = repeat('x', {length})"));
        let query = source.query(100 + step);
        let found = session.search("large", &query, 20);
        assert_eq!(session.search("large", &query, 20), found, "{length}");
    }
    assert_eq!(database.stats("large").outcomes(), (35, 33, 0));
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_and_said() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cases = [
        (authority.issue(&["localhost"], Valid::Before), "certificate expired"),
        (authority.issue(&["localhost"], Valid::After), "certificate not valid yet"),
        (
            authority.issue(&["redis.example", "127.0.0.2"], Valid::Now),
            "certificate not valid for the name of the host",
        ),
        // Its address is no name.
        (authority.issue(&["127.0.0.1"], Valid::Now), "certificate not valid for the name of the host"),
        (authority.issue(&[], Valid::Now), "certificate without names (subjectAltName); its CN does not count"),
        (authority.issue_authority(&["localhost"]), "certificate of an authority (CA:TRUE), which is none of a server"),
        (stranger.issue(&["localhost"], Valid::Now), "certificate of an unknown issuer"),
        (stranger.self_signed(&["localhost"]), "certificate of an unknown issuer"),
    ];
    let server = believing(&authority, "").start();
    let database = server.database();
    let (_, source) = prepared(&database);
    for (certificate, why) in cases {
        let tls = Tls::start(&certificate, &authority, &[]);
        server.reload_with("vcache.redis_url", &tls.url());
        let mut session = database.session();
        assert_down(&database, &mut session, &source, &format!("localhost:{}: TLS: {why}", tls.port));
        assert!(tls.redis.keys().is_empty());
        let told = format!("vcache leaves Redis at localhost:{} alone after 3 failures in a row: TLS: {why}", tls.port);
        assert!(server.log().contains(&told), "{told}\n{}", server.last_of_log());
        // Nothing that was asked for was sent.
        assert_eq!(tls.redis.calls("get"), 0, "{why}");
    }
    // A name that stands in the certificate, at a numeric address that does not.
    let tls = Tls::start(&authority.issue(&["localhost"], Valid::Now), &authority, &[]);
    server.reload_with("vcache.redis_url", &format!("rediss://127.0.0.1:{}/0", tls.port));
    assert_down(&database, &mut database.session(), &source, "certificate not valid for the name of the host");
    server.reload_with("vcache.redis_url", &tls.url());
    assert_up(&database, &mut database.session(), &source);
    // Without the file, whom the system believes.
    server.reload_with("vcache.redis_tls_ca_file", "");
    let said = health(&mut database.session());
    assert!(
        said.contains("certificate of an unknown issuer") || said.contains("no certificates of authorities"),
        "{said}"
    );
}

#[test]
fn a_client_certificate_that_is_demanded() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let certificate = authority.issue(&["localhost"], Valid::Now);
    for protocols in ["TLSv1.3", "TLSv1.2"] {
        let tls = Tls::start(&certificate, &authority, &["--tls-auth-clients", "yes", "--tls-protocols", protocols]);
        let server = presenting(believing(&authority, &tls.url()), &authority.issue(&[], Valid::Now)).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        assert_up(&database, &mut session, &source);

        let server = believing(&authority, &tls.url()).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        assert_down(&database, &mut session, &source, "client certificate");

        let server = presenting(believing(&authority, &tls.url()), &stranger.issue(&[], Valid::Now)).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        assert_down(&database, &mut session, &source, "the server refuses the client certificate");
    }
}

#[test]
fn tls_spoken_to_a_plain_server_and_the_other_way_round() {
    let authority = Authority::new();
    let tls = Tls::start(&authority.issue(&["localhost"], Valid::Now), &authority, &[]);
    let brief = |setup: Setup| setup.set("vcache.redis_connect_timeout", "500ms").set("vcache.redis_timeout", "500ms");
    let server = brief(believing(&authority, &format!("redis://localhost:{}/0", tls.port))).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_down(&database, &mut session, &source, "");
    // Redis waits for the end of what it takes for a command, or complains of it.
    server.reload_with("vcache.redis_url", &format!("rediss://localhost:{}/0", tls.redis.port()));
    assert_down(&database, &mut database.session(), &source, "");
    server.reload_with("vcache.redis_url", &tls.url());
    assert_up(&database, &mut database.session(), &source);
}

#[test]
fn a_server_that_is_restarted_and_connections_that_it_closes() {
    let authority = Authority::new();
    let tls = Tls::start(&authority.issue(&["localhost"], Valid::Now), &authority, &[]);
    let server = believing(&authority, &tls.url()).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);
    for round in 1..=5 {
        if round % 2 == 0 {
            tls.redis.stop();
            tls.redis.start_again();
        } else {
            let _: i64 = redis::cmd("CLIENT")
                .arg(&["KILL", "TYPE", "normal"])
                .query(&mut tls.redis.connection(0))
                .expect("CLIENT KILL");
        }
        assert_searches(&mut session, &source, [1]);
        assert_up(&database, &mut session, &source);
    }
    tls.redis.stop();
    assert_down(&database, &mut session, &source, "connection refused");
    tls.redis.start_again();
    assert_up(&database, &mut session, &source);
    let stats = database.stats("docs");
    assert_eq!(stats.redis_timeouts, 0, "{stats:?}");
}

#[test]
fn replies_that_come_too_late_reach_nobody() {
    let authority = Authority::new();
    let tls = Tls::start(&authority.issue(&["localhost"], Valid::Now), &authority, &[]);
    let server = believing(&authority, &tls.url()).set("vcache.redis_timeout", "200ms").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, 0..6);
    for round in 0..4 {
        tls.redis.pause();
        assert_searches(&mut session, &source, [round]);
        tls.redis.resume();
        assert_searches(&mut session, &source, (0..6).chain([(round + 1) % 6, round]));
    }
    assert!(database.stats("docs").hits > 0);
}

#[test]
fn a_handshake_that_hangs_ends_at_its_deadline() {
    let authority = Authority::new();
    // The system accepts connections for it, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let url = format!("rediss://127.0.0.1:{}/0", listener.local_addr().expect("address").port());
    let server = believing(&authority, &url).set("vcache.redis_connect_timeout", "300ms").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let start = Instant::now();
    assert_down(&database, &mut session, &source, "no answer in time");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(database.stats("docs").redis_timeouts > 0);
}

#[test]
fn a_handshake_that_hangs_can_be_cancelled() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let url = format!("rediss://127.0.0.1:{}/0", listener.local_addr().expect("address").port());
    let server = believing(&authority, &url).set("vcache.redis_connect_timeout", "60s").start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let mut other = database.session();
    let pid = session.pid();
    let query = source.query(1);
    let start = Instant::now();
    let failure = std::thread::scope(|scope| {
        let searching = scope.spawn(move || session.fails(&format!("SELECT * FROM vcache_search('docs', '{query}')")));
        until("the search waits for Redis", || crate::waits(&mut other, pid));
        assert_eq!(other.value(&format!("SELECT pg_cancel_backend({pid})")), "t");
        searching.join().expect("thread")
    });
    failure.assert("57014", &["canceling statement"]);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
