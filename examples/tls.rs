//! TLS with an authority of one's own, and a login by the client's certificate where there is one.
//!
//!     AMQP_URL=amqps://broker.internal TLS_CA=ca.pem TLS_CERT=cert.pem TLS_KEY=key.pem \
//!         cargo run --features tls --example tls
//!
//! Without `TLS_CERT` the login is that of the URI. Without `AMQP_URL` there is a broker in memory, with TLS in
//! front of it, and certificates that are made for it.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "broker/tls.rs"]
mod broker;

use std::error::Error;

use snowshoe::{Client, Credentials, Queue, TlsConnector};

fn main() -> Result<(), Box<dyn Error>> {
    snowshoe::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let broker = broker::find()?;

    // PEM, as it comes from a file or a secret store. Files can be named by their paths as well, here or in the
    // URI, and are then read again at each attempt to connect.
    let mut tls = TlsConnector::builder().authorities_pem(broker.authority);
    let mut builder = Client::builder(&broker.url)?;
    if let Some((certificate, key)) = broker.identity {
        tls = tls.identity_pem(certificate, key);
        // EXTERNAL: the broker takes the user from the certificate, so there is no password.
        builder = builder.credentials(|| Ok(Credentials::external()));
    }
    let client = builder.connector(tls.build()?).connect().await?;
    println!("connected, to whom the authority has vouched for");

    let queue = client.declare(Queue::server_named()).await?.name;
    let producer = client.producer(queue)?.build();
    producer.send("nobody else reads this").await?;
    println!("published and confirmed");

    client.close().await;
    Ok(())
}
