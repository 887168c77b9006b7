mod matching;

use snowshoe_codec::{FieldTable, ShortString};

use self::matching::{headers_match, topic_matches};
use super::duplicates::Duplicates;
use super::message::Message;
use super::queue::QueueId;

/// Where messages are published to.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) kind: ExchangeKind,
    /// Whether it holds messages as long as they say, before it routes them as its kind does.
    pub(super) delays: bool,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: FieldTable,
    pub(super) duplicates: Option<Duplicates>,
    /// Where messages go from here, in the order in which it was said.
    pub(super) bindings: Vec<Binding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) destination: Destination,
    pub(super) routing_key: ShortString,
    pub(super) arguments: FieldTable,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Queue(QueueId),
    Exchange(ShortString),
}

impl ExchangeKind {
    pub(super) fn of_name(name: &ShortString) -> Option<Self> {
        match name.as_bytes() {
            b"direct" => Some(Self::Direct),
            b"fanout" => Some(Self::Fanout),
            b"topic" => Some(Self::Topic),
            b"headers" => Some(Self::Headers),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// The type of exchanges that delay, whatever kind they are besides.
pub(super) const DELAYED: &str = "x-delayed-message";

pub(super) fn type_name(kind: ExchangeKind, delays: bool) -> &'static str {
    match delays {
        true => DELAYED,
        false => kind.name(),
    }
}

impl Exchange {
    /// One of those that every virtual host has from the beginning.
    pub(super) fn predeclared(kind: ExchangeKind) -> Self {
        Self {
            kind,
            delays: false,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::new(),
            duplicates: None,
            bindings: Vec::new(),
        }
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        type_name(self.kind, self.delays)
    }

    /// Where a message with this routing key goes next.
    pub(super) fn route<'a>(
        &'a self,
        message: &'a Message,
        routing_key: &'a [u8],
    ) -> impl Iterator<Item = &'a Destination> {
        let headers = message.headers();
        let is_meant = move |binding: &&Binding| match self.kind {
            ExchangeKind::Direct => binding.routing_key.as_bytes() == routing_key,
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => topic_matches(binding.routing_key.as_bytes(), routing_key),
            ExchangeKind::Headers => headers_match(&binding.arguments, headers),
        };
        let bindings = self.bindings.iter().filter(is_meant);
        bindings.map(|binding| &binding.destination)
    }

    /// The exchange that gets what this one cannot route.
    pub(super) fn alternate(&self) -> Option<&[u8]> {
        let value = self.arguments.get("alternate-exchange").ok()??;
        value.as_bytes()
    }
}
