//! A pgbouncer in transaction mode that belongs to a test: all its clients share one connection of a server.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::directory::Directory;
use crate::wait::until;
use crate::{Database, account};

/// Only the name of a socket file in its own directory.
const PORT: u16 = 6432;

/// See the head of this file.
pub struct Pgbouncer {
    directory: Directory,
    process: Child,
}

impl Pgbouncer {
    /// Starts one before a database's server; `settings` are further lines of its section `[pgbouncer]`.
    pub fn start(database: &Database<'_>, settings: &str) -> Self {
        let (server, directory) = (database.server(), Directory::new("pgbouncer"));
        let (path, socket) = (directory.path().display(), server.socket_directory().display());
        let configuration = format!(
            "[databases]\n* = host={socket} port={}\n\
             [pgbouncer]\nunix_socket_dir = {path}\nlisten_port = {PORT}\nauth_type = trust\nauth_file = {path}/users\n\
             pool_mode = transaction\ndefault_pool_size = 1\n{settings}\n",
            server.port()
        );
        write(&directory.path().join("users"), "\"postgres\" \"\"\n");
        write(&directory.path().join("pgbouncer.ini"), &configuration);

        let log = fs::File::create(directory.path().join("log")).expect("log");
        let mut command = account::command(Path::new("pgbouncer"));
        command.arg(directory.path().join("pgbouncer.ini"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
        let mut process = command.spawn().expect("pgbouncer");
        directory.note("INT", &process);
        until("pgbouncer takes connections", || {
            if let Some(status) = process.try_wait().expect("wait for pgbouncer") {
                directory.forget();
                let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                panic!("pgbouncer did not start: {status}\n{log}");
            }
            UnixStream::connect(directory.path().join(format!(".s.PGSQL.{PORT}"))).is_ok()
        });
        Self { directory, process }
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The number in the name of its socket.
    pub fn port(&self) -> u16 {
        PORT
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.process.kill().expect("kill of pgbouncer");
        self.process.wait().expect("wait for pgbouncer");
        self.directory.forget();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    account::give(path);
}
