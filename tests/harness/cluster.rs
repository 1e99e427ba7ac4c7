//! A Redis Cluster that belongs to a test: three masters with a replica each.

use redis::Commands;

use crate::redis::{Redis, free_port};
use crate::wait::until;

const MASTERS: usize = 3;

/// See the head of this file.
pub struct RedisCluster {
    nodes: Vec<Redis>,
    login: String,
}

impl RedisCluster {
    /// Starts one that asks for no password.
    pub fn start() -> Self {
        Self::start_with(&[], "")
    }

    /// Starts one with options of redis-server's own; `login` is the part of its URL that ends in @, if these ask for one. The test
    /// itself logs in as nobody.
    pub fn start_with(options: &[&str], login: &str) -> Self {
        let node = || {
            let port = free_port().to_string();
            let mut all = vec!["--cluster-enabled", "yes", "--cluster-port", &port];
            // A dead master is noticed soon, and replaced whatever its replica has missed.
            all.extend(["--cluster-node-timeout", "1500", "--cluster-replica-validity-factor", "0"]);
            all.extend(["--repl-diskless-sync-delay", "0"]);
            all.extend(options);
            (Redis::start_with(&all, None), port)
        };
        let (nodes, buses): (Vec<_>, Vec<_>) = (0..2 * MASTERS).map(|_| node()).unzip();
        let cluster = Self { nodes, login: login.to_owned() };
        for (number, node) in cluster.nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < MASTERS {
                let (first, end) = (number * 16384 / MASTERS, (number + 1) * 16384 / MASTERS);
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            }
        }
        for (node, other) in
            cluster.nodes.iter().flat_map(|node| cluster.nodes.iter().zip(&buses).map(move |other| (node, other)))
        {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.0.port().to_string(), other.1]);
        }
        until("the nodes have met", || {
            cluster
                .nodes
                .iter()
                .all(|node| cluster_info(node, "cluster_known_nodes:6") && cluster_info(node, "cluster_state:ok"))
        });
        for (master, replica) in cluster.nodes.iter().zip(&cluster.nodes[MASTERS..]) {
            replica.command(&["CLUSTER", "REPLICATE", &id(master)]);
        }
        cluster.wait();
        cluster
    }

    /// Waits until all of it is well: every slot is served, every replica has its master's data.
    pub fn wait(&self) {
        until("the cluster is well", || {
            let linked = |node: &Redis| info(node, "replication").contains("master_link_status:up");
            let well =
                |node: &Redis| cluster_info(node, "cluster_state:ok") && cluster_info(node, "cluster_known_nodes:6");
            self.nodes.iter().all(|node| well(node) && (node.is_master() || linked(node)))
                && self.masters().len() == MASTERS
        });
    }

    /// What vcache.redis_url is to be, with these nodes as seeds.
    pub fn url(&self, seeds: &[usize]) -> String {
        let seeds: Vec<_> = seeds.iter().map(|seed| format!("127.0.0.1:{}", self.nodes[*seed].port())).collect();
        format!("redis-cluster://{}{}", self.login, seeds.join(","))
    }

    /// All of its nodes; the first three begin as the masters, the others as their replicas.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Those that are masters now, of the nodes that run.
    pub fn masters(&self) -> Vec<&Redis> {
        self.nodes.iter().filter(|node| node.is_running() && node.is_master()).collect()
    }

    /// How many keys its masters have.
    pub fn keys(&self) -> Vec<usize> {
        self.masters().into_iter().map(|node| node.keys().len()).collect()
    }

    /// Errors of this code that its nodes have answered with.
    pub fn errors(&self, code: &str) -> i64 {
        self.nodes.iter().filter(|node| node.is_running()).map(|node| node.errors(code)).sum()
    }

    /// Moves every slot that has keys from one node to another, both masters; `pause` is called while a slot is on its way: when nothing
    /// has moved, after every ten keys, and when all have moved but the node is still the old one.
    pub fn move_slots(&self, from: usize, to: usize, mut pause: impl FnMut()) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (id(from), id(to));
        let slot = |key: &String| -> u16 {
            redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query(&mut from.connection(0)).expect("CLUSTER KEYSLOT")
        };
        let mut slots: Vec<_> = from.keys().iter().map(slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots.iter().map(u16::to_string) {
            to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
            from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
            pause();
            loop {
                let keys: Vec<String> = redis::cmd("CLUSTER")
                    .arg(&["GETKEYSINSLOT", &slot, "10"])
                    .query(&mut from.connection(0))
                    .expect("CLUSTER GETKEYSINSLOT");
                if keys.is_empty() {
                    break;
                }
                let port = to.port().to_string();
                let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
                words.extend(keys.iter().map(String::as_str));
                from.command(&words);
                pause();
            }
            pause();
            for node in [to, from] {
                node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
            }
        }
    }

    /// The node that has a key.
    pub fn owner(&self, key: &str) -> Option<usize> {
        self.nodes.iter().position(|node| {
            node.is_running() && node.is_master() && node.connection(0).exists::<_, bool>(key).unwrap_or(false)
        })
    }
}

fn id(node: &Redis) -> String {
    redis::cmd("CLUSTER").arg("MYID").query(&mut node.connection(0)).expect("CLUSTER MYID")
}

fn info(node: &Redis, section: &str) -> String {
    redis::cmd("INFO").arg(section).query(&mut node.connection(0)).expect("INFO")
}

fn cluster_info(node: &Redis, wanted: &str) -> bool {
    let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut node.connection(0)).expect("CLUSTER INFO");
    info.lines().any(|line| line.trim() == wanted)
}
