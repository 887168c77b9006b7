//! What a hostile peer can make a connection hold. The allocator counts for the whole process, so this
//! is one test, alone in its file.

#![cfg(feature = "fuzzing")]

use std::fs;

use peak_alloc::PeakAlloc;
use snowshoe::testing::fuzzing;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn no_64_kib_of_a_conversation_over_and_over_hold_more_than_a_mib() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fuzz/seeds/held_by_hostile_peer"
    );
    for seed in fs::read_dir(folder).expect("the seeds are checked in") {
        let seed = fs::read(seed.expect("it is there").path()).expect("it can be read");
        let (which, stream) = seed.split_first().expect("it is not empty");
        let repeated = stream.repeat((64 << 10) / stream.len());
        let data = [&[*which], &repeated[..]].concat();
        fuzzing::held_by_hostile_peer(&data, || ALLOCATOR.current_usage());
    }
}
