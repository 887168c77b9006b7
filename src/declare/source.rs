//! What a handle is given to work with: the name of something that is there, or what to see to that is.

use std::collections::VecDeque;

use snowshoe_codec::{FieldTable, Method, ShortString};

use super::{Binding, Destination, Exchange, Queue, entity_name, queue_name};
use crate::error::Error;
use crate::name::Name;

/// A queue to consume, or to publish to: a name, or a [`Queue`].
///
/// A name means the queue as it is. A [`Queue`] is declared, with its [bindings](Queue::bind), by whoever it
/// is given to, and remembered as by [`Client::declare`](crate::Client::declare): after a reconnect it is
/// declared again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the name of a queue nor a `Queue`",
    note = "text is a name (`&str`, `&String`, `String`, `Cow<str>`, …), and so are bytes and `ShortString`"
)]
pub trait IntoQueue: sealed::IntoQueue {}

impl<Q: sealed::IntoQueue> IntoQueue for Q {}

/// An exchange to publish to, or to bind to: a name, or an [`Exchange`].
///
/// A name means the exchange as it is. An [`Exchange`] is declared by whoever it is given to, and remembered
/// as by [`Client::declare`](crate::Client::declare).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the name of an exchange nor an `Exchange`",
    note = "text is a name (`&str`, `&String`, `String`, `Cow<str>`, …), and so are bytes and `ShortString`"
)]
pub trait IntoExchange: sealed::IntoExchange {}

impl<E: sealed::IntoExchange> IntoExchange for E {}

pub(super) mod sealed {
    use super::{Declaration, Error, Exchange, ShortString};

    pub trait IntoQueue {
        fn into_queue(self) -> Result<(ShortString, Declaration), Error>;
    }

    pub trait IntoExchange {
        fn into_exchange(self) -> Result<(ShortString, Option<Exchange>), Error>;
    }
}

impl<N: Name> sealed::IntoQueue for N {
    fn into_queue(self) -> Result<(ShortString, Declaration), Error> {
        Ok((queue_name(self)?, Declaration::default()))
    }
}

impl sealed::IntoQueue for Queue {
    fn into_queue(self) -> Result<(ShortString, Declaration), Error> {
        let name = self.declare.queue.clone();
        Ok((name, Declaration::of_queue(self)?))
    }
}

impl<N: Name> sealed::IntoExchange for N {
    fn into_exchange(self) -> Result<(ShortString, Option<Exchange>), Error> {
        Ok((entity_name(self)?, None))
    }
}

impl sealed::IntoExchange for Exchange {
    fn into_exchange(self) -> Result<(ShortString, Option<Exchange>), Error> {
        Ok((self.declare.exchange.clone(), Some(self)))
    }
}

/// What is to be declared, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration {
    /// Those that the queue is bound to.
    pub(crate) exchanges: Vec<Method>,
    /// What it is about, unless that is there.
    pub(crate) entity: Option<Method>,
    /// How a queue is bound. The broker may still have to choose its name.
    pub(crate) bindings: Vec<Source>,
    /// What else is declared when all that is there, a step after the other.
    pub(crate) then: VecDeque<Vec<Method>>,
}

impl Declaration {
    /// Whether it is about a queue that goes by itself.
    pub(crate) fn is_temporary(&self) -> bool {
        let Some(Method::QueueDeclare(queue)) = &self.entity else {
            return false;
        };
        // One that cannot be read is refused elsewhere.
        let expires = queue
            .arguments
            .get("x-expires")
            .is_ok_and(|it| it.is_some());
        queue.exclusive || queue.auto_delete || expires
    }
}

/// An exchange that a queue is bound to, and by which routing key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
}

impl Declaration {
    pub(super) fn of(entity: impl Into<Method>) -> Self {
        Self {
            entity: Some(entity.into()),
            ..Self::default()
        }
    }

    pub(super) fn of_queue(queue: Queue) -> Result<Self, Error> {
        let Queue {
            declare,
            exchanges,
            bindings,
            faults,
        } = queue;
        faults.check()?;
        // The broker names what is declared, but cannot look for what has no name.
        if declare.passive && declare.queue.is_empty() {
            return Err(Error::NoQueueName);
        }
        let exchanges = exchanges.into_iter().map(Exchange::into_declare);
        Ok(Self {
            exchanges: exchanges.collect::<Result<_, _>>()?,
            entity: Some(declare.into()),
            bindings,
            then: VecDeque::new(),
        })
    }

    /// Whether everything is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.entity.is_none() && self.then.is_empty()
    }
}

impl Source {
    /// The call that binds a queue of this name.
    pub(crate) fn bind(self, queue: ShortString) -> Result<Method, Error> {
        let Self {
            exchange,
            routing_key,
        } = self;
        let queue = Destination::Queue(queue);
        Binding::declared(exchange, queue, routing_key, FieldTable::new()).into_bind()
    }
}
