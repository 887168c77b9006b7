use crate::frame::{Frame, FrameError, FrameKind};
use crate::method::{MethodError, MethodId};
use crate::reply::ReplyCode;
use crate::types::{ChannelId, ShortString};

/// How the peer broke the protocol. Each of them ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The stream cannot be cut into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A method frame cannot be decoded.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The arguments of a method that a message follows cannot be decoded.
    #[error("malformed arguments in {0}")]
    MalformedArguments(MethodId),
    /// A method that this side never receives, or not now.
    #[error("{method} on channel {channel} was not expected")]
    UnexpectedMethod {
        /// The channel it came on.
        channel: ChannelId,
        /// What came.
        method: MethodId,
    },
    /// A frame that does not fit what came before it on its channel.
    #[error("a {kind} frame on channel {channel} was not expected")]
    UnexpectedFrame {
        /// The channel it came on.
        channel: ChannelId,
        /// What came.
        kind: FrameKind,
    },
    /// A frame on a channel that is not open.
    #[error("a frame came on channel {channel}, which is not open")]
    UnknownChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// channel.open on a channel that is open, or has not been closed by both sides yet.
    #[error("channel {channel} was opened, but is in use")]
    ChannelInUse {
        /// The channel.
        channel: ChannelId,
    },
    /// A confirm of a message that was never published.
    #[error("message {delivery_tag} was confirmed on channel {channel}, but never published")]
    UnknownConfirm {
        /// The channel it came on.
        channel: ChannelId,
        /// The number of the message.
        delivery_tag: u64,
    },
    /// A content header frame that is too short.
    #[error("malformed content header on channel {channel}")]
    MalformedContentHeader {
        /// The channel it came on.
        channel: ChannelId,
    },
    /// A content header of another class than the method before it.
    #[error("content header of class {class} on channel {channel}, where basic (60) was due")]
    ContentClass {
        /// The channel it came on.
        channel: ChannelId,
        /// The class it names.
        class: u16,
    },
    /// More body than the content header announced.
    #[error("more body than announced on channel {channel}")]
    BodyTooLong {
        /// The channel it came on.
        channel: ChannelId,
    },
    /// The peer wants answers, and does not read them: channel.flow, basic.cancel or closed channels
    /// without end.
    #[error("the peer does not read what it is answered: {bytes} bytes wait")]
    UnreadReplies {
        /// How many bytes of answers wait to be written.
        bytes: usize,
    },
    /// connection.start for another version of the protocol.
    #[error("the server speaks AMQP {major}.{minor}, not 0-9-1")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// connection.tune or tune-ok with a frame size that AMQP rules out.
    #[error("the peer tuned frames to {0} bytes; at least 4096 are due")]
    FrameMax(u32),
    /// tune-ok above what was offered.
    #[error("the client tuned {what} to {value}, above the offered {offered}")]
    TuneExceeded {
        /// Which of the three values.
        what: &'static str,
        /// What the client wants.
        value: u32,
        /// What it was offered.
        offered: u32,
    },
    /// connection.start-ok with a mechanism that was not offered.
    #[error("the client chose the mechanism {0}, which was not offered")]
    Mechanism(ShortString),
}

impl Violation {
    /// A frame that does not fit what came before it.
    pub(crate) fn unexpected(frame: &Frame<'_>) -> Self {
        Self::UnexpectedFrame {
            channel: frame.channel,
            kind: frame.kind,
        }
    }

    /// The reply code that tells the peer (AMQP 0-9-1 §1.2, and what RabbitMQ uses for the case).
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::Frame(_) | Self::MalformedContentHeader { .. } | Self::BodyTooLong { .. } => {
                ReplyCode::FRAME_ERROR
            }
            Self::Method(MethodError::Unknown(_)) => ReplyCode::NOT_IMPLEMENTED,
            Self::Method(_) | Self::MalformedArguments(_) => ReplyCode::SYNTAX_ERROR,
            Self::UnexpectedMethod { .. } => ReplyCode::COMMAND_INVALID,
            Self::UnexpectedFrame { .. } | Self::ContentClass { .. } => ReplyCode::UNEXPECTED_FRAME,
            Self::UnknownChannel { .. } | Self::ChannelInUse { .. } => ReplyCode::CHANNEL_ERROR,
            Self::UnknownConfirm { .. } => ReplyCode::PRECONDITION_FAILED,
            Self::UnreadReplies { .. } => ReplyCode::RESOURCE_ERROR,
            Self::Version { .. } | Self::FrameMax(_) | Self::TuneExceeded { .. } => {
                ReplyCode::NOT_ALLOWED
            }
            Self::Mechanism(_) => ReplyCode::ACCESS_REFUSED,
        }
    }
}
