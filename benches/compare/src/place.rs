use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where processes run: waking a processor that idles costs more than most of what is measured, so
/// client and broker have one each for throughput, and share one for latency.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    pub client: usize,
    pub broker: usize,
}

impl Places {
    /// The first two processors that this process may run on.
    pub fn new(shared: bool) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let client = cpus.next().unwrap_or(0);
        let broker = if shared { None } else { cpus.next() };
        Ok(Self {
            client,
            broker: broker.unwrap_or(client),
        })
    }
}

/// Keeps this process, and the threads that it will start, on one processor.
///
/// # Errors
/// There is no such processor.
pub fn on(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}
