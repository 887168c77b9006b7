use snowshoe_codec::method::basic;
use snowshoe_codec::{PropertiesRef, Published, ReplyCode, ShortStr, ShortString};

use super::Request;
use crate::testing::broker::channel::{Mode, Publish};
use crate::testing::broker::direct_reply::DIRECT_REPLY_TO;
use crate::testing::broker::message::{Message, Queued};
use crate::testing::broker::queue::{Overflow, Push, QueueId};
use crate::testing::broker::refusal::{Refusal, named};
use crate::testing::broker::vhost::{Dead, DeathReason};

impl Request<'_> {
    pub(crate) fn publish(&mut self, published: &Published) -> Result<(), Refusal> {
        let message = Message::of(&published.content);
        let exchange = self.host.exchange(&message.exchange)?;
        if exchange.internal {
            let what = named("exchange", &self.host.name, &message.exchange);
            return Err(Refusal::access(format_args!(
                "cannot publish to internal {what}"
            )));
        }
        let message = self.with_reply_address(message)?;
        message.check(&self.client.user, self.manner)?;
        let message = match self.manner.is_rabbit_4() {
            true => message.with_sorted_headers(),
            false => message,
        };
        if published.immediate {
            return Err(Refusal::not_implemented("immediate=true"));
        }
        let publish = Publish {
            message,
            mandatory: published.mandatory,
        };
        match &mut self.channel().mode {
            Mode::Transaction(transaction) => {
                transaction.publishes.push(publish);
                return Ok(());
            }
            Mode::Plain | Mode::Confirm(_) => {}
        }
        let taken = self.publish_now(publish);
        if let Mode::Confirm(confirms) = &mut self.channel().mode {
            confirms.published += 1;
            let number = confirms.published;
            let told = match taken {
                true => &mut confirms.acks,
                false => &mut confirms.nacks,
            };
            told.push(number);
        }
        Ok(())
    }

    /// Routes a message into queues, or returns it; whether all of them took it.
    pub(super) fn publish_now(&mut self, publish: Publish) -> bool {
        let Publish { message, mandatory } = publish;
        if self.host.hold(self.now, &message) {
            return true;
        }
        let targets = match self.host.is_duplicate(&message) {
            true => Default::default(),
            false => self.host.route(&message.exchange, &message),
        };
        let message = message.without_blind_copies();
        let is_reply = self.host.reply_directly(&message);
        let (mut taken, mut refused) = (0, 0);
        for id in targets {
            match self.host.enqueue(self.now, id, &message, false) {
                Push::Taken => taken += 1,
                Push::Duplicate => {}
                Push::Refused => {
                    refused += 1;
                    self.bury_refused(id, &message);
                }
            }
        }
        // What no queue took comes back from LavinMQ as what none was to get (seen on 2.9.1).
        let is_lost = taken == 0 && (refused == 0 || self.manner.is_lavin());
        let is_lost = is_lost && (!is_reply || self.manner.returns_replies());
        if is_lost && mandatory {
            self.give_back(&message);
        }
        refused == 0
    }

    /// The same message with an address for its answer, where it asks for one.
    fn with_reply_address(&mut self, message: Message) -> Result<Message, Refusal> {
        let asks = |it: ShortStr<'_>| it.as_bytes() == DIRECT_REPLY_TO;
        if !message.read().reply_to.is_some_and(asks) {
            return Ok(message);
        }
        let Some((address, _)) = self.channel().replies.clone() else {
            let text = "fast reply consumer does not exist";
            return Err(Refusal::precondition(text));
        };
        Ok(message.with_properties(|properties| PropertiesRef {
            reply_to: Some(address.as_short_str()),
            ..properties
        }))
    }

    fn give_back(&mut self, message: &Message) {
        let why = basic::Return {
            reply_code: ReplyCode::NO_ROUTE,
            reply_text: ShortString::from_static("NO_ROUTE"),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
        };
        self.client
            .send_content(self.channel, why, &message.properties, &message.body);
    }

    /// Dead-letters a message that a full queue did not take, if the queue wants that.
    fn bury_refused(&mut self, id: QueueId, message: &Message) {
        let Some(queue) = self.host.queue(id) else {
            return;
        };
        if queue.settings.overflow == Overflow::RejectPublishDeadLetter {
            let queued = Queued::never(message.clone());
            self.host.dead.push_back(Dead {
                queue: id,
                queued,
                reason: DeathReason::MaxLength,
            });
        }
    }
}
