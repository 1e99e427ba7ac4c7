//! Owns finding the addresses of a host's name, within the deadline and interruptible as everything else.
//!
//! The system's getaddrinfo can block for many seconds and knows no deadline; a backend cannot give it to a thread. c-ares asks
//! the same sources (the hosts file, the servers in resolv.conf) over sockets that can be waited for.

use super::connection::Error;
use crate::pg::wait::{Descriptor, For, Waiter};
use c_ares::{AddrInfoHints, Channel};
use socket2::SockAddr;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// c-ares wants to be called now and then to send its own repetitions.
const TICK: Duration = Duration::from_millis(20);

/// The addresses of a host, the system's preference first.
///
/// # Errors
/// [`Error::TimedOut`], [`Error::Address`], [`Error::Descriptors`].
pub fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SockAddr>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port).into()]);
    }
    let refused = |error: c_ares::Error| Error::Address(error.to_string());
    // For what c-ares opens: a socket for each server that it asks.
    let _descriptor = Descriptor::reserve().ok_or(Error::Descriptors)?;
    let mut channel = Channel::new().map_err(refused)?;
    let (sender, answer) = mpsc::channel();
    let hints = AddrInfoHints::default();
    channel.get_addrinfo(host, None, &hints, move |result| {
        let found = result.map(|info| info.nodes().filter_map(|node| node.ip_addr()).collect::<Vec<IpAddr>>());
        // The receiver lives as long as the channel, unless the search was given up.
        let _ = sender.send(found);
    });
    loop {
        if let Ok(found) = answer.try_recv() {
            let mut found = found.map_err(refused)?;
            found.dedup();
            return Ok(found.into_iter().map(|address| SocketAddr::new(address, port).into()).collect());
        }
        if Instant::now() >= deadline {
            return Err(Error::TimedOut);
        }
        let sockets: Vec<_> = channel.sockets().iter().collect();
        let waits: Vec<_> = sockets
            .iter()
            .map(|(socket, _, writable)| (*socket, if *writable { For::Writing } else { For::Reading }))
            .collect();
        let woken = Waiter::new(&waits).ok_or(Error::Descriptors)?.wait(deadline.min(Instant::now() + TICK)).is_ok();
        if woken {
            // Which of the few sockets it was is not told: a read from one without news says so and nothing else.
            for (socket, readable, writable) in sockets {
                channel.process_fd(readable.then_some(socket), writable.then_some(socket));
            }
        } else {
            channel.process_fd(None, None);
        }
    }
}
