//! Counts instructions, and puts them into one table with the times that `cargo bench` has taken.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::Command;

use micro::{GRAIN, Operation, Side};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(),
        [micro::BROKER] => micro::be_broker(),
        ["run", id, side, messages] => run(id, side, messages.parse()?),
        _ => Err("micro takes no arguments".into()),
    }
}

/// What runs under callgrind.
fn run(id: &str, side: &str, messages: u64) -> Result<()> {
    let operation = Operation::all()
        .into_iter()
        .find(|operation| operation.id == id);
    let side = Side::named(side).ok_or("that is no side")?;
    let runner = operation.and_then(|operation| operation.runner(side));
    runner.ok_or("there is no such operation")?(messages);
    Ok(())
}

fn report() -> Result<()> {
    let mut table = String::from(
        "| for each message | bytes | snowshoe ns | amq-protocol ns | snowshoe GB/s \
         | snowshoe instructions | amq-protocol instructions |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for operation in Operation::all() {
        let times = Side::ALL.map(|side| nanoseconds(&operation, side));
        let bytes = operation.bytes.map(|bytes| bytes as f64);
        let speed = bytes.zip(times[0]).map(|(bytes, time)| bytes / time);
        let mut counts = [None; 2];
        for (count, side) in counts.iter_mut().zip(Side::ALL) {
            *count = instructions(&operation, side)?;
        }
        let [ours, theirs] = times.map(cell);
        let [our_count, their_count] = counts.map(cell);
        writeln!(
            table,
            "| {} | {} | {ours} | {theirs} | {} | {our_count} | {their_count} |",
            operation.title,
            cell(bytes),
            cell(speed),
        )?;
        writeln!(stdout(), "{}", table.lines().last().unwrap_or_default())?;
    }
    Ok(fs::write(
        home().join("results.md"),
        format!("{NOTES}\n{table}"),
    )?)
}

/// What criterion has measured, if it has.
fn nanoseconds(operation: &Operation, side: Side) -> Option<f64> {
    let folder = home().join("target/criterion").join(&operation.id);
    let file = folder.join(side.name()).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let median = estimates["median"]["point_estimate"].as_f64()?;
    Some(median / GRAIN as f64)
}

/// Counts by two runs: what the longer one has more belongs to its messages.
fn instructions(operation: &Operation, side: Side) -> Result<Option<f64>> {
    if operation.runner(side).is_none() {
        return Ok(None);
    }
    // The first thousand find buffers that are too small yet.
    let few = count(operation, side, 2 * GRAIN)?;
    let many = count(operation, side, 4 * GRAIN)?;
    Ok(Some((many - few) as f64 / (2 * GRAIN) as f64))
}

fn count(operation: &Operation, side: Side, messages: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["run", &operation.id, side.name(), &messages.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .ok_or_else(|| told.clone())?;
    Ok(count.1.trim().parse()?)
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const NOTES: &str = "\
Printed by

```sh
cargo bench --manifest-path benches/micro/Cargo.toml           # time, by criterion
cargo run --release --manifest-path benches/micro/Cargo.toml   # instructions, by callgrind
```

A delivery's bytes are copied into a fresh buffer first on Snowshoe's side, as a socket would copy
them, and parsed where they are on amq-protocol's, whose frames to encode were made beforehand.
Bodies that are large are not copied into Snowshoe's outbound buffer: they are written from where
they are. The state machines have a window of 1000 messages. What a client does for a message is counted
without the system's part, the broker in memory being a process of its own.
";
