//! The scenarios, by what they are about.

mod consumers;
mod dead_letters;
mod delays;
mod direct_replies;
mod exchanges;
mod limits;
mod messages;
mod nodes;
mod protocol;
mod publishes;
mod queues;
mod releases;
mod routes;
mod settles;
mod streams;
mod timeouts;
mod transactions;

use super::step::Scenario;

/// Those that need a node of their own.
pub(crate) fn of_nodes() -> Vec<Scenario> {
    nodes::scenarios()
}

pub(crate) use self::timeouts::TIMEOUT;

/// Those that need a node that soon loses its patience.
pub(crate) fn of_timeouts() -> Vec<Scenario> {
    timeouts::scenarios()
}

pub(crate) fn all() -> Vec<Scenario> {
    let parts = [
        exchanges::scenarios(),
        queues::scenarios(),
        routes::scenarios(),
        publishes::scenarios(),
        messages::scenarios(),
        consumers::scenarios(),
        settles::scenarios(),
        limits::scenarios(),
        dead_letters::scenarios(),
        delays::scenarios(),
        direct_replies::scenarios(),
        transactions::scenarios(),
        protocol::scenarios(),
        releases::scenarios(),
        streams::scenarios(),
    ];
    parts.into_iter().flatten().collect()
}
