//! A broker for the examples.

use std::io;

use snowshoe::testing::{BrokerOptions, Server};

/// The URI of the broker that `AMQP_URL` names. Where it names none there is one in memory, which goes
/// with the server that comes along.
pub(crate) fn find() -> io::Result<(String, Option<Server>)> {
    if let Ok(url) = std::env::var("AMQP_URL") {
        return Ok((url, None));
    }
    let server = Server::listen(BrokerOptions::default())?;
    println!("AMQP_URL is not set: this runs against a broker in memory");
    Ok((server.uri(), Some(server)))
}
