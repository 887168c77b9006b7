//! What this repository's own tools need of the client: the simulation, the fuzz harness and the
//! micro-benchmarks. Nobody else is to use it, and it changes without notice.

pub use crate::core::{
    Epoch, acks, backoff, confirms, publisher, ring, session, subscription, supervisor, topology,
};
