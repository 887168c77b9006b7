use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// What an attempt to connect tells while it goes on: which addresses a host has, and what became of them.
///
/// A client makes errors of it that name what was tried, and does not give up its first connect before
/// every address has had its turn. [`TcpConnector`](crate::TcpConnector) and
/// [`TlsConnector`](crate::TlsConnector) tell it. A connector of your own need not; one that passes a target
/// on to one of these passes it on, too.
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<Seen>>);

/// What is known of an attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The addresses that the host has.
    pub(crate) found: Vec<SocketAddr>,
    /// Those that were tried, with why they failed.
    pub(crate) tried: Vec<(SocketAddr, Option<String>)>,
    /// The one that is connected.
    pub(crate) reached: Option<SocketAddr>,
}

impl Seen {
    /// The addresses that have had their turn. One that was still being tried when another answered has not.
    pub(crate) fn settled(&self) -> Vec<SocketAddr> {
        let is_settled = |(address, cause): &&(SocketAddr, Option<String>)| {
            cause.is_some() || self.reached.is_none_or(|reached| reached == *address)
        };
        let settled = self.tried.iter().filter(is_settled);
        settled.map(|(address, _)| *address).collect()
    }
}

/// How many addresses of a host are kept account of. All of them are tried.
const COUNTED: usize = 16;

impl Progress {
    /// The host has these addresses.
    pub fn found(&self, addresses: &[SocketAddr]) {
        lock(&self.0).found = addresses.iter().take(COUNTED).copied().collect();
    }

    /// An address is being tried.
    pub fn tries(&self, address: SocketAddr) {
        let tried = &mut lock(&self.0).tried;
        if tried.len() < COUNTED && !tried.iter().any(|(it, _)| *it == address) {
            tried.push((address, None));
        }
    }

    /// An address that was tried has failed.
    pub fn failed(&self, address: SocketAddr, error: &io::Error) {
        let cause = error.to_string();
        let tried = &mut lock(&self.0).tried;
        if let Some((_, it)) = tried.iter_mut().find(|(it, _)| *it == address) {
            *it = Some(cause);
        }
    }

    /// This is the address to which the transport is connected.
    ///
    /// A client that has logged in there says its login at once
    /// [the next time](crate::ClientBuilder::pipelined_handshake): a connector that encrypts what it sends there
    /// does so always.
    pub fn reached(&self, address: SocketAddr) {
        lock(&self.0).reached = Some(address);
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.0).clone()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seen().fmt(f)
    }
}
