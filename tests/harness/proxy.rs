//! A proxy of the test's own between PostgreSQL and a Redis, which does to replies what networks and broken servers do.
//!
//! A connection is served by a thread, command by command: what is sent back for one depends on the fault that is set when it comes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: replies pass as they are.
    None,
    /// The connection is reset when a command has come.
    Reset,
    /// So many bytes of the reply come, and then nothing.
    Stall(usize),
    /// So many bytes of the reply come, and then the end.
    Truncate(usize),
    /// The reply comes byte by byte, with a pause before each.
    Trickle(Duration),
    /// The whole reply comes later.
    Late(Duration),
    /// These bytes come in its place.
    Instead(Vec<u8>),
    /// These bytes come behind it, in one packet.
    Behind(Vec<u8>),
    /// These bytes come behind it, a moment later.
    Afterwards(Vec<u8>),
    /// These bytes come before anything was asked.
    Unasked(Vec<u8>),
}

struct Shared {
    redis: u16,
    fault: Mutex<Fault>,
    commands: AtomicUsize,
    ended: AtomicBool,
}

/// See the head of this file.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one in front of a port of 127.0.0.1.
    pub fn start(redis: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the proxy");
        let port = listener.local_addr().expect("the proxy's port").port();
        let (fault, commands, ended) = (Mutex::new(Fault::None), AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { redis, fault, commands, ended });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&accepting)) else { continue };
                // A connection ends however either end lets it.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { port, shared }
    }

    /// From now on this is wrong. Connections that stall are closed when it changes.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("fault") = fault;
    }

    /// Commands that have come so far.
    pub fn commands(&self) -> usize {
        self.shared.commands.load(Ordering::Relaxed)
    }

    /// What vcache.redis_url is to be.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Whoever waits for a connection gets the last one.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.fault.lock().expect("fault").clone()
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        if let Fault::Unasked(bytes) = self.fault() {
            client.write_all(&bytes)?;
        }
        let mut commands = BufReader::new(client.try_clone()?);
        let mut redis = TcpStream::connect((Ipv4Addr::LOCALHOST, self.redis))?;
        redis.set_nodelay(true)?;
        let mut replies = BufReader::new(redis.try_clone()?);
        loop {
            let command = read_value(&mut commands)?;
            self.commands.fetch_add(1, Ordering::Relaxed);
            let fault = self.fault();
            if fault == Fault::Reset {
                // Closed with nothing left to send, it sends a reset.
                return Ok(rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?);
            }
            redis.write_all(&command)?;
            let reply = read_value(&mut replies)?;
            match &fault {
                Fault::Stall(bytes) => {
                    client.write_all(&reply[..reply.len().min(*bytes)])?;
                    while self.fault() == fault && !self.ended.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    return Ok(());
                }
                Fault::Truncate(bytes) => {
                    client.write_all(&reply[..reply.len().min(*bytes)])?;
                    return client.shutdown(Shutdown::Both);
                }
                Fault::Trickle(pause) => {
                    for byte in reply {
                        thread::sleep(*pause);
                        client.write_all(&[byte])?;
                    }
                }
                Fault::Late(pause) => {
                    thread::sleep(*pause);
                    client.write_all(&reply)?;
                }
                Fault::Instead(bytes) => client.write_all(bytes)?,
                Fault::Behind(bytes) => client.write_all(&[&reply, bytes.as_slice()].concat())?,
                Fault::Afterwards(bytes) => {
                    client.write_all(&reply)?;
                    thread::sleep(Duration::from_millis(1));
                    client.write_all(bytes)?;
                }
                Fault::None | Fault::Reset | Fault::Unasked(_) => client.write_all(&reply)?,
            }
        }
    }
}

/// The bytes of one value of RESP2: a command or a reply.
fn read_value(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let count = || String::from_utf8_lossy(&bytes[1..]).trim().parse::<usize>().ok();
    match (bytes[0], count()) {
        (b'$', Some(length)) => {
            from.take(length as u64 + 2).read_to_end(&mut bytes)?;
        }
        (b'*', Some(elements)) => {
            for _ in 0..elements {
                bytes.extend(read_value(from)?);
            }
        }
        _ => {}
    }
    Ok(bytes)
}

/// A port that takes no connection and refuses none: a host behind a firewall that drops.
pub struct BlackHole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// Fills the queue of a socket that nobody accepts from.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the black hole");
        rustix::net::listen(&listener, 0).expect("listen");
        let address = listener.local_addr().expect("the black hole's port");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let waiting = std::iter::from_fn(|| connect().ok()).collect();
        Self { listener, _waiting: waiting }
    }

    /// What vcache.redis_url is to be.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.listener.local_addr().expect("the black hole's port"))
    }
}
