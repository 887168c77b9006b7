use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::record::Record;
use crate::work::{Row, Subject, Work};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Help,
    /// Be a null broker.
    Broker {
        cpu: usize,
        /// With TLS in front of it.
        tls: bool,
    },
    /// Be a client process.
    Client {
        order: String,
    },
    /// Count the round trips that clients wait for at a distance.
    Distance {
        round_trip: Duration,
        options: Options,
    },
    Compare(Options),
    /// Report what earlier runs wrote.
    Report {
        records: Vec<Record>,
        options: Options,
    },
}

/// What to compare, and where to put it.
#[derive(Clone, Debug)]
pub struct Options {
    pub works: Vec<Work>,
    pub sizes: Vec<usize>,
    pub producers: Vec<usize>,
    /// How many channels are open beside those that are used.
    pub channels: Vec<usize>,
    pub subjects: Vec<Subject>,
    pub rounds: usize,
    /// How long a measured window is, about.
    pub window: Duration,
    /// Whether allocations and system calls are counted.
    pub counts: bool,
    pub tls: bool,
    pub rabbitmq: bool,
    pub results: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    pub svg: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            works: Work::ALL.to_vec(),
            sizes: vec![16, 1 << 10, 64 << 10],
            producers: vec![1, 8],
            channels: vec![0],
            subjects: Subject::ALL
                .into_iter()
                .filter(|subject| subject.is_there())
                .collect(),
            rounds: 5,
            window: Duration::from_millis(300),
            counts: true,
            tls: false,
            rabbitmq: false,
            results: None,
            markdown: None,
            svg: None,
        }
    }
}

impl Options {
    pub const HELP: &str = "\
Compares AMQP clients on the same work, and prints a table.

compare [OPTIONS]                 measure, and report
compare report FILE... [OPTIONS]  report what earlier runs wrote by --results
compare distance MS [OPTIONS]     round trips to the broker that AMQP_URL names, of MS milliseconds each

  --quick            short and few rounds
  --only WORK        publish, confirmed, confirmed-singly, consume, acked, acked-by-batch or
                     round-trip; can be given several times
  --sizes A,B        lengths of bodies in bytes; 16,1024,65536 by default
  --producers A,B    1,8 by default; several for publishing with much under way alone
  --channels A,B     how many channels are open beside those that are used; 0 by default
  --clients A,B      limit, snowshoe, snowshoe-shared, snowshoe-local, amqp-client, lapin,
                     amqprs, amiquip, rabbitmq-c where the feature of that name is on
  --rounds N         5 by default; the table has the medians
  --no-counts        leaves out allocations and system calls
  --tls              over TLS, as far as the clients can be told whom to trust: it is their processor time that
                     counts, since the broker shares its processor with the other end of TLS
  --rabbitmq         the broker that AMQP_URL names, instead of the null broker
  --results FILE     adds every measurement to a file, as a line of JSON
  --markdown FILE    writes the whole table to a file
  --svg FILE         writes a plot to a file";

    /// The rows of the table.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for &work in &self.works {
            for &size in &self.sizes {
                let counts = work.producers().iter();
                let counts = counts.filter(|count| self.producers.contains(count));
                for &producers in counts {
                    rows.extend(self.channels.iter().map(|&channels| Row {
                        work,
                        size,
                        producers,
                        channels,
                    }));
                }
            }
        }
        rows
    }
}

impl Command {
    /// Parses the arguments of the process.
    ///
    /// # Errors
    /// What is wrong with them, or with a file that they name.
    pub fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parser = lexopt::Parser::from_env();
        let mut options = Options::default();
        let mut words = Vec::new();
        let mut only = Vec::new();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(Self::Help),
                Long("quick") => {
                    options.rounds = 1;
                    options.window = Duration::from_millis(100);
                }
                Long("only") => {
                    let name = parser.value()?.string()?;
                    only.push(Work::named(&name).ok_or(format!("{name} is no work"))?);
                }
                Long("sizes") => options.sizes = list(&mut parser, |size| size.parse().ok())?,
                Long("producers") => {
                    options.producers = list(&mut parser, |count| count.parse().ok())?;
                }
                Long("channels") => {
                    options.channels = list(&mut parser, |count| count.parse().ok())?;
                }
                Long("clients") => options.subjects = list(&mut parser, Subject::named)?,
                Long("rounds") => options.rounds = parser.value()?.parse()?,
                Long("no-counts") => options.counts = false,
                Long("tls") => options.tls = true,
                Long("rabbitmq") => options.rabbitmq = true,
                Long("results") => options.results = Some(parser.value()?.into()),
                Long("markdown") => options.markdown = Some(parser.value()?.into()),
                Long("svg") => options.svg = Some(parser.value()?.into()),
                Value(word) => words.push(word.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        if !only.is_empty() {
            options.works = only;
        }
        let mut words = words.into_iter();
        match words.next().as_deref() {
            None => Ok(Self::Compare(options)),
            Some("broker") => Ok(Self::Broker {
                cpu: words.next().ok_or("a processor is missing")?.parse()?,
                tls: words.next().as_deref() == Some("tls"),
            }),
            Some("client") => Ok(Self::Client {
                order: words.next().ok_or("an order is missing")?,
            }),
            Some("distance") => Ok(Self::Distance {
                round_trip: Duration::from_millis(
                    words.next().ok_or("how many milliseconds?")?.parse()?,
                ),
                options,
            }),
            Some("report") => {
                let mut records = Vec::new();
                for file in words {
                    records.extend(Record::read(file.as_ref())?);
                }
                Ok(Self::Report { records, options })
            }
            Some(word) => Err(format!("{word} is no command; see --help").into()),
        }
    }
}

fn list<T>(
    parser: &mut lexopt::Parser,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Box<dyn Error>> {
    let value = parser.value()?.string()?;
    let parts = value.split(',').map(|part| {
        let known = parse(part);
        known.ok_or_else(|| format!("{part} is not known here; see --help").into())
    });
    parts.collect()
}
