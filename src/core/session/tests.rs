mod attribution;
mod calls;
mod channels;
mod consumers;
mod deletions;
mod life;
mod producers;
mod recovery;
mod secrets;
mod silence;
mod unsendable;

use snowshoe_codec::method::{Arguments, MethodId, basic, exchange, queue};
use snowshoe_codec::{FieldTable, ReplyCode};

use super::*;
use crate::core::subscription::State;
use crate::core::testing::{Answer, Network, World, name, settings};

/// A method id of zeros, for a close that is about no method.
const NO_METHOD: MethodId = MethodId {
    class: 0,
    method: 0,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn spec(queue: &str) -> ConsumerSpec {
    ConsumerSpec {
        queue: name(queue),
        tag: name(&format!("consumer of {queue}")),
        prefetch: 10,
        no_ack: false,
        exclusive: false,
        no_local: false,
        arguments: FieldTable::new(),
    }
}

fn declare_exchange(name_: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name(name_),
        kind: name("topic"),
        ..Default::default()
    }
}

fn declare_queue(name_: &str) -> queue::Declare {
    queue::Declare {
        queue: name(name_),
        ..Default::default()
    }
}

fn exclusive(name_: &str) -> queue::Declare {
    queue::Declare {
        exclusive: true,
        ..declare_queue(name_)
    }
}

fn bind(exchange: &str, queue: &str) -> queue::Bind {
    queue::Bind {
        queue: name(queue),
        exchange: name(exchange),
        ..Default::default()
    }
}

/// What a method is about, in a word or two.
fn gist(method: &Method) -> String {
    let about = match method {
        Method::ExchangeDeclare(it) => it.exchange.to_string(),
        Method::QueueDeclare(it) => it.queue.to_string(),
        Method::QueueBind(it) => format!("{} to {}", it.queue, it.exchange),
        Method::ExchangeBind(it) => format!("{} to {}", it.destination, it.source),
        Method::BasicConsume(it) => it.queue.to_string(),
        _ => String::new(),
    };
    format!("{} {about}", method.name()).trim_end().to_owned()
}

impl World {
    fn add_consumer(&mut self, queue: &str) -> ConsumerKey {
        let consumer = self.session.add_consumer(self.now, spec(queue));
        self.run();
        consumer
    }

    fn add_producer(&mut self) -> ProducerKey {
        let producer = self.session.add_producer(self.now, true);
        self.run();
        producer
    }

    /// Declares something that is to be recovered.
    fn declare(&mut self, method: impl Into<Method>) {
        self.call(0, method);
        let answered = |output: &Output| matches!(output, Output::Called { result: Ok(_), .. });
        assert!(self.outputs().iter().any(answered));
        self.requests();
    }

    fn gists(&mut self) -> Vec<String> {
        self.requests().iter().map(gist).collect()
    }

    /// Loses the connection, and comes back as far as what is declared again: that is not heard yet.
    fn come_back_unheard(&mut self) {
        self.cut();
        self.is_heard = false;
        while self.session.recovery.under_way().next().is_none() {
            self.is_heard = true;
            self.exchange();
            self.is_heard = false;
            if !self.step() {
                self.time_is(self.now + Duration::from_millis(10));
            }
        }
    }

    /// How often the session said something since it was last asked.
    fn count(&mut self, what: impl Fn(&Output) -> bool) -> usize {
        self.outputs().iter().filter(|output| what(output)).count()
    }

    fn not_recovered(&mut self) -> Vec<String> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|output| match output {
                Output::NotRecovered { entity, .. } => Some(entity.to_string()),
                _ => None,
            })
            .collect()
    }

    fn is_consuming(&self, consumer: ConsumerKey) -> bool {
        matches!(self.session.consumers[consumer].state(), State::Active(_))
    }

    /// The broker closes a consumer's channel, over no method.
    fn cancel(&mut self, consumer: ConsumerKey) {
        let (now, topology) = (self.now, &mut self.topology);
        self.session
            .cancel_consumer(now, consumer, Leaving::Cancelled, topology);
        self.run();
    }

    fn close_consumer_channel(&mut self, consumer: ConsumerKey, code: ReplyCode) {
        let channel = self.consumer_channel(consumer);
        let now = self.now;
        self.broker
            .close_channel(now, channel, code, "by script", NO_METHOD);
        self.run();
    }
}

fn is_refused(result: &Result<Method, Error>) -> bool {
    matches!(result, Err(Error::Refused(_)))
}
