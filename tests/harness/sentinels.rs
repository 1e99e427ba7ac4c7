//! A Redis master with a replica that three sentinels watch, all of them a test's own.

use crate::redis::Redis;
use crate::wait::until;

/// The name that the sentinels know the master by.
const NAME: &str = "entries";

/// See the head of this file.
pub struct Watched {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
    password: Option<&'static str>,
}

impl Watched {
    /// Starts them; `password` is that of the servers, and of the sentinels as well, if there is to be one.
    pub fn start(password: Option<&'static str>) -> Self {
        let options: Vec<&str> =
            password.iter().flat_map(|password| ["--requirepass", *password, "--masterauth", *password]).collect();
        let mut more = options.clone();
        more.extend(["--repl-diskless-sync-delay", "0"]);
        let servers: Vec<_> = (0..2).map(|_| Redis::start_with(&more, password)).collect();
        let master = servers[0].port().to_string();
        servers[1].command(&["REPLICAOF", "127.0.0.1", &master]);
        let sentinels: Vec<_> =
            (0..3).map(|_| Redis::start_sentinel(options.get(..2).unwrap_or_default(), password)).collect();
        for sentinel in &sentinels {
            sentinel.command(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &master, "2"]);
            if let Some(password) = password {
                sentinel.command(&["SENTINEL", "SET", NAME, "auth-pass", password]);
                sentinel.command(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", password]);
            }
            // A dead master is noticed soon. A server that got no processor for a second is not dead: the sentinels make no replica of a former
            // master until it has been well for some seconds.
            sentinel.command(&["SENTINEL", "SET", NAME, "down-after-milliseconds", "3000", "failover-timeout", "5000"]);
        }
        let watched = Self { servers, sentinels, password };
        watched.wait();
        watched
    }

    /// Waits until every sentinel that runs knows the two others and the replica, which has the master's data.
    pub fn wait(&self) {
        until("the sentinels know each other and the servers", || {
            self.sentinels.iter().filter(|sentinel| sentinel.is_running()).all(|sentinel| {
                let fields: std::collections::BTreeMap<String, String> = redis::cmd("SENTINEL")
                    .arg(&["MASTER", NAME])
                    .query(&mut sentinel.connection(0))
                    .expect("SENTINEL MASTER");
                let is = |field: &str, value: &str| fields.get(field).is_some_and(|found| found == value);
                is("num-other-sentinels", "2") && is("num-slaves", "1") && is("flags", "master")
            }) && self.servers.iter().filter(|server| !server.is_master()).all(|replica| {
                let info: String =
                    redis::cmd("INFO").arg("replication").query(&mut replica.connection(0)).expect("INFO");
                info.contains("master_link_status:up")
            })
        });
    }

    /// What vcache.redis_url is to be.
    pub fn url(&self) -> String {
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        let hosts = sentinels.join(",");
        match self.password {
            Some(password) => {
                format!("redis-sentinel://:{password}@{hosts}/{NAME}/0?sentinel_password={password}")
            }
            None => format!("redis-sentinel://{hosts}/{NAME}"),
        }
    }

    /// The first begins as the master, the other as its replica.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }
}
