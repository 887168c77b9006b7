use std::collections::BTreeSet;

use super::*;

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
fn an_attempt_tries_every_address_and_first_the_family_that_the_system_prefers() {
    let resolved = addresses(&["::1", "::2", "127.0.0.1", "127.0.0.2"]);
    for seed in 0..100 {
        let mut tried = resolved.clone();
        put_in_order(&mut tried, seed, 1);
        let families: Vec<bool> = tried.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(families, [true, true, false, false]);
        tried.sort_unstable();
        let mut all = resolved.clone();
        all.sort_unstable();
        assert_eq!(tried, all);
    }
}

#[test]
fn a_name_without_addresses_has_none_to_try() {
    put_in_order(&mut [], 7, 5);
}
