//! See `lib.rs`.

use std::error::Error;
use std::io::{Write as _, stdout};

use compare::broker::Broker;
use compare::options::{Command, Options};
use compare::report::Report;
use compare::tls::Front;
use compare::{distance, leash, place, run};

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse()? {
        Command::Help => writeln!(stdout(), "{}", Options::HELP)?,
        Command::Broker { cpu, tls } => {
            leash::attach();
            place::on(cpu)?;
            let broker = Broker::bind()?;
            let port = broker.port()?;
            let front = tls.then(|| Front::start(port)).transpose()?;
            let front = front.as_ref().map_or(String::new(), Front::line);
            writeln!(stdout(), "{port} {front}")?;
            broker.run()?;
        }
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
