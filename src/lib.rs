//! An AMQP 0-9-1 client that survives outages.

mod channel;
mod client;
mod config;
mod consumer;
mod core;
mod delivery;
mod driver;
mod error;
mod events;
mod handlers;
mod inbox;
mod message;
mod outbox;
mod outcome;
mod password;
mod producer;
mod sasl;
mod shared;
mod topology;
mod transport;
mod uri;

#[doc(no_inline)]
pub use snowshoe_codec as codec;
pub use snowshoe_codec::{
    FieldArray, FieldTable, FieldValue, PeerClose, Properties, PropertiesRef, ReplyCode, ShortStr,
    ShortString,
};

pub use self::channel::{Channel, ChannelEvent, RawDelivery, Returned};
pub use self::client::{Client, ClientBuilder, CloseReport};
pub use self::config::Reconnect;
pub use self::consumer::{Consumer, ConsumerBuilder, ConsumerEnd};
pub use self::delivery::{Batch, Delivery, Disposition};
pub use self::driver::Driver;
pub use self::error::{
    ConnectionError, Error, Phase, PublishError, PublishErrorReason, SendMessageError, SettleError,
};
pub use self::events::{ConnectionRole, Event, Events, ProducerId};
pub use self::message::Message;
pub use self::outcome::{DropReason, Return, Unconfirmed};
pub use self::password::Password;
pub use self::producer::{
    BufferPolicy, Confirm, Confirmation, FireAndForget, Mode, Producer, ProducerBuilder,
};
pub use self::topology::{Binding, Declare, DeclaredQueue, Exchange, Queue};
pub use self::transport::{Connecting, Connector, Target, TcpConnector, Transport};
pub use self::uri::{AmqpUri, Endpoint, UriError, UriOptions};
