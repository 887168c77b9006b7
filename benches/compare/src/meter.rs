use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::work::Sample;

/// Measures a window of steady state in this process.
#[derive(Debug)]
pub struct Meter {
    /// Counts the process's allocations so far, in the executable that counts them.
    allocations: Option<fn() -> u64>,
    resident_before: u64,
    began: Option<Mark>,
    latencies: Vec<u32>,
    sample: Option<Sample>,
}

#[derive(Debug)]
struct Mark {
    time: Instant,
    cpu: Duration,
    allocations: Option<u64>,
}

impl Meter {
    pub fn new(allocations: Option<fn() -> u64>) -> Self {
        Self {
            allocations,
            resident_before: status("VmRSS:"),
            began: None,
            latencies: Vec::new(),
            sample: None,
        }
    }

    /// The window begins. Latencies will be noted for so many messages.
    pub fn begin(&mut self, latencies: u64) {
        // Reserved now, so that noting them allocates nothing.
        self.latencies.reserve_exact(latencies as usize);
        self.began = Some(self.mark());
    }

    /// One message took so long.
    pub fn note(&mut self, latency: Duration) {
        self.latencies.push(latency.as_nanos() as u32);
    }

    /// The window ends after so many messages.
    pub fn end(&mut self, messages: u64) {
        let end = self.mark();
        let began = self.began.take().expect("a window that ends has begun");
        self.latencies.sort_unstable();
        let percentile = |p: usize| {
            let last = self.latencies.len().checked_sub(1)?;
            Some(f64::from(self.latencies[last * p / 100]) / 1e3)
        };
        self.sample = Some(Sample {
            messages,
            seconds: (end.time - began.time).as_secs_f64(),
            cpu_seconds: (end.cpu - began.cpu).as_secs_f64(),
            allocations: end.allocations.zip(began.allocations).map(|(e, b)| e - b),
            peak_growth: status("VmHWM:").saturating_sub(self.resident_before),
            latency: percentile(50).zip(percentile(99)),
        });
    }

    /// What was measured.
    pub fn sample(self) -> Option<Sample> {
        self.sample
    }

    fn mark(&self) -> Mark {
        Mark {
            time: Instant::now(),
            cpu: cpu_time(),
            allocations: self.allocations.map(|count| count()),
        }
    }
}

/// Processor time of the process so far, in user and kernel space.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A line of `/proc/self/status` in bytes; 0 where there is no such file.
fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
