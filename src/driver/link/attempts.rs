//! What the attempts to connect have come to: whose turn is next, and what there is to tell of them.

use std::net::SocketAddr;

use super::super::known::Place;
use crate::connector::Progress;
use crate::error::{ConnectionError, ConnectionErrorReason, Peer};
use crate::uri::Endpoint;

pub(super) struct Attempts {
    hosts: Vec<Host>,
    /// The host that is connected to, or was last.
    current: usize,
    progress: Progress,
    /// Whether the connection came up.
    is_up: bool,
    /// What failed since the connection was last up, the last for each peer.
    failures: Vec<ConnectionError>,
}

/// An endpoint.
struct Host {
    endpoint: Endpoint,
    /// How many attempts there were in a row.
    attempts: u32,
    /// The addresses that have had their turn since the row began.
    settled: Vec<SocketAddr>,
    /// Those that let connect and then failed, the last of them last.
    failed: Vec<SocketAddr>,
}

/// How many addresses of a host are remembered, and how many failures.
const REMEMBERED: usize = 32;

impl Attempts {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        let host = |endpoint: &Endpoint| Host {
            endpoint: endpoint.clone(),
            attempts: 0,
            settled: Vec::new(),
            failed: Vec::new(),
        };
        Self {
            hosts: endpoints.iter().map(host).collect(),
            current: 0,
            progress: Progress::default(),
            is_up: false,
            failures: Vec::new(),
        }
    }

    /// An attempt begins, the first in a row or not: its number at its host, the addresses that are to
    /// come last, and by what it tells how it goes on.
    pub(super) fn begin(
        &mut self,
        endpoint: usize,
        is_first: bool,
    ) -> (u32, Vec<SocketAddr>, Progress) {
        if is_first {
            for host in &mut self.hosts {
                host.attempts = 0;
                host.settled.clear();
            }
        }
        (self.current, self.is_up) = (endpoint, false);
        self.progress = Progress::default();
        let host = &mut self.hosts[endpoint];
        host.attempts = host.attempts.saturating_add(1);
        (host.attempts, host.failed.clone(), self.progress.clone())
    }

    /// The same attempt begins again.
    pub(super) fn repeats(&mut self) {
        let host = &mut self.hosts[self.current];
        host.attempts = host.attempts.saturating_sub(1);
    }

    /// Where the transport has come to, if the connector has told.
    pub(super) fn place(&self) -> Option<Place> {
        let address = self.progress.seen().reached?;
        let endpoint = self.current;
        Some(Place { endpoint, address })
    }

    /// How many addresses of the host have not had their turn, and are to have one.
    pub(super) fn untried(&self) -> usize {
        let (host, seen) = (&self.hosts[self.current], self.progress.seen());
        let settled = seen.settled();
        let is_untried =
            |address: &&SocketAddr| !settled.contains(address) && !host.settled.contains(address);
        let untried = seen.found.iter().filter(is_untried).count();
        // One that never gets through is not waited for again and again while another one fails.
        let turns = seen.found.len().saturating_sub(host.attempts as usize);
        untried.min(turns)
    }

    /// The connection is up: what failed before may be well again.
    pub(super) fn succeeded(&mut self) {
        self.is_up = true;
        self.failures.clear();
        for host in &mut self.hosts {
            host.failed.clear();
        }
    }

    /// The attempt has failed, or what it had brought has ended.
    pub(super) fn failed(&mut self, reason: ConnectionErrorReason) -> ConnectionError {
        let (host, seen) = (&mut self.hosts[self.current], self.progress.seen());
        for address in seen.settled() {
            remember(&mut host.settled, address);
        }
        if let Some(address) = seen.reached {
            remember(&mut host.failed, address);
        }
        let mut tried = seen.tried;
        if self.is_up {
            tried.clear();
        } else if seen.reached.is_some() {
            // The others that did not answer were broken off.
            tried.retain(|(_, cause)| cause.is_some());
        }
        let peer = Peer::new(host.endpoint.clone(), seen.reached, tried);
        self.failures
            .retain(|it| !it.peer.as_ref().is_some_and(|it| it.is_same(&peer)));
        let error = ConnectionError::new(reason, Some(peer));
        if self.failures.len() == REMEMBERED {
            self.failures.remove(0);
        }
        self.failures.push(error.clone());
        error
    }

    /// What there is to say where there is no other attempt after the one that has failed.
    pub(super) fn all_that_failed(&mut self) -> Option<ConnectionError> {
        let mut last = self.failures.pop()?;
        last.earlier = std::mem::take(&mut self.failures);
        Some(last)
    }
}

/// Puts an address to the end.
fn remember(addresses: &mut Vec<SocketAddr>, address: SocketAddr) {
    addresses.retain(|it| *it != address);
    if addresses.len() == REMEMBERED {
        addresses.remove(0);
    }
    addresses.push(address);
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::io;

    use super::*;
    use crate::error::Phase;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5672))
    }

    fn attempts() -> Attempts {
        Attempts::new(&[Endpoint::new("broker", 5672)])
    }

    fn timeout() -> ConnectionErrorReason {
        ConnectionErrorReason::Timeout(Phase::Handshake)
    }

    /// An attempt at a host of these addresses, which tries some and reaches the last of them.
    fn reach(attempts: &mut Attempts, number: u32, found: &[u8], tried: &[u8]) -> Vec<SocketAddr> {
        let (_, failed, progress) = attempts.begin(0, number == 1);
        progress.found(&found.iter().copied().map(address).collect::<Vec<_>>());
        for last in tried {
            progress.tries(address(*last));
        }
        progress.reached(address(*tried.last().expect("one")));
        failed
    }

    // case H1
    #[test]
    fn addresses_are_untried_until_they_have_failed_or_were_reached() {
        let mut attempts = attempts();
        reach(&mut attempts, 1, &[1, 2, 3], &[1]);
        assert_eq!(attempts.untried(), 2);
        attempts.failed(timeout());
        let (_, _, progress) = attempts.begin(0, false);
        progress.found(&[1, 2, 3].map(address));
        progress.tries(address(2));
        progress.failed(address(2), &io::ErrorKind::ConnectionRefused.into());
        progress.tries(address(3));
        assert_eq!(attempts.untried(), 0);
    }

    // case H1
    #[test]
    fn one_that_another_was_faster_than_has_another_turn_but_not_for_ever() {
        let mut attempts = attempts();
        reach(&mut attempts, 1, &[1, 2], &[1, 2]);
        assert_eq!(attempts.untried(), 1, "the first one was slow");
        attempts.failed(timeout());
        let failed = reach(&mut attempts, 2, &[1, 2], &[1, 2]);
        assert_eq!(failed, [address(2)]);
        assert_eq!(attempts.untried(), 0);
    }

    #[test]
    fn the_last_to_fail_is_the_last_to_try_until_the_connection_is_up() {
        let mut attempts = attempts();
        for (number, last) in [(1, 1), (2, 2), (3, 1)] {
            reach(&mut attempts, number, &[1, 2, 3], &[last]);
            attempts.failed(timeout());
        }
        let failed = reach(&mut attempts, 4, &[1, 2, 3], &[3]);
        assert_eq!(failed, [2, 1].map(address));
        attempts.succeeded();
        attempts.failed(timeout());
        assert_eq!(reach(&mut attempts, 1, &[1, 2, 3], &[1]), [address(3)]);
    }

    #[test]
    fn what_is_told_in_the_end_has_every_peer_once() {
        let mut attempts = attempts();
        for number in 1..=1000 {
            reach(&mut attempts, number, &[1, 2], &[(number % 2) as u8 + 1]);
            attempts.failed(timeout());
        }
        let error = attempts.all_that_failed().expect("much has failed");
        assert_eq!(error.earlier.len(), 1);
        for last in [1, 2] {
            assert_eq!(
                error
                    .to_string()
                    .matches(&address(last).to_string())
                    .count(),
                1
            );
        }
        for number in 1..=1000_u16 {
            let (_, _, progress) = attempts.begin(0, number == 1);
            progress.reached(SocketAddr::from(([10, 0, 0, 1], number)));
            attempts.failed(timeout());
        }
        let error = attempts.all_that_failed().expect("much has failed");
        assert_eq!(error.earlier.len(), REMEMBERED - 1);
    }
}
