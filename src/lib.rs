//! An AMQP 0-9-1 client that survives outages.

mod password;
mod uri;

pub use password::Password;
pub use uri::{AmqpUri, Endpoint, UriError, UriOptions};
