//! Owns bytes on a socket: connecting, sending and receiving, every wait with the backend's latch beside the socket and one
//! deadline for all of an operation.
//!
//! The socket never blocks. [`Stream`] is what a transport needs of it: the socket itself, or TLS over it.

use super::connection::Error;
use super::endpoint::{Address, Endpoint};
use super::resolve;
use super::tls::{self, Terms, Tls};
use crate::pg::wait::{Descriptor, For, Waiter};
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// A connected socket that never blocks, or what wraps one.
pub trait Stream: Read + Write {
    /// Whether something can be read without a look at the socket, which then has no news of it.
    fn holds_some(&mut self) -> bool;
}

impl Stream for Socket {
    fn holds_some(&mut self) -> bool {
        false
    }
}

/// A connection that lies idle is spoken for before a firewall forgets it (they take some minutes), and one whose other end is gone
/// is found out within a minute and a half, while nobody waits for it.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(3);

pub struct Transport {
    // Dropped in this order: the waiter knows the socket, and the socket takes the descriptor's place.
    waiter: Waiter,
    stream: Box<dyn Stream>,
    _descriptor: Descriptor,
}

impl Transport {
    /// Connects to the first address that answers, and agrees on TLS if that is wanted.
    ///
    /// # Errors
    /// [`Error`] of the last address.
    pub fn connect(endpoint: &Endpoint, deadline: Instant) -> Result<Self, Error> {
        let tls = endpoint.tls()?;
        let addresses = match endpoint.address() {
            Address::Unix(path) => vec![SockAddr::unix(path).map_err(failed)?],
            Address::Tcp { host, port } => resolve::addresses(host, *port, deadline)?,
        };
        let mut last = Error::Address(String::from("the name has none"));
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            // An address from which nothing comes leaves the next ones their share of the time.
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match Connecting::to(&address, Instant::now() + share) {
                Ok(connected) => return connected.into_transport(tls, deadline),
                Err(error) => last = error,
            }
            left -= 1;
        }
        Err(last)
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Closed`], [`Error::Io`], [`Error::Tls`].
    pub fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) => self.wait_out(error, For::Writing, deadline)?,
            }
        }
        while let Err(error) = self.stream.flush() {
            self.wait_out(error, For::Writing, deadline)?;
        }
        Ok(())
    }

    /// Appends what has arrived to `to`, waiting for it; 0 when the other end has closed.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Closed`], [`Error::Io`], [`Error::Tls`].
    pub fn receive(&mut self, to: &mut Vec<u8>, deadline: Instant) -> Result<usize, Error> {
        // A reply is hardly ever there at once: waiting first saves the read that would say so.
        if !self.stream.holds_some() {
            self.waiter.wait_for(For::Reading, deadline).map_err(|_| Error::TimedOut)?;
        }
        let mut chunk = [0u8; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(read) => {
                    to.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    return Ok(read);
                }
                Err(error) => self.wait_out(error, For::Reading, deadline)?,
            }
        }
    }

    /// Whether there is nothing to read, not even the end.
    pub fn is_quiet(&mut self) -> bool {
        matches!(self.stream.read(&mut [0u8]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn wait_out(&mut self, error: io::Error, what: For, deadline: Instant) -> Result<(), Error> {
        match error.kind() {
            // Interrupted: it may be ready already, but the deadline may have passed.
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {
                self.waiter.wait_for(what, deadline).map_err(|_| Error::TimedOut)
            }
            _ => Err(failed(error)),
        }
    }
}

/// A connected socket, before anything is said on it.
struct Connecting {
    // Dropped in this order, as in `Transport`.
    waiter: Waiter,
    socket: Socket,
    descriptor: Descriptor,
}

impl Connecting {
    fn to(address: &SockAddr, deadline: Instant) -> Result<Self, Error> {
        let descriptor = Descriptor::reserve().ok_or(Error::Descriptors)?;
        let socket = Socket::new(address.domain(), Type::STREAM, None).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        if address.domain() != Domain::UNIX {
            socket.set_tcp_nodelay(true).map_err(failed)?;
            socket.set_tcp_keepalive(&KEEPALIVE).map_err(failed)?;
        }
        let started = socket.connect(address);
        let mut waiter = Waiter::new(&[(socket.as_raw_fd(), For::Writing)]).ok_or(Error::Descriptors)?;
        match started {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {
                waiter.wait_for(For::Writing, deadline).map_err(|_| Error::TimedOut)?;
                if let Some(error) = socket.take_error().map_err(failed)? {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { waiter, socket, descriptor })
    }

    fn into_transport(self, tls: Option<Terms>, deadline: Instant) -> Result<Transport, Error> {
        let Self { mut waiter, socket, descriptor } = self;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some(terms) => {
                let mut tls = Tls::new(terms, socket)?;
                while let Some(what) = tls.shake().map_err(failed)? {
                    waiter.wait_for(what, deadline).map_err(|_| Error::TimedOut)?;
                }
                Box::new(tls)
            }
        };
        Ok(Transport { waiter, stream, _descriptor: descriptor })
    }
}

/// From errno.h: the standard library has no kind for a connection under way.
const EINPROGRESS: i32 = 115;

fn failed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Error::Closed,
        kind => tls::cause(&error).unwrap_or(Error::Io(kind)),
    }
}
