//! Plain state machines that make every decision of the client.
//!
//! Input goes in as method calls, output is returned or polled; time is an argument and randomness
//! comes from a seed. Nothing in here does I/O, reads a clock, holds a lock or a waker, or knows
//! `async`, so the same code runs under the driver on a socket, in a simulation in virtual time,
//! and under a fuzzer.
//!
//! The machines do not know each other, but for those that are put together: [`session`] drives most
//! of them, a [`publisher`] is a [`ring`] with its [`confirms`], and who tries again has the delays of
//! [`backoff`]. What several of them need is the container [`keyed_queue`], which decides nothing.

pub mod acks;
pub mod backlog;
pub mod backoff;
pub mod call_queue;
pub mod confirms;
pub mod dialect;
pub mod isolation;
pub mod keyed_queue;
pub mod overdue;
pub mod publisher;
pub mod refusal;
pub mod renewal;
pub mod requests;
pub mod ring;
pub mod session;
pub mod stream;
pub mod subscription;
pub mod supervisor;
#[cfg(test)]
pub mod testing;
pub mod topology;
pub mod wait_queue;

/// How many connections may be lost over the same thing before it is given up. One may be bad luck: a
/// broker that is in trouble itself says 541 over whatever it is asked.
pub const STRIKES: u32 = 3;

/// How long tests go on that are about a long time, or about any operations: Miri takes about a thousand
/// times as long for everything.
#[cfg(test)]
pub const fn scaled(len: usize) -> usize {
    if cfg!(miri) { 2 * len.isqrt() } else { len }
}

/// One life of a connection, or of a channel on it.
///
/// Numbers that the protocol counts from 1 again, and results that may arrive late, mean something
/// only together with the epoch they belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch after this one. An epoch never comes back.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

/// How much the broker may send to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As the user asked, or with a lower prefetch; 0 is none.
    Wide { prefetch: u16 },
    /// One message at a time, to be acknowledged.
    Narrow,
}
