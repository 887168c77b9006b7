//! What TLS adds to that: one round trip for each connection, two where the broker has only TLS 1.2 and
//! does not know the client yet.
//!
//! Bytes are on their way for half of a round trip here, in each direction, and TCP's own is counted, too.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use futures_lite::io::{copy, split};
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsAcceptor;
use rcgen::{CertificateParams, KeyPair};
use snowshoe::runtime::{TcpOptions, Timer};
use snowshoe::rustls::crypto::ring;
use snowshoe::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snowshoe::rustls::version::{TLS12, TLS13};
use snowshoe::rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use snowshoe::testing::{BrokerOptions, Clock, Conditions, Executor, Network, Server, Spawner};
use snowshoe::{
    Client, ClientBuilder, Connecting, ConnectionRole, Connector, Event, Queue, Reconnect, Runtime,
    Target, TlsConnector, Transport,
};

use super::{ROUND_TRIP, World};

/// The sockets of a distant network, in virtual time.
#[derive(Clone, Debug)]
struct Distant {
    clock: Clock,
    network: Network,
}

impl Distant {
    fn new(clock: Clock) -> Self {
        let network = Network::new(clock.clone(), 1);
        let conditions = Conditions::default();
        network.set_conditions(Conditions {
            latency: ONE_WAY..=ONE_WAY,
            ..conditions
        });
        Self { clock, network }
    }
}

const ONE_WAY: Duration = Duration::from_millis(ROUND_TRIP.as_millis() as u64 / 2);

impl Runtime for Distant {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(self.clock.timer())
    }

    fn connect(&self, _: SocketAddr, _: TcpOptions) -> Connecting {
        let Self { clock, network } = self.clone();
        Box::pin(async move {
            let socket = network.dial().await?;
            // The listener has it by now, and says so.
            clock.sleep(ONE_WAY).await;
            Ok(Box::new(socket) as Box<dyn Transport>)
        })
    }
}

/// What both ends know of each other.
struct Certified {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Certified {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([HOST.to_owned()]).expect("an address");
        let certificate = params.self_signed(&key).expect("a certificate");
        let certificate: &CertificateDer<'static> = certificate.der();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let server = server
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a certificate and its key");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::new(Arc::new(client)),
        }
    }
}

const HOST: &str = "127.0.0.1";

/// Carries the bytes of all connections between the network and a server, in clear or not. Which handshakes
/// there were is noted.
async fn serve(
    runtime: Distant,
    spawner: Spawner,
    server: impl Connector,
    acceptor: Option<TlsAcceptor>,
    handshakes: Handshakes,
) {
    let clock: Arc<dyn Runtime> = Arc::new(runtime.clock.clone());
    loop {
        let socket = runtime.network.accept().await;
        let broker = server.connect(&Target::new(HOST, 1), &clock).await;
        let (broker, acceptor) = (broker.expect("it is there"), acceptor.clone());
        let handshakes = Rc::clone(&handshakes);
        spawner.spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    let stream = acceptor.accept(socket).await.expect("it is trusted");
                    let kind = stream.get_ref().1.handshake_kind();
                    handshakes.borrow_mut().extend(kind);
                    carry(stream, broker).await;
                }
                None => carry(socket, broker).await,
            }
        });
    }
}

type Handshakes = Rc<RefCell<Vec<HandshakeKind>>>;

/// Carries bytes to and fro until either end has had enough.
async fn carry(
    client: impl AsyncRead + AsyncWrite + Unpin,
    broker: impl AsyncRead + AsyncWrite + Unpin,
) {
    let (from_client, to_client) = split(client);
    let (from_broker, to_broker) = split(broker);
    _ = future::or(copy(from_client, to_broker), copy(from_broker, to_client)).await;
}

/// How many round trips pass.
#[derive(Debug, PartialEq, Eq)]
struct Trips {
    /// Until the client is connected.
    connected: u32,
    /// From then on until a queue is declared and a message to it is confirmed.
    confirmed: u32,
    /// From the end of the connection until all is back.
    back: u32,
}

/// A client's story, in clear or by this version of TLS; and the kinds of its handshakes.
fn story(
    version: Option<&'static SupportedProtocolVersion>,
    set_up: impl Fn(ClientBuilder) -> ClientBuilder,
) -> (Trips, Vec<HandshakeKind>) {
    let clock = Clock::new();
    let runtime = Distant::new(clock.clone());
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let certified = version.map(Certified::new);
    let handshakes = Handshakes::default();
    let mut executor = Executor::new(clock.clone(), 1);
    executor.spawn(serve(
        runtime.clone(),
        executor.spawner(),
        server.connector(),
        certified.as_ref().map(|it| it.acceptor.clone()),
        Rc::clone(&handshakes),
    ));
    let uri = match version {
        Some(_) => format!("amqps://guest:guest@{HOST}"),
        None => format!("amqp://guest:guest@{HOST}"),
    };
    // Without the back-off, the way back is all that there is.
    let reconnect = Reconnect::default().initial_delay(Duration::ZERO);
    let builder = Client::builder(&uri).expect("a URI").runtime(runtime);
    let builder = match certified {
        Some(certified) => builder.connector(certified.connector),
        None => builder,
    };
    let (client, driver) = set_up(builder.reconnect(reconnect)).build();
    executor.spawn(driver);
    let mut world = World {
        since: clock.now(),
        clock,
        server,
        client,
    };
    let told = executor.run(async move {
        world.client.ready().await.expect("it connects");
        let connected = world.trips();
        let declared = world.client.declare(Queue::new("orders")).await;
        declared.expect("a queue");
        let producer = world.client.producer("orders").expect("a name").build();
        producer.send("1").await.expect("it is confirmed");
        let confirmed = world.trips();
        // Long enough that nothing is backed off from.
        world.clock.sleep(Duration::from_secs(10)).await;
        let mut events = world.client.events();
        world.server.reset_all();
        loop {
            let role = ConnectionRole::Main;
            match events.next().await.expect("it goes on") {
                Event::Disconnected { role: it, .. } if it == role => {
                    world.since = world.clock.now();
                }
                Event::Recovered { role: it } if it == role => break,
                _ => {}
            }
        }
        let back = world.trips();
        Trips {
            connected,
            confirmed,
            back,
        }
    });
    let handshakes = handshakes.take();
    (told.expect("nobody waits for ever"), handshakes)
}

type SetUp = fn(ClientBuilder) -> ClientBuilder;

const AS_IT_IS: SetUp = |builder| builder;
const BOTH_AT_ONCE: SetUp = |builder| builder.connect_for_publishing(true);
const SINGLE: SetUp = |builder| builder.single_connection(true);

#[test]
fn each_connection_takes_one_round_trip_more_than_in_clear() {
    for (set_up, one_after_the_other) in [(AS_IT_IS, 2), (BOTH_AT_ONCE, 1), (SINGLE, 1)] {
        let (clear, _) = story(None, set_up);
        let (encrypted, handshakes) = story(Some(&TLS13), set_up);
        assert_eq!(encrypted.connected, clear.connected + 1);
        assert_eq!(
            encrypted.connected + encrypted.confirmed,
            clear.connected + clear.confirmed + one_after_the_other,
            "to the first confirm"
        );
        assert_eq!(encrypted.back, clear.back + 1);
        let (first, later) = handshakes.split_at(handshakes.len() / 2);
        assert_eq!(first.first(), Some(&HandshakeKind::Full));
        assert!(
            later.iter().all(|it| *it == HandshakeKind::Resumed),
            "{handshakes:?}"
        );
    }
}

#[test]
fn by_tls_1_2_it_takes_two_unless_the_broker_knows_the_client() {
    let (clear, _) = story(None, AS_IT_IS);
    let (encrypted, handshakes) = story(Some(&TLS12), AS_IT_IS);
    let more = Trips {
        connected: clear.connected + 2,
        // The connection for publishing is the second.
        confirmed: clear.confirmed + 1,
        back: clear.back + 1,
    };
    assert_eq!(encrypted, more);
    let resumed = HandshakeKind::Resumed;
    assert_eq!(handshakes, [HandshakeKind::Full, resumed, resumed, resumed]);
}

/// With TCP's own, they are those of the documentation.
#[test]
fn to_the_first_confirm_over_tls() {
    for (set_up, first_confirm) in [(AS_IT_IS, 9), (BOTH_AT_ONCE, 7), (SINGLE, 7)] {
        let (trips, _) = story(Some(&TLS13), set_up);
        assert_eq!(trips.connected, 5);
        assert_eq!(trips.connected + trips.confirmed, first_confirm);
    }
}

/// In a test's own network, without a runtime that has sockets.
#[test]
fn tls_goes_over_a_network_in_memory_as_it_goes_over_tcp() {
    let clock = Clock::new();
    let distant = Distant::new(clock.clone());
    let network = distant.network.clone();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let certified = Certified::new(&TLS13);
    let handshakes = Handshakes::default();
    let mut executor = Executor::new(clock.clone(), 1);
    executor.spawn(serve(
        distant,
        executor.spawner(),
        server.connector(),
        Some(certified.acceptor),
        Rc::clone(&handshakes),
    ));
    let (client, driver) = Client::builder(&format!("amqps://guest:guest@{HOST}"))
        .expect("a URI")
        .runtime(clock)
        .connector(certified.connector.over(network))
        .build();
    executor.spawn(driver);
    let confirmed = executor.run(async move {
        client.declare(Queue::new("orders")).await?;
        let producer = client.producer("orders")?.build();
        producer.send("1").await.expect("it is confirmed");
        client.close().await;
        Ok::<_, snowshoe::Error>(())
    });
    confirmed.expect("nobody waits for ever").expect("it works");
    assert_eq!(
        handshakes.take(),
        [HandshakeKind::Full, HandshakeKind::Resumed]
    );
}
