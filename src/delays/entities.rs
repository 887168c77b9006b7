use snowshoe_codec::{Method, ShortString};

use super::levels::Levels;
use super::{Delays, Way};
use crate::declare::{Binding, Declare, Exchange, Queue, entity_name};
use crate::error::Error;

/// What has to be there for messages that wait in queues.
///
/// Each level has an exchange, which goes by headers: who is to wait there goes to the queue of that level, which
/// dead-letters to the exchange of the next shorter one, and everybody else goes to that at once, since it is the
/// alternate exchange. After the shortest comes the exchange of those that are due, which knows by a header what each is for.
#[derive(Clone, Debug)]
pub(crate) struct Entities {
    /// Where messages are published that are to wait.
    pub(crate) entry: ShortString,
    /// What is declared, in its order. Those of one step do not need each other.
    pub(crate) steps: Vec<Vec<Method>>,
}

/// The header that says to which exchange a message goes that is due. A copy of one that failed has it, too, with the
/// same meaning.
pub(super) const EXCHANGE: &str = "snowshoe-exchange";

/// What the headers begin with that say where a message waits.
pub(super) const WAIT: &str = "snowshoe-wait-";

/// The header of those that wait for so many milliseconds.
pub(super) fn wait_header(millis: u32) -> String {
    format!("{WAIT}{millis}ms")
}

impl Entities {
    /// What messages to this exchange need; `None` where they wait in no queues.
    ///
    /// # Errors
    /// A name is too long, or none at all; or what is to delay messages does not.
    pub(crate) fn new(delays: &Delays, exchange: &ShortString) -> Result<Option<Self>, Error> {
        if let Some(fault) = &delays.fault {
            return Err(fault.clone());
        }
        match &delays.way {
            Way::Queues {
                name,
                levels,
                is_replicated,
            } => Self::of_queues(name, *levels, *is_replicated, exchange).map(Some),
            Way::Exchange if exchange.is_empty() => Err(Error::NoDelayedExchange),
            Way::Exchange | Way::Queue => Ok(None),
        }
    }

    fn of_queues(
        name: &str,
        levels: Levels,
        is_replicated: bool,
        exchange: &ShortString,
    ) -> Result<Self, Error> {
        let due = format!("{name}.due");
        let own_queue = |name: &str| Queue::of_the_client(name, is_replicated);
        let by_header = |binding: Binding, source: &str| {
            let binding = binding.to_exchange(source);
            binding.argument("x-match", "all")
        };
        let mut exchanges = vec![declared(Exchange::headers(&due))?];
        let (mut queues, mut bindings) = (Vec::new(), Vec::new());

        let is_for_queues = exchange.is_empty();
        let destination = match is_for_queues {
            true => {
                // Nothing can be bound to the default exchange, but a queue can dead-letter to it.
                let passing = own_queue(&due)
                    .argument("x-message-ttl", 0_i64)
                    .dead_letter_exchange("");
                queues.push(declared(passing)?);
                Binding::queue(&due)
            }
            false => Binding::exchange(exchange),
        };
        let destination = by_header(destination, &due).argument(EXCHANGE, exchange);
        bindings.push(declared(destination)?);

        let mut next = due;
        for millis in levels.all() {
            let level = format!("{name}.{millis}ms");
            exchanges.push(declared(
                Exchange::headers(&level).alternate_exchange(&next),
            )?);
            let waiting = own_queue(&level)
                .argument("x-message-ttl", i64::from(millis))
                .dead_letter_exchange(&next);
            queues.push(declared(waiting)?);
            let binding = by_header(Binding::queue(&level), &level);
            bindings.push(declared(binding.argument(&wait_header(millis), true))?);
            next = level;
        }
        Ok(Self {
            entry: entity_name(next)?,
            steps: vec![exchanges, queues, bindings],
        })
    }
}

/// The call that declares something that needs nothing else.
fn declared(entity: impl Declare) -> Result<Method, Error> {
    let declaration = entity.into_declaration()?;
    // Only a queue without a name has none, and these have one.
    declaration.entity.ok_or(Error::NoQueueName)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn delays(seconds: u64) -> Delays {
        Delays::queues("later", Duration::from_secs(seconds))
    }

    fn exchange(name: &'static str) -> ShortString {
        ShortString::from_static(name)
    }

    fn entities(delays: &Delays, name: &'static str) -> Entities {
        Entities::new(delays, &exchange(name)).unwrap().unwrap()
    }

    #[test]
    fn every_level_hands_on_to_the_next_shorter_one() {
        let entities = entities(&delays(7), "events");
        assert_eq!(entities.entry, "later.4000ms");
        let [exchanges, queues, bindings] = &entities.steps[..] else {
            panic!("{:?}", entities.steps);
        };
        let mut chain = Vec::new();
        for method in exchanges {
            let Method::ExchangeDeclare(declare) = method else {
                panic!("{method:?}");
            };
            let alternate = declare.arguments.get("alternate-exchange").unwrap();
            let alternate = alternate.and_then(|it| Some(it.as_str()?.to_owned()));
            chain.push((declare.exchange.to_string(), alternate));
        }
        let to = |name: &str, next: &str| (name.to_owned(), Some(next.to_owned()));
        let levels = [
            to("later.1000ms", "later.due"),
            to("later.2000ms", "later.1000ms"),
            to("later.4000ms", "later.2000ms"),
        ];
        assert_eq!(chain[0], ("later.due".to_owned(), None));
        assert_eq!(chain[1..], levels);

        let mut waiting = Vec::new();
        for method in queues {
            let Method::QueueDeclare(declare) = method else {
                panic!("{method:?}");
            };
            assert!(declare.durable && !declare.auto_delete);
            let next = declare.arguments.get("x-dead-letter-exchange").unwrap();
            let next = next.and_then(|it| Some(it.as_str()?.to_owned()));
            waiting.push((declare.queue.to_string(), next));
        }
        assert_eq!(waiting, levels);
        assert_eq!(bindings.len(), 4);
    }

    #[test]
    fn messages_for_queues_come_to_the_default_exchange_through_one() {
        let entities = entities(&delays(1).quorum(), "");
        let Method::QueueDeclare(due) = &entities.steps[1][0] else {
            panic!("{:?}", entities.steps);
        };
        assert_eq!(due.queue, "later.due");
        let text = |name| due.arguments.get(name).unwrap().unwrap();
        assert_eq!(text("x-dead-letter-exchange").as_str(), Some(""));
        assert_eq!(text("x-message-ttl").as_i64(), Some(0));
        assert_eq!(text("x-queue-type").as_str(), Some("quorum"));
        let strategy = text("x-dead-letter-strategy");
        assert_eq!(strategy.as_str(), Some("at-least-once"));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let events = exchange("events");
        let long = Delays::queues("x".repeat(250), Duration::from_secs(1));
        let error = Entities::new(&long, &events).unwrap_err();
        assert!(matches!(error, Error::TooLong(_)), "{error:?}");
        let nameless = Delays::queues("", Duration::from_secs(1));
        let error = Entities::new(&nameless, &events).unwrap_err();
        assert!(matches!(error, Error::NoQueueName), "{error:?}");
        let error = Entities::new(&Delays::by_exchange(), &exchange("")).unwrap_err();
        assert!(matches!(error, Error::NoDelayedExchange), "{error:?}");
        for delays in [Delays::by_exchange(), Delays::by_queue()] {
            assert!(Entities::new(&delays, &events).unwrap().is_none());
        }
    }
}
