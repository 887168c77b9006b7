//! The whole client in virtual time, through stories that seeds tell.

use std::sync::atomic::{AtomicU64, Ordering};

use snowshoe::testing::simulation;

#[test]
fn no_invariant_breaks_in_any_story() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let seed @ 0..2_000 = next.fetch_add(1, Ordering::Relaxed) {
                    if let Err(failure) = simulation::run(seed) {
                        let told = failure.to_string();
                        panic!("{told}\nshrunk:\n{}", failure.shrunk());
                    }
                }
            });
        }
    });
}
