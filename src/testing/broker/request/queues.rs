use snowshoe_codec::ShortString;
use snowshoe_codec::method::queue;

use super::Request;
use super::exchanges::reserved;
use crate::testing::broker::direct_reply::is_of_direct_replies;
use crate::testing::broker::duplicates::Duplicates;
use crate::testing::broker::equivalence::{check_argument, check_field};
use crate::testing::broker::exchange::{Binding, Destination};
use crate::testing::broker::queue::{Kind, Queue, QueueId, Settings, compared};
use crate::testing::broker::refusal::{Refusal, named};

impl Request<'_> {
    pub(super) fn declare_queue(
        &mut self,
        declare: queue::Declare,
    ) -> Result<queue::DeclareOk, Refusal> {
        let made_up = declare.queue.is_empty() && !declare.passive;
        let name = match made_up {
            true => self.made_up("amq.gen"),
            false => declare.queue.clone(),
        };
        if is_of_direct_replies(name.as_bytes()) {
            if !self.host.replies.is_there(name.as_bytes()) {
                return Err(Refusal::no_queue(&self.host.name, &name));
            }
            self.channel().last_queue = name.clone();
            return Ok(queue::DeclareOk {
                queue: name,
                message_count: 0,
                consumer_count: 1,
            });
        }
        if declare.passive {
            self.host.find(self.from, &name)?;
        } else if let Some(id) = self.host.queue_id(name.as_bytes()) {
            self.check_equivalence(id, &declare)?;
        } else {
            if name.as_bytes().starts_with(b"amq.") && !made_up {
                return Err(reserved("queue", &name));
            }
            self.create_queue(name.clone(), declare)?;
        }
        self.channel().last_queue = name.clone();
        let id = self.host.find(self.from, &name)?;
        let now = self.now;
        let queue = self.host.queue_mut(id);
        let queue = queue.ok_or_else(|| Refusal::no_queue(&ShortString::EMPTY, &name))?;
        queue.used(now);
        Ok(queue::DeclareOk {
            queue: name,
            message_count: count(queue.ready_count()),
            consumer_count: count(queue.subscribers.len()),
        })
    }

    fn create_queue(&mut self, name: ShortString, declare: queue::Declare) -> Result<(), Refusal> {
        let settings = Settings::read(&self.host.name, &name, &declare.arguments, self.manner)?;
        if settings.kind != Kind::Classic {
            let what = named("queue", &self.host.name, &name);
            let unfit = [
                ("non-durable", !declare.durable),
                ("exclusive-owner", declare.exclusive),
                ("auto-delete", declare.auto_delete),
            ];
            if let Some((property, _)) = unfit.into_iter().find(|(_, unfit)| *unfit) {
                return Err(Refusal::precondition(format_args!(
                    "invalid property '{property}' for {what}"
                )));
            }
        }
        let mut queue = Queue::new(name, declare.arguments, settings, self.now);
        queue.duplicates = Duplicates::of(&queue.arguments, self.manner);
        queue.durable = declare.durable;
        queue.auto_delete = declare.auto_delete;
        queue.owner = declare.exclusive.then_some(self.from);
        self.host.add_queue(queue);
        Ok(())
    }

    fn check_equivalence(&self, id: QueueId, declare: &queue::Declare) -> Result<(), Refusal> {
        let name = &declare.queue;
        let what = named("queue", &self.host.name, name);
        let Some(queue) = self.host.queue(id) else {
            return Ok(());
        };
        if queue.owner != declare.exclusive.then_some(self.from) {
            return Err(self.host.locked(name));
        }
        check_field(&what, "durable", declare.durable, queue.durable)?;
        check_field(&what, "auto_delete", declare.auto_delete, queue.auto_delete)?;
        compared(self.manner).try_for_each(|argument| {
            check_argument(
                &what,
                argument,
                &declare.arguments,
                &queue.arguments,
                self.manner,
            )
        })
    }

    pub(super) fn bind_queue(&mut self, bind: queue::Bind) -> Result<queue::BindOk, Refusal> {
        let name = self.queue_name(&bind.queue)?;
        self.check_binding(&bind.exchange, None, true)?;
        let id = self.host.find(self.from, &name)?;
        let routing_key = self.binding_key(&bind.queue, &bind.routing_key, &name);
        let binding = Binding {
            destination: Destination::Queue(id),
            routing_key,
            arguments: bind.arguments,
        };
        self.bind(&bind.exchange, binding)?;
        Ok(queue::BindOk)
    }

    pub(super) fn unbind_queue(
        &mut self,
        unbind: queue::Unbind,
    ) -> Result<queue::UnbindOk, Refusal> {
        let name = self.queue_name(&unbind.queue)?;
        self.check_binding(&unbind.exchange, None, false)?;
        // What does not exist has no bindings.
        let Some(id) = self.host.queue_id(name.as_bytes()) else {
            return Ok(queue::UnbindOk);
        };
        let binding = Binding {
            destination: Destination::Queue(id),
            routing_key: self.binding_key(&unbind.queue, &unbind.routing_key, &name),
            arguments: unbind.arguments,
        };
        // Whose the queue is matters only where there is something to undo.
        if self.host.is_bound(&unbind.exchange, &binding) {
            self.host.find(self.from, &name)?;
            self.host.unbind(&unbind.exchange, &binding);
        }
        Ok(queue::UnbindOk)
    }

    /// Where neither a queue nor a key is named, the key is the name of the queue that was
    /// declared last (AMQP 0-9-1, queue.bind).
    fn binding_key(
        &self,
        queue: &ShortString,
        key: &ShortString,
        name: &ShortString,
    ) -> ShortString {
        if queue.is_empty() && key.is_empty() {
            name.clone()
        } else {
            key.clone()
        }
    }

    pub(super) fn purge(&mut self, purge: &queue::Purge) -> Result<queue::PurgeOk, Refusal> {
        let name = self.queue_name(&purge.queue)?;
        let id = self.host.find(self.from, &name)?;
        self.check_no_stream(id, "queue.purge")?;
        let purged = self.host.queue_mut(id).map_or(0, Queue::purge);
        Ok(queue::PurgeOk {
            message_count: count(purged),
        })
    }

    /// What streams do not have costs the connection.
    pub(super) fn check_no_stream(&self, id: QueueId, method: &str) -> Result<(), Refusal> {
        match self.host.queue(id).filter(|queue| queue.is_stream()) {
            Some(queue) => {
                let what = named("queue", &self.host.name, &queue.name);
                let text = format!("{method} not supported by stream queues {what}");
                Err(Refusal::not_implemented(text))
            }
            None => Ok(()),
        }
    }

    pub(super) fn delete_queue(
        &mut self,
        delete: &queue::Delete,
    ) -> Result<queue::DeleteOk, Refusal> {
        let name = self.queue_name(&delete.queue)?;
        if self.host.queue_id(name.as_bytes()).is_none() {
            return Ok(queue::DeleteOk::default());
        }
        let id = self.host.find(self.from, &name)?;
        let what = named("queue", &self.host.name, &name);
        if let Some(queue) = self.host.queue(id) {
            if delete.if_unused && !queue.subscribers.is_empty() {
                return Err(Refusal::precondition(format_args!("{what} in use")));
            }
            if delete.if_empty && queue.has_ready() {
                return Err(Refusal::precondition(format_args!("{what} not empty")));
            }
        }
        Ok(queue::DeleteOk {
            message_count: count(self.host.remove_queue(id)),
        })
    }
}

fn count(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
