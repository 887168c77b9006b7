use std::fmt;

use snowshoe_codec::ShortString;

use super::ProducerId;
use crate::declare::Binding;

/// Something that a client declares, or consumes from, as [events](super::Event) name it.
///
/// Its `Display` is for logs:
///
/// ```
/// use snowshoe::{Binding, Entity, ShortString};
///
/// let queue = Entity::Queue(ShortString::from_static("orders"));
/// assert_eq!(queue.to_string(), r#"queue "orders""#);
///
/// let binding = Binding::queue("orders").to_exchange("events").routing_key("order.#");
/// assert_eq!(
///     Entity::Binding(binding).to_string(),
///     r##"binding of queue "orders" to exchange "events" with routing key "order.#""##
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entity {
    /// A queue, by its name; where the broker chooses that, by the one that it had last.
    Queue(ShortString),
    /// An exchange, by its name.
    Exchange(ShortString),
    /// A binding. It can be declared as it is.
    Binding(Binding),
    /// A consumer.
    Consumer(ConsumerId),
    /// A producer, by what events call it.
    Producer(ProducerId),
}

/// A consumer, as [events](super::Event) name it. Its `Display` is for logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConsumerId {
    /// Its queue; where the broker chooses the name, by the one that it had last.
    pub queue: ShortString,
    /// Its consumer tag, which begins with its [name](crate::ConsumerBuilder::name) if it has one.
    pub tag: ShortString,
}

impl ConsumerId {
    pub(crate) fn new(queue: ShortString, tag: ShortString) -> Self {
        Self { queue, tag }
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, tag } = self;
        write!(f, "consumer {tag:?} of queue {queue:?}")
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name:?}"),
            Self::Exchange(name) => write!(f, "exchange {name:?}"),
            Self::Binding(binding) => write!(f, "binding of {binding}"),
            Self::Consumer(id) => id.fmt(f),
            Self::Producer(id) => id.fmt(f),
        }
    }
}
