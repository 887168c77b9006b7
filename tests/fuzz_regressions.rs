//! What the fuzz targets run, over their seeds and over bytes by chance, without a fuzzer.

#![cfg(feature = "fuzzing")]

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use snowshoe::testing::fuzzing;

/// Runs a target on each of its seeds.
fn seeds(name: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
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

macro_rules! targets {
    ($($name:ident,)*) => {
        mod seeds {
            $(#[test]
            fn $name() {
                super::seeds(stringify!($name), snowshoe::testing::fuzzing::$name);
            })*
        }

        mod chance {
            use super::*;

            proptest! {
                $(#[test]
                fn $name(data in vec(any::<u8>(), 0..2000)) {
                    fuzzing::$name(&data);
                })*
            }
        }
    };
}

targets! {
    content_headers,
    frames,
    hostile_peer,
    methods,
    tables,
    uris,
}
