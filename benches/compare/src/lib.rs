//! Measures Snowshoe, other AMQP clients and the physical limit on the same work.
//!
//! `cargo run --release --manifest-path benches/compare/Cargo.toml` does all of it; `--help` says
//! what else there is. Every measurement is a pair of processes: a [broker] that does next to
//! nothing, and a [client] that does one [work](work::Work), each on the processor it was given.

pub mod broker;
pub mod client;
pub mod distance;
pub mod leash;
pub mod meter;
pub mod options;
pub mod place;
mod plot;
pub mod process;
mod rabbitmq;
pub mod record;
pub mod report;
pub mod run;
pub mod tls;
mod wire;
pub mod witness;
pub mod work;

use std::error::Error;
use std::io::{Write as _, stdout};

use crate::work::Order;

/// The client process: does what the JSON of an [`Order`] says and prints a [`work::Sample`].
///
/// # Errors
/// The order is none, or the client failed.
pub fn client_process(order: &str, allocations: Option<fn() -> u64>) -> Result<(), Box<dyn Error>> {
    leash::attach();
    let order: Order = serde_json::from_str(order)?;
    place::on(order.cpu)?;
    let sample = client::run(&order, allocations)?;
    writeln!(stdout(), "{}", serde_json::to_string(&sample)?)?;
    // Nothing is left to be done, and some clients take their time to close.
    std::process::exit(0);
}
