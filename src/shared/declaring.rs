//! What is declared in several steps.

use snowshoe_codec::{Method, ShortString};

use super::command::Command;
use super::handle::Handle;
use crate::declare::Declaration;
use crate::error::Error;
use crate::sync::answer::answer;

/// The calls of a [`Declaration`], those that can be made together in one step.
#[derive(Debug)]
pub(crate) struct Steps {
    left: Declaration,
    /// The answer to what it is about, once it is there.
    reply: Option<Method>,
}

impl Steps {
    pub(crate) fn new(declaration: Declaration) -> Self {
        Self {
            left: declaration,
            reply: None,
        }
    }

    /// What comes next, once all before it was answered.
    pub(crate) fn next_step(&mut self) -> Option<Result<Vec<Method>, Error>> {
        let Declaration {
            exchanges,
            entity,
            bindings,
            then,
        } = &mut self.left;
        if !exchanges.is_empty() {
            return Some(Ok(std::mem::take(exchanges)));
        }
        if let Some(entity) = entity.take() {
            return Some(Ok(vec![entity]));
        }
        if bindings.is_empty() {
            return then.pop_front().map(Ok);
        }
        let queue = match &self.reply {
            Some(Method::QueueDeclareOk(declared)) => declared.queue.clone(),
            _ => ShortString::EMPTY,
        };
        let bindings = std::mem::take(bindings).into_iter();
        Some(bindings.map(|it| it.bind(queue.clone())).collect())
    }

    /// An answer to one of the calls.
    pub(crate) fn answered(&mut self, reply: Method) {
        // That to a queue stays, whatever it is bound to.
        if !matches!(self.reply, Some(Method::QueueDeclareOk(_))) {
            self.reply = Some(reply);
        }
    }
}

impl Handle {
    /// Declares something, and gives the broker's answer to what it is about; `None` where nothing is to be
    /// declared.
    ///
    /// # Errors
    /// The broker refuses something of it. What came before that is declared.
    pub(crate) async fn declare(&self, declaration: Declaration) -> Result<Option<Method>, Error> {
        let mut steps = Steps::new(declaration);
        while let Some(step) = steps.next_step() {
            self.call_each(step?, |reply| steps.answered(reply)).await?;
        }
        Ok(steps.reply)
    }

    /// Makes calls in one go, and takes their answers in order.
    ///
    /// # Errors
    /// The broker refuses one of them, and nobody looks at the answers to those after it.
    pub(crate) async fn call_each(
        &self,
        calls: impl IntoIterator<Item = Method>,
        mut take: impl FnMut(Method),
    ) -> Result<(), Error> {
        let asked = calls.into_iter().map(|method| {
            let (answer, answered) = answer();
            self.command(Command::Call { method, answer });
            answered
        });
        // All are asked for before the first is awaited.
        for answered in asked.collect::<Vec<_>>() {
            take(answered.await.ok_or(Error::Closed)??);
        }
        Ok(())
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use snowshoe_codec::method::{exchange, queue};

    use super::*;
    use crate::declare::{Exchange, IntoQueue, Queue};

    fn steps(queue: impl IntoQueue) -> Steps {
        Steps::new(queue.into_queue().unwrap().1)
    }

    fn declared(name: &'static str) -> Method {
        queue::DeclareOk {
            queue: ShortString::from_static(name),
            message_count: 0,
            consumer_count: 0,
        }
        .into()
    }

    #[test]
    fn a_name_is_as_it_is() {
        assert!(steps("orders").next_step().is_none());
    }

    #[test]
    fn exchanges_come_before_the_queue_and_bindings_after_it_under_the_name_that_it_got() {
        let queue = Queue::server_named().bind(Exchange::topic("events"), "order.#");
        let mut steps = steps(queue.bind("amq.fanout", ""));
        let exchanges = steps.next_step().unwrap().unwrap();
        let [Method::ExchangeDeclare(exchange)] = &exchanges[..] else {
            panic!("{exchanges:?}");
        };
        assert_eq!(exchange.exchange, "events");
        steps.answered(exchange::DeclareOk.into());

        let queue = steps.next_step().unwrap().unwrap();
        assert!(matches!(queue[..], [Method::QueueDeclare(_)]));
        steps.answered(declared("amq.gen-1"));

        let bindings = steps.next_step().unwrap().unwrap();
        let [Method::QueueBind(first), Method::QueueBind(second)] = &bindings[..] else {
            panic!("{bindings:?}");
        };
        assert_eq!(
            (&first.queue, &second.queue),
            (&"amq.gen-1".try_into().unwrap(), &first.queue)
        );
        assert_eq!(
            (
                &*first.exchange.to_string(),
                &*first.routing_key.to_string()
            ),
            ("events", "order.#")
        );
        assert_eq!(second.exchange.to_string(), "amq.fanout");
        steps.answered(queue::BindOk.into());
        steps.answered(queue::BindOk.into());
        assert!(steps.next_step().is_none());
        assert_eq!(steps.reply, Some(declared("amq.gen-1")));
    }
}
