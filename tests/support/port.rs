//! A port of loopback that stays a test's own.

#![allow(dead_code, reason = "each of the test binaries needs some of it")]

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that the system gives to nobody else while this is there: a socket is bound to it that does not listen.
/// Whoever connects is refused, and a server that is told the port, and says `SO_REUSEADDR` as servers do, can listen
/// there. A port that was only looked up could be another test's before the server has started.
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// One that nobody listens on.
    pub fn free() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let number = held.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _held: held }
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
