use std::error::Error;
use std::io::{Write as _, stderr};

use crate::options::Options;
use crate::place::Places;
use crate::process::{self, BrokerProcess};
use crate::rabbitmq::RabbitMq;
use crate::record::{Outcome, Record};
use crate::tls::Front;
use crate::work::{Arrangement, Order, Row, Sample, Subject, Work};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures everything that the options ask for.
///
/// # Errors
/// A process cannot be started, or a file not be written. What a client does wrong is a result.
pub fn run(options: &Options) -> Result<Vec<Record>> {
    let rabbitmq = options.rabbitmq.then(RabbitMq::connect).transpose()?;
    let run = Run {
        options,
        rabbitmq,
        perf: options.counts && process::has_perf(),
    };
    if options.counts && !run.perf {
        say("System calls are not counted: perf is missing, or not allowed to trace them.");
    }
    let mut records = Vec::new();
    for row in options.rows() {
        say(&row.to_string());
        run.measure(row, &mut records)?;
    }
    Ok(records)
}

struct Run<'a> {
    options: &'a Options,
    rabbitmq: Option<RabbitMq>,
    perf: bool,
}

impl Run<'_> {
    /// Measures all clients in one row, in turn, round by round, so that what disturbs the machine
    /// disturbs them all.
    fn measure(&self, row: Row, records: &mut Vec<Record>) -> Result<()> {
        let mut runners = Vec::new();
        for &subject in &self.options.subjects {
            if row.producers > 1 && !subject.runs_tasks()
                || row.channels > 0 && !subject.has_channels()
            {
                continue;
            }
            match self.prepare(subject, row) {
                Ok(runner) => runners.push(runner),
                Err(error) => self.keep(&Runner::new(subject, row), failed(error), records)?,
            }
        }
        for _ in 0..self.options.rounds {
            for runner in &runners {
                let timed = self.time(runner).map(Outcome::Timed);
                self.keep(runner, timed.unwrap_or_else(failed), records)?;
            }
        }
        if self.options.counts {
            for runner in &runners {
                let counted = self.count(runner);
                self.keep(runner, counted.unwrap_or_else(failed), records)?;
            }
        }
        Ok(())
    }

    /// Finds the arrangement that suits a client best in this row, by a short run in each, which
    /// also tells how many messages fill the window.
    fn prepare(&self, subject: Subject, row: Row) -> Result<Runner> {
        let mut best: Result<(f64, Runner)> = Err("it cannot be run".into());
        for &arrangement in subject.arrangements() {
            let first = Runner {
                arrangement,
                ..Runner::new(subject, row)
            };
            let tried = self.time(&first).map(|sample| {
                let rate = sample.messages as f64 / sample.seconds;
                let messages = (rate * self.options.window.as_secs_f64()) as u64;
                let messages = messages.max(first.messages);
                (rate, Runner { messages, ..first })
            });
            best = match (best, tried) {
                (Ok(best), Ok(tried)) if tried.0 > best.0 => Ok(tried),
                (Ok(best), _) => Ok(best),
                (Err(_), tried) => tried,
            };
        }
        best.map(|(_, runner)| runner)
    }

    fn time(&self, runner: &Runner) -> Result<Sample> {
        self.with_broker(runner, runner.messages, process::time)
    }

    /// Counts by two runs: what the longer one has more belongs to its messages, and not to
    /// starting and stopping.
    fn count(&self, runner: &Runner) -> Result<Outcome> {
        let count =
            |messages| self.with_broker(runner, messages, |order| process::count(order, self.perf));
        let messages = (runner.messages / 3).next_multiple_of(GRAIN);
        let (short, few) = count(messages)?;
        let (long, many) = count(messages * 3)?;
        let more = (long.messages - short.messages) as f64 * (1.0 + 1.0 / WARM_UP as f64);
        let system_calls = many
            .zip(few)
            .map(|(many, few)| many.saturating_sub(few) as f64 / more);
        let allocations = long.allocations.unwrap_or(0) as f64 / long.messages as f64;
        Ok(Outcome::Counted {
            allocations,
            system_calls,
        })
    }

    /// Runs something against a broker that has seen nothing yet.
    fn with_broker<T>(
        &self,
        runner: &Runner,
        messages: u64,
        run: impl FnOnce(&Order) -> Result<T>,
    ) -> Result<T> {
        let Runner {
            subject,
            row,
            arrangement,
            ..
        } = *runner;
        let places = Places::new(row.work.is_latency())?;
        let messages = messages.next_multiple_of(GRAIN);
        let mut order = Order {
            subject,
            row,
            url: String::new(),
            queue: String::new(),
            witness: 0,
            warm_up: (messages / WARM_UP).next_multiple_of(GRAIN),
            messages,
            cpu: places.client,
            arrangement,
        };
        if let Some(rabbitmq) = &self.rabbitmq {
            rabbitmq.prepare(&mut order)?;
            return run(&order);
        }
        let broker = BrokerProcess::start(places.broker, self.options.tls)?;
        let clear = format!("amqp://guest:guest@127.0.0.1:{}", broker.port);
        order.url = broker.front.as_ref().map_or(clear, Front::url);
        order.witness = broker.port;
        order.queue = match row.work {
            Work::Consume | Work::Acked | Work::AckedByBatch => {
                format!("feed-{}-{}", row.size, order.warm_up + order.messages)
            }
            Work::RoundTrip => "echo".to_owned(),
            Work::Publish | Work::Confirmed | Work::ConfirmedSingly => "compare".to_owned(),
        };
        run(&order)
    }

    fn keep(&self, runner: &Runner, outcome: Outcome, records: &mut Vec<Record>) -> Result<()> {
        if let Outcome::Failed(why) = &outcome {
            say(&format!("  {}: {why}", runner.subject.name()));
        }
        let record = Record {
            subject: runner.subject,
            row: runner.row,
            arrangement: runner.arrangement,
            outcome,
        };
        if let Some(path) = &self.options.results {
            record.append(path)?;
        }
        records.push(record);
        Ok(())
    }
}

/// A client in one row.
struct Runner {
    subject: Subject,
    row: Row,
    arrangement: Arrangement,
    /// How many messages are measured at once.
    messages: u64,
}

impl Runner {
    fn new(subject: Subject, row: Row) -> Self {
        Self {
            subject,
            row,
            arrangement: Arrangement::default(),
            messages: first_guess(row),
        }
    }
}

fn failed(error: Box<dyn Error>) -> Outcome {
    Outcome::Failed(error.to_string())
}

/// What is certainly not too much for a first run.
fn first_guess(row: Row) -> u64 {
    match (row.work.is_latency(), row.size) {
        (true, _) => 800,
        (false, ..=1023) => 40_000,
        (false, ..=32_767) => 20_000,
        (false, _) => 1_600,
    }
}

fn say(line: &str) {
    _ = writeln!(stderr(), "{line}");
}

/// Messages come in multiples that producers and batches divide.
const GRAIN: u64 = 800;

/// The part of the messages that come before, as a divisor.
const WARM_UP: u64 = 4;
