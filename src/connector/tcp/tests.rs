use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::runtime::{self, Resolving};
use crate::testing::{Clock, Executor};

fn addresses(hosts: &[&str]) -> Vec<SocketAddr> {
    let parse = |host: &&str| SocketAddr::new(host.parse().expect("an address"), 5672);
    hosts.iter().map(parse).collect()
}

fn first(mut addresses: Vec<SocketAddr>, seed: u64, attempt: u32) -> SocketAddr {
    put_in_order(&mut addresses, seed, attempt);
    addresses[0]
}

const NODES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

// fault 37
#[test]
fn clients_of_one_name_begin_with_different_addresses() {
    let begun: Vec<SocketAddr> = (0..300)
        .map(|seed| first(addresses(&NODES), seed, 1))
        .collect();
    for node in addresses(&NODES) {
        let share = begun.iter().filter(|it| **it == node).count();
        assert!((70..=130).contains(&share), "{node}: {share}");
    }
}

#[test]
fn attempts_of_one_client_begin_with_all_addresses_in_whatever_order_they_are_resolved() {
    for seed in 0..100 {
        let begun: BTreeSet<SocketAddr> = (1..=3)
            .map(|attempt| {
                let mut resolved = addresses(&NODES);
                resolved.rotate_left(attempt as usize % 3);
                first(resolved, seed, attempt)
            })
            .collect();
        assert_eq!(begun.len(), NODES.len());
    }
}

#[test]
fn an_attempt_tries_every_address_the_families_in_turn_and_first_that_which_the_system_prefers() {
    let resolved = addresses(&["::1", "::2", "127.0.0.1", "127.0.0.2"]);
    for seed in 0..100 {
        let mut tried = resolved.clone();
        put_in_order(&mut tried, seed, 1);
        let families: Vec<bool> = tried.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(families, [true, false, true, false]);
        tried.sort_unstable();
        let mut all = resolved.clone();
        all.sort_unstable();
        assert_eq!(tried, all);
    }
}

#[test]
fn a_name_without_addresses_has_none_to_try() {
    put_in_order(&mut Vec::new(), 7, 5);
}

/// Hosts of which the last octet of an address says what becomes of an attempt: 1 answers, 2 swallows,
/// and 3 refuses.
#[derive(Debug)]
struct Hosts {
    clock: Clock,
    addresses: Vec<SocketAddr>,
    tried: Mutex<Vec<(Duration, SocketAddr)>>,
    began: Instant,
    /// How long it takes to find the addresses.
    resolving: Duration,
}

impl Runtime for Hosts {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn timer(&self) -> Box<dyn runtime::Timer> {
        Runtime::timer(&self.clock)
    }

    fn connect(&self, address: SocketAddr, _: TcpOptions) -> Connecting {
        let when = self.clock.now() - self.began;
        self.tried
            .lock()
            .expect("nobody panics")
            .push((when, address));
        let IpAddr::V4(ip) = address.ip() else {
            return Box::pin(pending());
        };
        match ip.octets()[3] {
            1 => Box::pin(ready(Ok(
                Box::new(futures_lite::io::Cursor::new(Vec::new())) as _,
            ))),
            2 => Box::pin(pending()),
            _ => Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into()))),
        }
    }

    fn resolve(&self, _: &str, _: u16) -> Resolving {
        let (addresses, clock, time) = (self.addresses.clone(), self.clock.clone(), self.resolving);
        Box::pin(async move {
            clock.sleep(time).await;
            Ok(addresses)
        })
    }
}

impl Transport for futures_lite::io::Cursor<Vec<u8>> {}

/// What becomes of an attempt at a host of these addresses, and what was tried when.
fn dial(hosts: &[&str]) -> (Option<io::Result<()>>, Vec<(Duration, SocketAddr)>) {
    dial_within(hosts, Duration::MAX, Duration::ZERO)
}

/// The same, where there is a limit of time, and finding the addresses takes some of it.
fn dial_within(
    hosts: &[&str],
    timeout: Duration,
    resolving: Duration,
) -> (Option<io::Result<()>>, Vec<(Duration, SocketAddr)>) {
    let clock = Clock::new();
    let hosts = Arc::new(Hosts {
        began: clock.now(),
        clock: clock.clone(),
        addresses: addresses(hosts),
        tried: Mutex::default(),
        resolving,
    });
    let runtime: Arc<dyn Runtime> = Arc::new(Arc::clone(&hosts));
    let target = Target {
        timeout,
        ..Target::new("broker", 5672)
    };
    let dialed = TcpConnector::default().connect(&target, &runtime);
    let time = clock.clone();
    let dialed = async move { Some(dialed.await.map(drop)) };
    let dropped = async move {
        time.sleep(timeout).await;
        None
    };
    let ended = Executor::new(clock, 1).run(futures_lite::future::or(dialed, dropped));
    let ended = ended.flatten();
    let tried = hosts.tried.lock().expect("nobody panics").clone();
    (ended, tried)
}

// case H1
#[test]
fn an_address_that_swallows_costs_a_head_start_and_no_more() {
    // Each of them is tried first by some client.
    for number_of_addresses in 2..6 {
        let mut hosts = vec!["10.0.0.2"; number_of_addresses - 1];
        hosts.push("10.0.0.1");
        let (ended, tried) = dial(&hosts);
        assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
        assert_eq!(
            times(&tried),
            multiples(Duration::from_millis(250), tried.len())
        );
    }
    // The one that answers, before all others, and after them.
    let (_, tried) = dial(&["10.0.0.1"]);
    assert_eq!(times(&tried), [Duration::ZERO]);
}

fn times(tried: &[(Duration, SocketAddr)]) -> Vec<Duration> {
    tried.iter().map(|(when, _)| *when).collect()
}

fn multiples(of: Duration, count: usize) -> Vec<Duration> {
    (0..count as u32).map(|number| of * number).collect()
}

// case H1
#[test]
fn every_address_has_its_turn_within_the_time_that_there_is() {
    let swallow = ["10.0.0.2", "10.0.1.2", "10.0.2.2", "10.0.3.2"];
    for (timeout, resolving, expected) in
        [(10_000, 0, 250), (400, 0, 100), (400, 200, 50), (1, 0, 0)]
    {
        let [timeout, resolving] = [timeout, resolving].map(Duration::from_millis);
        let (ended, tried) = dial_within(&swallow, timeout, resolving);
        assert!(ended.is_none(), "{ended:?}");
        assert_eq!(tried.len(), swallow.len(), "{timeout:?}: {tried:?}");
        let share = match expected {
            0 => timeout / 4,
            expected => Duration::from_millis(expected),
        };
        let since = times(&tried)
            .iter()
            .map(|when| *when - resolving)
            .collect::<Vec<_>>();
        assert_eq!(since, multiples(share, swallow.len()), "{timeout:?}");
    }
}

#[test]
fn after_an_address_that_refuses_the_next_is_tried_at_once() {
    let (ended, tried) = dial(&["10.0.0.3", "10.0.1.3", "10.0.0.1"]);
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    assert!(tried.iter().all(|(when, _)| when.is_zero()), "{tried:?}");
}

// case H1
#[test]
fn an_error_names_the_host_each_address_and_its_cause() {
    let (ended, _) = dial(&["10.0.0.3", "10.0.1.3"]);
    let error = ended.expect("an end").expect_err("all refuse");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let text = error.to_string();
    for part in [
        "broker:5672",
        "10.0.0.3:5672: ",
        "10.0.1.3:5672: ",
        "refused",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let (ended, _) = dial(&[]);
    let error = ended.expect("an end").expect_err("there are none");
    assert_eq!(error.to_string(), "broker: the name has no address");
}

#[test]
fn where_all_swallow_it_is_the_caller_who_loses_patience() {
    let (ended, tried) = dial(&["10.0.0.2", "10.0.1.2"]);
    assert!(ended.is_none(), "{ended:?}");
    assert_eq!(tried.len(), 2);
}
