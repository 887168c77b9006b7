//! A broker in memory for a test's clients to connect to.

mod core;
mod listener;
mod stream;

use std::fmt;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use self::core::{Core, Found, State};
use self::listener::Listener;
use self::stream::Stream;
use super::{
    Broker, BrokerOptions, Clock, ConnectionId, ConnectionView, Dials, ExchangeView, Fault,
    QueueView,
};
use crate::client::{Client, ClientBuilder};
use crate::connector::{Connector, Target};
use crate::runtime::{AsyncIo, Runtime, Timer};
use crate::transport::{Connecting, Transport};

use snowshoe_codec::{ConnectionLimits, ReplyCode, ShortString};

/// A broker of a test's own, which real clients connect to: over TCP, or without sockets.
///
/// ```
/// use snowshoe::testing::{BrokerOptions, Server};
/// use snowshoe::{Client, Queue};
///
/// # futures_lite::future::block_on(async {
/// let server = Server::listen(BrokerOptions::default())?;
/// let client = Client::connect(&server.uri()).await?;
/// client.declare(Queue::new("orders")).await?;
/// client.producer("orders")?.build().send("one bicycle").await?;
///
/// let orders = server.queue("orders").expect("it was declared");
/// assert_eq!(orders.ready[0].body, "one bicycle");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// - *to begin with*: [`listen`](Self::listen), [`in_memory`](Self::in_memory) or
///   [`in_virtual_time`](Self::in_virtual_time); [`client`](Self::client) and [`uri`](Self::uri);
/// - *faults on demand*: [`reset_all`](Self::reset_all), [`close_all`](Self::close_all),
///   [`restart`](Self::restart), [`block`](Self::block), [`inject`](Self::inject) and the like;
/// - *a look inside*: [`queue`](Self::queue) and the like, and [`until`](Self::until) to wait for what
///   is to be seen there.
///
/// The queues and exchanges that its methods speak of are those of the first of the
/// [virtual hosts](BrokerOptions::virtual_hosts).
///
/// When it is dropped, all connections to it end, and its thread, if it has one, is joined.
pub struct Server {
    core: Arc<Core>,
    listener: Option<Listener>,
    /// Where time is virtual.
    clock: Option<Clock>,
    /// The user, the password and the virtual host of its clients.
    login: (String, String),
    virtual_host: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.listener.as_ref().map(|it| it.address))
            .finish_non_exhaustive()
    }
}

/// # To begin with
impl Server {
    /// A server that listens on a free port of 127.0.0.1, with a thread of its own. Any client can
    /// connect to its [URI](Self::uri).
    ///
    /// # Errors
    /// No port can be bound, or no thread started.
    pub fn listen(options: BrokerOptions) -> io::Result<Self> {
        let mut server = Self::in_memory(options);
        server.listener = Some(Listener::start(Arc::clone(&server.core))?);
        Ok(server)
    }

    /// A server without sockets and without a thread: its [`client`](Self::client)s, on whatever
    /// executor, carry their bytes to it themselves.
    pub fn in_memory(options: BrokerOptions) -> Self {
        Self::new(options, None)
    }

    /// A server without sockets, for which time passes only as the clock says; so it does for its
    /// [`client`](Self::client)s.
    ///
    /// On an [`Executor`](super::Executor) time passes by itself whenever everybody waits. On any
    /// other executor the test [advances](Clock::advance) the clock, in steps shorter than a
    /// heartbeat: who finds that more than two heartbeats have passed at once takes the other for
    /// dead.
    pub fn in_virtual_time(options: BrokerOptions, clock: Clock) -> Self {
        Self::new(options, Some(clock))
    }

    fn new(options: BrokerOptions, clock: Option<Clock>) -> Self {
        let runtime: Arc<dyn Runtime> = match &clock {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(AsyncIo),
        };
        let virtual_host = options.virtual_hosts.first().map(ToString::to_string);
        Self {
            login: options.users.first().cloned().unwrap_or_default(),
            virtual_host: virtual_host.unwrap_or_default(),
            core: Core::new(options, runtime),
            clock,
            listener: None,
        }
    }

    /// Where clients connect to, with the first of the users and the first of the virtual hosts.
    ///
    /// Where the server does not [listen](Self::listen), that leads nowhere but by its
    /// [connector](Self::connector).
    pub fn uri(&self) -> String {
        let (user, password) = &self.login;
        let port = self
            .listener
            .as_ref()
            .map_or(NO_PORT, |it| it.address.port());
        let (user, password) = (encoded(user), encoded(password));
        let virtual_host = encoded(&self.virtual_host);
        format!("amqp://{user}:{password}@127.0.0.1:{port}/{virtual_host}")
    }

    /// Configures a client that connects to this server, the way that it is there for, and goes by its
    /// clock.
    pub fn client(&self) -> ClientBuilder {
        let builder = Client::builder(&self.uri()).expect("what is encoded can be decoded");
        let builder = match &self.clock {
            Some(clock) => builder.runtime(clock.clone()),
            None => builder,
        };
        match self.listener {
            Some(_) => builder,
            None => builder.connector(self.connector()),
        }
    }

    /// Connects clients to this server without a socket, whatever host their URI names. Their
    /// [runtime](ClientBuilder::runtime) is to be the clock of the server, if that has one.
    pub fn connector(&self) -> impl Connector + Clone + use<> {
        InMemory(Arc::clone(&self.core))
    }
}

/// # Faults on demand
impl Server {
    /// Ends a connection without a word.
    pub fn reset(&self, connection: ConnectionId) {
        self.core.with(|state, now| state.reset(now, connection));
    }

    /// Ends all connections without a word.
    pub fn reset_all(&self) {
        self.core.with(State::reset_all);
    }

    /// Closes a connection in order, for this reason. The name of the code comes in front of the text.
    pub fn close(&self, connection: ConnectionId, code: ReplyCode, text: &str) {
        self.broker(|broker, now| broker.close(now, connection, code, text));
    }

    /// Closes all connections in order, for this reason: 320
    /// [`CONNECTION_FORCED`](ReplyCode::CONNECTION_FORCED) is what clients get to hear when a broker
    /// is stopped. The name of the code comes in front of the text.
    pub fn close_all(&self, code: ReplyCode, text: &str) {
        self.broker(|broker, now| {
            for connection in broker.connections() {
                broker.close(now, connection.id, code, text);
            }
        });
    }

    /// What becomes of attempts to connect from now on. Over TCP one that is refused is accepted, and
    /// reset at once.
    pub fn set_dials(&self, dials: Dials) {
        self.core.with(|state, _| state.dials = dials);
    }

    /// The broker dies, and is there again at once. All connections end without a word; durable queues
    /// and exchanges, what is bound between them, and the persistent messages in them are left.
    pub fn restart(&self) {
        self.core.with(|state, now| {
            state.broker.restart(now);
            state.reset_all(now);
            // Also where there was nobody to be told.
            state.happened();
        });
    }

    /// Offers other limits to whoever connects from now on; see [`Broker::set_limits`].
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.broker(|broker, _| broker.set_limits(limits));
    }

    /// Runs short of something: who publishes from now on is told so, and is not read any more; see
    /// [`Broker::block`].
    pub fn block(&self, reason: ShortString) {
        self.broker(|broker, _| broker.block(reason));
    }

    /// Has enough again, and reads publishers.
    pub fn unblock(&self) {
        self.broker(|broker, _| broker.unblock());
    }

    /// How long what the broker says from now on is on its way; no time at first.
    pub fn set_delay(&self, delay: Duration) {
        self.core.with(|state, _| state.set_delay(delay));
    }

    /// Lets nothing that the broker says arrive at any client, old or new, until it is
    /// [released](Self::release_answers).
    pub fn hold_answers(&self) {
        self.core.with(|state, _| state.set_speaks(false));
    }

    /// Lets everything arrive that was [held](Self::hold_answers), and all that follows.
    pub fn release_answers(&self) {
        self.core.with(|state, _| state.set_speaks(true));
    }

    /// Reads nothing that clients send until it [resumes](Self::resume_reading). Together with
    /// [held answers](Self::hold_answers) that is a black hole.
    pub fn stop_reading(&self) {
        self.core.with(|state, _| state.set_reads(false));
    }

    /// Reads what clients have sent in the meantime, and all that follows.
    pub fn resume_reading(&self) {
        self.core.with(|state, _| state.set_reads(true));
    }

    /// Refuses what it would otherwise do, the next declaration of a queue for instance.
    ///
    /// ```
    /// use snowshoe::codec::method::{Arguments, queue};
    /// use snowshoe::testing::{BrokerOptions, Fault, Server};
    /// use snowshoe::{Client, Error, Queue, ReplyCode};
    ///
    /// # futures_lite::future::block_on(async {
    /// let server = Server::listen(BrokerOptions::default())?;
    /// let client = Client::connect(&server.uri()).await?;
    ///
    /// let code = ReplyCode::ACCESS_REFUSED;
    /// server.inject(Fault::new(queue::Declare::ID, code, "not today"));
    /// let refused = client.declare(Queue::new("orders")).await;
    /// assert!(matches!(refused, Err(Error::Refused(close)) if close.code == code));
    /// client.declare(Queue::new("orders")).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn inject(&self, fault: Fault) {
        self.broker(|broker, _| broker.inject(fault));
    }

    /// Takes back all [faults](Self::inject) that have not come to pass.
    pub fn heal(&self) {
        self.broker(|broker, _| broker.heal());
    }

    /// Ends all consumers of a queue, and tells them. Whether there is such a queue.
    pub fn cancel_consumers(&self, queue: &str) -> bool {
        let host = &self.virtual_host;
        self.broker(|broker, now| broker.cancel_consumers(now, host, queue))
    }

    /// Ends the time of the messages at the front of a queue that have a limited one, as if it were
    /// over. Whether there is such a queue.
    pub fn expire(&self, queue: &str) -> bool {
        let host = &self.virtual_host;
        self.broker(|broker, now| broker.expire(now, host, queue))
    }

    fn broker<R>(&self, work: impl FnOnce(&mut Broker, Instant) -> R) -> R {
        self.core.with(|state, now| {
            let result = work(&mut state.broker, now);
            state.happened();
            result
        })
    }
}

/// # A look inside
impl Server {
    /// A queue with its messages, if there is one of this name.
    pub fn queue(&self, name: &str) -> Option<QueueView> {
        self.look(|broker| broker.queue(&self.virtual_host, name))
    }

    /// The names of all queues, in the order in which they were declared.
    pub fn queue_names(&self) -> Vec<ShortString> {
        self.look(|broker| broker.queue_names(&self.virtual_host))
    }

    /// All exchanges with their bindings, in the order of their names.
    pub fn exchanges(&self) -> Vec<ExchangeView> {
        self.look(|broker| broker.exchanges(&self.virtual_host))
    }

    /// All connections, the oldest first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.look(Broker::connections)
    }

    fn look<R>(&self, look: impl FnOnce(&Broker) -> R) -> R {
        self.core.with(|state, _| look(&state.broker))
    }

    /// Waits until a condition holds. It is asked again whenever something happens at the broker.
    ///
    /// ```
    /// # use snowshoe::testing::{BrokerOptions, Server};
    /// # async fn wait(server: &Server) {
    /// server
    ///     .until(|server| server.queue("orders").is_some_and(|queue| queue.unacked == 3))
    ///     .await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut watch = Watch::new(&self.core);
        poll_fn(|cx| {
            loop {
                // What happens while it is being asked is not missed.
                let version = self.core.with(|state, _| state.version);
                if condition(self) {
                    return Poll::Ready(());
                }
                if watch.park(cx, version) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.core.with(|state, now| {
            state.dials = Dials::Refused;
            state.reset_all(now);
        });
    }
}

/// Waits for something to happen.
struct Watch<'a> {
    core: &'a Core,
    id: u64,
    timer: Box<dyn Timer>,
}

impl<'a> Watch<'a> {
    fn new(core: &'a Core) -> Self {
        Self {
            core,
            id: core.with(|state, _| state.add_watcher()),
            timer: core.runtime.timer(),
        }
    }

    /// Registers the task to be woken, unless something has happened since `version`.
    fn park(&mut self, cx: &mut Context<'_>, version: u64) -> bool {
        let watch = |state: &mut State| state.watch(self.id, version, cx.waker());
        match self.core.with(|state, _| watch(state)) {
            Found::Ready(()) => false,
            Found::Wait(at) => {
                wake_at(&mut *self.timer, cx, at);
                true
            }
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.core.with(|state, _| state.remove_watcher(self.id));
    }
}

#[derive(Clone, Debug)]
struct InMemory(Arc<Core>);

impl Connector for InMemory {
    fn connect(&self, target: &Target, _: &Arc<dyn Runtime>) -> Connecting {
        let core = Arc::clone(&self.0);
        let (progress, port) = (target.progress.clone(), target.port);
        Box::pin(async move {
            match Stream::connect(&core) {
                Ok(stream) => {
                    // Nobody else is there.
                    progress.reached((Ipv4Addr::LOCALHOST, port).into());
                    Ok(Box::new(stream) as Box<dyn Transport>)
                }
                Err(Dials::Hang) => std::future::pending().await,
                Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// Wakes the task at this time.
fn wake_at(timer: &mut dyn Timer, cx: &mut Context<'_>, at: Option<Instant>) {
    if let Some(at) = at {
        timer.set_at(at);
        if timer.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// A part of a URI. Whatever could mean something there is escaped (RFC 3986 §2.1).
fn encoded(part: &str) -> String {
    let mut encoded = String::new();
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("strings have room"),
        }
    }
    encoded
}

/// Nobody listens there: tcpmux, which is long gone (RFC 1078).
const NO_PORT: u16 = 1;
