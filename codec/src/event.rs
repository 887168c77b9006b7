use crate::content::{Delivery, Got, Oversized, Published, Returned};
use crate::handshake::{HandshakeError, Stage};
use crate::method::{Method, MethodId, channel, connection};
use crate::options::Tuning;
use crate::reply::ReplyCode;
use crate::types::{ChannelId, Secret, ShortString};
use crate::violation::Violation;

/// What a [`Connection`](crate::Connection) has to say.
///
/// [`Closed`](Self::Closed) comes exactly once and last, whatever the cause; it stands for the end
/// of every channel as well. Until then, each channel ends with exactly one
/// [`ChannelClosed`](Self::ChannelClosed).
///
/// Methods are boxed, because they are large and rare beside messages and confirms, which pass
/// through here by the million.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client has sent connection.open, and need not wait for the answer: whatever is sent from now on
    /// follows it, and the server takes it in that order. [`Open`](Self::Open) or [`Closed`](Self::Closed)
    /// comes next.
    ///
    /// The specification has a client wait (AMQP 0-9-1 §1.4.1.1). RabbitMQ 3.10 to 4.3 and LavinMQ 2.9 do not
    /// insist on it. With a server that is [known](crate::ClientOptions::known_server) it comes at once.
    Opening(Tuning),
    /// The handshake is complete.
    Open(Tuning),
    /// The broker is short of memory or disk and reads no more of what is published here.
    Blocked {
        /// Why, in the broker's words.
        reason: ShortString,
    },
    /// The broker reads again.
    Unblocked,
    /// The new secret was accepted.
    SecretUpdated,
    /// A channel is open: ours was answered or, on a server, the client opened it.
    ChannelOpen {
        /// The channel.
        channel: ChannelId,
    },
    /// The answer to the oldest call on the channel that [it can answer](MethodId::is_reply_to).
    ///
    /// Answers of one kind come in the order of their calls. RabbitMQ's basic.consume-ok comes
    /// after the answers to what was called after it.
    Reply {
        /// The channel.
        channel: ChannelId,
        /// The answer.
        method: Box<Method>,
    },
    /// The answer to basic.get, with a message.
    Got {
        /// The channel.
        channel: ChannelId,
        /// The message.
        got: Got,
    },
    /// A message for a consumer.
    Delivery {
        /// The channel.
        channel: ChannelId,
        /// The message.
        delivery: Delivery,
    },
    /// A message that could not be routed. Its confirm, if any, follows.
    Returned {
        /// The channel.
        channel: ChannelId,
        /// The message.
        returned: Returned,
    },
    /// A message of any kind that is longer than
    /// [is accepted](crate::ConnectionLimits::max_message_size). It costs itself, and is to be settled
    /// like any other. Unless it is returned, it is told at once; its body, which is skipped, may
    /// still be coming.
    Oversized {
        /// The channel.
        channel: ChannelId,
        /// The message, without its body.
        oversized: Box<Oversized>,
    },
    /// The broker took responsibility for published messages, or refused to.
    Confirm {
        /// The channel.
        channel: ChannelId,
        /// What it said.
        confirm: PublisherConfirm,
    },
    /// The broker ended a consumer, as a rule because its queue is gone.
    ConsumerCancelled {
        /// The channel.
        channel: ChannelId,
        /// The consumer.
        consumer_tag: ShortString,
    },
    /// The peer asked to pause or resume messages on a channel; it was told that we shall.
    Flow {
        /// The channel.
        channel: ChannelId,
        /// Whether messages may be sent.
        active: bool,
    },
    /// A channel ended. Its number is not used again before this was polled.
    ChannelClosed {
        /// The channel.
        channel: ChannelId,
        /// Why.
        reason: ChannelCloseReason,
    },
    /// The peer is through with a channel that was closed because a call on it was not
    /// [answered in time](ChannelCloseReason::CallTimeout): whatever was called on it has been done by now,
    /// or never will be. Where channel.close is not answered either, this comes at the close timeout, and
    /// nobody knows. Its number is not used again before this was polled.
    ///
    /// It comes once after such a [`ChannelClosed`](Self::ChannelClosed), unless the connection ends first.
    ChannelReleased {
        /// The channel.
        channel: ChannelId,
    },
    /// The connection ended. What is left in [`outbound`](crate::Connection::outbound) is the last
    /// word to the peer: write it if that is possible at once, then close the transport.
    Closed(CloseReason),

    /// A server's turn: a client wants to log in. Answer with
    /// [`accept_login`](crate::Connection::accept_login),
    /// [`challenge`](crate::Connection::challenge) or [`close`](crate::Connection::close).
    Login {
        /// The mechanism, one of those that were offered.
        mechanism: ShortString,
        /// What the client sent: its initial response, or the answer to a challenge.
        response: Secret,
    },
    /// A server's turn: a client wants a virtual host. Answer with
    /// [`accept_open`](crate::Connection::accept_open) or [`close`](crate::Connection::close).
    OpenRequested {
        /// The virtual host.
        virtual_host: ShortString,
    },
    /// A server's turn: a client's method that is neither content nor about the channel itself.
    Request {
        /// The channel; 0 for connection.update-secret.
        channel: ChannelId,
        /// The method.
        method: Box<Method>,
    },
    /// A server's turn: a client published a message.
    Published {
        /// The channel.
        channel: ChannelId,
        /// The message.
        published: Published,
    },
}

/// The broker's word on publishes of a channel in confirm mode (basic.ack or basic.nack).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherConfirm {
    /// The publish that it is about, counted from 1 since confirm.select. 0, with `multiple`, stands
    /// for all of them.
    pub delivery_tag: u64,
    /// Whether it settles all before it as well.
    pub multiple: bool,
    /// Whether the broker took responsibility; otherwise it refused to.
    pub ack: bool,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it, and the peer agreed. Where it closed at the same time, its reason is the one
    /// that is told.
    #[error("the connection was closed as asked")]
    Requested,
    /// The peer closed it.
    #[error("the peer closed the connection: {0}")]
    Peer(PeerClose),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The handshake failed on our side of it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The handshake took too long.
    #[error("the handshake took too long: no progress {0}")]
    HandshakeTimeout(Stage),
    /// Nothing came for two heartbeat intervals.
    #[error("no sign of life from the peer for two heartbeat intervals")]
    HeartbeatTimeout,
    /// The peer did not agree to a close in time.
    #[error("the peer did not answer connection.close in time")]
    CloseTimeout,
    /// The peer did not answer a call on the connection itself in time.
    #[error("{0} was not answered in time")]
    CallTimeout(MethodId),
    /// The transport ended without a word from the peer.
    #[error("the transport ended {0}")]
    TransportEnded(Stage),
}

/// Why a channel ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelCloseReason {
    /// We closed it, and the peer agreed. Where it closed at the same time, its reason is the one
    /// that is told.
    #[error("the channel was closed as asked")]
    Requested,
    /// The peer closed it.
    #[error("the peer closed the channel: {0}")]
    Peer(PeerClose),
    /// A call was not answered in time; a late answer must not meet the next call, so the channel
    /// was closed. The call may still be done, until [`Event::ChannelReleased`] says that it will not.
    /// Where it was channel.close that had no answer, nothing more is told.
    #[error("{0} was not answered in time")]
    CallTimeout(MethodId),
}

/// What the peer said when it closed a connection or a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerClose {
    /// The reply code.
    pub code: ReplyCode,
    /// The reply text.
    pub text: ShortString,
    /// The method over which it closed; zeros where it was none.
    pub method: MethodId,
}

impl PeerClose {
    pub(crate) fn of_connection(close: connection::Close) -> Self {
        Self::new(
            close.reply_code,
            close.reply_text,
            close.class_id,
            close.method_id,
        )
    }

    pub(crate) fn of_channel(close: channel::Close) -> Self {
        Self::new(
            close.reply_code,
            close.reply_text,
            close.class_id,
            close.method_id,
        )
    }

    fn new(code: ReplyCode, text: ShortString, class: u16, method: u16) -> Self {
        let method = MethodId { class, method };
        Self { code, text, method }
    }
}

impl std::fmt::Display for PeerClose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // RabbitMQ repeats code and name at the front of the text: "NOT_FOUND - no queue 'q'".
        write!(f, "{} {}", self.code.0, self.text)?;
        if self.method.class != 0 {
            write!(f, ", over {}", self.method)?;
        }
        Ok(())
    }
}
