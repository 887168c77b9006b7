//! Plain state machines that make every decision of the client.
//!
//! Input goes in as method calls, output is returned or polled; time is an argument and randomness
//! comes from a seed. Nothing in here does I/O, reads a clock, holds a lock or a waker, or knows
//! `async`, so the same code runs under the driver on a socket, in a simulation in virtual time,
//! and under a fuzzer.
//!
//! The machines do not know each other. What several of them need is the container
//! [`keyed_queue`], which decides nothing.

pub(crate) mod confirms;
pub(crate) mod keyed_queue;
pub(crate) mod ring;
