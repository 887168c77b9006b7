//! AMQP 0-9-1 without I/O: the bytes of RabbitMQ's and LavinMQ's protocol, and the rules by which two
//! peers exchange them.
//!
//! Nothing in here opens a socket, reads a clock, takes a lock or knows of `async`. A [`Connection`]
//! is a value: what was read goes in, what is to be written and what happened comes out, and the time
//! is an argument. The same code runs under a driver on a socket, under a simulator in virtual time,
//! and under a fuzzer. The `snowshoe` crate is a client on top of it that reconnects; this crate is
//! one connection, from the protocol header to the last close-ok.
//!
//! # Layers
//!
//! Each is of use without those above it.
//!
//! | layer | what it knows |
//! |---|---|
//! | [`frame`] | where a frame begins and ends, and how large it may be |
//! | [`method`], [`table`], [`properties`] | what is in a frame, in both directions |
//! | [`Content`], [`Delivery`] and the like | a message: method, content header and body, put together |
//! | [`Channel`] | calls and their replies, publishes and their confirms, open and close |
//! | [`Connection`] | handshake, channels, heartbeats, blocked, open and close |
//!
//! # A conversation
//!
//! Two ends in memory, a client and a server. On a socket each has one of them.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::{BufMut, Bytes, BytesMut};
//! use snowshoe_codec::method::{Method, confirm, queue};
//! use snowshoe_codec::sasl::Plain;
//! use snowshoe_codec::{
//!     ClientOptions, CloseReason, Connection, Event, Properties, Publish, ReplyCode, ServerOptions,
//! };
//!
//! /// What a transport does.
//! fn carry(from: &mut Connection, to: &mut Connection, now: Instant) {
//!     let mut bytes = BytesMut::new();
//!     bytes.put(from.outbound());
//!     // A transport would go on with what is left once the events were polled.
//!     let is_behind = to.receive(now, &mut bytes);
//!     assert!(!is_behind, "so much is not said here");
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let mut client = Connection::client(ClientOptions::new(Plain::new("guest", "guest")), now);
//! let mut server = Connection::server(ServerOptions::default(), now);
//!
//! while !client.is_closed() || !server.is_closed() {
//!     carry(&mut client, &mut server, now);
//!     carry(&mut server, &mut client, now);
//!     client.handle_timeout(now);
//!     server.handle_timeout(now);
//!
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Open(_) => {
//!                 client.open_channel(now)?;
//!             }
//!             Event::ChannelOpen { channel } => {
//!                 let mut channel = client.channel(channel).expect("it was opened just now");
//!                 let orders = queue::Declare { queue: "orders".try_into()?, ..Default::default() };
//!                 channel.send(now, orders)?;
//!                 channel.send(now, confirm::Select::default())?;
//!             }
//!             Event::Reply { channel, method } if matches!(*method, Method::ConfirmSelectOk(_)) => {
//!                 let mut channel = client.channel(channel).expect("it has not been closed");
//!                 let number = channel.publish(&Publish {
//!                     exchange: "".try_into()?,
//!                     routing_key: "orders".try_into()?,
//!                     mandatory: true,
//!                     properties: &Properties::builder().persistent().build()?,
//!                     body: &Bytes::from_static(b"two herrings"),
//!                 })?;
//!                 assert_eq!(number, Some(1));
//!             }
//!             Event::Confirm { confirm, .. } => {
//!                 assert_eq!((confirm.delivery_tag, confirm.ack), (1, true));
//!                 client.close(now, ReplyCode::SUCCESS, "goodbye".try_into()?);
//!             }
//!             Event::Closed(reason) => assert_eq!(reason, CloseReason::Requested),
//!             _ => {}
//!         }
//!     }
//!
//!     while let Some(event) = server.poll_event() {
//!         match event {
//!             Event::Login { .. } => server.accept_login(),
//!             Event::OpenRequested { .. } => server.accept_open(),
//!             Event::Request { channel, method } => {
//!                 let mut channel = server.channel(channel).expect("it has not been closed");
//!                 match *method {
//!                     Method::QueueDeclare(declare) => {
//!                         let queue = declare.queue;
//!                         channel.send(now, queue::DeclareOk { queue, ..Default::default() })?;
//!                     }
//!                     Method::ConfirmSelect(_) => channel.send(now, confirm::SelectOk)?,
//!                     other => unreachable!("the client sends no {}", other.name()),
//!                 }
//!             }
//!             Event::Published { channel, published } => {
//!                 assert_eq!(published.content.body(), b"two herrings");
//!                 server.channel(channel).expect("it has not been closed").ack(1, false)?;
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Call order
//!
//! There is none: any function may be called at any time. One that comes too early or too late says
//! so or does nothing, and a connection that has ended stays as it is. Whoever drives a connection
//! does this, in whatever order is convenient, until nothing moves:
//!
//! - hands what was read to [`receive`](Connection::receive), or says
//!   [`transport_ended`](Connection::transport_ended);
//! - takes events from [`poll_event`](Connection::poll_event) until there are none;
//! - writes what is in [`outbound`](Connection::outbound), and advances it by what was written;
//! - calls [`handle_timeout`](Connection::handle_timeout);
//! - then waits for the transport, or until [`poll_timeout`](Connection::poll_timeout).
//!
//! Exactly one [`Event::Closed`] comes, as the last of all events, and stands for the end of every
//! channel too. Until then each channel ends with exactly one [`Event::ChannelClosed`]. A connection
//! is for one transport; for the next there is a new one, which knows nothing of this.
//!
//! # Time
//!
//! Time enters as an argument and leaves as a deadline. Everything that waits for the peer has one:
//! the handshake, every call, every close, and through heartbeats the peer itself. A call that is not
//! answered in time closes its channel, since otherwise the late answer would be taken for the next
//! call's. The only other way in which time matters is that connection.open waits until tune-ok has
//! been *written*, so a handshake does not come to its end unless `outbound` is advanced and
//! `handle_timeout` is called.
//!
//! An application that cannot keep up may stop reading. While it does, it says so with
//! [`reading_is_paused`](Connection::reading_is_paused), as a peer that is not read seems dead.
//!
//! # What is trusted
//!
//! The peer may be hostile, and a broker forwards what hostile publishers wrote. So:
//!
//! - Frames must be well-formed, within the limits, and in an order that the protocol allows; anything
//!   else is a [`Violation`] and ends the connection, because after it nothing can be understood. A
//!   frame is judged by its first seven bytes.
//! - Properties and field tables come from other publishers. They are kept as they are and read when
//!   asked; malformed ones are an error of [`Content::properties`] or [`FieldTable::get`], and of
//!   nothing else. Reading them is bounded in depth.
//! - Names are bytes. Their `Display` is lossy and safe to log; `Debug` of a message shows sizes only.
//! - A peer's error text is escaped where it is displayed.
//!
//! What we send is checked before a byte is written: names over 255 bytes, numbers that are not
//! finite, methods and properties that do not fit into a frame, methods that the peer would take for a
//! violation. A function that gives an error has written nothing.
//!
//! # Limits and memory
//!
//! [`ConnectionLimits`] has them all. Nothing is allocated from a length that the peer announces:
//! buffers grow with the bytes that came. Nothing more is received while 128 events wait to be
//! polled, and 64 KiB of input, of whatever kind, hold less than a MiB until then. Input stays with
//! the caller, who decides how much is read at a time; a frame needs no more room than `frame_max`,
//! a content header no more than 128 KiB where that is less.
//!
//! A message that came in one piece is not copied: it shares the block that it was read into, with
//! the method, the properties and the body in one [`Bytes`](bytes::Bytes). A body in several frames is
//! joined once. Whoever keeps a message for long [detaches](Content::detached) it. On the way out small
//! bodies are copied next to their frames, and large ones are written from where they are.
//!
//! What a peer can make us write is about as long as what it sent. A peer that sends and does not read
//! is for the driver to end, by a deadline for writing.
//!
//! # Errors
//!
//! They are sorted by whose fault it is: a [`Violation`] is the peer's, and ends the connection; a
//! [`PeerClose`] is the peer's word on something that it refuses; [`SendError`] and
//! [`OpenChannelError`] are ours, and change nothing. Whether an error ends a channel or the
//! connection is told by the method that carried it, never by its code: LavinMQ sends codes in
//! channel.close that the specification gives to connections.
//!
//! # Your own transport
//!
//! Any ordered stream of bytes will do. `outbound` is a [`Buf`](bytes::Buf), so it fits vectored
//! writes. Over a socket that blocks, this is a whole driver:
//!
//! ```no_run
//! use std::io::{ErrorKind, Read, Write};
//! use std::net::TcpStream;
//! use std::time::{Duration, Instant};
//!
//! use bytes::{Buf, BytesMut};
//! use snowshoe_codec::{Connection, Event};
//!
//! fn drive(
//!     connection: &mut Connection,
//!     socket: &mut TcpStream,
//!     mut on_event: impl FnMut(&mut Connection, Event),
//! ) -> std::io::Result<()> {
//!     let mut input = BytesMut::new();
//!     let mut block = [0; 16 * 1024];
//!     let mut is_behind = false;
//!     loop {
//!         connection.handle_timeout(Instant::now());
//!         while let Some(event) = connection.poll_event() {
//!             on_event(connection, event);
//!         }
//!         if is_behind {
//!             is_behind = connection.receive(Instant::now(), &mut input);
//!             continue;
//!         }
//!         let outbound = connection.outbound();
//!         if outbound.has_remaining() {
//!             let len = socket.write(outbound.chunk())?;
//!             outbound.advance(len);
//!             continue;
//!         }
//!         if connection.is_closed() {
//!             return Ok(());
//!         }
//!         let until = |at: Instant| at - Instant::now();
//!         let wait = connection.poll_timeout().map(until);
//!         // Zero would be no timeout at all.
//!         socket.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
//!         match socket.read(&mut block) {
//!             Ok(0) => connection.transport_ended(),
//!             Ok(len) => {
//!                 input.extend_from_slice(&block[..len]);
//!                 is_behind = connection.receive(Instant::now(), &mut input);
//!             }
//!             Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! # Only the frames
//!
//! A proxy or a sniffer has no use for a connection. [`frame::find`] takes frames from the front of
//! whatever has been read, and [`Method::decode`] names what is in them; `examples/sniffer.rs` sits
//! between a client and a broker this way.
//!
//! ```
//! use snowshoe_codec::frame::{self, FrameKind, Limits};
//! use snowshoe_codec::{FrameError, Method};
//!
//! /// Says what is in whole frames at the front of `input`, and leaves the rest.
//! fn names(input: &mut Vec<u8>) -> Result<Vec<String>, FrameError> {
//!     let limits = Limits { frame_max: 1 << 20, header_frame_max: 1 << 20 };
//!     let mut names = Vec::new();
//!     while let Some(frame) = frame::find(input, &limits)? {
//!         names.push(match (frame.kind, Method::decode(frame.payload)) {
//!             (FrameKind::Method, Ok(method)) => format!("{}: {}", frame.channel, method.name()),
//!             (FrameKind::Method, Err(error)) => format!("{}: {error}", frame.channel),
//!             (kind, _) => format!("{}: {kind}, {} bytes", frame.channel, frame.payload.len()),
//!         });
//!         let len = frame.encoded_len();
//!         input.drain(..len);
//!     }
//!     Ok(names)
//! }
//!
//! let mut input = b"\x01\0\x07\0\0\0\x05\0\x14\0\x0a\0\xce\x03\0\x07\0\0\0\x02hi\xce\x01\0".to_vec();
//! assert_eq!(names(&mut input)?, ["7: channel.open", "7: body, 2 bytes"]);
//! assert_eq!(input, b"\x01\0");
//! # Ok::<(), FrameError>(())
//! ```

pub mod frame;
pub mod method;
pub mod properties;
pub mod sasl;
pub mod table;
pub mod time;

mod assembly;
mod channel;
mod channels;
mod connection;
mod content;
mod encode;
mod event;
mod handshake;
mod known_server;
mod options;
mod outbound;
mod parse;
mod reply;
mod side;
mod text;
mod types;
mod violation;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    channel::Channel,
    connection::{Connection, OpenChannelError},
    content::{Content, Delivery, Excess, Got, Incoming, Oversized, Published, Returned},
    event::{ChannelCloseReason, CloseReason, Event, PeerClose, PublisherConfirm},
    frame::{Frame, FrameError, FrameHeader, FrameKind},
    handshake::{Greeting, HandshakeError, Stage},
    known_server::KnownServer,
    method::{Method, MethodError, MethodId},
    options::{ClientOptions, ConnectionLimits, ServerOptions, Tuning, client_properties},
    outbound::Outbound,
    properties::{Properties, PropertiesBuilder, PropertiesError, PropertiesRef},
    reply::ReplyCode,
    table::{
        FieldArray, FieldArrayRef, FieldTable, FieldTableRef, FieldValue, TableError, ToField,
    },
    types::{ChannelId, Secret, ShortStr, ShortString, TooLong},
    violation::Violation,
    write::{Publish, SendError},
};
