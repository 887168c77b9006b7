//! What a soak ends with: a table in the style of a queue checker.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use peak_alloc::PeakAlloc;

use crate::ledger::{Counts, Faulty, Ledger};
use crate::work::{Counted, Wrong};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) took: Duration,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) attempted: u64,
    pub(crate) counts: Counts,
    /// By lane.
    pub(crate) faulty: Vec<Faulty>,
    /// Of each worker, whose messages are not among the others.
    pub(crate) works: Vec<(Counted, Wrong)>,
    /// How often a connection came to be ready.
    pub(crate) recovered: u64,
    /// How long it took, after each fault, until every lane had carried a new message.
    pub(crate) recoveries: Vec<Duration>,
    /// From beginning to end, while nothing was broken, and how many percent of the faults were
    /// over.
    pub(crate) memory: Vec<(u64, Memory)>,
    pub(crate) peak: Memory,
    /// How much of that is what this is counted in.
    pub(crate) ledgers: u64,
    /// Why it ended early, if it did.
    pub(crate) stalled: Option<String>,
}

impl Report {
    /// Whether everything was as promised.
    pub(crate) fn is_clean(&self) -> bool {
        self.stalled.is_none()
            && self.violations().all(|(_, numbers)| numbers.is_empty())
            && (self.works.iter()).all(|(_, wrong)| wrongs(wrong).all(|(_, it)| it.is_empty()))
    }

    /// Adds what happened to one worker's messages.
    pub(crate) fn add_work(&mut self, counted: Counted, wrong: Wrong) {
        self.works.push((counted, wrong));
    }

    /// Adds what happened on one lane.
    pub(crate) fn add(&mut self, ledger: &Ledger) {
        let mut page = ledger.page();
        page.close();
        let counts = &page.counts;
        self.attempted += page.attempted;
        self.counts.confirmed += counts.confirmed;
        self.counts.consumed += counts.consumed;
        for (how, count) in &counts.unconfirmed {
            *self.counts.unconfirmed.entry(how).or_default() += count;
        }
        self.counts.redelivered += counts.redelivered;
        self.counts.resent += counts.resent;
        self.counts.forgotten += counts.forgotten;
        self.counts.late_redelivered += counts.late_redelivered;
        self.counts.late_by_kill += counts.late_by_kill;
        self.counts.stale += counts.stale;
        self.faulty.push(page.faulty.clone());
    }

    /// What must not happen, with the lanes and numbers of the messages it happened to.
    fn violations(&self) -> impl Iterator<Item = (&'static str, Vec<(usize, u64)>)> {
        type Part = fn(&Faulty) -> &[u64];
        let parts: [(&'static str, Part); 8] = [
            ("lost", |faulty| &faulty.lost),
            ("falsely confirmed", |faulty| &faulty.falsely_confirmed),
            ("reordered", |faulty| &faulty.reordered),
            ("written out of order", |faulty| &faulty.written_ahead),
            ("handed out out of order", |faulty| {
                &faulty.handed_out_of_turn
            }),
            ("corrupted", |faulty| &faulty.corrupted),
            ("duplicated without reason", |faulty| &faulty.unexplained),
            ("not settled", |faulty| &faulty.unsettled),
        ];
        parts.into_iter().map(|(name, part)| {
            let lanes = self.faulty.iter().enumerate();
            let numbers = lanes
                .flat_map(|(lane, faulty)| part(faulty).iter().map(move |&number| (lane, number)));
            (name, numbers.collect())
        })
    }

    /// The recovery time that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            confirmed,
            consumed,
            unconfirmed,
            redelivered,
            resent,
            forgotten,
            late_redelivered,
            late_by_kill,
            stale,
        } = &self.counts;
        row(f, "attempted", &grouped(self.attempted))?;
        row(f, "confirmed", &grouped(*confirmed))?;
        for (how, count) in unconfirmed {
            row(f, &format!("  {how} instead"), &grouped(*count))?;
        }
        row(f, "consumed", &grouped(*consumed))?;
        for (name, numbers) in self.violations() {
            row(f, name, &grouped(numbers.len() as u64))?;
            if !numbers.is_empty() {
                let shown = &numbers[..numbers.len().min(SHOWN)];
                writeln!(f, "    (lane, number): {shown:?}")?;
            }
        }
        row(f, "duplicated", &grouped(redelivered + resent + forgotten))?;
        row(f, "  redelivered", &grouped(*redelivered))?;
        row(f, "  resent unconfirmed", &grouped(*resent))?;
        row(f, "  forgotten by a kill", &grouped(*forgotten))?;
        row(
            f,
            "first copy was a redelivery",
            &grouped(*late_redelivered),
        )?;
        row(f, "late after a kill", &grouped(*late_by_kill))?;
        row(f, "stale settles", &grouped(*stale))?;
        for (counted, wrong) in &self.works {
            write_work(f, counted, wrong)?;
        }
        row(f, "recovery p50", &millis(self.percentile(50)))?;
        row(f, "recovery p99", &millis(self.percentile(99)))?;
        row(f, "recovery max", &millis(self.percentile(100)))?;
        writeln!(f, "{RECOVERY}")?;
        row(f, "connections recovered", &grouped(self.recovered))?;
        row(f, "faults", &grouped(self.recoveries.len() as u64))?;
        for (name, count) in &self.faults {
            row(f, &format!("  {name}"), &grouped(*count))?;
        }
        writeln!(f, "{:<28}{:>14}{:>14}", "memory", "heap", "resident")?;
        for (percent, memory) in &self.memory {
            memory_row(f, &format!("  after {percent} %"), *memory)?;
        }
        memory_row(f, "  at its peak", self.peak)?;
        let ledgers = mebibytes(self.ledgers);
        row(f, "  of that the ledgers, always", &ledgers)?;
        row(f, "took", &format!("{} s", self.took.as_secs()))?;
        if let Some(stalled) = &self.stalled {
            writeln!(f, "\nIT STALLED: {stalled}")?;
        }
        Ok(())
    }
}

fn write_work(f: &mut fmt::Formatter<'_>, counted: &Counted, wrong: &Wrong) -> fmt::Result {
    let rows = [
        ("worker, confirmed", counted.confirmed),
        ("  done", counted.done),
        ("  dead letters", counted.dead),
        ("    worn out by cuts", counted.worn_out),
        ("  runs of handlers", counted.runs),
        ("    repeated after a cut", counted.repeated),
        ("    cut off", counted.cut_off),
        ("  drains", counted.drains),
    ];
    for (name, count) in rows {
        row(f, name, &grouped(count))?;
    }
    for (name, numbers) in wrongs(wrong) {
        row(f, name, &grouped(numbers.len() as u64))?;
        if !numbers.is_empty() {
            writeln!(f, "    {:?}", &numbers[..numbers.len().min(SHOWN)])?;
        }
    }
    Ok(())
}

/// What must not happen to a worker's messages.
fn wrongs(wrong: &Wrong) -> impl Iterator<Item = (&'static str, &[u64])> {
    [
        ("  lost", &*wrong.lost),
        ("  repeated without a cut", &*wrong.repeated),
        ("  dead too early", &*wrong.dead_too_early),
        ("  tried too often", &*wrong.tried_too_often),
    ]
    .into_iter()
}

/// How many of the messages are named to which something happened.
const SHOWN: usize = 20;

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:<28}{value:>14}")
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024)
}

/// A number with commas.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn memory_row(f: &mut fmt::Formatter<'_>, name: &str, memory: Memory) -> fmt::Result {
    let heap = mebibytes(memory.heap);
    let resident = memory.resident.map(mebibytes).unwrap_or_default();
    writeln!(f, "{name:<28}{heap:>14}{resident:>14}")
}

/// What a recovery is.
const RECOVERY: &str =
    "    from when the network passes everything and the node accepts connections again
    until every lane had a message confirmed and consumed that was published after that";

/// What the clients, the proxies and the ledgers use, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What is allocated.
    heap: u64,
    /// What the process has from the system, where that tells: the allocator holds on to some of it
    /// for every thread.
    resident: Option<u64>,
}

impl Memory {
    pub(crate) fn now() -> Self {
        Self {
            heap: HEAP.current_usage() as u64,
            resident: status("VmRSS:"),
        }
    }

    /// The most there was at a time.
    pub(crate) fn peak() -> Self {
        Self {
            heap: HEAP.peak_usage() as u64,
            // The system notes the peak a little late.
            resident: status("VmHWM:").max(status("VmRSS:")),
        }
    }
}

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
