//! Addresses on which nobody listens.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 where connections are refused for as long as this lives: it is taken, so that
/// no other test of this machine comes to listen there.
#[derive(Debug)]
pub struct Nowhere {
    _taken: Socket,
    address: SocketAddr,
}

impl Nowhere {
    /// Takes a port.
    pub fn take() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets left");
        taken.bind(&any.into()).expect("127.0.0.1 has free ports");
        let address = taken.local_addr().expect("it is bound");
        Self {
            address: address
                .as_socket()
                .expect("an IPv4 socket has an IPv4 address"),
            _taken: taken,
        }
    }

    /// Where nobody listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
