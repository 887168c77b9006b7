//! The client process of runs in which allocations are counted. Counting takes time, so those that
//! are timed have an executable of their own.

use std::alloc::System;
use std::error::Error;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let order = std::env::args().nth(1).ok_or("an order is missing")?;
    compare::client_process(&order, Some(allocations))
}

fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}
