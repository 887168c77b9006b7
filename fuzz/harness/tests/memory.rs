//! What a hostile peer can make a connection hold. The allocator counts for the whole process, so this
//! is one test, alone in its file.

use std::fs;
use std::path::Path;

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn a_peer_makes_nobody_hold_more_than_it_is_worth() {
    no_64_kib_of_a_conversation_over_and_over_hold_more_than_a_mib();
    no_script_holds_more_than_it_explains("hostile_clients", |data| {
        fuzz_harness::hostile_clients(data, || ALLOCATOR.current_usage());
    });
    no_script_holds_more_than_it_explains("operations", |data| {
        fuzz_harness::operations(data, || ALLOCATOR.current_usage());
    });
    no_script_holds_more_than_it_explains("session", |data| {
        fuzz_harness::session(data, || ALLOCATOR.current_usage());
    });
}

fn no_64_kib_of_a_conversation_over_and_over_hold_more_than_a_mib() {
    for seed in seeds("held_by_hostile_peer") {
        let (which, stream) = seed.split_first().expect("it is not empty");
        let repeated = stream.repeat((64 << 10) / stream.len());
        let data = [&[*which], &repeated[..]].concat();
        fuzz_harness::held_by_hostile_peer(&data, || ALLOCATOR.current_usage());
    }
}

fn no_script_holds_more_than_it_explains(target: &str, run: impl Fn(&[u8])) {
    for seed in seeds(target) {
        let (first, rest) = seed.split_first().expect("it is not empty");
        run(&[&[*first], &rest.repeat(20)[..]].concat());
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    let folder = fs::read_dir(folder.join(target)).expect("the seeds are checked in");
    let read = |seed: fs::DirEntry| fs::read(seed.path()).expect("it can be read");
    folder
        .map(|seed| read(seed.expect("it is there")))
        .collect()
}
