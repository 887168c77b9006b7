//! Runs what the fuzz targets run over scripts by chance, without a fuzzer:
//!
//! ```text
//! cargo run --release -p fuzz-harness -- futures --seeds 100000 [--from N]
//! cargo run --release -p fuzz-harness -- futures --seed N
//! cargo run --release -p fuzz-harness -- futures --script 1,2,3
//! ```
//!
//! It ends with status 2 where a script panics, and says which, after it has taken away what does not
//! matter; `--brief true` says no more than at which seed and how.

use std::error::Error;
use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("futures", fuzz_harness::futures),
    ("hostile_clients", |data| {
        fuzz_harness::hostile_clients(data, || 0);
    }),
    ("hostile_peer", fuzz_harness::hostile_peer),
    ("operations", |data| fuzz_harness::operations(data, || 0)),
    ("session", |data| fuzz_harness::session(data, || 0)),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(it, _)| *it == name) else {
        let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("say what is to be run: {}", known.join(", ")).into());
    };
    let (mut from, mut seeds, mut brief) = (0, 10_000, false);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("a value is missing")?;
        match name.as_str() {
            "--seed" => (from, seeds) = (value.parse()?, 1),
            "--seeds" => seeds = value.parse()?,
            "--from" => from = value.parse()?,
            "--brief" => brief = value.parse()?,
            "--script" => {
                let script: Result<Vec<u8>, _> = value.split(',').map(str::parse).collect();
                target(&script?);
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Err(format!("{name}: what is that?").into()),
        }
    }
    // It is told below, and that without a backtrace.
    panic::set_hook(Box::new(|_| {}));
    let Some(seed) = first_to_fail(*target, from, seeds) else {
        return Ok(ExitCode::SUCCESS);
    };
    let script = script(seed);
    let why = failure(*target, &script).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{seed}: {why}")?;
    if !brief {
        let shrunk = shrink(*target, script, &why);
        let bytes: Vec<String> = shrunk.iter().map(u8::to_string).collect();
        let why = failure(*target, &shrunk).unwrap_or_default();
        writeln!(out, "shrunk: {why}\n--script {}", bytes.join(","))?;
    }
    Ok(ExitCode::from(2))
}

/// Runs scripts on all cores until one fails. Of several, the first counts: all before it were run.
fn first_to_fail(target: Target, from: u64, seeds: u64) -> Option<u64> {
    let (next, first) = (AtomicU64::new(from), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - from >= seeds || seed > first.load(Ordering::Relaxed) {
                        return;
                    }
                    if failure(target, &script(seed)).is_some() {
                        first.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let first = first.into_inner();
    (first < u64::MAX).then_some(first)
}

fn script(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let len = random.usize(0..400);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// What a script panics with, if it does.
fn failure(target: Target, script: &[u8]) -> Option<String> {
    let panicked = panic::catch_unwind(|| target(script)).err()?;
    let text = match panicked.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other
            .downcast::<&str>()
            .map_or("a panic", |it| *it)
            .to_owned(),
    };
    Some(text)
}

/// The same with less in it, as long as it fails for the same reason.
fn shrink(target: Target, mut script: Vec<u8>, why: &str) -> Vec<u8> {
    let reason = |text: &str| text.split(':').next().map(str::to_owned);
    let wanted = reason(why);
    let fails = |script: &[u8]| failure(target, script).and_then(|text| reason(&text)) == wanted;
    let mut step = script.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at + step <= script.len() {
            let mut shorter = script.clone();
            shorter.drain(at..at + step);
            if fails(&shorter) {
                script = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    script
}
