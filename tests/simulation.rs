//! The whole client in virtual time, through stories that seeds tell.

use snowshoe::testing::simulation;

#[test]
fn no_invariant_breaks_in_any_story() {
    // Behind them, seeds that found something.
    for seed in (0..1_000).chain([1509]) {
        if let Err(failure) = simulation::run(seed) {
            let told = failure.to_string();
            panic!("{told}\nshrunk:\n{}", failure.shrunk());
        }
    }
}
