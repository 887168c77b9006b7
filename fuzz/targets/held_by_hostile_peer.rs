#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fuzz_target!(|data: &[u8]| fuzz_harness::held_by_hostile_peer(data, || ALLOCATOR.current_usage()));
