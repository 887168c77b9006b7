//! The main promise: every confirmed message is consumed, in order, whatever happens to the broker
//! in the middle.

use async_io::block_on;
use support::broker::{Admin, Node};
use support::client::connect;
use support::ledger::{Duplicates, Ledger};
use support::proxy::{End, Proxy, To};
use support::queues::declare_empty;
use support::waiting::wait_until;
use support::workload::Workload;

const QUEUE: &str = "through the outage";
const MESSAGES: u64 = 200_000;

fn start(node: &Node) -> Workload {
    declare(&node.url());
    Workload::start(&node.url(), QUEUE, MESSAGES)
}

fn declare(url: &str) {
    block_on(async {
        let client = connect(url).await;
        declare_empty(&client, QUEUE).await;
        client.close().await;
    });
}

fn finish(workload: Workload, admin: &Admin) -> Duplicates {
    let ledger = workload.finish(|| admin.messages_in(QUEUE) == 0);
    let duplicates = ledger.duplicates();
    assert_promises_kept(&ledger);
    assert_eq!(duplicates.unexplained, Vec::<u64>::new());
    assert_eq!(admin.channel_errors(), Vec::<String>::new());
    eprintln!("{duplicates:?}, {} stale settles", ledger.stale());
    duplicates
}

fn assert_promises_kept(ledger: &Ledger) {
    assert_eq!(ledger.unconfirmed(), Vec::<usize>::new());
    assert_eq!(ledger.lost(), Vec::<usize>::new());
    assert_eq!(ledger.reordered(), Vec::<u64>::new());
}

#[test]
fn a_killed_broker_costs_no_confirmed_message_and_no_order() {
    let mut node = Node::start();
    let mut workload = start(&node);
    workload.wait_for_percent(40);
    workload.outage(|| {
        node.kill();
        node.start_again();
    });
    finish(workload, node.admin());
}

#[test]
fn a_stopped_broker_costs_no_confirmed_message_and_no_order() {
    let node = Node::start();
    let mut workload = start(&node);
    workload.wait_for_percent(40);
    workload.outage(|| {
        node.admin().stop_app();
        node.admin().start_app();
    });
    let duplicates = finish(workload, node.admin());
    assert_eq!(duplicates.forgotten, 0, "it had time to note every ack");
}

#[test]
fn closed_connections_cost_no_confirmed_message_and_no_order() {
    let node = Node::start();
    let mut workload = start(&node);
    for percent in [15, 30, 45, 60, 75] {
        workload.wait_for_percent(percent);
        workload.outage(|| node.admin().close_all_connections("the test says so"));
    }
    let duplicates = finish(workload, node.admin());
    assert_eq!(duplicates.forgotten, 0, "the broker was there all the time");
}

#[test]
fn connections_that_die_again_and_again_cost_no_confirmed_message_and_no_order() {
    let node = Node::start();
    declare(&node.url());
    let proxy = Proxy::start(&node.url());
    let workload = Workload::start(&proxy.url(), QUEUE, MESSAGES / 4);
    let mut random = fastrand::Rng::with_seed(7);
    for percent in (1..90).step_by(3) {
        workload.wait_for_percent(percent);
        let enough = proxy.stats().links.len() + random.usize(1..4);
        // In the middle of a handshake, of a frame, of anything.
        let end = if random.bool() {
            End::Reset
        } else {
            End::Close
        };
        proxy.all().cut_after(To::Both, random.u64(..50_000), end);
        wait_until("some have died, or it went on all the same", || {
            proxy.stats().links.len() >= enough || workload.has_received(percent + 3)
        });
        proxy.all().resume(To::Both);
    }
    eprintln!("{} connections", proxy.stats().links.len());
    let ledger = workload.finish(|| node.admin().messages_in(QUEUE) == 0);
    assert_promises_kept(&ledger);
    assert_eq!(node.admin().channel_errors(), Vec::<String>::new());
}
