//! A real broker, over TCP.

use snowshoe::codec::ChannelId;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use snowshoe::codec::method::{exchange, queue};
use snowshoe::codec::sasl::Plain;
use snowshoe::codec::{ClientOptions, Connection, Event, Method};
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

    fn node(&mut self) -> &mut Node {
        self.node
            .as_mut()
            .expect("the scenario has a node of its own")
    }

    /// Makes a call on a channel of our own, and waits for the answer or the end of the channel.
    fn call(&mut self, method: impl Into<Method>) {
        let mut admin = self.admin.take().unwrap_or_else(|| Box::new(self.log_in()));
        let Admin {
            wire,
            connection,
            channel,
        } = &mut *admin;
        let mut method = Some(method.into());
        let mut is_answered = false;
        while !is_answered {
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
            self.exchange(wire, connection, true);
            while let Some(event) = connection.poll_event() {
                match event {
                    Event::Reply { .. } => is_answered = true,
                    Event::ChannelClosed { .. } => {
                        *channel = None;
                        is_answered = true;
                    }
                    Event::Closed(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        }
        self.admin = Some(admin);
    }

    fn log_in(&self) -> Admin {
        let options = ClientOptions::new(Plain::new("guest", "guest"));
        let mut connection = Connection::client(options, Instant::now());
        let mut wire = self.connect();
        while !connection.is_open() {
            connection.handle_timeout(Instant::now());
            self.exchange(&mut wire, &mut connection, true);
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
        self.connect()
    }

    fn carry(&mut self, wire: &mut Wire, client: &mut Connection, patient: bool) -> bool {
        self.exchange(wire, client, patient)
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
            self.call(queue::Delete {
                queue: queue.clone(),
                ..Default::default()
            });
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

impl Real {
    fn connect(&self) -> Wire {
        let (host, port) = &self.address;
        let socket = TcpStream::connect((host.as_str(), *port)).expect("the broker is there");
        socket.set_nodelay(true).expect("TCP has it");
        let wait = Duration::from_millis(5);
        socket.set_read_timeout(Some(wait)).expect("it is not zero");
        Wire {
            socket,
            unread: BytesMut::new(),
        }
    }

    fn exchange(&self, wire: &mut Wire, client: &mut Connection, patient: bool) -> bool {
        let mut moved = false;
        wire.socket.set_nonblocking(false).expect("it is a socket");
        while client.outbound().has_remaining() {
            let outbound = client.outbound();
            let Ok(len) = wire.socket.write(outbound.chunk()) else {
                client.transport_ended();
                return true;
            };
            outbound.advance(len);
            moved = true;
        }
        let socket = &wire.socket;
        socket.set_nonblocking(!patient).expect("it is a socket");
        let mut block = [0; 64 * 1024];
        match wire.socket.read(&mut block) {
            Ok(0) => {
                let ended = !client.is_closed();
                client.transport_ended();
                ended
            }
            Ok(len) => {
                wire.unread.extend_from_slice(&block[..len]);
                let is_behind = client.receive(Instant::now(), &mut wire.unread);
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
