//! Nodes of a Redis Cluster that are no use, each in its own way, and what the others are good for meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::{Scripted, Stand, until};

use crate::cluster::all_slots;
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
