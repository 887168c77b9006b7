//! Runs the client through simulated stories, one for each seed:
//!
//! ```text
//! cargo run --release --features testing --example simulate -- --seeds 1000000 [--from N]
//! cargo run --release --features testing --example simulate -- --seed N
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use snowshoe::testing::simulation::{self, Counts, Failure};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (mut from, mut seeds) = (0, 10_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("a number is missing")?.parse()?;
        match name.as_str() {
            "--seed" => (from, seeds) = (value, 1),
            "--seeds" => seeds = value,
            "--from" => from = value,
            _ => return Err(format!("{name}: what is that?").into()),
        }
    }
    let before = Instant::now();
    let (counts, failure) = run(from, seeds);
    let elapsed = before.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    write!(out, "{counts}")?;
    writeln!(out, "seconds             {elapsed:>12.1}")?;
    writeln!(
        out,
        "seeds per second    {:>12.0}",
        counts.seeds() as f64 / elapsed
    )?;
    let Some(failure) = failure else {
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(out, "\n{failure}")?;
    writeln!(out, "shrunk:\n{}", failure.shrunk())?;
    Ok(ExitCode::FAILURE)
}

/// Runs seeds on all cores, until one fails.
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
                            *first.lock().expect("nobody panics with it") = Some(failure);
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
