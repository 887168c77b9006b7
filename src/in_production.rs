//! What a service that runs for long has to think of.
//!
//! # The end
//!
//! Buffers are memory: wait for [`Client::close`](crate::Client::close) before `main` returns, or what is in them is lost.
//! It lets handlers come to their end, gives back what nobody has begun on, and waits for the confirms of what was
//! published, for 10 s ([`close_timeout`](crate::ClientBuilder::close_timeout)) or as long as
//! [`close_within`](crate::Client::close_within) says. An orchestrator that kills has to wait for longer: with the 30 s of
//! Kubernetes, 20 s are a good choice.
//!
//! ```no_run
//! use std::time::Duration;
//! use snowshoe::{Client, Delivery};
//!
//! # async fn terminated() {}
//! # async fn charge(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn run() -> Result<(), snowshoe::Error> {
//! let client = Client::connect("amqp://localhost").await?;
//! let mut orders = client.consumer("orders")?.start().await?;
//! let working = orders.process(16, |order: Delivery| async move { charge(order.body()).await });
//! let ending = async {
//!     terminated().await; // SIGTERM, as `tokio::signal` or `async-signal` tell it
//!     client.close_within(Duration::from_secs(20)).await
//! };
//! let (handled, report) = futures_lite::future::zip(working, ending).await;
//! println!("{} done, {} cut off, {} not published", handled.finished, handled.cut_off, report.undelivered.len());
//! # Ok(()) }
//! ```
//!
//! # Messages that fail
//!
//! A handler that returns an error gives its message back, and it comes again. Without an end to that, one bad message
//! keeps a worker busy for ever; so give each consumer a [`Retry`](crate::Retry), and look after its dead letters. Handlers
//! can see a message twice, [whatever any client does](crate::guarantees#making-duplicates-harmless): let them be idempotent.
//!
//! # Messages for later
//!
//! Reminders, timeouts and the like are published at once and [arrive later](crate::Delays). They wait at the broker, so no
//! timer of a process is lost with it. Let them be idempotent, too, and look when one arrives whether it is still wanted:
//! nobody can call it back.
//!
//! # How much at a time
//!
//! - [`prefetch`](crate::ConsumerBuilder::prefetch) is how many messages the broker sends ahead, 100 where nothing is
//!   said. Quick handlers want some hundreds; where one takes seconds, twice the number of handlers is plenty, and lets other
//!   instances have the rest. [`concurrency`](crate::ConsumerBuilder::concurrency) sees to it that it is not too few.
//! - A message that is worked on for longer than 30 minutes is taken back by RabbitMQ
//!   ([`consumer_timeout`](crate::Queue::consumer_timeout)). The time runs from the delivery on, so what waits in a large
//!   prefetch counts, too.
//! - A consumer whose host is in trouble can be [paused](crate::Consumer::pause_handle), and its messages go to others.
//!
//! # How large
//!
//! A producer's buffer is bounded ([10,000 messages](crate::ProducerBuilder::capacity),
//! [64 MiB](crate::ProducerBuilder::capacity_bytes)), and in an outage it fills: what happens then is the
//! [`BufferPolicy`](crate::BufferPolicy)'s. What a consumer has received is bounded by its prefetch and by
//! [16 MiB](crate::ConsumerBuilder::capacity_bytes). RabbitMQ 4 takes messages of up to 16 MiB; keep what is larger elsewhere,
//! and send where it is. [`max_message_size`](crate::ClientBuilder::max_message_size) says what your process takes.
//!
//! # How long
//!
//! | what | by default | set by |
//! |---|---|---|
//! | a host does not answer | 30 s | [`connection_timeout`](crate::ClientBuilder::connection_timeout) |
//! | a handshake | 30 s | [`handshake_timeout`](crate::ClientBuilder::handshake_timeout) |
//! | a call, such as a declaration | 20 s | [`call_timeout`](crate::ClientBuilder::call_timeout) |
//! | the peer takes no bytes | 60 s | [`write_timeout`](crate::ClientBuilder::write_timeout) |
//! | the peer is silent | 20 s, two heartbeats | [`heartbeat`](crate::ClientBuilder::heartbeat) |
//! | between two attempts to connect | 100 ms, doubled up to 30 s | [`reconnect`](crate::ClientBuilder::reconnect) |
//! | a close | 10 s | [`close_timeout`](crate::ClientBuilder::close_timeout) |
//!
//! What is published waits for as long as the outage lasts. Where a caller cannot, put a timeout of the executor's around
//! [`send`](crate::Producer::send): the message is sent all the same, if it was accepted.
//!
//! # Queues
//!
//! [Quorum queues](crate::Queue::quorum) survive the loss of a node. From RabbitMQ 4.0 on they give a message up that came
//! back 20 times, so name a [limit](crate::Queue::delivery_limit) and a [dead-letter
//! exchange](crate::Queue::dead_letter_exchange), as the [guarantees](crate::guarantees#what-a-queue-gives-up) tell.
//! Classic queues are on one node.
//!
//! # TLS and certificates
//!
//! - With `amqps` the broker's certificate and name are always verified. [Files](crate::TlsOptions) that the URI names are
//!   read again at each attempt to connect: renew them in place, and the next connection has them. What is connected stays so.
//! - Errors say whose certificate is wrong and what to do. They are in [`Disconnected`](crate::Event::Disconnected) and in
//!   [`Client::state`](crate::Client::state), so a certificate that expires is told there first.
//! - A broker that takes the user from the client's certificate needs no password: see
//!   [`Credentials::external`](crate::Credentials::external).
//!
//! # In one place
//!
//! What all producers and consumers of a service are to have in common is said once, by
//! [`ClientBuilder::settings`](crate::ClientBuilder::settings), and can come from a file or the environment:
//! [`Settings`](crate::Settings) has an example with all that there is.
//!
//! # Seeing
//!
//! - [`Client::state`](crate::Client::state) answers a health endpoint at once, and
//!   [`watch_state`](crate::Client::watch_state) tells of changes.
//! - [Names](crate::ClientBuilder::name) of clients are in the broker's list of connections, and in logs and errors.
//! - [`Client::events`](crate::Client::events) tells what happens; those to count are
//!   [`Disconnected`](crate::Event::Disconnected), [`Blocked`](crate::Event::Blocked), [`Returned`](crate::Event::Returned),
//!   [`Dropped`](crate::Event::Dropped), [`NotDeclared`](crate::Event::NotDeclared), after which a producer is closed,
//!   [`ConsumerCancelled`](crate::Event::ConsumerCancelled) and [`HandlerPanicked`](crate::Event::HandlerPanicked).
//! - [`on_undelivered`](crate::ProducerBuilder::on_undelivered) has each message of a producer that is not delivered, to be
//!   saved elsewhere.
//! - Logs go by the `log` crate. What messages and a broker can cause as often as they like is written up to 100 times in 10
//!   seconds for each connection, and then how often it was; errors are counted for themselves. Lost connections and attempts
//!   to connect are told each.
//!
//! # Trying it
//!
//! The feature `testing` brings a broker in memory, which drops connections, blocks and restarts when a test says so. On a
//! real broker, restart it while your service runs; nothing should be lost.
