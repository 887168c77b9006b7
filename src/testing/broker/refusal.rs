use std::fmt::Display;

use snowshoe_codec::{ReplyCode, ShortStr, ShortString};

/// Why a method is not done. The texts are RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ReplyCode,
    text: String,
}

impl Refusal {
    pub(super) fn new(code: ReplyCode, text: impl Display) -> Self {
        let text = match code.name() {
            Some(name) => format!("{name} - {text}"),
            None => text.to_string(),
        };
        Self { code, text }
    }

    pub(super) fn no_queue(virtual_host: &ShortString, name: &ShortString) -> Self {
        let queue = named("queue", virtual_host, name);
        Self::new(ReplyCode::NOT_FOUND, format_args!("no {queue}"))
    }

    pub(super) fn no_exchange(virtual_host: &ShortString, name: &ShortString) -> Self {
        let exchange = named("exchange", virtual_host, name);
        Self::new(ReplyCode::NOT_FOUND, format_args!("no {exchange}"))
    }

    pub(super) fn precondition(text: impl Display) -> Self {
        Self::new(ReplyCode::PRECONDITION_FAILED, text)
    }

    pub(super) fn access(text: impl Display) -> Self {
        Self::new(ReplyCode::ACCESS_REFUSED, text)
    }

    pub(super) fn not_implemented(text: impl Display) -> Self {
        Self::new(ReplyCode::NOT_IMPLEMENTED, text)
    }

    pub(super) fn default_exchange() -> Self {
        Self::access("operation not permitted on the default exchange")
    }

    /// What RabbitMQ fails over: it names neither the method nor the reason.
    pub(super) fn crash() -> Self {
        Self {
            code: ReplyCode::INTERNAL_ERROR,
            text: "INTERNAL_ERROR".to_owned(),
        }
    }

    /// Whether the client is told over which method.
    pub(super) fn names_method(&self) -> bool {
        self.code != ReplyCode::INTERNAL_ERROR
    }

    /// Whether it costs the channel alone, and not the connection (AMQP 0-9-1 §1.2: soft errors).
    pub(super) fn is_soft(&self) -> bool {
        matches!(self.code.0, 311..=313 | 403..=406)
    }

    /// The text as it fits into a short string. RabbitMQ cuts it at 252 bytes.
    pub(super) fn text(&self) -> ShortString {
        let bytes = self.text.as_bytes();
        let cut;
        let fitting = match bytes.get(..=TEXT_MAX) {
            None => bytes,
            Some(_) => {
                cut = [&bytes[..TEXT_MAX - 3], b"..."].concat();
                &cut
            }
        };
        ShortStr::new(fitting).unwrap_or_default().to_owned()
    }
}

/// What RabbitMQ calls a queue or an exchange in its texts.
pub(super) fn named(kind: &str, virtual_host: &ShortString, name: &ShortString) -> String {
    format!("{kind} '{name}' in vhost '{virtual_host}'")
}

const TEXT_MAX: usize = 255;
