//! A Redis server that belongs to a test: its process, its port and socket, and a look at what it holds.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard};

use redis::{Commands, Connection};
use rustix::process::{Pid, Signal, kill_process};

use crate::account;
use crate::directory::Directory;
use crate::wait::until;

/// See the head of this file.
pub struct Redis {
    directory: Directory,
    port: u16,
    sentinel: bool,
    options: Vec<String>,
    password: Option<String>,
    process: Mutex<Option<Child>>,
}

impl Redis {
    /// Starts one that asks for no password.
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// Starts one with options of redis-server's own; `password` is the default user's, if these set one.
    pub fn start_with(options: &[&str], password: Option<&str>) -> Self {
        Self::start_as(false, options, password)
    }

    /// Starts a sentinel that watches nothing yet.
    pub fn start_sentinel(options: &[&str], password: Option<&str>) -> Self {
        Self::start_as(true, options, password)
    }

    /// Starts a node of a cluster that has all slots, alone.
    pub fn start_cluster_of_one(options: &[&str]) -> Self {
        let bus = free_port().to_string();
        let node = Self::start_with(&[&["--cluster-enabled", "yes", "--cluster-port", &bus], options].concat(), None);
        node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let serves = || node.try_command(&["GET", "x"]).is_ok();
        until("it serves its slots", serves);
        node
    }

    fn start_as(sentinel: bool, options: &[&str], password: Option<&str>) -> Self {
        let redis = Self {
            directory: Directory::new("redis"),
            port: free_port(),
            sentinel,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            password: password.map(str::to_owned),
            process: Mutex::new(None),
        };
        redis.start_again();
        redis
    }

    /// Starts a stopped server, on the same port and socket, with what it has saved; a node of a cluster and a sentinel remember
    /// the others.
    pub fn start_again(&self) {
        let mut command = account::command(Path::new("redis-server"));
        if self.sentinel {
            command.arg(self.state_file()).arg("--sentinel");
        }
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(self.socket()).args(["--unixsocketperm", "777"]);
        command.arg("--dir").arg(self.directory.path()).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = self.process();
        assert!(process.is_none(), "Redis runs already");
        let mut child = command.spawn().expect("redis-server");
        self.directory.note("KILL", &child);
        until("Redis answers", || {
            if let Some(status) = child.try_wait().expect("wait for redis-server") {
                self.directory.forget();
                panic!("redis-server did not start: {status}");
            }
            self.try_connection(0).is_ok()
        });
        *process = Some(child);
    }

    /// Where a sentinel keeps what it knows: it will not start without.
    fn state_file(&self) -> PathBuf {
        let path = self.directory.path().join("sentinel.conf");
        if !path.exists() {
            fs::write(&path, "").expect("sentinel.conf");
            account::give(&path);
        }
        path
    }

    /// Ends it at once, with all it holds.
    pub fn stop(&self) {
        let Some(mut child) = self.process().take() else { return };
        child.kill().expect("kill of redis-server");
        child.wait().expect("wait for redis-server");
        self.directory.forget();
    }

    /// Ends it as its administrator does, with all it holds written to its file, which it reads when it is started again.
    pub fn save_and_stop(&self) {
        let _: redis::RedisResult<()> = redis::cmd("SHUTDOWN").arg("SAVE").query(&mut self.connection(0));
        let mut child = self.process().take().expect("a running Redis");
        assert!(child.wait().expect("wait for redis-server").success());
        self.directory.forget();
    }

    /// Sets one of its parameters.
    pub fn configure(&self, parameter: &str, value: &str) {
        let mut connection = self.connection(0);
        let _: () = redis::cmd("CONFIG").arg(&["SET", parameter, value]).query(&mut connection).expect("CONFIG SET");
    }

    /// Makes it hang: the system accepts connections for it, and it never answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What vcache.redis_url is to be.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A connection of the test's own to one of the databases.
    pub fn connection(&self, database: i64) -> Connection {
        self.try_connection(database).expect("connection to Redis")
    }

    /// The keys of database 0, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.keys_of(0)
    }

    /// The keys of one database, sorted.
    pub fn keys_of(&self, database: i64) -> Vec<String> {
        let mut keys: Vec<String> = self.connection(database).keys("*").expect("KEYS");
        keys.sort();
        keys
    }

    /// The only key of database 0.
    pub fn only_key(&self) -> String {
        match self.keys().as_slice() {
            [key] => key.clone(),
            keys => panic!("not one key: {keys:?}"),
        }
    }

    /// A value of database 0.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.connection(0).get(key).expect("GET")
    }

    /// Puts a value into database 0, without an expiry.
    pub fn set(&self, key: &str, value: &[u8]) {
        let _: () = self.connection(0).set(key, value).expect("SET");
    }

    /// The same, unless it refuses.
    pub fn try_set(&self, key: &str, value: &[u8]) -> bool {
        self.connection(0).set::<_, _, ()>(key, value).is_ok()
    }

    /// Forgets all keys.
    pub fn flush(&self) {
        let _: () = redis::cmd("FLUSHALL").query(&mut self.connection(0)).expect("FLUSHALL");
    }

    /// How long a key of database 0 lives, in milliseconds; -1: for ever, -2: there is none.
    pub fn lifetime(&self, key: &str) -> i64 {
        self.connection(0).pttl(key).expect("PTTL")
    }

    /// How often a command, in lower case, has been called since the server started.
    pub fn calls(&self, command: &str) -> i64 {
        let wanted = format!("cmdstat_{command}");
        self.commands().into_iter().find(|(name, _)| *name == wanted).map_or(0, |(_, calls)| calls)
    }

    /// How often it has answered with an error of this code since the server started.
    pub fn errors(&self, code: &str) -> i64 {
        let text: String = redis::cmd("INFO").arg("errorstats").query(&mut self.connection(0)).expect("INFO");
        let count = |line: &str| line.trim().strip_prefix(&format!("errorstat_{code}:count="))?.parse().ok();
        text.lines().find_map(count).unwrap_or(0)
    }

    /// Whether it has been started and not been stopped.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Whether it is a master, and not a replica.
    pub fn is_master(&self) -> bool {
        self.role().is_ok_and(|role| role == "master")
    }

    /// Whether it is a replica, and not a master.
    pub fn is_replica(&self) -> bool {
        self.role().is_ok_and(|role| role == "slave")
    }

    /// What it is. Where that changes, sentinels end all connections, this one as well.
    fn role(&self) -> redis::RedisResult<String> {
        let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut self.try_connection(0)?)?;
        Ok(role.into_iter().next().map_or_else(|| Ok(String::new()), redis::from_redis_value)?)
    }

    /// Runs a command whose reply nobody needs.
    pub fn command(&self, words: &[&str]) {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Runs a command that may be refused.
    pub fn try_command(&self, words: &[&str]) -> redis::RedisResult<()> {
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query::<redis::Value>(&mut self.connection(0)).map(drop)
    }

    /// The names of all commands that have been called since the server started, as INFO gives them.
    pub fn commands(&self) -> Vec<(String, i64)> {
        let text: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connection(0)).expect("INFO");
        let parse = |line: &str| {
            let (name, rest) = line.trim().split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        text.lines().filter_map(parse).collect()
    }

    fn try_connection(&self, database: i64) -> redis::RedisResult<Connection> {
        let mut url = format!("redis+unix://{}?db={database}", self.socket().display());
        if let Some(password) = &self.password {
            let escaped: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
            url.push_str(&format!("&pass={escaped}"));
        }
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("PING").query::<String>(&mut connection)?;
        Ok(connection)
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        kill_process(Pid::from_child(process.as_ref().expect("a running Redis")), signal).expect("signal to Redis");
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        // A start that failed has poisoned it; what runs must be ended all the same.
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port of 127.0.0.1 that nobody listened on a moment ago, below the range that the system gives to outgoing
/// connections: there another test's connection could take it before Redis does.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id() % 1000) as u16 * 12;
    for _ in 0..12_000 {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 31999");
}
