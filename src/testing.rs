//! A world for tests: a clock of which the test turns the hands.
//!
//! Behind the feature `testing`, for `[dev-dependencies]`.

mod clock;

pub use self::clock::{Clock, Timer};
