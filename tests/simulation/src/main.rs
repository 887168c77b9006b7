//! Runs the client through simulated stories, one for each seed:
//!
//! ```text
//! cargo run --release -p simulation -- --seeds 1000000 [--from N]
//! cargo run --release -p simulation -- --seed N
//! ```
//!
//! It ends with status 2 where an invariant broke, and `--brief true` says no more than which one.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use simulation::{Counts, Failure};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (mut from, mut seeds, mut brief) = (0, 10_000, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("a value is missing")?;
        match name.as_str() {
            "--seed" => (from, seeds) = (value.parse()?, 1),
            "--seeds" => seeds = value.parse()?,
            "--from" => from = value.parse()?,
            "--brief" => brief = value.parse()?,
            _ => return Err(format!("{name}: what is that?").into()),
        }
    }
    let before = Instant::now();
    let (counts, failure) = run(from, seeds);
    let elapsed = before.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    if brief {
        if let Some(failure) = &failure {
            writeln!(out, "{}: {}", failure.seed(), failure.what())?;
        }
        return Ok(status(failure.is_some()));
    }
    write!(out, "{counts}")?;
    writeln!(out, "seconds             {elapsed:>12.1}")?;
    writeln!(
        out,
        "seeds per second    {:>12.0}",
        counts.seeds() as f64 / elapsed
    )?;
    let failed = failure.is_some();
    if let Some(failure) = failure {
        writeln!(out, "\n{failure}")?;
        writeln!(out, "shrunk:\n{}", failure.shrunk())?;
    }
    Ok(status(failed))
}

/// Told apart from an error, and from a panic.
fn status(failed: bool) -> ExitCode {
    ExitCode::from(if failed { 2 } else { 0 })
}

/// Runs seeds on all cores, until one fails. Of several, the first counts: all before it were run.
fn run(from: u64, seeds: u64) -> (Counts, Option<Failure>) {
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let (total, first) = (Mutex::new(Counts::default()), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut counts = Counts::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    if seed % 10_000 == 0 && seed > from {
                        eprintln!("{seed}");
                    }
                    match simulation::run(seed) {
                        Ok(story) => counts.add(&story),
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            let mut first = first.lock().expect("nobody panics with it");
                            let known = first.as_ref().map_or(u64::MAX, Failure::seed);
                            if failure.seed() < known {
                                *first = Some(failure);
                            }
                        }
                    }
                }
                total.lock().expect("nobody panics with it").add(&counts);
            });
        }
    });
    let poisoned = "nobody panics with it";
    (
        total.into_inner().expect(poisoned),
        first.into_inner().expect(poisoned),
    )
}
