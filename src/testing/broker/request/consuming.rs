use snowshoe_codec::method::basic;
use snowshoe_codec::{Method, ReplyCode};

use super::Request;
use crate::testing::broker::channel::{Consumer, Unacked};
use crate::testing::broker::queue::{Kind, Subscriber, not_an_integer};
use crate::testing::broker::refusal::{Refusal, named};

impl Request<'_> {
    pub(super) fn qos(&mut self, qos: &basic::Qos) -> Result<basic::QosOk, Refusal> {
        if qos.prefetch_size != 0 {
            let size = qos.prefetch_size;
            let text = format!("prefetch_size!=0 ({size})");
            return Err(Refusal::not_implemented(text));
        }
        let channel = self.channel();
        if qos.global {
            channel.limit(qos.prefetch_count);
            self.stir_consumers();
        } else {
            channel.prefetch = qos.prefetch_count;
        }
        Ok(basic::QosOk)
    }

    /// More may be delivered on this channel than before.
    pub(super) fn stir_consumers(&mut self) {
        let consumers = self.client.channels.get(&self.channel);
        for consumer in consumers
            .iter()
            .flat_map(|channel| channel.consumers.values())
        {
            self.host.stir(consumer.queue);
        }
    }

    pub(super) fn consume(&mut self, consume: basic::Consume) -> Result<basic::ConsumeOk, Refusal> {
        let name = self.queue_name(&consume.queue)?;
        let tag = match consume.consumer_tag.is_empty() {
            true => self.made_up("amq.ctag"),
            false => consume.consumer_tag,
        };
        if self.channel().consumers.contains_key(&tag) {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Refusal::new(ReplyCode::NOT_ALLOWED, text));
        }
        let id = self.host.find(self.from, &name)?;
        let what = named("queue", &self.host.name, &name);
        let priority = match consume.arguments.get("x-priority").ok().flatten() {
            None => 0,
            Some(value) => value.as_i64().ok_or_else(|| {
                let why = not_an_integer(value);
                Refusal::precondition(format_args!("invalid arg 'x-priority' for {what}: {why}"))
            })?,
        };
        let Some(queue) = self.host.queue_mut(id) else {
            return Err(Refusal::no_queue(&self.host.name, &name));
        };
        let shared = !queue.subscribers.is_empty() || queue.settings.single_active_consumer;
        let taken = queue.subscribers.iter().any(|other| other.exclusive);
        let taken = taken || consume.exclusive && shared;
        if taken {
            return Err(Refusal::access(format_args!("{what} in exclusive use")));
        }
        queue.subscribe(Subscriber {
            connection: self.from,
            channel: self.channel,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
        });
        self.host.stir(id);
        let channel = self.channel();
        let consumer = Consumer {
            queue: id,
            prefetch: channel.prefetch,
            unacked: 0,
        };
        channel.consumers.insert(tag.clone(), consumer);
        Ok(basic::ConsumeOk { consumer_tag: tag })
    }

    pub(super) fn cancel(&mut self, cancel: basic::Cancel) -> basic::CancelOk {
        let tag = cancel.consumer_tag;
        if let Some(consumer) = self.channel().consumers.remove(&tag) {
            let (from, channel) = (self.from, self.channel);
            self.host.unsubscribe(self.now, consumer.queue, |other| {
                other.connection == from && other.channel == channel && other.tag == tag
            });
        }
        basic::CancelOk { consumer_tag: tag }
    }

    pub(super) fn get(&mut self, get: &basic::Get) -> Result<Option<Method>, Refusal> {
        let name = self.queue_name(&get.queue)?;
        let id = self.host.find(self.from, &name)?;
        let now = self.now;
        self.host.expire(id, |at| at <= now);
        let Some(queue) = self.host.queue_mut(id) else {
            return Ok(None);
        };
        queue.used(now);
        let Some(queued) = queue.pop() else {
            return Ok(Some(basic::GetEmpty::default().into()));
        };
        // What has expired after it does not count any more.
        self.host.expire(id, |at| at <= now);
        let Some(queue) = self.host.queue_mut(id) else {
            return Ok(None);
        };
        let message_count = queue.ready_count().try_into().unwrap_or(u32::MAX);
        let counts = queue.settings.kind == Kind::Quorum;
        if !get.no_ack {
            queue.unacked += 1;
        }
        let tag = self.channel().next_tag();
        let message = match counts {
            true => queued.with_count(),
            false => queued.message.clone(),
        };
        let answer = basic::GetOk {
            delivery_tag: tag,
            redelivered: queued.returns > 0,
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_count,
        };
        if !get.no_ack {
            self.channel().delivered(Unacked {
                tag,
                queue: id,
                queued,
                consumer: None,
                since: now,
            });
        }
        // Where the client can no longer hear it, the message goes back with its channel.
        self.client
            .send_content(self.channel, answer, &message.properties, &message.body);
        Ok(None)
    }
}
