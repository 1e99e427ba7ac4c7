//! The account that servers run as: PostgreSQL refuses to run as root, so root's servers run as Debian's `postgres`,
//! others' as the caller.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

static SERVERS: LazyLock<Option<(u32, u32)>> =
    LazyLock::new(|| rustix::process::geteuid().is_root().then(|| (id("-u"), id("-g"))));

fn id(option: &str) -> u32 {
    let output = Command::new("id").args([option, "postgres"]).output().expect("id");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("root's servers run as the account postgres, which does not exist")
}

/// A command that runs as the servers' account, in a process group of its own (an interrupt at the terminal is for
/// the tests, which then end the servers), and with next to nothing of the caller's environment: PG* variables and
/// RUST_BACKTRACE would change what it says.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").process_group(0);
    command.env_clear();
    for name in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some((uid, gid)) = *SERVERS {
        command.uid(uid).gid(gid);
    }
    command
}

/// Gives a file or directory to the servers' account.
pub fn give(path: &Path) {
    if let Some((uid, gid)) = *SERVERS {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("chown to postgres");
    }
}
