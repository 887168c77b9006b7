use std::fmt::Write as _;
use std::io::{self, Write as _, stdout};

use crate::options::Options;
use crate::plot::Plot;
use crate::record::{Outcome, Record};
use crate::work::{Arrangement, Row, Subject};

/// Measurements, put together.
#[derive(Debug)]
pub struct Report {
    rows: Vec<(Row, Vec<Cell>)>,
}

/// What is known about one client in one row.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) subject: Subject,
    arrangement: Arrangement,
    /// Messages a second; `None` if the client failed.
    pub(crate) rate: Option<f64>,
    /// Processor time of the client for a message, in microseconds.
    cpu: f64,
    allocations: Option<f64>,
    system_calls: Option<f64>,
    /// Bytes that the process grew by.
    peak: f64,
    /// Median and 99th percentile, in microseconds.
    latency: Option<(f64, f64)>,
    failure: Option<String>,
}

impl Report {
    pub fn new(records: &[Record]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for record in records {
            if !rows.contains(&record.row) {
                rows.push(record.row);
            }
        }
        let cells = |row: Row| {
            let cells = Subject::ALL.into_iter().filter_map(|subject| {
                let records = records.iter().filter(|record| record.row == row);
                let records = records.filter(|record| record.subject == subject);
                Cell::new(subject, records)
            });
            cells.collect()
        };
        Self {
            rows: rows.into_iter().map(|row| (row, cells(row))).collect(),
        }
    }

    /// Prints it, and writes the files that the options name.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write(&self, options: &Options) -> io::Result<()> {
        writeln!(stdout(), "{}\n{}", self.summary(), self.details())?;
        if let Some(path) = &options.markdown {
            std::fs::write(path, format!("{}\n{}", self.summary(), self.details()))?;
        }
        if let Some(path) = &options.svg {
            std::fs::write(path, Plot::new(&self.rows).svg())?;
        }
        Ok(())
    }

    /// A line a row, a column a client: thousand messages a second, or microseconds of one.
    fn summary(&self) -> String {
        let present = |subject: &Subject| {
            let mut cells = self.rows.iter().flat_map(|(_, cells)| cells);
            cells.any(|cell| cell.subject == *subject)
        };
        let subjects: Vec<_> = Subject::ALL.into_iter().filter(present).collect();
        let mut out = String::from("| work |");
        for subject in &subjects {
            _ = write!(out, " {} |", subject.name());
        }
        _ = write!(
            out,
            " best Rust peer | limit |\n|---|{}",
            "---:|".repeat(subjects.len() + 2)
        );
        for (row, cells) in &self.rows {
            _ = write!(out, "\n| {row} |");
            for subject in &subjects {
                let cell = cells.iter().find(|cell| cell.subject == *subject);
                _ = write!(out, " {} |", cell.map_or(String::new(), Cell::brief));
            }
            _ = write!(out, " {} |", comparison(cells));
        }
        out.push('\n');
        out
    }

    /// A line a client in each row, with all that was measured.
    fn details(&self) -> String {
        let mut out = String::from(
            "| work | client | messages/s | × best Rust peer | of the limit | CPU µs | allocations \
             | system calls | peak MiB | p50 µs | p99 µs |\n|---|---|",
        );
        out += &"---:|".repeat(9);
        for (row, cells) in &self.rows {
            for cell in cells {
                _ = write!(out, "\n| {row} | {} |{}", cell.name(), cell.details(cells));
            }
        }
        out.push('\n');
        out
    }
}

impl Cell {
    fn new<'a>(subject: Subject, records: impl Iterator<Item = &'a Record>) -> Option<Self> {
        let (mut samples, mut counted, mut failure) = (Vec::new(), None, None);
        let mut arrangement = Arrangement::default();
        for record in records {
            arrangement = record.arrangement;
            match &record.outcome {
                Outcome::Timed(sample) => samples.push(sample),
                Outcome::Counted {
                    allocations,
                    system_calls,
                } => counted = Some((*allocations, *system_calls)),
                Outcome::Failed(why) => failure = Some(why.clone()),
            }
        }
        if samples.is_empty() && failure.is_none() {
            return None;
        }
        let of = |measure: fn(&crate::work::Sample) -> f64| {
            median(samples.iter().map(|sample| measure(sample)).collect())
        };
        let latency = |pick: fn((f64, f64)) -> f64| {
            let latencies = samples.iter().filter_map(|sample| sample.latency);
            median(latencies.map(pick).collect())
        };
        Some(Self {
            subject,
            arrangement,
            rate: of(|sample| sample.messages as f64 / sample.seconds),
            cpu: of(|sample| sample.cpu_seconds * 1e6 / sample.messages as f64).unwrap_or(0.0),
            allocations: counted.map(|(allocations, _)| allocations),
            system_calls: counted.and_then(|(_, system_calls)| system_calls),
            peak: of(|sample| sample.peak_growth as f64).unwrap_or(0.0),
            latency: latency(|(p50, _)| p50).zip(latency(|(_, p99)| p99)),
            failure,
        })
    }

    fn name(&self) -> String {
        let name = self.subject.name();
        match self.arrangement {
            Arrangement::OneThread => name.to_owned(),
            Arrangement::Workers => format!("{name}, on workers"),
        }
    }

    fn brief(&self) -> String {
        match (self.rate, self.latency) {
            (None, _) => "fails".to_owned(),
            (Some(_), Some((p50, _))) => format!("{p50:.1} µs"),
            (Some(rate), None) => format!("{} ({})", thousands(rate / 1e3), micros(self.cpu)),
        }
    }

    fn details(&self, row: &[Self]) -> String {
        let Some(rate) = self.rate else {
            let why = self.failure.as_deref().unwrap_or("fails");
            return format!(" {why} |{}", " |".repeat(8));
        };
        let number = |value: Option<f64>| value.map_or(String::new(), small);
        let peer = best_peer(row).map(|peer| rate / peer);
        let limit = rate_of(row, Subject::Limit).map(|limit| rate / limit);
        let (p50, p99) = self.latency.unzip();
        format!(
            " {} | {} | {} | {} | {} | {} | {:.1} | {} | {} |",
            thousands(rate),
            peer.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            limit.map_or(String::new(), |share| format!("{:.0}%", share * 100.0)),
            micros(self.cpu),
            number(self.allocations),
            number(self.system_calls),
            self.peak / f64::from(1 << 20),
            p50.map_or(String::new(), |p50| format!("{p50:.1}")),
            p99.map_or(String::new(), |p99| format!("{p99:.1}")),
        )
    }
}

/// How the fastest of the Snowshoes stands to the best Rust peer, and to the limit.
fn comparison(cells: &[Cell]) -> String {
    let ours = [
        Subject::Snowshoe,
        Subject::SnowshoeShared,
        Subject::SnowshoeLocal,
    ];
    let ours = ours
        .into_iter()
        .filter_map(|subject| rate_of(cells, subject));
    let Some(ours) = ours.reduce(f64::max) else {
        return " |".to_owned();
    };
    let peer = best_peer(cells).map_or(String::new(), |peer| format!("× {:.1}", ours / peer));
    let limit = rate_of(cells, Subject::Limit);
    let limit = limit.map_or(String::new(), |limit| {
        format!("{:.0}%", ours / limit * 100.0)
    });
    format!("{peer} | {limit}")
}

fn best_peer(cells: &[Cell]) -> Option<f64> {
    let peers = cells.iter().filter(|cell| cell.subject.is_rust_peer());
    peers.filter_map(|cell| cell.rate).reduce(f64::max)
}

fn rate_of(cells: &[Cell], subject: Subject) -> Option<f64> {
    let cell = cells.iter().find(|cell| cell.subject == subject)?;
    cell.rate
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[last / 2] + values[last.div_ceil(2)]) / 2.0)
}

/// A whole number with its thousands set apart.
fn thousands(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let groups: Vec<_> = groups.into_iter().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn micros(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

/// A count for each message, which may be far below one.
fn small(value: f64) -> String {
    match value {
        ..0.000_5 => "0".to_owned(),
        ..0.1 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}
