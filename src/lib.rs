//! An AMQP 0-9-1 client for RabbitMQ and LavinMQ that does not lose messages, does not stop, and
//! costs almost nothing.
//!
//! A [`Client`] comes back by itself when it is cut off, and brings back what was declared, its
//! consumers and its producers. What you publish waits in a bounded buffer while there is no
//! connection, and stays there until the broker has confirmed it. It runs on any executor, or on a
//! thread of its own.
//!
//! ```no_run
//! use snowshoe::{Client, Queue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! futures_lite::future::block_on(async {
//!     let client = Client::connect("amqp://guest:guest@localhost").await?;
//!     client.declare(Queue::new("orders")).await?;
//!
//!     let producer = client.producer("orders")?.build();
//!     producer.send("one bicycle").await?; // returns once the broker has it
//!
//!     let mut consumer = client.consumer("orders")?.start().await?;
//!     while let Some(order) = consumer.next().await {
//!         println!("{}", String::from_utf8_lossy(order.body()));
//!         order.ack()?;
//!     }
//!
//!     client.close().await; // or what is in the buffers is lost with the process
//! #   Ok(())
//! })
//! # }
//! ```
//!
//! # What is promised
//!
//! | you use | you get |
//! |---|---|
//! | a [`Producer<Confirm>`](Producer) | Every accepted message resolves exactly once: acknowledged, or with the reason why not ([`Unconfirmed`]). What is acknowledged is with the broker. What was not yet when a connection ended is sent again, in order, ahead of all that is newer; so the broker may get a message **twice**, never out of order. What is under way when the process ends is lost, unless it waits for [`Client::close`]. |
//! | a [`Producer<FireAndForget>`](Producer) | Messages are kept until their last byte was written, and then forgotten: **at most once**, except that one which was cut in the middle is sent again whole. While there is no connection the newest are kept. |
//! | a [`Consumer`] | What you do not acknowledge is delivered again: **at least once**, as far as the queue keeps it: on RabbitMQ 4 a quorum queue gives a message up that came back 20 times. A delivery whose channel is gone cannot be settled by mistake: it answers [`Settled::Stale`], and nothing is sent. |
//! | a [`Consumer`] with [`no_ack`](ConsumerBuilder::no_ack) | **At most once**: what was on its way is lost with a connection. |
//! | a [`Requester`] | Each request gets its own answer, or an error that says whether it may have been done ([`RequestError`]), and none waits longer than its timeout. Where a connection is lost before the answer, only what is said to be [idempotent](Request::idempotent) is sent again. |
//! | any buffer | A producer's is bounded in messages and in bytes, and what happens when it is full is yours to say ([`BufferPolicy`]). A consumer's is bounded by its prefetch, or else by its capacity. What an outage is long does not count: a client holds its handles, the messages in their buffers, and the calls that somebody waits for. |
//!
//! A message can thus reach a consumer twice, and then only if its confirm, or its
//! acknowledgement, was lost with a connection. [`guarantees`] has all of it: what rests on what,
//! how to make duplicates harmless, and what a broker in trouble does.
//!
//! # Connections, and what happens when one ends
//!
//! A client has one connection for publishing and one for everything else: a broker that is short
//! of memory stops reading who publishes, and that must not stop acknowledgements. A [`Requester`]
//! has one of its own, where requests go out and their answers come in. Each is under
//! its own supervisor, which dials the URI's hosts in turn, waits 100 ms after a failure, doubled
//! up to 30 s, with jitter ([`Reconnect`]), and goes on for ever. Only the very first connect fails
//! fast, because a wrong password is better told at once.
//!
//! After a reconnect come, in this order: what was [declared](Client::declare), consumers, and
//! publishing. [`Client::events`] tells what goes on, and [`Client::state`] how all of them are doing, for a
//! health endpoint.
//!
//! # Running it
//!
//! [`Client::connect`] needs no executor: its driver has a thread of its own, unless no feature but
//! `tokio` is on. [`ClientBuilder::build`]
//! gives the client and its [`Driver`], a future to spawn on smol, async-std, tokio or anything
//! else. Whose time, timers and sockets the driver uses says its [`Runtime`]; there are those of a
//! thread of its own, of async-io, of tokio and of tests, each a feature. A [`Connector`] brings any
//! other stream than TCP.
//!
//! | feature | what it brings | on by default |
//! |---|---|---|
//! | `thread` | the driver on a thread of its own, with a reactor (mio) | yes |
//! | `async-io` | sockets and timers for a driver on any executor | yes |
//! | `tokio` | sockets and timers of tokio | no |
//! | `tls` | `amqps`, by rustls with the cryptography of ring; certificates from the system, or [from files](TlsOptions) that the URI names | no |
//! | `tls-aws-lc-rs` | the same with the cryptography of aws-lc-rs, which is taken where both are on | no |
//! | `tls-no-provider` | the same with no cryptography: the program brings a provider of rustls' | no |
//! | `tls-platform-verifier` | certificates judged by the platform, where a `TlsConnectorBuilder` is told so; it brings no cryptography | no |
//! | `json` | bodies that are values, [by serde](typed) | no |
//! | `serde` | [settings](Settings) from files and the environment, by serde | no |
//! | `zstd` | bodies that are compressed (`typed::Zstd`) | no |
//! | `testing` | a broker, a network and time for your tests | no |
//!
//! The protocol alone, without I/O, is the crate [`codec`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod channel;
mod client;
pub mod coming_from;
mod connector;
mod consumer;
// `pub` in a private module: what `internal` shows to this repository's own tools is seen by nobody
// else, and is described for its readers here.
#[allow(
    unreachable_pub,
    missing_docs,
    clippy::new_without_default,
    rustdoc::private_intra_doc_links,
    reason = "only `internal` makes it reachable"
)]
mod core;
mod credentials;
mod declare;
mod delays;
mod delivery;
mod driver;
mod error;
mod events;
pub mod guarantees;
pub mod in_production;
#[cfg(feature = "_internal")]
#[doc(hidden)]
pub mod internal;
mod message;
mod name;
mod outcome;
mod panics;
mod producer;
mod replier;
mod requester;
mod retry;
pub mod runtime;
mod settings;
mod shared;
mod state;
mod stream;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
pub mod typed;
mod uri;

/// Runs a future to its end on this thread, for programs that have no executor.
///
/// The client needs none: [`Client::connect`] gives it a thread of its own (feature `thread`, which is on by default), on which everything goes on while this one
/// does something else. (A program that is to have one thread in all takes [`runtime::Local`].)
///
/// ```no_run
/// use snowshoe::{Client, block_on};
///
/// fn main() -> Result<(), snowshoe::Error> {
///     let client = block_on(Client::connect("amqp://guest:guest@localhost"))?;
///     let producer = client.producer("orders")?.build();
///     block_on(producer.send("one bicycle"))?;
///     block_on(client.close());
///     Ok(())
/// }
/// ```
///
/// It is [`futures_lite::future::block_on`], to be called outside of executors: whoever is polled on this thread waits
/// meanwhile.
pub use futures_lite::future::block_on;
#[cfg(feature = "tls-no-provider")]
#[doc(no_inline)]
pub use rustls;
#[doc(no_inline)]
pub use snowshoe_codec as codec;
pub use snowshoe_codec::{
    Delivery as RawDelivery, Excess, FieldArray, FieldTable, FieldValue, PeerClose, Properties,
    PropertiesBuilder, PropertiesError, PropertiesRef, ReplyCode, Returned, ShortStr, ShortString,
    TableError, ToField,
};

pub use self::channel::Channel;
pub use self::client::{Client, ClientBuilder, DeleteExchange, DeleteQueue, Reconnect, StateWatch};
pub use self::connector::{Connector, Layer, Progress, Target, TcpConnector};
#[cfg(feature = "tls-no-provider")]
pub use self::connector::{TlsConnector, TlsConnectorBuilder};
pub use self::consumer::{Consumer, ConsumerBuilder, Handled, PauseHandle, Served, StopHandle};
pub use self::credentials::{Credentials, CredentialsError};
pub use self::declare::{
    Binding, Declare, DeclaredQueue, DeliveryLimit, Destination, Exchange, IntoExchange, IntoQueue,
    LeaderLocator, Queue, RetryOn,
};
pub use self::delays::Delays;
pub use self::delivery::{Batch, Delivery, Disposition, Outcome, OversizedDelivery, Settler};
pub use self::driver::Driver;
pub use self::error::{
    ConnectionError, ConnectionErrorReason, ConsumerEnd, Error, HandshakeCut, Hint, Peer, Phase,
    PublishError, PublishErrorReason, RequestError, RequestErrorReason, SendMessageError,
    SettingsError, SettleError, Tried,
};
pub use self::events::{
    ChannelEvent, ConnectionRole, ConsumerId, Entity, Event, Events, ProducerId,
};
pub use self::message::Message;
pub use self::name::Name;
pub use self::outcome::{
    CloseReport, DropReason, Return, Settled, Unconfirmed, UnconfirmedReason, Undelivered,
};
pub use self::producer::{
    Confirm, Confirmation, DelayedProducer, FireAndForget, Mode, Producer, ProducerBuilder,
};
pub use self::replier::{Replied, Replier, Response};
pub use self::requester::{Reply, Request, Requester, RequesterBuilder};
pub use self::retry::Retry;
pub use self::runtime::Runtime;
pub use self::settings::{
    BufferPolicy, ClientSettings, ConsumerSettings, ProducerSettings, ReconnectSettings,
    RequesterSettings, RetrySettings, Settings,
};
pub use self::state::{
    Blocked, ClientState, Connected, ConnectionState, ConnectionStatus, Failure, RecoveryStage,
};
pub use self::stream::StreamOffset;
pub use self::transport::{Connecting, Transport};
pub use self::uri::{
    AmqpUri, Endpoint, Password, ServerNameIndication, TlsOptions, UriError, UriOptions,
};
