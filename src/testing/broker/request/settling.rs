use snowshoe_codec::Method;
use snowshoe_codec::method::basic;

use super::Request;
use crate::testing::broker::channel::{Mode, Settle, Unacked};
use crate::testing::broker::refusal::Refusal;
use crate::testing::broker::vhost::{Dead, DeathReason, VirtualHost};

impl Request<'_> {
    /// Does what an ack, nack or reject says.
    pub(super) fn settle(&mut self, method: &Method) -> Result<(), Refusal> {
        let give_back = |requeue| match requeue {
            true => Settle::Requeue,
            false => Settle::Reject,
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
            }) => (delivery_tag, multiple, give_back(requeue)),
            Method::BasicReject(basic::Reject {
                delivery_tag,
                requeue,
            }) => (delivery_tag, false, give_back(requeue)),
            _ => return Ok(()),
        };
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

    pub(super) fn recover(&mut self, requeue: bool) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        let taken = self.channel().take_all();
        self.apply(Settle::Requeue, taken);
        Ok(())
    }

    pub(super) fn apply(&mut self, settle: Settle, taken: Vec<Unacked>) {
        self.host.settle(settle, taken);
        self.stir_consumers();
    }
}

impl VirtualHost {
    /// Settles what was delivered. What is about a queue that is gone has no effect.
    pub(crate) fn settle(&mut self, settle: Settle, taken: Vec<Unacked>) {
        for unacked in taken {
            let id = unacked.queue;
            let Some(queue) = self.queue_mut(id) else {
                continue;
            };
            queue.unacked = queue.unacked.saturating_sub(1);
            let mut queued = unacked.queued;
            match settle {
                Settle::Ack => {}
                Settle::Reject => self.dead.push_back(Dead {
                    queue: id,
                    queued,
                    reason: DeathReason::Rejected,
                }),
                Settle::Requeue | Settle::Abandon => {
                    queued.returns = queued.returns.saturating_add(1);
                    let limit = queue.settings.delivery_limit;
                    if limit.is_some_and(|limit| queued.returns > limit) {
                        self.dead.push_back(Dead {
                            queue: id,
                            queued,
                            reason: DeathReason::DeliveryLimit,
                        });
                    } else {
                        queue.take_back(queued, settle == Settle::Requeue);
                        self.stir(id);
                    }
                }
            }
        }
    }
}
