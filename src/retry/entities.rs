use snowshoe_codec::{Method, ShortString};

use super::{DeadLetters, Retry};
use crate::declare::{
    Binding, Declaration, Declare, DeliveryLimit, Exchange, Queue, RetryOn, entity_name,
};
use crate::error::Error;

/// What a policy needs at the broker.
#[derive(Clone, Debug)]
pub(crate) struct Entities {
    /// Where copies are published that are to wait: an exchange that goes by [`DELAY`], so that they keep their
    /// routing key.
    pub(crate) retry: ShortString,
    /// Where dead letters are published; `None` where there are none.
    pub(crate) dead_letters: Option<Address>,
    /// What lets copies wait and come back, each after what it needs.
    waiting: Vec<Method>,
    /// The queue of the dead letters.
    dead: Option<Declaration>,
}

/// Where messages are published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) exchange: ShortString,
    /// Or their own.
    pub(crate) routing_key: Option<ShortString>,
}

impl Address {
    fn queue(name: ShortString) -> Self {
        Self {
            exchange: ShortString::EMPTY,
            routing_key: Some(name),
        }
    }
}

/// The header that says in which queue a copy waits, in milliseconds.
pub(super) const DELAY: &str = "snowshoe-delay";

impl Entities {
    /// # Errors
    /// A name is too long, or none at all.
    pub(crate) fn new(policy: &Retry, queue: &ShortString) -> Result<Self, Error> {
        if let Some(fault) = &policy.fault {
            return Err(fault.clone());
        }
        let text = queue
            .as_str()
            .ok_or_else(|| Error::NotUtf8(queue.clone()))?;
        // The names of brokers are not for others (403).
        let text = match text.starts_with("amq.") {
            true => &format!("of.{text}"),
            false => text,
        };
        let (retry, retried) = (format!("{text}.retry"), format!("{text}.retried"));
        let mut waiting = vec![
            Exchange::headers(&retry).into_declaration()?,
            Exchange::fanout(&retried).into_declaration()?,
            Binding::queue(queue.clone())
                .to_exchange(&retried)
                .into_declaration()?,
        ];
        for millis in policy.levels() {
            let name = format!("{retry}.{millis}ms");
            let queue = policy
                .own_queue(&name)
                .argument("x-message-ttl", i64::from(millis))
                .dead_letter_exchange(&retried);
            let bound = Binding::queue(&name)
                .to_exchange(&retry)
                .argument("x-match", "all")
                .argument(DELAY, i64::from(millis));
            waiting.extend([queue.into_declaration()?, bound.into_declaration()?]);
        }
        let (dead_letters, dead) = match &policy.dead_letters {
            DeadLetters::Named => {
                let name = format!("{text}.dead");
                let declare = policy.own_queue(&name).into_declaration()?;
                (Some(Address::queue(entity_name(name)?)), Some(declare))
            }
            DeadLetters::Queue(queue) => {
                let declare = Queue::clone(queue).into_declaration()?;
                let name = match &declare.entity {
                    Some(Method::QueueDeclare(declare)) => declare.queue.clone(),
                    _ => ShortString::EMPTY,
                };
                if name.is_empty() {
                    return Err(Error::NoQueueName);
                }
                (Some(Address::queue(name)), Some(declare))
            }
            DeadLetters::Exchange(exchange) => {
                let address = Address {
                    exchange: exchange.clone(),
                    routing_key: None,
                };
                (Some(address), None)
            }
            DeadLetters::Rejected => (None, None),
        };
        Ok(Self {
            retry: entity_name(retry)?,
            dead_letters,
            waiting: waiting.into_iter().filter_map(|it| it.entity).collect(),
            dead,
        })
    }

    /// What lets copies wait and come back, each after what it needs.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Method> {
        self.waiting.iter().cloned()
    }

    /// The queue of the dead letters, where it is to be declared.
    pub(crate) fn dead(&self) -> Option<Declaration> {
        self.dead.clone()
    }
}

impl Retry {
    fn own_queue(&self, name: &str) -> Queue {
        Queue::of_the_client(name, self.is_replicated)
    }
}

impl Queue {
    /// Messages that failed wait in this queue before they are tried again, as a [`Retry`] says, where the broker can
    /// do that (see there); elsewhere this says nothing. It is the
    /// [delayed retry](Self::delayed_retry) of messages that failed, and no
    /// [delivery limit](Self::delivery_limit): what goes back without having failed counts against one, so that a few
    /// pauses and cuts would delete messages that no handler has seen. A message that ends the whole process comes again
    /// without end; if there can be such, set a limit after this, far above the attempts, and a
    /// [dead-letter exchange](Self::dead_letter_exchange).
    ///
    /// The delays of the policy are arguments of the queue from then on, and the broker refuses to declare it with others,
    /// or without, as it does where it is there without them (406). Copies of the messages of such a queue wait in other
    /// queues, if it is declared without this and its consumer is told the policy.
    pub fn retry(self, policy: &Retry) -> Self {
        match policy.as_brokers_wait() {
            Some((first, max)) => self
                .delayed_retry(RetryOn::Failed, first, max)
                .delivery_limit(DeliveryLimit::Unlimited),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entities(policy: &Retry, queue: &str) -> Result<Entities, Error> {
        Entities::new(policy, &ShortString::try_from(queue.to_owned()).unwrap())
    }

    fn declared(methods: impl Iterator<Item = Method>) -> Vec<String> {
        let names = methods.map(|it| match it {
            Method::QueueDeclare(it) => format!("queue {}", it.queue),
            Method::ExchangeDeclare(it) => format!("exchange {}", it.exchange),
            Method::QueueBind(it) => format!("{} to {}", it.queue, it.exchange),
            other => panic!("{other:?}"),
        });
        names.collect()
    }

    #[test]
    fn everything_is_declared_before_what_needs_it() {
        let policy = Retry::attempts(3).delays([Duration::from_secs(1), Duration::from_secs(5)]);
        let entities = entities(&policy, "orders").unwrap();
        let expected = [
            "exchange orders.retry",
            "exchange orders.retried",
            "orders to orders.retried",
            "queue orders.retry.1000ms",
            "orders.retry.1000ms to orders.retry",
            "queue orders.retry.5000ms",
            "orders.retry.5000ms to orders.retry",
        ];
        assert_eq!(declared(entities.waiting()), expected);
        let dead = entities.dead().and_then(|it| it.entity);
        assert_eq!(declared(dead.into_iter()), ["queue orders.dead"]);
    }

    #[test]
    fn dead_letters_go_where_the_policy_says() {
        let policy = Retry::attempts(1);
        let of = |policy: &Retry| entities(policy, "q").unwrap();
        let named = |it: &str| ShortString::try_from(it.to_owned()).unwrap();
        let expected = Some(Address::queue(named("q.dead")));
        assert_eq!(of(&policy).dead_letters, expected);
        let other = policy.clone().dead_letter_queue(Queue::new("failed"));
        let expected = Some(Address::queue(named("failed")));
        assert_eq!(of(&other).dead_letters, expected);
        let exchange = policy.clone().dead_letter_exchange("failures");
        let expected = Address {
            exchange: named("failures"),
            routing_key: None,
        };
        assert_eq!(of(&exchange).dead_letters, Some(expected));
        assert_eq!(of(&policy.reject_after_last()).dead_letters, None);
    }

    #[test]
    fn names_that_are_none_are_told() {
        let long = "q".repeat(250);
        let policy = Retry::attempts(2);
        assert!(entities(&policy, "q").is_ok());
        assert!(Entities::new(&policy, &ShortString::try_from(long).unwrap()).is_err());
        let nameless = policy.clone().dead_letter_queue(Queue::new(""));
        assert!(matches!(entities(&nameless, "q"), Err(Error::NoQueueName)));
        let too_long = policy.dead_letter_exchange("x".repeat(256));
        assert!(entities(&too_long, "q").is_err());
    }
}
