//! A world for tests: a broker in memory, a clock of which the test turns the hands, a network with
//! the faults of a real one, and an executor that runs them from a seed.
//!
//! Behind the feature `testing`, for `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! snowshoe = { version = "0.1", features = ["testing"] }
//! ```
//!
//! # Testing your code
//!
//! A [`Server`] is a broker of your test's own: nothing to install, no fixed port, and nothing that
//! another test could see. It does what you would otherwise wait for in vain: it cuts connections,
//! refuses them, blocks, restarts, answers late. And it lets you look inside.
//!
//! ```
//! use snowshoe::testing::{BrokerOptions, Server};
//! use snowshoe::{Client, Queue};
//!
//! /// What is to be tested: it knows a broker by its URI.
//! async fn order_bicycles(uri: &str) -> Result<Client, snowshoe::Error> {
//!     let client = Client::connect(uri).await?;
//!     client.declare(Queue::new("orders")).await?;
//!     Ok(client)
//! }
//!
//! # futures_lite::future::block_on(async {
//! let server = Server::listen(BrokerOptions::default())?;
//! let client = order_bicycles(&server.uri()).await?;
//!
//! let producer = client.producer("orders")?.build();
//! producer.send("one bicycle").await?;
//! let orders = server.queue("orders").expect("it was declared");
//! assert_eq!(orders.ready[0].body, "one bicycle");
//!
//! // The broker takes the next message, but its confirm never arrives.
//! server.hold_answers();
//! let confirmation = producer.publish("one tandem").await?;
//! server
//!     .until(|server| server.queue("orders").is_some_and(|queue| queue.ready.len() == 2))
//!     .await;
//!
//! // The client comes back, and sends again what was not confirmed.
//! server.reset_all();
//! server.release_answers();
//! confirmation.await?;
//! let orders = server.queue("orders").expect("it is still there");
//! assert_eq!(orders.ready.len(), 3); // one tandem, twice
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Without waiting
//!
//! In virtual time an hour takes no time, and without sockets nothing is left to chance. On an
//! [`Executor`] time passes by itself: when all its tasks wait, the [`Clock`] jumps to the next
//! deadline, of whomever it is.
//!
//! ```
//! use std::time::Duration;
//!
//! use snowshoe::Queue;
//! use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Server};
//!
//! let clock = Clock::new();
//! let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
//! let mut executor = Executor::new(clock.clone(), 1);
//! let (client, driver) = server.client().build();
//! executor.spawn(driver);
//!
//! let tested = executor.run(async move {
//!     client.declare(Queue::new("orders")).await?;
//!     let producer = client.producer("orders")?.build();
//!
//!     server.set_dials(Dials::Refused);
//!     server.reset_all();
//!     let confirmation = producer.publish("one bicycle").await?;
//!     clock.sleep(Duration::from_secs(30)).await; // an outage
//!     server.set_dials(Dials::Succeed);
//!     confirmation.await?;
//!     assert_eq!(server.queue("orders").map(|queue| queue.ready.len()), Some(1));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! });
//! tested.expect("nobody waits for ever")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Executor::run`] gives `None` where your code waits for what can never happen. How a test turns
//! the hands of the clock itself, on another executor, says [`Server::in_virtual_time`].
//!
//! # What it is made of
//!
//! [`Broker`] alone is a plain state machine, for a world of your own. [`Network`] carries bytes
//! between whole clients and whatever you put at its other end, as badly as you like, in virtual time.

mod broker;
mod clock;
mod executor;
mod network;
mod pipe;
mod server;

pub use self::broker::{
    BindingView, Broker, BrokerOptions, ConnectionId, ConnectionView, ExchangeView, Fault, Manner,
    MessageView, QueueView,
};
pub use self::clock::{Clock, Timer};
pub use self::executor::{Executor, Spawner, TaskId};
pub use self::network::{Conditions, Dials, Direction, LinkId, Network, Socket};
pub use self::server::Server;
