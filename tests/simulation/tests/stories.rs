//! The whole client in virtual time, through stories that seeds tell.

use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn no_invariant_breaks_in_any_story() {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = nth_seed(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = simulation::run(seed) {
                        let told = failure.to_string();
                        panic!("{told}\nshrunk:\n{}", failure.shrunk());
                    }
                }
            });
        }
    });
}

fn nth_seed(n: usize) -> Option<u64> {
    (0..2_000).chain(ONCE_FAILED).nth(n)
}

/// A client that gives up while it is being closed; a consume that comes late on an earlier
/// connection; a queue given up over an answer from before its lock had passed; a message found guilty of
/// what others without confirms had written before, on another channel (38,793), on a shared one (754,734)
/// and in general (34,232); a message that went out on a channel of ours that was closed, and again when the broker closed the next
/// (269,841); a consumer that found all channels busy, and was not looked at when they no longer were
/// (637,538); long messages tried in halves through a pipe of 64 bytes (847,326); a connection closed while
/// it was being opened, behind which a queue was declared that was deleted meanwhile (30,438); what was
/// held up on a connection that had ended, and declared again later what was deleted since (17,969); a consumer that was
/// paused and let go on before the broker had answered, again and again, each time with another prefetch (3,022).
const ONCE_FAILED: [u64; 12] = [
    3_022, 17_969, 30_438, 34_232, 38_793, 55_349, 68_434, 269_841, 637_538, 754_734, 802_528,
    847_326,
];
