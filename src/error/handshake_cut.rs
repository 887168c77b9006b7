use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;

use snowshoe_codec::Stage;

use super::advised::Advised;

/// The end of a connection that was not open yet, without a word of the broker's.
///
/// What is the matter can only be guessed: by how far it had come, and by what was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandshakeCut {
    /// How far the connection had come.
    pub stage: Stage,
    /// How the transport failed; `None` was an orderly end.
    pub cause: Option<Arc<io::Error>>,
    /// What the reason is likely to be.
    pub hint: Hint,
}

impl HandshakeCut {
    pub(crate) fn new(stage: Stage, cause: Option<Arc<io::Error>>, hint: Hint) -> Self {
        Self { stage, cause, hint }
    }
}

impl fmt::Display for HandshakeCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, cause, hint } = self;
        write!(f, "the connection was cut off {stage}")?;
        match cause {
            // It knows more than what can be guessed.
            Some(cause) if Advised::is_in(cause) => write!(f, ": {cause}"),
            Some(cause) => write!(f, " ({cause}): {hint}"),
            None => write!(f, ": {hint}"),
        }
    }
}

impl error::Error for HandshakeCut {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let cause: &io::Error = self.cause.as_ref()?;
        Some(cause)
    }
}

/// Why a broker may have cut off a connection without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hint {
    /// It may be none.
    #[error(
        "is this the port of an AMQP 0-9-1 broker (5672 as a rule, 5671 for amqps), and is that up?"
    )]
    Port,
    /// It may refuse the login: brokers that were not told that the client understands a refusal, and
    /// some others, end it like this.
    #[error(
        "so some brokers refuse a login: check the user, the password and the mechanism, and see the \
         broker's log"
    )]
    Login,
    /// It may not take a login of so many bytes.
    #[error(
        "the login took {0} bytes, of which RabbitMQ takes 4096 up to 4.0, and from 4.1 on 8192 or its \
         initial_frame_max: use a shorter token, fewer client properties, or raise that"
    )]
    LoginTooLong(usize),
    /// It may not take a `frame_max` of so many bytes.
    #[error(
        "so RabbitMQ refuses, from 4.1 on, a frame_max below 8192, and this one was {0}: raise it, or \
         leave it out"
    )]
    FrameMax(u32),
    /// It may refuse the virtual host, or more connections.
    #[error(
        "check the virtual host, whether the user may use it, and limits of connections, and see the \
         broker's log"
    )]
    VirtualHost,
}
