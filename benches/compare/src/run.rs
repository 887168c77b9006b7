use std::error::Error;
use std::io::{Write as _, stderr};

use crate::options::Options;
use crate::place::Places;
use crate::process::{self, BrokerProcess};
use crate::rabbitmq::RabbitMq;
use crate::record::{Outcome, Record};
use crate::work::{Order, Row, Sample, Subject, Work};

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
            if row.producers > 1 && !subject.runs_tasks() {
                continue;
            }
            // A short run tells how many messages fill the window.
            let first = first_guess(row);
            match self.time(subject, row, first) {
                Ok(sample) => {
                    let rate = sample.messages as f64 / sample.seconds;
                    let messages = (rate * self.options.window.as_secs_f64()) as u64;
                    runners.push((subject, messages.max(first)));
                }
                Err(error) => {
                    let outcome = Outcome::Failed(error.to_string());
                    self.keep(
                        Record {
                            subject,
                            row,
                            outcome,
                        },
                        records,
                    )?;
                }
            }
        }
        for _ in 0..self.options.rounds {
            for &(subject, messages) in &runners {
                let outcome = match self.time(subject, row, messages) {
                    Ok(sample) => Outcome::Timed(sample),
                    Err(error) => Outcome::Failed(error.to_string()),
                };
                self.keep(
                    Record {
                        subject,
                        row,
                        outcome,
                    },
                    records,
                )?;
            }
        }
        if self.options.counts {
            for &(subject, messages) in &runners {
                let outcome = match self.count(subject, row, messages / 3) {
                    Ok(outcome) => outcome,
                    Err(error) => Outcome::Failed(error.to_string()),
                };
                self.keep(
                    Record {
                        subject,
                        row,
                        outcome,
                    },
                    records,
                )?;
            }
        }
        Ok(())
    }

    fn time(&self, subject: Subject, row: Row, messages: u64) -> Result<Sample> {
        self.with_broker(subject, row, messages, process::time)
    }

    /// Counts by two runs: what the longer one has more belongs to its messages, and not to
    /// starting and stopping.
    fn count(&self, subject: Subject, row: Row, messages: u64) -> Result<Outcome> {
        let count = |messages| {
            self.with_broker(subject, row, messages, |order| {
                process::count(order, self.perf)
            })
        };
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
        subject: Subject,
        row: Row,
        messages: u64,
        run: impl FnOnce(&Order) -> Result<T>,
    ) -> Result<T> {
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
        };
        if let Some(rabbitmq) = &self.rabbitmq {
            rabbitmq.prepare(&mut order)?;
            return run(&order);
        }
        let broker = BrokerProcess::start(places.broker)?;
        order.url = format!("amqp://guest:guest@127.0.0.1:{}", broker.port);
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

    fn keep(&self, record: Record, records: &mut Vec<Record>) -> Result<()> {
        if let Outcome::Failed(why) = &record.outcome {
            say(&format!("  {}: {why}", record.subject.name()));
        }
        if let Some(path) = &self.options.results {
            record.append(path)?;
        }
        records.push(record);
        Ok(())
    }
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
