use snowshoe_codec::method::basic;
use snowshoe_codec::{Method, ReplyCode, ShortString};

use super::Request;
use crate::testing::broker::channel::{Consumer, Unacked};
use crate::testing::broker::direct_reply::{DIRECT_REPLY_TO, ReplyConsumer};
use crate::testing::broker::manner::Manner;
use crate::testing::broker::queue::{
    Kind, Queue, QueueId, Start, Subscriber, invalid_for, not_an_integer,
};
use crate::testing::broker::refusal::{Refusal, named};

impl Request<'_> {
    pub(super) fn qos(&mut self, qos: &basic::Qos) -> Result<basic::QosOk, Refusal> {
        if qos.prefetch_size != 0 {
            let size = qos.prefetch_size;
            let text = format!("prefetch_size!=0 ({size})");
            return Err(Refusal::not_implemented(text));
        }
        let is_per_consumer = self.manner.is_rabbit_4_3();
        let channel = self.channel();
        // RabbitMQ 4.3 takes it for one of each consumer to come.
        if qos.global && !is_per_consumer {
            channel.limit(qos.prefetch_count);
            self.stir_consumers();
        } else {
            channel.prefetch = qos.prefetch_count;
            // It takes the place of one for the whole channel (RabbitMQ).
            if channel.is_limited() {
                channel.limit(0);
                self.stir_consumers();
            }
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
            false => consume.consumer_tag.clone(),
        };
        if self.channel().consumers.contains_key(&tag) {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Refusal::new(ReplyCode::NOT_ALLOWED, text));
        }
        if name.as_bytes() == DIRECT_REPLY_TO {
            return self.consume_replies(tag, consume.no_ack);
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
        let start = self.start_reading(id, &what, &tag, &consume)?;
        let now = self.now;
        let is_limited = self.channel().is_limited();
        let Some(queue) = self.host.queue_mut(id) else {
            return Err(Refusal::no_queue(&self.host.name, &name));
        };
        let shared = !queue.subscribers.is_empty() || queue.settings.single_active_consumer;
        let taken = queue.subscribers.iter().any(|other| other.exclusive);
        let taken = taken || consume.exclusive && shared;
        let kind = queue.settings.kind;
        if kind == Kind::Quorum && is_limited {
            let text = format!("{what} does not support global qos");
            return Err(Refusal::not_implemented(text));
        }
        if taken {
            return Err(Refusal::access(format_args!("{what} in exclusive use")));
        }
        let cursor = start.map(|start| queue.cursor(now, start, &tag));
        queue.subscribe(Subscriber {
            connection: self.from,
            channel: self.channel,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            cursor,
        });
        self.host.stir(id);
        let channel = self.channel();
        let consumer = Consumer {
            queue: id,
            prefetch: channel.prefetch,
            unacked: 0,
            overdue: 0,
        };
        channel.consumers.insert(tag.clone(), consumer);
        Ok(basic::ConsumeOk { consumer_tag: tag })
    }

    /// Gets direct replies on this channel from now on.
    fn consume_replies(
        &mut self,
        tag: ShortString,
        no_ack: bool,
    ) -> Result<basic::ConsumeOk, Refusal> {
        if !no_ack {
            let text = "reply consumer cannot acknowledge";
            return Err(Refusal::precondition(text));
        }
        if self.channel().replies.is_some() {
            return Err(Refusal::precondition("reply consumer already set"));
        }
        let address = self.made_up("amq.rabbitmq.reply-to.g1");
        let consumer = ReplyConsumer {
            connection: self.from,
            channel: self.channel,
            tag: tag.clone(),
        };
        self.host.replies.add(address.clone(), consumer);
        self.channel().replies = Some((address, tag.clone()));
        Ok(basic::ConsumeOk { consumer_tag: tag })
    }

    /// Where a consumer begins in a stream; none in any other queue.
    fn start_reading(
        &mut self,
        id: QueueId,
        what: &str,
        tag: &ShortString,
        consume: &basic::Consume,
    ) -> Result<Option<Start>, Refusal> {
        let kind = self.host.queue(id).map(|queue| queue.settings.kind);
        let has = |key| consume.arguments.get(key).ok().flatten().is_some();
        match kind {
            Some(Kind::Stream) => {}
            Some(kind) if has("x-stream-offset") && !self.manner.is_lavin() => {
                return Err(invalid_for("x-stream-offset", what, kind));
            }
            _ => return Ok(None),
        }
        let (prefetch, is_limited) = (self.channel().prefetch, self.channel().is_limited());
        let text = if self.manner.is_lavin() {
            let refused = [
                (consume.exclusive, "must not be exclusive"),
                (consume.no_ack, "must acknowledge messages"),
                (prefetch == 0, "must have a prefetch limit"),
                (is_limited, "does not support global prefetch limit"),
            ];
            let refused = refused.into_iter().find(|(is_so, _)| *is_so);
            let text = refused.map(|(_, why)| format!("Stream consumers {why}"));
            let priority = || "x-priority not supported on streams".to_owned();
            text.or_else(|| has("x-priority").then(priority))
        } else if has("x-priority") {
            return Err(invalid_for("x-priority", what, Kind::Stream));
        } else if consume.no_ack {
            let what = match self.manner.is_rabbit_4() {
                true => format!("stream {what}"),
                false => format!("stream queues {what}"),
            };
            let text = format!("automatic acknowledgement not supported by {what}");
            return Err(Refusal::not_implemented(text));
        } else {
            let what = match self.manner.is_rabbit_4() {
                true => format!("stream {what}"),
                false => format!("'{what}'"),
            };
            let text = || format!("consumer prefetch count is not set for {what}");
            (prefetch == 0).then(text)
        };
        match text {
            Some(text) => Err(Refusal::precondition(text)),
            None => {
                Start::read(&consume.arguments, self.unix_time, tag, what, self.manner).map(Some)
            }
        }
    }

    pub(super) fn cancel(&mut self, cancel: basic::Cancel) -> basic::CancelOk {
        let tag = cancel.consumer_tag;
        let replies = &mut self.channel().replies;
        if let Some((address, _)) = replies.take_if(|(_, consumer)| *consumer == tag) {
            self.host.replies.remove(&address);
        }
        if let Some(consumer) = self.channel().consumers.remove(&tag) {
            let (from, channel) = (self.from, self.channel);
            self.host.unsubscribe(self.now, consumer.queue, |other| {
                other.connection == from && other.channel == channel && other.tag == tag
            });
            let waits = |queue: &Queue| {
                queue.settings.single_active_consumer && queue.settings.kind == Kind::Classic
            };
            // The next active one of a classic queue waits there until something else happens to it.
            let is_old = self.manner == Manner::RabbitMq310;
            if !(is_old && self.host.queue(consumer.queue).is_some_and(waits)) {
                self.host.stir(consumer.queue);
            }
        }
        basic::CancelOk { consumer_tag: tag }
    }

    pub(super) fn get(&mut self, get: &basic::Get) -> Result<Option<Method>, Refusal> {
        let name = self.queue_name(&get.queue)?;
        let id = self.host.find(self.from, &name)?;
        self.check_no_stream(id, "basic.get")?;
        let (now, manner) = (self.now, self.manner);
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
        let counts = queue.settings.tells_counts;
        let timed = queue.is_timed(manner);
        if !get.no_ack {
            queue.unacked += 1;
        }
        let tag = self.channel().next_tag();
        let message = match counts {
            true => queued.with_count(self.manner, true),
            false => queued.message.clone(),
        };
        let answer = basic::GetOk {
            delivery_tag: tag,
            redelivered: queued.redelivered,
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
                since: timed.then_some(now),
                is_over: false,
            });
        }
        // Where the client can no longer hear it, the message goes back with its channel.
        self.client
            .send_content(self.channel, answer, &message.properties, &message.body);
        Ok(None)
    }
}
