use std::time::Instant;

use snowshoe_codec::Method;
use snowshoe_codec::method::basic;

use super::Request;
use crate::testing::broker::channel::{By, Consumer, Mode, Settle, Unacked};
use crate::testing::broker::manner::Manner;
use crate::testing::broker::queue::Queue;
use crate::testing::broker::refusal::Refusal;
use crate::testing::broker::vhost::{Dead, DeathReason, VirtualHost};

impl Request<'_> {
    /// Does what an ack, nack or reject says.
    pub(super) fn settle(&mut self, method: &Method) -> Result<(), Refusal> {
        let give_back = |requeue, by| match requeue {
            true => Settle::Requeue(by),
            false => Settle::Reject(by),
        };
        let (tag, multiple, settle) = match *method {
            Method::BasicAck(basic::Ack {
                delivery_tag,
                multiple,
            }) => (delivery_tag, multiple, Settle::Ack),
            Method::BasicNack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            }) => (delivery_tag, multiple, give_back(requeue, By::Nack)),
            Method::BasicReject(basic::Reject {
                delivery_tag,
                requeue,
            }) => (delivery_tag, false, give_back(requeue, By::Reject)),
            _ => return Ok(()),
        };
        if settle != Settle::Ack {
            self.check_refusable(tag, multiple)?;
        }
        let taken = self
            .channel()
            .take(tag, multiple)
            .ok_or_else(|| Refusal::precondition(format_args!("unknown delivery tag {tag}")))?;
        match &mut self.channel().mode {
            Mode::Transaction(transaction) => transaction.settled.push((settle, taken)),
            Mode::Plain | Mode::Confirm(_) => self.apply(settle, taken),
        }
        Ok(())
    }

    /// Readers of streams cannot refuse anything in RabbitMQ 3.10: it costs the connection.
    fn check_refusable(&mut self, tag: u64, multiple: bool) -> Result<(), Refusal> {
        if self.manner != Manner::RabbitMq310 {
            return Ok(());
        }
        let meant = self.channel().meant(tag, multiple);
        meant
            .into_iter()
            .try_for_each(|queue| self.check_no_stream(queue, "basic.nack and basic.reject"))
    }

    pub(super) fn recover(&mut self, requeue: bool) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        let taken = self.channel().take_all();
        let mut queues = taken
            .iter()
            .filter_map(|unacked| self.host.queue(unacked.queue));
        if self.manner == Manner::RabbitMq310 && queues.any(Queue::is_stream) {
            return Err(Refusal::crash());
        }
        self.apply(Settle::Requeue(By::Nack), taken);
        Ok(())
    }

    pub(super) fn apply(&mut self, settle: Settle, taken: Vec<Unacked>) {
        let (from, channel) = (self.from, self.channel);
        for over in taken.iter().filter(|unacked| unacked.is_over) {
            let is_free = |consumer: &Consumer| consumer.overdue == 0;
            if let Some(tag) = &over.consumer
                && self.channel().consumers.get(tag).is_some_and(is_free)
                && let Some(queue) = self.host.queue_mut(over.queue)
            {
                queue.rejoin(|it| it.connection == from && it.channel == channel && it.tag == *tag);
            }
        }
        self.host.settle(self.now, settle, taken);
        self.stir_consumers();
    }
}

impl VirtualHost {
    /// Settles what was delivered. What is about a queue that is gone has no effect.
    pub(crate) fn settle(&mut self, now: Instant, settle: Settle, taken: Vec<Unacked>) {
        let manner = self.manner;
        for unacked in taken {
            let id = unacked.queue;
            let Some(queue) = self.queue_mut(id).filter(|_| !unacked.is_over) else {
                continue;
            };
            queue.unacked = queue.unacked.saturating_sub(1);
            let mut queued = unacked.queued;
            if queue.is_stream() {
                let comes_again = matches!(settle, Settle::Requeue(_));
                if let Some(tag) = unacked.consumer.filter(|_| settle != Settle::Abandon) {
                    let again = comes_again && manner.is_lavin();
                    queue.settle_read(&tag, queued.place.number, again);
                }
                self.stir(id);
                continue;
            }
            queued.redelivered = true;
            queued.acquired = queued.acquired.saturating_add(1);
            let by_nack = matches!(settle, Settle::Requeue(By::Nack) | Settle::Reject(By::Nack));
            if !by_nack || manner.counts_nacks() {
                queued.returns = queued.returns.saturating_add(1);
            }
            match settle {
                Settle::Ack => {}
                Settle::Reject(_) => self.dead.push_back(Dead {
                    queue: id,
                    queued,
                    reason: DeathReason::Rejected,
                }),
                Settle::Requeue(_) | Settle::Abandon => {
                    let limit = queue.settings.delivery_limit;
                    if limit.is_some_and(|limit| i64::from(queued.returns) > limit) {
                        self.dead.push_back(Dead {
                            queue: id,
                            queued,
                            reason: DeathReason::DeliveryLimit,
                        });
                    } else if let Some(delay) = queue.delay_of(&queued, !by_nack) {
                        queue.put_off(now, delay, queued);
                    } else {
                        queue.take_back(queued, settle != Settle::Abandon, manner);
                        self.stir(id);
                    }
                }
            }
        }
    }
}
