//! A throw-away directory of the servers' account, and the end of what runs in it.
//!
//! A watcher, one shell, holds the reading end of a pipe from this process. When the pipe closes — the fixture was
//! dropped, the tests ended with a fixture in a static (which Rust never drops), or they were killed — it ends the
//! processes that are still noted here and removes the directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::account;

const WATCHER: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
if read -r signal pid <"$1/process" 2>/dev/null; then
    kill -CONT "$pid" 2>/dev/null
    kill "-$signal" "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
fi
rm -rf "$1"
"#;

/// See the head of this file.
pub struct Directory {
    path: PathBuf,
    watcher: Child,
}

impl Directory {
    /// Makes one; `name` is for people who look at `TMPDIR` while the tests run.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vcache-{name}-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        account::give(&path);
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "vcache-tests-watcher"])
            .arg(&path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Self { path, watcher }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file of the servers' account into it, in the place of one that is there.
    pub fn put(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        account::give(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        path
    }

    /// Makes a named pipe of the servers' account in it, which nobody else may open.
    pub fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        let made = Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().expect("mkfifo");
        assert!(made.success(), "mkfifo {}", path.display());
        account::give(&path);
        path
    }

    /// Notes the process that the watcher is to end, and the signal that ends it.
    pub fn note(&self, signal: &str, process: &Child) {
        fs::write(self.path.join("process"), format!("{signal} {}\n", process.id())).expect("note of a process");
    }

    /// Takes the note back: the process has ended.
    pub fn forget(&self) {
        let _ = fs::remove_file(self.path.join("process"));
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}
