//! A PostgreSQL server that belongs to a test: its process, its data, its settings, its log.
//!
//! Data directories are copies of a template that is made once per test program: initdb takes a second, a copy a few
//! hundredths. The template has an engine and pg_stat_statements in `template1`, so every database has them; vcache is
//! created by each database's test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::directory::Directory;
use crate::engine::Engine;
use crate::installation::Installation;
use crate::session::Session;
use crate::wait::{PATIENCE, until};
use crate::{Database, account};

/// Only the name of a socket file in the server's own directory: the server does not listen on a network.
const PORT: u16 = 54321;

/// How a server is stopped.
#[derive(Clone, Copy)]
pub enum Stop {
    /// Waits for its sessions' transactions to be rolled back, writes a checkpoint.
    Fast,
    /// As a crash: recovery at the next start.
    Immediate,
}

/// What a server is to be like, before it starts.
pub struct Setup {
    installation: Installation,
    engine: Engine,
    preload: bool,
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Setup {
    /// Whether vcache is in shared_preload_libraries; it is, unless told otherwise.
    pub fn preload(mut self, preload: bool) -> Self {
        self.preload = preload;
        self
    }

    /// Another installation than the standard one.
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = installation;
        self
    }

    /// Another engine than the one under test.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// One setting of the server's.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One variable of the server's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Postgres {
        let libraries = if self.preload { "pg_stat_statements, vcache" } else { "pg_stat_statements" };
        self.settings.insert("shared_preload_libraries".to_owned(), libraries.to_owned());
        for (name, value) in self.engine.settings() {
            self.settings.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        let directory = Directory::new("postgres");
        copy(&template(&self.installation, self.engine), &directory.path().join("data"));
        let server = Postgres {
            directory,
            installation: self.installation,
            engine: self.engine,
            settings: Mutex::new(self.settings),
            environment: self.environment,
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.start();
        server
    }
}

/// See the head of this file.
pub struct Postgres {
    directory: Directory,
    installation: Installation,
    engine: Engine,
    settings: Mutex<BTreeMap<String, String>>,
    environment: BTreeMap<String, String>,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// Settings that every test's server has: English, UTC, every nested statement counted, and quick because nothing
    /// must survive a power cut.
    pub fn setup() -> Setup {
        let settings = [
            ("unix_socket_permissions", "0777"),
            ("listen_addresses", ""),
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("autovacuum", "off"),
            ("jit", "off"),
            ("shared_buffers", "32MB"),
            ("lc_messages", "C"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("pg_stat_statements.track", "all"),
            ("pg_stat_statements.max", "10000"),
        ];
        Setup {
            installation: Installation::standard(),
            engine: Engine::under_test(),
            preload: true,
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            environment: BTreeMap::new(),
        }
    }

    /// Starts a stopped server and waits until it takes connections.
    pub fn start(&self) {
        self.write_settings();
        let log = File::options().append(true).create(true).open(self.log_path()).expect("log");
        let mut command = account::command(&self.installation.program("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &PORT.to_string()]).arg("-k").arg(self.directory.path());
        command.envs(&self.environment);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
        let mut process = self.process();
        assert!(process.is_none(), "the server runs already");
        let mut child = command.spawn().expect("postgres");
        self.directory.note("QUIT", &child);
        until("the server takes connections", || {
            if let Some(status) = child.try_wait().expect("wait for postgres") {
                self.directory.forget();
                panic!("the server did not start: {status}\n{}", self.last_of_log());
            }
            Session::try_connect(self, "postgres", "postgres").is_ok()
        });
        *process = Some(child);
    }

    /// Stops it and waits until it has ended.
    pub fn stop(&self, mode: Stop) {
        let Some(mut child) = self.process().take() else { return };
        signal(&child, if let Stop::Fast = mode { Signal::INT } else { Signal::QUIT });
        let start = Instant::now();
        while child.try_wait().expect("wait for postgres").is_none() {
            if start.elapsed() > PATIENCE {
                signal(&child, Signal::KILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.directory.forget();
    }

    /// Whether it has been started and not been stopped.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Stops and starts it.
    pub fn restart(&self, mode: Stop) {
        self.stop(mode);
        self.start();
    }

    /// Ends a backend as the kernel would, and waits until the server has recovered.
    pub fn kill_backend(&self, pid: i64) {
        let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
        assert!(status.success());
        let killed = format!("(PID {pid}) was terminated by signal 9");
        until("the server has begun to recover", || self.log().contains(&killed));
        until("the server takes connections", || {
            // Not by a session of the driver's, which takes a refusal for an error of its own.
            self.client_program("psql", "postgres", &["-X", "-c", "SELECT 1", "postgres"], "").is_ok()
        });
    }

    /// Changes a setting in the server's file, for the next reload or start.
    pub fn set(&self, name: &str, value: &str) {
        self.settings.lock().expect("settings").insert(name.to_owned(), value.to_owned());
        self.write_settings();
    }

    /// Changes a setting and reloads: sessions that connect afterwards have it.
    pub fn reload_with(&self, name: &str, value: &str) {
        self.set(name, value);
        let loaded = || self.connect("postgres", "postgres").value("SELECT pg_conf_load_time()");
        let before = loaded();
        signal(self.process().as_ref().expect("a running server"), Signal::HUP);
        until("the settings are reloaded", || loaded() != before);
    }

    /// A hot standby of this server, with its settings, from a copy that is made now.
    pub fn standby(&self) -> Self {
        let directory = Directory::new("standby");
        let mut backup = account::command(&self.installation.program("pg_basebackup"));
        backup.arg("-h").arg(self.directory.path()).args(["-p", &PORT.to_string(), "-U", "postgres"]);
        backup.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "-D"]);
        backup.arg(directory.path().join("data"));
        succeed(&mut backup);
        let standby = Self {
            directory,
            installation: self.installation.clone(),
            engine: self.engine,
            settings: Mutex::new(self.settings.lock().expect("settings").clone()),
            environment: self.environment.clone(),
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        standby.start();
        standby
    }

    /// The server that pg_upgrade makes of this one, which is stopped for it: of the same version. Databases that are to come along are
    /// copies of template0.
    pub fn upgraded(&self) -> Self {
        // The template's extensions were created without a postmaster, which took OIDs that pg_upgrade leaves out.
        let mut template = self.connect("postgres", "template1");
        let engine = self.engine.extension();
        template.run(&format!("DROP EXTENSION pg_stat_statements; DROP EXTENSION {engine}"));
        drop(template);
        self.stop(Stop::Fast);
        let directory = Directory::new("upgraded");
        let data = directory.path().join("data");
        initdb(&self.installation, &data);
        let settings = self.settings.lock().expect("settings").clone();
        let server = Self {
            directory,
            installation: self.installation.clone(),
            engine: self.engine,
            settings: Mutex::new(settings),
            environment: self.environment.clone(),
            process: Mutex::new(None),
            databases: AtomicU32::new(self.databases.load(Ordering::Relaxed)),
        };
        server.write_settings();
        let (mut upgrade, bin) = (account::command(&self.installation.program("pg_upgrade")), self.installation.bin());
        upgrade.current_dir(server.directory.path()).arg("-s").arg(server.directory.path());
        upgrade.arg("-b").arg(&bin).arg("-B").arg(&bin).args(["-U", "postgres"]);
        upgrade.arg("-d").arg(self.data()).arg("-D").arg(&data);
        succeed(&mut upgrade);
        server.start();
        server
    }

    /// A session, as a role that exists.
    pub fn connect(&self, user: &str, database: &str) -> Session {
        Session::try_connect(self, user, database)
            .unwrap_or_else(|error| panic!("{user}@{database}: {error}\n{}", self.last_of_log()))
    }

    /// A session, if the server takes it.
    pub fn try_connect(&self, user: &str, database: &str) -> Option<Session> {
        Session::try_connect(self, user, database).ok()
    }

    /// A database of the test's own, with vcache created.
    pub fn database(&self) -> Database<'_> {
        let database = self.database_without_vcache();
        database.session().run("CREATE EXTENSION vcache");
        database
    }

    /// A database of the test's own that has the engine and pg_stat_statements only.
    pub fn database_without_vcache(&self) -> Database<'_> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres", "postgres").run(&format!("CREATE DATABASE {name}"));
        Database::new(self, name)
    }

    /// A database that is there already.
    pub fn database_named(&self, name: &str) -> Database<'_> {
        Database::new(self, name.to_owned())
    }

    /// Waits until this standby has all that the primary has written.
    pub fn catch_up(&self, primary: &Self) {
        let written = primary.connect("postgres", "postgres").value("SELECT pg_current_wal_lsn()");
        let mut session = self.connect("postgres", "postgres");
        until("the standby has caught up", || {
            session.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'")) == "t"
        });
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// What its log says of a crash, or else its last lines: to explain a failure.
    pub fn last_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let crash = lines.iter().rposition(|line| line.contains("was terminated by signal"));
        let start = crash.unwrap_or(lines.len().saturating_sub(10));
        lines[start..lines.len().min(start + 10)].join("\n")
    }

    /// The directory of the server's socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a client program of its installation, such as pg_dump, as a role, with this on its standard input; all that it
    /// wrote to its standard output, or to standard error if it failed.
    pub fn client_program(&self, name: &str, role: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = account::command(&self.installation.program(name));
        command.arg("-h").arg(self.directory.path()).args(["-p", &PORT.to_string(), "-U", role]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut pipe = child.stdin.take().expect("a pipe");
        let output = std::thread::scope(|scope| {
            // A program that fails may leave some of it unread.
            scope.spawn(move || drop(pipe.write_all(input.as_bytes())));
            child.wait_with_output().unwrap_or_else(|error| panic!("{name}: {error}"))
        });
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The number in the name of its socket.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// What it was started from.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The engine of its databases.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().expect("process")
    }

    fn write_settings(&self) {
        let settings = self.settings.lock().expect("settings");
        let lines: String =
            settings.iter().map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect();
        fs::write(self.data().join("test.conf"), lines).expect("settings");
        account::give(&self.data().join("test.conf"));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("signal to postgres");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// The template of an installation with an engine, made by the first that asks; others wait for it.
fn template(installation: &Installation, engine: Engine) -> PathBuf {
    static MADE: Mutex<BTreeMap<(Installation, Engine), Directory>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("template");
    let directory = made.entry((installation.clone(), engine)).or_insert_with(|| {
        let directory = Directory::new("template");
        initialise(installation, engine, &directory.path().join("data"));
        directory
    });
    directory.path().join("data")
}

fn initialise(installation: &Installation, engine: Engine, data: &Path) {
    initdb(installation, data);
    let script = data.join("template.sql");
    let extension = engine.extension();
    fs::write(&script, format!("CREATE EXTENSION {extension};\n\nCREATE EXTENSION pg_stat_statements;\n\n"))
        .expect("template.sql");
    let mut single = account::command(&installation.program("postgres"));
    single.args(["--single", "-j", "-F", "-D"]).arg(data).arg("template1");
    single.stdin(File::open(&script).expect("template.sql"));
    let output = succeed(&mut single);
    fs::remove_file(&script).expect("template.sql");
    let problems = ["ERROR:", "FATAL:", "PANIC:"];
    assert!(!problems.iter().any(|problem| output.contains(problem)), "the template: {output}");
}

fn initdb(installation: &Installation, data: &Path) {
    let mut initdb = account::command(&installation.program("initdb"));
    initdb.arg("-D").arg(data).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
        "-N",
        "--wal-segsize=1",
    ]);
    succeed(&mut initdb);
    let mut configuration = fs::read_to_string(data.join("postgresql.conf")).expect("postgresql.conf");
    configuration.push_str("include 'test.conf'\n");
    fs::write(data.join("postgresql.conf"), configuration).expect("postgresql.conf");
    fs::write(data.join("test.conf"), "fsync = off\n").expect("test.conf");
    account::give(&data.join("test.conf"));
}

/// Runs a program that must succeed; all that it wrote.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}
