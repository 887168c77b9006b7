//! An AMQP 0-9-1 client that survives outages.

#[cfg_attr(not(test), expect(dead_code, reason = "the session uses it"))]
mod core;
mod password;
mod uri;

pub use password::Password;
pub use uri::{AmqpUri, Endpoint, UriError, UriOptions};
