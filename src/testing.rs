//! A world for tests: a broker in memory, a clock of which the test turns the hands, a network with
//! the faults of a real one, and an executor that runs them from a seed.
//!
//! Behind the feature `testing`, for `[dev-dependencies]`.

mod broker;
mod clock;
mod executor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod network;
pub mod simulation;

pub use self::broker::{
    BindingView, Broker, BrokerOptions, ConnectionId, ConnectionView, ExchangeView, Fault, Manner,
    MessageView, QueueView,
};
pub use self::clock::{Clock, Timer};
pub use self::executor::{Executor, Spawner, TaskId};
pub use self::network::{Conditions, Dials, Direction, LinkId, Network, Socket};
