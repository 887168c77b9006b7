//! AMQP 0-9-1 without I/O.

pub mod frame;
pub mod method;
pub mod properties;
pub mod sasl;
pub mod table;

mod channel;
mod channels;
mod connection;
mod content;
mod encode;
mod error;
mod event;
mod handshake;
mod options;
mod outbound;
mod parse;
mod reply;
mod text;
mod types;
mod violation;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    channel::{Channel, Publish, SendError},
    connection::{Connection, OpenChannelError},
    content::{Content, Delivery, Got, Published, Returned},
    error::{FrameError, MethodError, PropertiesError, TableError, TooLong},
    event::{ChannelCloseReason, CloseReason, Event, PeerClose},
    frame::{Frame, FrameHeader, FrameKind},
    handshake::{Greeting, HandshakeError, Stage},
    method::{Method, MethodId},
    options::{ClientOptions, ConnectionLimits, ServerOptions, Tuning, client_properties},
    outbound::Outbound,
    properties::{Properties, PropertiesBuilder, PropertiesRef},
    reply::ReplyCode,
    table::{FieldArray, FieldArrayRef, FieldTable, FieldTableRef, FieldValue},
    types::{ChannelId, Secret, ShortStr, ShortString},
    violation::Violation,
};
