//! Scenarios as data, two brokers to play them on, and transcripts of what came back.

pub(crate) mod memory;
pub(crate) mod play;
pub(crate) mod real;
pub(crate) mod step;
pub(crate) mod table;
pub(crate) mod transcript;
