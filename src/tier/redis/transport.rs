//! Owns bytes on a socket: connecting, sending and receiving, every wait with the backend's latch beside the socket and one
//! deadline for all of an operation.
//!
//! The socket never blocks. [`Stream`] is what a transport needs of it: another kind of stream, such as one under TLS, takes
//! its place without a change above.

use super::connection::Error;
use super::endpoint::Address;
use super::resolve;
use crate::pg::wait::{Descriptor, For, Waiter};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// A connected socket that never blocks, or what wraps one.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

pub struct Transport {
    // Dropped in this order: the waiter knows the socket, and the socket takes the descriptor's place.
    waiter: Waiter,
    stream: Box<dyn Stream>,
    _descriptor: Descriptor,
}

impl Transport {
    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// [`Error`] of the last address.
    pub fn connect(address: &Address, deadline: Instant) -> Result<Self, Error> {
        let addresses = match address {
            Address::Unix(path) => vec![SockAddr::unix(path).map_err(io)?],
            Address::Tcp { host, port } => resolve::addresses(host, *port, deadline)?,
        };
        let mut last = Error::Address(String::from("the name has none"));
        for address in addresses {
            match Self::connect_to(&address, deadline) {
                Err(Error::TimedOut) => return Err(Error::TimedOut),
                Err(error) => last = error,
                connected => return connected,
            }
        }
        Err(last)
    }

    fn connect_to(address: &SockAddr, deadline: Instant) -> Result<Self, Error> {
        let descriptor = Descriptor::reserve().ok_or(Error::Descriptors)?;
        let socket = Socket::new(address.domain(), Type::STREAM, None).map_err(io)?;
        socket.set_nonblocking(true).map_err(io)?;
        if address.domain() != Domain::UNIX {
            socket.set_tcp_nodelay(true).map_err(io)?;
        }
        // The waiter takes a place of its own, and raises when there is none.
        drop(Descriptor::reserve().ok_or(Error::Descriptors)?);
        let started = socket.connect(address);
        let mut waiter = Waiter::new(&[(socket.as_raw_fd(), For::Writing)]);
        match started {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {
                waiter.wait_for(For::Writing, deadline).map_err(|_| Error::TimedOut)?;
                if let Some(error) = socket.take_error().map_err(io)? {
                    return Err(io(error));
                }
            }
            Err(error) => return Err(io(error)),
        }
        Ok(Self { waiter, stream: Box::new(socket), _descriptor: descriptor })
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Closed`], [`Error::Io`].
    pub fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) => self.wait_out(error, For::Writing, deadline)?,
            }
        }
        Ok(())
    }

    /// Appends what has arrived to `to`, waiting for it; 0 when the other end has closed.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Io`].
    pub fn receive(&mut self, to: &mut Vec<u8>, deadline: Instant) -> Result<usize, Error> {
        // A reply is hardly ever there at once: waiting first saves the read that would say so.
        self.waiter.wait_for(For::Reading, deadline).map_err(|_| Error::TimedOut)?;
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

    fn wait_out(&mut self, error: std::io::Error, what: For, deadline: Instant) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::WouldBlock => self.waiter.wait_for(what, deadline).map_err(|_| Error::TimedOut),
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(Error::Closed),
            kind => Err(Error::Io(kind)),
        }
    }
}

/// From errno.h: the standard library has no kind for a connection under way.
const EINPROGRESS: i32 = 115;

fn io(error: std::io::Error) -> Error {
    Error::Io(error.kind())
}
