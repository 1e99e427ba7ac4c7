//! Nodes of a Redis Cluster that are no use, each in its own way, and what the others are good for meanwhile.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use harness::{Authority, Redis, RedisCluster, Scripted, Stand, Valid, free_port, until};

use crate::cluster::{all_hit, all_slots, moved};
use crate::{assert_searches, health, prepared};

#[test]
fn a_node_that_gives_the_map_and_refuses_to_read_stays_left_alone() {
    let maps = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&maps);
    let node = Scripted::start(move |command, port| match &*command[0] {
        "CLUSTER" => {
            counter.fetch_add(1, Ordering::Relaxed);
            all_slots("127.0.0.1", port)
        }
        _ => b"-CLUSTERDOWN Hash slot not served\r\n".to_vec(),
    });
    let server = Stand::setup(&format!("redis-cluster://127.0.0.1:{}", node.port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    // A session begins by asking for the map, as soon as it may ask for anything.
    until("the map was asked for again and again", || {
        assert_searches(&mut database.session(), &source, [1]);
        maps.load(Ordering::Relaxed) >= 6
    });
    let seen = health(&mut session);
    assert!(seen.starts_with("down: ") && seen.contains("CLUSTERDOWN") && seen.contains("breaker open"), "{seen}");
    let log = server.log();
    assert_eq!((log.matches("leaves Redis at").count(), log.matches("uses Redis at").count()), (1, 0), "{log}");
}

#[test]
fn each_of_many_that_are_dead_is_left_alone() {
    // Nobody listens on these.
    let seeds: Vec<_> = (1..=30).map(|port| format!("127.0.0.1:{port}")).collect();
    let server = Stand::setup(&format!("redis-cluster://{}", seeds.join(","))).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all are left alone", || {
        assert_searches(&mut session, &source, 0..5);
        let log = server.log();
        seeds.iter().all(|seed| log.contains(&format!("leaves Redis at {seed}, a node of a cluster, alone")))
    });
    let seen = health(&mut session);
    assert!(seen.starts_with("down: ") && seen.contains("breaker open"), "{seen}");
}

#[test]
fn a_seed_that_has_met_nobody_hides_no_other() {
    let cluster = RedisCluster::start();
    let bus = free_port().to_string();
    let alone = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus], None);
    let url = cluster.url(&[0]).replace("//", &format!("//127.0.0.1:{},", alone.port()));
    let server = Stand::setup(&url).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    // Sessions begin to ask at different seeds.
    let before = database.stats("docs");
    for _ in 0..8 {
        assert_searches(&mut database.session(), &source, 0..10);
    }
    let after = database.stats("docs");
    assert_eq!((after.hits, after.redis_errors), (before.hits + 80, before.redis_errors), "{before:?} {after:?}");
}

#[test]
fn a_map_of_too_many_masters_leaves_the_one_that_is_known() {
    let (maps, gets) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let counter = Arc::clone(&maps);
    let node = Scripted::start(move |command, port| match &*command[0] {
        "CLUSTER" if counter.fetch_add(1, Ordering::Relaxed) == 0 => all_slots("127.0.0.1", port),
        "CLUSTER" => {
            let master = |number: u64, port: u64| {
                format!("*3\r\n:{number}\r\n:{number}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n")
            };
            let others: String = (1..=1000).map(|number| master(number, number)).collect();
            format!("*1001\r\n{}{others}", master(0, port.into())).into_bytes()
        }
        // A redirection is what has the map asked for again.
        "GET" if gets.fetch_add(1, Ordering::Relaxed) == 0 => moved(command, "127.0.0.1", port).into_bytes(),
        "GET" => b"$-1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let server = Stand::setup(&format!("redis-cluster://127.0.0.1:{}", node.port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("the second map was given", || {
        assert_searches(&mut session, &source, [1]);
        maps.load(Ordering::Relaxed) >= 2
    });
    assert_searches(&mut session, &source, 0..20);
    let stats = database.stats("docs");
    assert_eq!((stats.redis_errors, stats.redis_timeouts, stats.stores), (0, 0, stats.lookups), "{stats:?}");
}

#[test]
fn seeds_that_hang_leave_time_to_the_last() {
    let node = Redis::start_cluster_of_one(&[]);
    // The system accepts connections for them, and nobody answers.
    let hanging = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let [first, second] = hanging.each_ref().map(|listener| listener.local_addr().expect("address"));
    let url = format!("redis-cluster://{first},{second},127.0.0.1:{}", node.port());
    // Each of the two alone could take four of the six seconds. Without preload no session learns from another to leave them alone.
    let setup = Stand::setup(&url).set("vcache.redis_connect_timeout", "2s").set("vcache.redis_timeout", "4s");
    let server = setup.preload(false).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    // Sessions begin to ask at different seeds.
    for _ in 0..4 {
        assert_searches(&mut session, &source, [1]);
        assert_eq!(node.keys().len(), 1);
        node.flush();
        session = database.session();
    }
}

#[test]
fn a_backend_holds_a_bounded_number_of_connections() {
    const NODES: u16 = 90;
    let ports: Arc<Mutex<Vec<u16>>> = Arc::default();
    let known = Arc::clone(&ports);
    let serve = move |command: &[String], _| match &*command[0] {
        "CLUSTER" => {
            let ports = known.lock().expect("ports");
            let share = 16384 / NODES;
            let range = |(number, port): (u16, &u16)| {
                let (first, last) =
                    (number * share, if number + 1 == NODES { 16383 } else { (number + 1) * share - 1 });
                format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n")
            };
            let ranges: String = (0..NODES).zip(ports.iter()).map(range).collect();
            format!("*{NODES}\r\n{ranges}").into_bytes()
        }
        "GET" => b"$-1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    };
    let nodes: Vec<_> = (0..NODES).map(|_| Scripted::start(serve.clone())).collect();
    ports.lock().expect("ports").extend(nodes.iter().map(Scripted::port));
    let server = Stand::setup(&format!("redis-cluster://127.0.0.1:{}", nodes[0].port())).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let pid = session.pid();
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the backend's files");
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    let others = sockets();
    assert_searches(&mut session, &source, 0..600);
    assert!(nodes.iter().filter(|node| node.commands() > 0).count() > 80);
    assert_eq!(sockets() - others, 64);
    let stats = database.stats("docs");
    assert_eq!((stats.stores, stats.redis_errors, stats.redis_timeouts), (600, 0, 0), "{stats:?}");
}

#[test]
fn by_tls() {
    let authority = Authority::new();
    let port = free_port();
    let options = authority.issue(&["localhost"], Valid::Now).options(port, &authority.file());
    let options: Vec<_> = options.iter().map(String::as_str).chain(["--tls-cluster", "yes"]).collect();
    let node = Redis::start_cluster_of_one(&options);
    let server = Stand::setup(&format!("rediss-cluster://localhost:{port}"))
        .set("vcache.redis_tls_ca_file", authority.file().to_str().expect("UTF-8"))
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    until("all hit", || all_hit(&mut session, &source));
    assert_eq!(node.keys().len(), 30);
    assert_eq!(session.value("SELECT vcache_flush()"), "30");
    // By an address that the certificate does not prove.
    server.reload_with("vcache.redis_url", &format!("rediss-cluster://127.0.0.1:{port}"));
    let mut session = database.session();
    assert_searches(&mut session, &source, 0..3);
    let seen = health(&mut session);
    assert!(seen.starts_with("down: ") && seen.contains("not valid for the name of the host"), "{seen}");
    assert_eq!(node.keys().len(), 0);
}
