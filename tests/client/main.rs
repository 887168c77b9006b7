//! How a client behaves, on a real broker and through a proxy that fails as networks do: a module for
//! each subject.
//!
//! All tests run at once, in one process. So what a test declares has a name of its own, and a test
//! that does to a broker what others would notice has a broker of its own. What is counted for the
//! whole process is tested in a process of its own, beside this directory.

mod addresses;
mod advice;
mod back_pressure;
mod blocked_connections;
mod brokers;
mod buffer_policies;
mod case_table;
mod channel_limits;
mod channels;
mod closing;
mod cluster;
mod connecting;
mod connection_errors;
mod consuming;
mod credentials;
mod declared_where_used;
mod declaring;
mod delayed;
mod deletions;
mod delivery_counts;
mod draining;
mod executors;
mod fairness;
mod fault_table;
mod floods;
mod handlers;
mod handovers;
mod identifier_reuse;
mod local;
mod low_disk;
mod messages;
mod on_tokio;
mod outages;
mod oversized;
mod panics;
mod pausing;
mod publishing;
mod reconnecting;
mod redelivery;
mod request_reply;
mod requests;
mod resending;
mod retrying;
mod settings;
mod silent_queues;
mod streams;
mod streams_resume;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod topology_recovery;
mod typed_bodies;
mod undelivered;
mod uri;
mod vanishing_queues;
