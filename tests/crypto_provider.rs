//! TLS in a process whose default provider of cryptography is good for nothing. As good as none it is
//! where several are compiled in, which other crates of a program can bring about.
#![cfg(feature = "tls")]

#[path = "client/tls/terminator.rs"]
#[allow(dead_code, reason = "it is shared with the tests of TLS")]
mod terminator;

use std::panic::catch_unwind;

use futures_lite::future::block_on;
use snowshoe::rustls::ClientConfig;
use snowshoe::rustls::crypto::{CryptoProvider, ring};
use snowshoe::testing::{BrokerOptions, Server};
use snowshoe::{AmqpUri, Client, Queue};

use terminator::{Authority, Files, Terminator, Terms};

// case H2
#[test]
fn tls_asks_nothing_of_the_default_provider_of_the_process() {
    assert!(CryptoProvider::get_default().is_none());
    connects();
    assert!(CryptoProvider::get_default().is_none(), "it was set");

    let useless = CryptoProvider {
        cipher_suites: Vec::new(),
        ..ring::default_provider()
    };
    useless.install_default().expect("there was none");
    let panics = catch_unwind(|| drop(ClientConfig::builder()));
    assert!(panics.is_err(), "whoever asks for the default panics");
    connects();
}

fn connects() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = Server::listen(BrokerOptions::default()).expect("a free port");
    let broker: AmqpUri = server.uri().parse().expect("a URI");
    let broker = (broker.endpoints[0].host.clone(), broker.endpoints[0].port);
    let terminator = Terminator::start(&Terms::of(&authority.certify("localhost")), broker);
    let ca = files.write("ca.pem", &authority.pem());
    let uri = format!("{}?cacertfile={ca}", terminator.url("localhost"));
    block_on(async {
        let client = Client::connect(&uri).await.expect("it connects");
        client.declare(Queue::new("q")).await.expect("a queue");
        client.close().await;
    });
}
