//! TLS, against a terminator in front of the broker.

mod external;
mod inputs;
mod over;
mod terminator;
mod wrong_certificates;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::future::block_on;
use snowshoe::runtime::Tokio;
use snowshoe::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};
use snowshoe::{AmqpUri, Client, ClientBuilder, Error, Event, Queue, Reconnect, TlsConnector};
use support::broker::url;
use support::waiting::{run, within};

use crate::addresses::{Names, Trap, trap};

use self::terminator::{Authority, Files, Identity, ONLY_1_2, Terminator, Terms, provider};

/// Under this certificate, in front of the broker that the tests share.
fn terminator(terms: &Terms<'_>) -> Terminator {
    let broker: AmqpUri = url().parse().expect("the broker's URI");
    let broker = &broker.endpoints[0];
    Terminator::start(terms, (broker.host.clone(), broker.port))
}

/// A client that trusts this certificate, and no other.
fn trusting(identity: &Identity, terminator: &Terminator) -> ClientBuilder {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("they can be had")
        .with_root_certificates(roots);
    let connector = TlsConnector::new(Arc::new(config.with_no_client_auth()));
    let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
    builder.connector(connector)
}

async fn use_it(client: Client) {
    let queue = client
        .declare(Queue::server_named())
        .await
        .expect("a queue")
        .name;
    let producer = client.producer(queue.clone()).expect("a name").build();
    producer.send("over TLS").await.expect("it is confirmed");
    let mut consumer = client
        .consumer(queue)
        .expect("a name")
        .start()
        .await
        .expect("the queue");
    let delivery = consumer.next().await.expect("the message");
    assert_eq!(delivery.body(), b"over TLS");
    delivery.ack().expect("it is fresh");
    client.close().await;
}

/// What is said where it cannot be connected to a URI.
fn refusal(uri: &str) -> String {
    let connected = run(within("the failure", Client::connect(uri)));
    match connected {
        Err(error @ Error::Connection(_)) => error.to_string(),
        Err(error) => panic!("a failed connection, not {error}"),
        Ok(_) => panic!("the connection was to fail: {uri}"),
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(!text.contains('\n'), "{text:?}");
}

#[test]
fn amqps_works_where_the_certificate_is_trusted() {
    let identity = Identity::self_signed("localhost");
    let terminator = terminator(&Terms::of(&identity));
    block_on(async {
        let client = trusting(&identity, &terminator).connect().await;
        use_it(client.expect("it connects")).await;
    });
}

#[tokio::test]
async fn amqps_works_on_the_sockets_of_tokio() {
    let identity = Identity::self_signed("localhost");
    let terminator = terminator(&Terms::of(&identity));
    let client = trusting(&identity, &terminator).runtime(Tokio).connect();
    use_it(client.await.expect("it connects")).await;
}

// case H3
#[test]
fn a_uri_names_the_authority_and_the_certificate_of_the_client() {
    let (authority, files) = (Authority::new(), Files::new());
    let (server, client) = (authority.certify("localhost"), authority.certify("hare"));
    let ca = files.write("ca.pem", &authority.pem());
    let cert = files.write("a certificate.pem", &client.pem());
    let cert = cert.replace(' ', "%20");
    let key = files.write("key.pem", &client.key_pem());
    let both = files.write("both.pem", &(client.pem() + &client.key_pem()));
    for versions in [ALL_VERSIONS, &ONLY_1_2] {
        let terminator = terminator(&Terms {
            clients_of: Some(&authority),
            versions,
            ..Terms::of(&server)
        });
        for query in [
            format!("cacertfile={ca}&certfile={cert}&keyfile={key}&verify=verify_peer"),
            format!("certfile={both}&cacertfile={ca}&fail_if_no_peer_cert=true&depth=3"),
        ] {
            let uri = format!("{}?{query}", terminator.url("localhost"));
            let client = run(within("the connection", Client::connect(&uri)));
            run(use_it(client.expect("it connects")));
        }
    }
}

// case H3
#[test]
fn a_uri_says_what_to_call_the_broker() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = authority.certify("rabbit.example");
    let ca = files.write("ca.pem", &authority.pem());
    let terminator = terminator(&Terms::of(&server));
    let uri = format!("{}?cacertfile={ca}", terminator.url("127.0.0.1"));
    let named = format!("{uri}&server_name_indication=rabbit.example");
    let client = run(within("the connection", Client::connect(&named)));
    run(use_it(client.expect("it connects")));
    // Without a word of it, the certificate is still to be that of the host.
    let error = refusal(&format!("{uri}&server_name_indication=disable"));
    assert_says(&error, &["another host", "server_name_indication"]);
}

// case H3
#[test]
fn a_certificate_that_was_renewed_is_read_again() {
    let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
    let server = new.certify("localhost");
    let ca = files.write("ca.pem", &old.pem());
    let terminator = terminator(&Terms::of(&server));
    let patient = Reconnect::default().fail_fast(false);
    let uri = format!("{}?cacertfile={ca}", terminator.url("localhost"));
    let (client, driver) = Client::builder(&uri)
        .expect("a URI")
        .reconnect(patient)
        .build();
    std::thread::spawn(|| block_on(driver));
    run(async {
        let mut events = client.events();
        let failed = |event: &Event| {
            matches!(event, Event::Disconnected { cause, .. }
                if cause.to_string().contains("cacertfile"))
        };
        support::events::next_event(&mut events, "a refusal", failed).await;
        files.write("ca.pem", &new.pem());
        within("the connection", client.ready())
            .await
            .expect("it connects");
    });
}

// case H3
#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong_with_it() {
    let (authority, files) = (Authority::new(), Files::new());
    let (one, other) = (authority.certify("one"), authority.certify("other"));
    let ca = files.write("ca.pem", &authority.pem());
    let cert = files.write("cert.pem", &one.pem());
    let key = files.write("other-key.pem", &other.key_pem());
    let garbage = files.write("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n");
    let nothing = files.write("nothing.pem", "");
    let encrypted = files.write(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (query, parts) in [
        (
            "cacertfile=/no/such/file.pem".to_owned(),
            &["cacertfile /no/such/file.pem", "No such file"][..],
        ),
        (
            format!("cacertfile={nothing}"),
            &["nothing.pem", "BEGIN CERTIFICATE"],
        ),
        (format!("cacertfile={garbage}"), &["garbage.pem"]),
        (
            format!("cacertfile={ca}&certfile={cert}"),
            &["keyfile", "cert.pem", "BEGIN PRIVATE KEY"],
        ),
        (
            format!("cacertfile={ca}&certfile={cert}&keyfile={encrypted}"),
            &["encrypted.pem", "openssl"],
        ),
        (
            format!("cacertfile={ca}&certfile={cert}&keyfile={key}"),
            &["other-key.pem", "cert.pem"],
        ),
    ] {
        assert_says(&refusal(&format!("amqps://localhost?{query}")), parts);
    }
}

// case H1
#[test]
fn an_address_that_says_nothing_or_no_tls_costs_the_others_nothing() {
    let identity = Identity::self_signed("localhost");
    let terminator = terminator(&Terms::of(&identity));
    let uri: AmqpUri = terminator.url("localhost").parse().expect("a URI");
    let good = SocketAddr::from(([127, 0, 0, 1], uri.endpoints[0].port));
    for kind in [Trap::IsSilent, Trap::Cuts] {
        let (bad, visits) = trap(kind);
        for seed in 0..4 {
            let builder = trusting(&identity, &terminator).seed(seed);
            let builder = builder.connection_timeout(Duration::from_secs(8));
            let client = builder.runtime(Names(vec![bad, good])).connect();
            let client = run(within("the connection", client));
            run(use_it(client.expect("it connects")));
        }
        assert!(visits.load(Ordering::Relaxed) > 0, "{kind:?}");
    }
}

// case H5
#[test]
fn a_port_without_tls_is_told_from_a_failure_of_tls() {
    // The broker's own.
    let plain = url().replace("amqp://", "amqps://");
    let address = plain.rsplit_once('@').expect("a login").1;
    let address = address.split_once('/').expect("a virtual host").0;
    assert_says(&refusal(&plain), &[address, "does not speak TLS", "5671"]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_by_default() {
    let identity = Identity::self_signed("localhost");
    let terminator = terminator(&Terms::of(&identity));
    let error = refusal(&terminator.url("localhost"));
    assert_says(&error, &["localhost:", "cacertfile"]);
}
