//! A soak: confirmed producers and acknowledging consumers go through one fault after the other,
//! and a table tells what became of every message.
//!
//!     cargo run --release -p soak -- --faults 200 --seed 1 --publishes 400000
//!
//! It starts a RabbitMQ node of its own (`tests/with-broker true` installs RabbitMQ where it is
//! missing) and a proxy in front of it. The network resets, closes, cuts, goes silent, drips, stops
//! reading and refuses; the node is killed, stopped, suspended, closes connections and runs short
//! of memory. The seed decides what comes when; `--only` leaves one kind of what the table names,
//! such as `--only "half-open"`. Half of the traffic of a fault precedes it, a
//! quarter meets it, and a quarter comes once it is over.
//!
//! With `--cluster` there are three nodes with a proxy each, quorum queues, and clients that know
//! all three. What happens to a node happens to each in turn, to one that a client is connected to,
//! or to the one with the leader of a queue, and it is often its death.
//!
//! Beside them there are two workers, whose handlers fail as often as their messages say: one retries by copies that
//! wait in queues of their own, one by the broker's own means where it has them. Every now and then one is drained, and
//! begins anew.
//!
//! It exits with 1 if anything was lost, confirmed without the broker's word, reordered, corrupted
//! or duplicated for no reason, if a worker's attempts were counted wrongly, or if nothing moved for a minute. `RUST_LOG=info` names each fault
//! in full, `RUST_LOG=snowshoe=debug` what the client does.
#![allow(clippy::print_stdout, reason = "a tool shows what it found")]

mod chronicle;
mod faults;
mod lane;
mod ledger;
mod message;
mod plan;
mod report;
mod scene;
#[cfg(test)]
mod tests;
mod witness;
mod work;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use plan::Plan;

const USAGE: &str = "usage: soak [--cluster] [--faults N] [--seed S] [--publishes M] [--only KIND]";

fn main() -> ExitCode {
    log_with_times();
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("{plan:?}");
    let report = plan.run();
    println!("{report}");
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Logs as `RUST_LOG` says, with the seconds since the start.
fn log_with_times() {
    let began = Instant::now();
    env_logger::Builder::from_default_env()
        .format(move |line, record| {
            let time = began.elapsed().as_secs_f64();
            let (level, target) = (record.level(), record.target());
            writeln!(line, "{time:9.3} {level:5} {target}: {}", record.args())
        })
        .init();
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let (mut faults, mut seed, mut publishes, mut only) = (50, 1, None, None);
    let mut cluster = false;
    while let Some(name) = arguments.next() {
        if name == "--cluster" {
            cluster = true;
            continue;
        }
        let value = arguments.next()?;
        let number = value.replace('_', "").parse();
        match name.as_str() {
            "--faults" => faults = number.ok()?,
            "--seed" => seed = number.ok()?,
            "--publishes" => publishes = Some(number.ok()?),
            "--only" => only = Some(value),
            _ => return None,
        }
    }
    Some(Plan {
        faults,
        publishes: publishes.unwrap_or(faults * 2000),
        seed,
        only,
        cluster,
    })
}
