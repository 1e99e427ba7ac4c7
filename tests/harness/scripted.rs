//! A server that takes Redis' commands and answers what a test tells it to: what no Redis would say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::redis::free_port;

type Script = dyn Fn(&[String], u16) -> Vec<u8> + Send + Sync;

/// See the head of this file.
pub struct Scripted {
    port: u16,
    commands: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts one. The script is given a command's words and the server's own port, and gives the bytes of the reply.
    pub fn start(script: impl Fn(&[String], u16) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a listener");
        let (commands, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (Arc::clone(&commands), Arc::clone(&ended));
        let script: Arc<Script> = Arc::new(script);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let (script, counter) = (Arc::clone(&script), Arc::clone(&counter));
                std::thread::spawn(move || serve(&stream, &*script, port, &counter));
            }
        });
        Self { port, commands, ended, thread: Some(thread) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many commands it has been given.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until the other end has gone.
fn serve(stream: &TcpStream, script: &Script, port: u16, commands: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    while let Some(command) = read(&mut reader) {
        commands.fetch_add(1, Ordering::Relaxed);
        let mut writer: &TcpStream = stream;
        if writer.write_all(&script(&command, port)).is_err() {
            break;
        }
    }
}

/// One command: an array of bulk strings.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Vec<String>> {
    fn number(reader: &mut impl BufRead, kind: char) -> Option<usize> {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim_end().strip_prefix(kind)?.parse().ok()
    }
    let words = number(reader, '*')?;
    let mut command = Vec::new();
    for _ in 0..words {
        let length = number(reader, '$')?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(length);
        command.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(command)
}
