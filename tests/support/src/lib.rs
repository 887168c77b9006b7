//! What the tests of Snowshoe share.
//!
//! - Brokers: [`broker`] has the one that all tests share and private nodes and clusters to kill,
//!   stop, suspend and administer; [`scripted_broker`] does what other brokers do and RabbitMQ does
//!   not; [`distant_broker`] is for what is counted.
//! - The network: [`proxy`] fails as networks do, and [`ports`] has addresses on which nobody
//!   listens.
//! - Clients: [`client`] to connect one, [`executor`] for its driver to run on, [`cable`] to cut it
//!   off, [`workload`] to keep it busy, with a [`ledger`] of what became of every message.
//! - What tests do all the time: [`waiting`], [`events`], [`queues`], [`messages`], and [`threads`].

pub mod broker;
pub mod cable;
pub mod client;
pub mod distant_broker;
pub mod events;
pub mod executor;
pub mod ledger;
pub mod messages;
pub mod ports;
pub mod proxy;
pub mod queues;
pub mod scripted_broker;
pub mod threads;
pub mod waiting;
pub mod workload;
