//! Clients, connected.

use std::time::Duration;

use snowshoe::{Client, ClientBuilder, Reconnect};

use crate::executor;
use crate::waiting::within;

/// A client that does not wait long between its attempts to come back.
pub fn builder(url: &str) -> ClientBuilder {
    let reconnect = Reconnect::default()
        .initial_delay(Duration::from_millis(20))
        .max_delay(Duration::from_millis(200));
    Client::builder(url)
        .expect("the URI is right")
        .reconnect(reconnect)
}

/// [`builder`]'s client, connected to a broker that is there.
pub async fn connect(url: &str) -> Client {
    within("the connection", executor::connect(builder(url)))
        .await
        .expect("the broker is there")
}
