//! The scripts that people call, apart from those that the tests themselves run by.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;

use harness::{free_port, until};

/// A Redis that was started by the script, ended when this is dropped.
struct Started(u16);

impl Started {
    /// What it says to a command, until it closes the connection.
    fn say(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        Some(said)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.say("SHUTDOWN NOSAVE");
        until("Redis has ended", || TcpStream::connect(("127.0.0.1", self.0)).is_err());
    }
}

#[test]
fn start_redis_starts_one_as_the_servers_account_and_leaves_it_alone_when_it_runs() {
    let redis = Started(free_port());
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the top of the tree").join("scripts/start_redis.sh");
    let start = || {
        let output = Command::new(&script)
            .env("REDIS_PORT", redis.0.to_string())
            .env_remove("REDIS_HOST")
            .env_remove("REDIS_PASSWORD")
            .env("REDIS_MAXMEMORY", "32mb")
            .output()
            .expect("the script");
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("PONG\n"), "{output:?}");
        let said = redis.say("INFO").expect("Redis answers");
        let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
        (value("process_id:"), value("maxmemory:"))
    };
    let (pid, maxmemory) = start();
    assert_eq!(maxmemory, (32 << 20).to_string());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its process");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("its user");
    assert_ne!(uid.split_whitespace().next(), Some("0"));
    assert_eq!(start().0, pid);
}
