//! Which servers are known, so that a handshake with them can go in one flight.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use snowshoe_codec::KnownServer;
use snowshoe_codec::time::after;

/// A server, by the number of its endpoint and the address at which it was reached.
///
/// Who is elsewhere, behind the same name or not, is somebody else: a login goes, before the peer has shown
/// anything, only where one went before. Whether there is TLS is the same for all of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) endpoint: usize,
    pub(super) address: SocketAddr,
}

/// What the connections of a client know of servers.
#[derive(Debug, Default)]
pub(super) struct KnownServers {
    servers: BTreeMap<Place, Known>,
}

#[derive(Debug, Default)]
struct Known {
    server: Option<KnownServer>,
    /// How many handshakes in one flight have failed in a row, each by something else that was known.
    failed: u32,
    failed_at: Option<Instant>,
}

impl Known {
    /// How many have failed in a row, unless that is long ago.
    fn failed_of_late(&self, now: Instant) -> u32 {
        let is_recent = |at: Instant| now < after(at, PAUSE);
        match self.failed_at.is_some_and(is_recent) {
            true => self.failed,
            false => 0,
        }
    }
}

/// How many servers are known at once.
const PLACES: usize = 64;

/// After how many failures in a row nothing is said before it is asked, for a while: something on the way, or the
/// server itself, may not take it.
const ATTEMPTS: u32 = 3;

/// How long that while is.
const PAUSE: Duration = Duration::from_secs(10 * 60);

impl KnownServers {
    /// What is known of a server, if a handshake may go by it.
    pub(super) fn get(&self, now: Instant, place: Place) -> Option<&KnownServer> {
        let known = self.servers.get(&place)?;
        known
            .server
            .as_ref()
            .filter(|_| known.failed_of_late(now) < ATTEMPTS)
    }

    /// A connection is open; in one flight or step by step.
    pub(super) fn opened(
        &mut self,
        place: Place,
        server: Option<&KnownServer>,
        in_one_flight: bool,
    ) {
        if self.servers.len() >= PLACES && !self.servers.contains_key(&place) {
            let is_in_use = |known: &Known| known.failed == 0;
            let mut others = self.servers.iter();
            let least = others.find(|(_, known)| is_in_use(known));
            let least = least.or(self.servers.first_key_value());
            if let Some(least) = least.map(|(place, _)| *place) {
                self.servers.remove(&least);
            }
        }
        let known = self.servers.entry(place).or_default();
        known.server = server.cloned();
        if in_one_flight {
            known.failed = 0;
        }
    }

    /// A handshake in one flight has come to nothing.
    pub(super) fn failed(&mut self, now: Instant, place: Place) {
        // Several connections may have gone by the same, and failed together.
        if let Some(known) = self.servers.get_mut(&place)
            && known.server.take().is_some()
        {
            known.failed = known.failed_of_late(now) + 1;
            known.failed_at = Some(now);
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use bytes::{Buf as _, BytesMut};
    use snowshoe_codec::sasl::Plain;
    use snowshoe_codec::{ClientOptions, Connection, ServerOptions};

    use super::*;

    /// What a client knows of a server in the end.
    fn server() -> KnownServer {
        let now = Instant::now();
        let mut client = Connection::client(ClientOptions::new(Plain::new("guest", "guest")), now);
        let mut server = Connection::server(ServerOptions::default(), now);
        while client.known_server().is_none() {
            carry(now, &mut client, &mut server);
            while server.poll_event().is_some() {}
            server.accept_login();
            carry(now, &mut server, &mut client);
        }
        client.known_server().expect("it is known").clone()
    }

    fn carry(now: Instant, from: &mut Connection, to: &mut Connection) {
        let outbound = from.outbound();
        let bytes = outbound.copy_to_bytes(outbound.remaining());
        _ = to.receive(now, &mut BytesMut::from(&bytes[..]));
    }

    fn place(last: u8) -> Place {
        Place {
            endpoint: 0,
            address: SocketAddr::from(([127, 0, 0, last], 5672)),
        }
    }

    #[test]
    fn a_server_is_known_where_it_was_met() {
        let (mut known, server, now) = (KnownServers::default(), server(), Instant::now());
        known.opened(place(1), Some(&server), false);
        assert_eq!(known.get(now, place(1)), Some(&server));
        assert_eq!(known.get(now, place(2)), None);
        let elsewhere = Place {
            endpoint: 1,
            ..place(1)
        };
        assert_eq!(known.get(now, elsewhere), None);
    }

    #[test]
    fn after_a_failure_it_is_to_be_met_again_and_after_three_in_a_row_that_is_no_use_for_a_while() {
        let (mut known, server, mut now) = (KnownServers::default(), server(), Instant::now());
        for _ in 0..2 {
            for _ in 0..3 {
                known.opened(place(1), Some(&server), false);
                assert!(known.get(now, place(1)).is_some());
                known.failed(now, place(1));
                assert_eq!(known.get(now, place(1)), None);
            }
            known.opened(place(1), Some(&server), false);
            assert_eq!(known.get(now, place(1)), None);
            now += PAUSE;
        }
    }

    #[test]
    fn connections_that_fail_by_the_same_count_once() {
        let (mut known, server, now) = (KnownServers::default(), server(), Instant::now());
        known.opened(place(1), Some(&server), false);
        for _ in 0..3 {
            known.failed(now, place(1));
        }
        known.opened(place(1), Some(&server), false);
        assert!(known.get(now, place(1)).is_some());
    }

    #[test]
    fn a_success_makes_up_for_failures() {
        let (mut known, server, now) = (KnownServers::default(), server(), Instant::now());
        for _ in 0..10 {
            for _ in 0..2 {
                known.opened(place(1), Some(&server), false);
                assert!(known.get(now, place(1)).is_some());
                known.failed(now, place(1));
            }
            known.opened(place(1), Some(&server), true);
        }
    }

    #[test]
    fn however_many_there_are_not_all_are_known_and_those_that_failed_longest() {
        let (mut known, server, now) = (KnownServers::default(), server(), Instant::now());
        for _ in 0..3 {
            known.opened(place(0), Some(&server), false);
            known.failed(now, place(0));
        }
        for last in 1..=u8::MAX {
            known.opened(place(last), Some(&server), false);
            assert!(known.servers.len() <= PLACES);
            assert!(known.get(now, place(last)).is_some());
        }
        known.opened(place(0), Some(&server), false);
        assert_eq!(known.get(now, place(0)), None);
    }
}
