#![no_main]

use libfuzzer_sys::fuzz_target;
use snowshoe::testing::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::hostile_peer(data));
