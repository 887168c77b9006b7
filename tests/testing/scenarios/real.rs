//! A real broker, over TCP.

use snowshoe::codec::ChannelId;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use snowshoe::codec::method::{exchange, queue};
use snowshoe::codec::sasl::Plain;
use snowshoe::codec::{ClientOptions, Connection, Event, Method};
use snowshoe::testing::Manner;
use snowshoe::{AmqpUri, ShortString};

use super::play::Stage;
use support::broker::Node;

pub(crate) struct Real {
    address: (String, u16),
    /// A connection of its own, to clean up and to make sure of things.
    admin: Option<Box<Admin>>,
    /// The node, where it is ours alone.
    node: Option<Node>,
}

struct Admin {
    wire: Wire,
    connection: Connection,
    channel: Option<ChannelId>,
}

pub(crate) struct Wire {
    socket: TcpStream,
    unread: BytesMut,
}

impl Real {
    pub(crate) fn new(url: &str) -> Self {
        let uri: AmqpUri = url.parse().expect("AMQP_URL is a URI");
        let endpoint = &uri.endpoints[0];
        Self {
            address: (endpoint.host.clone(), endpoint.port),
            admin: None,
            node: None,
        }
    }

    /// A node of its own, which can be restarted.
    pub(crate) fn of_node(node: Node) -> Self {
        let real = Self::new(&node.url());
        Self {
            node: Some(node),
            ..real
        }
    }

    /// Which broker it is, as it says itself.
    pub(crate) fn manner(&mut self) -> Manner {
        let admin = self
            .admin
            .get_or_insert_with(|| Box::new(Self::log_in(&self.address)));
        let properties = admin.connection.peer_properties();
        let text = |name: &str| properties.get(name).ok().flatten()?.as_str();
        let (product, version) = (text("product"), text("version"));
        let is = |release: &str| version.is_some_and(|version| version.starts_with(release));
        match product {
            Some("LavinMQ") => Manner::LavinMq,
            Some("RabbitMQ") if is("3.") => Manner::RabbitMq310,
            Some("RabbitMQ") if is("4.0.") => Manner::RabbitMq40,
            Some("RabbitMQ") if is("4.3.") => Manner::RabbitMq43,
            _ => panic!("nothing in memory takes after {product:?} {version:?}"),
        }
    }

    fn node(&mut self) -> &mut Node {
        self.node
            .as_mut()
            .expect("the scenario has a node of its own")
    }

    /// Makes a call on a channel of our own, and waits for the answer or the end of the channel. Whether
    /// there was an answer.
    fn call(&mut self, method: impl Into<Method>) -> bool {
        let admin = self.admin.take();
        let mut admin = admin.unwrap_or_else(|| Box::new(Self::log_in(&self.address)));
        let Admin {
            wire,
            connection,
            channel,
        } = &mut *admin;
        let mut method = Some(method.into());
        let mut end = None;
        while end.is_none() {
            let now = Instant::now();
            if method.is_some() {
                let id = match channel {
                    Some(id) => *id,
                    None => *channel.insert(ChannelId(
                        (connection.open_channel(now).expect("one is free")).0,
                    )),
                };
                let mut channel = connection.channel(id).expect("it is not closed");
                if channel.is_open()
                    && let Some(method) = method.take()
                {
                    channel.send(now, method).expect("a client may");
                }
            }
            wire.exchange(connection, true);
            while let Some(event) = connection.poll_event() {
                match event {
                    Event::Reply { .. } => end = Some(true),
                    Event::ChannelClosed { .. } => {
                        *channel = None;
                        end = Some(false);
                    }
                    Event::Closed(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        }
        self.admin = Some(admin);
        end == Some(true)
    }

    fn log_in(address: &(String, u16)) -> Admin {
        let options = ClientOptions::new(Plain::new("guest", "guest"));
        let mut connection = Connection::client(options, Instant::now());
        let mut wire = Wire::connect(address);
        while !connection.is_open() {
            connection.handle_timeout(Instant::now());
            wire.exchange(&mut connection, true);
            assert!(!connection.is_closed(), "{:?}", connection.poll_event());
        }
        Admin {
            wire,
            connection,
            channel: None,
        }
    }
}

impl Stage for &mut Real {
    type Wire = Wire;

    const IS_PROMPT: bool = false;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn dial(&mut self) -> Wire {
        Wire::connect(&self.address)
    }

    fn carry(&mut self, wire: &mut Wire, client: &mut Connection, patient: bool) -> bool {
        wire.exchange(client, patient)
    }

    fn inject(&mut self, wire: &mut Wire, bytes: &[u8]) {
        wire.socket.write_all(bytes).expect("the broker reads");
    }

    fn hang_up(&mut self, wire: Wire) {
        drop(wire);
    }

    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn restart(&mut self) {
        self.admin = None;
        self.node().kill();
        self.node().start_again();
    }

    fn alarm(&mut self, raised: bool) {
        self.node().admin().set_memory_alarm(raised);
    }

    fn sync(&mut self, queues: &[ShortString]) {
        // What a queue passes on to another takes a second round.
        for queue in queues.iter().chain(queues) {
            self.call(queue::Declare {
                queue: queue.clone(),
                passive: true,
                ..Default::default()
            });
        }
    }

    fn clean(&mut self, queues: &[ShortString], exchanges: &[ShortString]) {
        for queue in queues {
            // One of a connection that has just ended may be locked still.
            let deadline = Instant::now() + Duration::from_secs(2);
            let delete = || queue::Delete {
                queue: queue.clone(),
                ..Default::default()
            };
            while !self.call(delete()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let own = exchanges
            .iter()
            .filter(|name| !name.is_empty() && !name.as_bytes().starts_with(b"amq."));
        for exchange in own {
            self.call(exchange::Delete {
                exchange: exchange.clone(),
                ..Default::default()
            });
        }
    }
}

impl Wire {
    fn connect((host, port): &(String, u16)) -> Self {
        let socket = TcpStream::connect((host.as_str(), *port)).expect("the broker is there");
        socket.set_nodelay(true).expect("TCP has it");
        let wait = Duration::from_millis(5);
        socket.set_read_timeout(Some(wait)).expect("it is not zero");
        Self {
            socket,
            unread: BytesMut::new(),
        }
    }

    fn exchange(&mut self, client: &mut Connection, patient: bool) -> bool {
        let mut moved = false;
        self.socket.set_nonblocking(false).expect("it is a socket");
        while client.outbound().has_remaining() {
            let outbound = client.outbound();
            let Ok(len) = self.socket.write(outbound.chunk()) else {
                client.transport_ended();
                return true;
            };
            outbound.advance(len);
            moved = true;
        }
        self.socket
            .set_nonblocking(!patient)
            .expect("it is a socket");
        let mut block = [0; 64 * 1024];
        match self.socket.read(&mut block) {
            Ok(0) => {
                let ended = !client.is_closed();
                client.transport_ended();
                ended
            }
            Ok(len) => {
                self.unread.extend_from_slice(&block[..len]);
                let is_behind = client.receive(Instant::now(), &mut self.unread);
                assert!(!is_behind, "more events at once than a scenario has");
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                moved
            }
            Err(_) => {
                let ended = !client.is_closed();
                client.transport_ended();
                ended
            }
        }
    }
}
