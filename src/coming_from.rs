//! Coming from another client: what is called how here, and what need not be written any more.
//!
//! # From lapin
//!
//! As of lapin 4.12. It has a channel in the middle of all, as the protocol has; here are producers and consumers, each with
//! its channel, and the rest is on the [`Client`](crate::Client).
//!
//! | lapin | here |
//! |---|---|
//! | `Connection::connect(uri, properties)` | [`Client::connect`](crate::Client::connect), and [`Client::builder`](crate::Client::builder) for settings |
//! | `connection.create_channel()` | not needed; [`Client::channel`](crate::Client::channel) for what only the protocol has |
//! | `channel.queue_declare(name, options, arguments)` | [`client.declare(Queue::new(name))`](crate::Client::declare); durable, unless it says otherwise |
//! | `channel.basic_publish(..).await?.await?`, after `confirm_select` | [`producer.send(body)`](crate::Producer::send): confirms are the default |
//! | the same without `confirm_select` | [`fire_and_forget`](crate::ProducerBuilder::fire_and_forget) |
//! | `channel.basic_qos(n)`, `channel.basic_consume(..)` | [`client.consumer(queue)?.prefetch(n).start()`](crate::Client::consumer) |
//! | `delivery.ack(BasicAckOptions::default()).await?` | [`delivery.ack()?`](crate::Delivery::ack), which waits for nothing |
//! | `delivery.nack(BasicNackOptions { requeue: true, .. })` | [`retry`](crate::Delivery::retry) where it failed, [`release`](crate::Delivery::release) where not |
//! | `BasicProperties`, `FieldTable` | [`Message`](crate::Message) and [`Properties`](crate::Properties), [`FieldTable`](crate::FieldTable) |
//! | `consumer.set_delegate(..)` | [`Consumer::process`](crate::Consumer::process), with a bound on how many run |
//!
//! lapin reconnects when it is told to (`enable_auto_recover`), 16 attempts long unless its backoff is set otherwise, and
//! brings back channels, consumers, confirms, qos and what was declared. Whoever publishes or consumes gets the error
//! of the connection meanwhile, has to call `wait_for_recovery`, and to publish again what was under way. Here none of that is
//! to be written: what was accepted is kept and sent again, a consumer goes on, and an acknowledgement that
//! came too late is [no error](crate::Settled::Stale).
//!
//! ```text
//! // lapin
//! loop {
//!     match publish(&channel, payload).await {
//!         Ok(confirmation) => break,
//!         Err(error) => channel.wait_for_recovery(error).await?,
//!     }
//! }
//! ```
//!
//! ```no_run
//! # async fn run(producer: snowshoe::Producer, payload: &'static str) -> Result<(), snowshoe::Error> {
//! producer.send(payload).await?;
//! # Ok(()) }
//! ```
//!
//! The same programs, written with each: lines of code without comments and blank lines, by the same formatter. What those
//! with lapin do not do stands at the top of each, in `benches/compare/examples`.
//!
//! | program | lapin | here |
//! |---|---|---|
//! | a worker that retries, dead-letters, drains and comes back (`examples/worker.rs`) | 239 | 77 |
//! | requests and their answers, both sides, that come back (`examples/rpc.rs`) | 275 | 70 |
//!
//! # From amqp-client
//!
//! As of amqp-client 0.1, which runs on tokio.
//!
//! | amqp-client | here |
//! |---|---|
//! | `Client::builder(uri)?.build()` | [`Client::connect`](crate::Client::connect) |
//! | `.recovery(RecoveryConfig::default())` | always so; [`Reconnect`](crate::Reconnect) sets the delays |
//! | `client.queue(name, QueueOpts)`, `client.topic(..)` | [`client.declare(Queue::new(name))`](crate::Client::declare), [`Exchange::topic`](crate::Exchange::topic) |
//! | `queue.bind(&exchange, key)` | [`Binding::queue(name).to_exchange(..)`](crate::Binding) |
//! | `client.publish(exchange, key, body)` | [`fire_and_forget`](crate::ProducerBuilder::fire_and_forget) and [`publish`](crate::Producer::publish) |
//! | `publish_confirmed` | [`send`](crate::Producer::send) |
//! | `Error::ConfirmUncertain` | what was not confirmed is sent again; [`possibly_stored`](crate::Unconfirmed::possibly_stored) tells where it cannot be |
//! | `queue.subscribe::<T>(SubscribeOpts)` | [`client.consumer(queue)`](crate::Client::consumer), and values by [`typed`](crate::typed) |
//! | `DecodeFailure` | [`TypedDelivery`](crate::typed::TypedDelivery) without a value |
//!
//! Its recovery is off unless it is built with one. With it, a `publish` waits for up to 250 ms for a new connection and then
//! fails, and one without a confirm can be lost with the connection. Here a message waits in the buffer for as long as the
//! outage lasts, as far as that has room.
//!
//! # From amqprs
//!
//! As of amqprs 2.1: it does not reconnect. The table for lapin holds for most of it; callbacks of `AsyncConsumer` are handlers
//! of [`Consumer::process`](crate::Consumer::process), and those of connections and channels are
//! [`Client::events`](crate::Client::events).
