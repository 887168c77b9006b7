#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use snowshoe::testing::fuzzing;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fuzz_target!(|data: &[u8]| fuzzing::session(data, || ALLOCATOR.current_usage()));
