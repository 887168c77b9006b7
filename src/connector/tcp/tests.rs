use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::runtime::{self, Resolving};
use crate::sync::{AtomicBool, Ordering};
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
/// 3 refuses, and 4 answers after half a second.
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
            4 => {
                let clock = self.clock.clone();
                Box::pin(async move {
                    clock.sleep(Duration::from_millis(500)).await;
                    Ok(Box::new(futures_lite::io::Cursor::new(Vec::new())) as _)
                })
            }
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
    let target = Target {
        timeout,
        ..Target::new("broker", 5672)
    };
    dial_as(&target, hosts, resolving, None)
}

/// The same, with this target and a layer on top of TCP.
fn dial_as(
    target: &Target,
    hosts: &[&str],
    resolving: Duration,
    layer: Option<Layer>,
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
    let dialed = TcpConnector::default().connect_tcp(target.clone(), runtime, layer);
    let (time, timeout) = (clock.clone(), target.timeout);
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

/// A target of which these addresses have failed before.
fn after_failures(failed: &[&str]) -> Target {
    Target {
        failed: addresses(failed),
        ..Target::new("broker", 5672)
    }
}

// case H1
#[test]
fn addresses_that_have_failed_come_last_and_the_last_of_them_at_the_very_end() {
    let hosts = ["10.0.0.3", "10.0.1.3", "10.0.2.3", "10.0.3.3"];
    for attempt in 1..6 {
        let target = Target {
            attempt,
            ..after_failures(&["10.0.2.3", "10.0.0.3"])
        };
        let (_, tried) = dial_as(&target, &hosts, Duration::ZERO, None);
        let tried: Vec<_> = tried.into_iter().map(|(_, address)| address).collect();
        assert_eq!(tried[2..], addresses(&["10.0.2.3", "10.0.0.3"]));
    }
}

// case H1
#[test]
fn an_address_that_has_failed_does_not_win_over_one_that_is_slow() {
    // One refuses at once, which is no reason to go on to that which has failed.
    for hosts in [
        &["10.0.0.1", "10.0.0.4"][..],
        &["10.0.0.1", "10.0.0.3", "10.0.0.4"],
    ] {
        for seed in 0..4 {
            let target = Target {
                seed,
                ..after_failures(&["10.0.0.1"])
            };
            let (ended, _) = dial_as(&target, hosts, Duration::ZERO, None);
            assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
            let reached = target.progress.seen().reached;
            assert_eq!(reached, Some(addresses(&["10.0.0.4"])[0]), "{hosts:?}");
        }
    }
    // But it has its turn.
    let target = after_failures(&["10.0.0.1"]);
    let (ended, tried) = dial_as(&target, &["10.0.0.1", "10.0.0.2"], Duration::ZERO, None);
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    assert_eq!(times(&tried), [Duration::ZERO, Duration::from_secs(1)]);
}

// case H1
#[test]
fn an_address_without_an_answer_above_tcp_costs_a_head_start_and_no_more() {
    for (timeout, expected) in [(Duration::MAX, 1000), (Duration::from_millis(400), 100)] {
        // The first that comes to it is silent, and the next is not.
        let silent = AtomicBool::new(true);
        let layer = move |transport| -> Connecting {
            if silent.swap(false, Ordering::Relaxed) {
                return Box::pin(pending());
            }
            Box::pin(ready(Ok(transport)))
        };
        let target = Target {
            timeout,
            ..Target::new("broker", 5671)
        };
        let hosts = ["10.0.0.1", "10.0.1.1"];
        let (ended, tried) = dial_as(&target, &hosts, Duration::ZERO, Some(Arc::new(layer)));
        assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
        let expected = Duration::from_millis(expected);
        assert_eq!(times(&tried), [Duration::ZERO, expected]);
        assert_eq!(target.progress.seen().reached, Some(tried[1].1));
    }
}

// case H1
#[test]
fn an_address_that_fails_above_tcp_is_left_for_the_next_at_once_and_is_named() {
    let layer = |_| -> Connecting { Box::pin(ready(Err(io::Error::other("no TLS here")))) };
    let target = Target::new("broker", 5671);
    let hosts = ["10.0.0.1", "10.0.1.1"];
    let (ended, tried) = dial_as(&target, &hosts, Duration::ZERO, Some(Arc::new(layer)));
    assert_eq!(times(&tried), [Duration::ZERO; 2]);
    let text = ended.expect("an end").expect_err("both fail").to_string();
    for part in [
        "broker:5671 (",
        "10.0.0.1:5672: no TLS here",
        "10.0.1.1:5672: no TLS here",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_attempt_tells_what_it_has_found_and_tried() {
    let target = Target::new("broker", 5672);
    dial_as(
        &target,
        &["10.0.0.3", "10.0.0.2", "10.0.0.4"],
        Duration::ZERO,
        None,
    );
    let seen = target.progress.seen();
    assert_eq!(seen.found.len(), 3);
    for (address, cause) in &seen.tried {
        let is_refused = *address == addresses(&["10.0.0.3"])[0];
        assert_eq!(cause.is_some(), is_refused, "{address}");
    }
    assert_eq!(seen.reached, Some(addresses(&["10.0.0.4"])[0]));
}
