//! Who reads the stream, and how.

use std::time::Duration;

/// Somebody who reads the stream to its end.
#[derive(Clone, Debug)]
pub(crate) struct ReaderPlan {
    /// For what it does to its deliveries.
    pub(crate) seed: u64,
    pub(crate) from: Duration,
    pub(crate) begin: Begin,
    pub(crate) prefetch: u16,
    pub(crate) capacity: usize,
    pub(crate) room: Option<usize>,
    pub(crate) dedicated: bool,
    /// How many deliveries in 16 are kept, to be settled in any order later.
    pub(crate) keeps: u32,
    /// How many milliseconds half of the others take at most.
    pub(crate) slowness: u64,
    /// Of how many deliveries it takes at a time, if it does not take each for itself.
    pub(crate) batches: Option<usize>,
    /// When it ends, for another to go on where it has come to.
    pub(crate) hands_over: Option<Duration>,
}

/// Where somebody begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    First,
    Next,
    /// With this one, which may be yet to come.
    Offset(u64),
}
