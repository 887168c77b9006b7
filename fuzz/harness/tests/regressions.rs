//! What the fuzz targets run, over their seeds and over bytes by chance, without a fuzzer.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

/// Runs a target on each of its seeds.
fn seeds(name: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../seeds")
        .join(name);
    let seeds: Vec<_> = fs::read_dir(folder)
        .expect("the seeds are checked in")
        .collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let path = seed.expect("it is there").path();
        // Shown if the test fails.
        eprintln!("{}", path.display());
        target(&fs::read(path).expect("it can be read"));
    }
}

/// A target, or one that is also told how much is allocated: in here that is nothing, for tests run
/// beside each other. `memory.rs` has it.
macro_rules! target {
    ($name:ident) => {
        fuzz_harness::$name
    };
    ($name:ident holds) => {
        |data: &[u8]| fuzz_harness::$name(data, || 0)
    };
}

macro_rules! targets {
    ($($name:ident $($holds:ident)?,)*) => {
        mod seeds {
            $(#[test]
            fn $name() {
                super::seeds(stringify!($name), target!($name $($holds)?));
            })*
        }

        mod chance {
            use super::*;

            proptest! {
                $(#[test]
                fn $name(data in vec(any::<u8>(), 0..2000)) {
                    target!($name $($holds)?)(&data);
                })*
            }
        }
    };
}

targets! {
    content_headers,
    frames,
    futures,
    hostile_clients holds,
    hostile_peer,
    methods,
    operations holds,
    session holds,
    tables,
    uris,
}
