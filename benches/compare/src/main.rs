//! See `lib.rs`.

use std::error::Error;
use std::io::{Write as _, stdout};

use compare::options::{Command, Options};
use compare::report::Report;
use compare::{distance, process, run};

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse()? {
        Command::Help => writeln!(stdout(), "{}", Options::HELP)?,
        Command::Broker { cpu, tls } => process::be_broker(cpu, tls)?,
        Command::Client { order } => compare::client_process(&order, None)?,
        Command::Distance {
            round_trip,
            options,
        } => {
            let table = distance::table(&options.subjects, round_trip, options.rounds)?;
            writeln!(stdout(), "{table}")?;
        }
        Command::Compare(options) => {
            let records = run::run(&options)?;
            Report::new(&records).write(&options)?;
        }
        Command::Report { records, options } => Report::new(&records).write(&options)?,
    }
    Ok(())
}
