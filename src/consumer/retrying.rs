//! What becomes of messages at which a handler failed, by the policy of their consumer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use snowshoe_codec as codec;
use snowshoe_codec::ShortString;

use crate::delivery::{Claim, Disposition, What, counts};
use crate::error::{Error, PublishErrorReason, SendMessageError};
use crate::message::Message;
use crate::outcome::{Unconfirmed, UnconfirmedReason};
use crate::producer::{BufferPolicy, Producer, ProducerBuilder};
use crate::retry::{Entities, Failed, Retry, Standing, Step};
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::inbox::Inbox;
use crate::sync::answer::answer;

/// The policy of a consumer, and its ways to the broker.
pub(super) struct Retrier {
    policy: Retry,
    entities: Entities,
    client: Arc<Handle>,
    inbox: Arc<Inbox>,
    /// Made for the first copy: most consumers never need them.
    copies: OnceLock<Producer>,
    dead_letters: OnceLock<Producer>,
}

/// What is to be done with a message.
pub(super) enum Verdict {
    /// It is settled so.
    Settle(Disposition),
    /// A copy goes to the broker first.
    Publish(Publishing),
}

/// Settles a message once its copy is with the broker.
pub(super) type Publishing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Between two attempts to publish a copy, which is twice as long after each.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Retrier {
    pub(super) fn new(
        policy: Retry,
        client: &Arc<Handle>,
        inbox: &Arc<Inbox>,
    ) -> Result<Self, Error> {
        let entities = Entities::new(&policy, &inbox.queue())?;
        Ok(Self {
            policy,
            entities,
            client: Arc::clone(client),
            inbox: Arc::clone(inbox),
            copies: OnceLock::new(),
            dead_letters: OnceLock::new(),
        })
    }

    /// Sees to it that there is what the policy needs.
    pub(super) async fn declare(&self, waits_by_itself: bool) -> Result<(), Error> {
        // All are asked for at once, and answered in order.
        let waiting = (!waits_by_itself).then(|| self.entities.waiting());
        let calls = waiting.into_iter().flatten().map(|method| {
            let (answer, answered) = answer();
            self.client.command(Command::Call { method, answer });
            answered
        });
        for answered in calls.collect::<Vec<_>>() {
            answered.await.ok_or(Error::Closed)??;
        }
        if let Some(dead) = self.entities.dead() {
            self.client.declare(dead).await?;
        }
        Ok(())
    }

    /// [Declares](Self::declare) what is needed where the queue is now.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        self.declare(self.inbox.delays_retries()).await
    }

    /// What is to be done with a message before a handler sees it, if it is to wait for longer.
    pub(super) fn before(
        self: &Arc<Self>,
        delivery: &codec::Delivery,
        claim: &Claim,
    ) -> Option<Verdict> {
        let Standing { failed, more } = Standing::of(&delivery.content);
        let step = (more > 0).then(|| self.policy.wait(more))?;
        Some(self.publish(step, delivery, failed, None, claim))
    }

    /// What is to be done after a handler has said this.
    pub(super) fn after(
        self: &Arc<Self>,
        (what, reason): (What, Option<&str>),
        delivery: &codec::Delivery,
        claim: &Claim,
    ) -> Verdict {
        let delays = self.inbox.delays_retries();
        let failed = counts::failed_attempts(delivery, delays).saturating_add(1);
        let step = match what {
            What::Done => return Verdict::Settle(Disposition::Ack),
            What::Release => return Verdict::Settle(Disposition::Release),
            What::Reject => return Verdict::Settle(Disposition::Discard),
            What::DeadLetter => Step::DeadLetter,
            What::Retry => match self.policy.after(failed) {
                Step::Wait { .. } if delays && self.policy.as_brokers_wait().is_some() => {
                    return Verdict::Settle(Disposition::Retry);
                }
                step => step,
            },
            What::RetryAfter(time) => self.policy.after_at_least(failed, time),
        };
        self.publish(step, delivery, failed, reason, claim)
    }

    fn publish(
        self: &Arc<Self>,
        step: Step,
        delivery: &codec::Delivery,
        attempts: u32,
        reason: Option<&str>,
        claim: &Claim,
    ) -> Verdict {
        let queue = &self.inbox.queue();
        let failed = Failed {
            content: &delivery.content,
            queue,
            attempts,
            reason,
        };
        let dead_letters = self.entities.dead_letters.as_ref();
        let copy = match step {
            Step::DeadLetter => failed.dead(dead_letters.and_then(|(_, key)| key.as_ref())),
            Step::Wait { millis, more } => failed.waiting(millis, more),
        };
        let is_dead = step == Step::DeadLetter;
        match copy {
            Ok(copy) if !is_dead || dead_letters.is_some() => {
                let (retrier, claim) = (Arc::clone(self), claim.clone());
                let publishing =
                    async move { retrier.settle_with_copy(copy, is_dead, claim).await };
                Verdict::Publish(Box::pin(publishing))
            }
            Ok(_) => Verdict::Settle(Disposition::Discard),
            // Its properties cannot be read, and so nothing can be written into them.
            Err(_) => {
                let (client, claim) = (Arc::clone(&self.client), claim.clone());
                Verdict::Publish(Box::pin(give_back_later(client, claim)))
            }
        }
    }

    /// Publishes a copy until the broker has it, and settles the message then.
    async fn settle_with_copy(&self, copy: Message, is_dead: bool, claim: Claim) {
        let mut pause = PAUSE;
        // One that has gone back in the meantime is delivered again.
        while claim.stands() {
            let producer = if is_dead {
                self.dead_letters()
            } else {
                self.copies()
            };
            match producer.send(copy.clone()).await {
                Ok(()) => return claim.settle(Disposition::Ack),
                Err(error) => match after(&error) {
                    After::Declare => {
                        // Somebody has deleted it. What is refused will be told by the next attempt.
                        _ = self.declare(false).await;
                    }
                    After::Wait => {}
                    After::Settle(disposition) => return claim.settle(disposition),
                    After::GiveBackLater => {
                        return give_back_later(Arc::clone(&self.client), claim).await;
                    }
                },
            }
            self.client.delay(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn copies(&self) -> &Producer {
        self.copies
            .get_or_init(|| self.producer(self.entities.retry.clone()))
    }

    fn dead_letters(&self) -> &Producer {
        self.dead_letters.get_or_init(|| {
            let (exchange, _) = self.entities.dead_letters.clone().unwrap_or_default();
            self.producer(exchange)
        })
    }

    /// A producer of messages that have their routing keys with them.
    fn producer(&self, exchange: ShortString) -> Producer {
        ProducerBuilder::new(Arc::clone(&self.client), exchange, ShortString::EMPTY)
            .mandatory(true)
            .policy(BufferPolicy::Block)
            // No more are under way than handlers may run.
            .capacity_bytes(usize::MAX)
            .build()
    }
}

/// There can be no copy of a message: it is tried again as often as its queue lets it, but not all the time.
async fn give_back_later(client: Arc<Handle>, claim: Claim) {
    client.delay(LONGEST_PAUSE).await;
    claim.settle(Disposition::Retry);
}

/// What is to be done after a copy could not be published.
enum After {
    Declare,
    Wait,
    Settle(Disposition),
    GiveBackLater,
}

fn after(error: &SendMessageError) -> After {
    let reason = match error {
        SendMessageError::NotAccepted(error) => match &error.reason {
            PublishErrorReason::Closed => return After::Settle(Disposition::Release),
            PublishErrorReason::Unsendable(_) => return After::GiveBackLater,
            PublishErrorReason::BufferFull | PublishErrorReason::TooLarge => return After::Wait,
        },
        SendMessageError::Unconfirmed(Unconfirmed { reason, .. }) => reason,
    };
    match reason {
        UnconfirmedReason::Returned(_)
        | UnconfirmedReason::Rejected(_)
        | UnconfirmedReason::NotDeclared(_) => After::Declare,
        UnconfirmedReason::Nacked => After::Wait,
        // With what its headers tell in addition it fits into no frame.
        UnconfirmedReason::Unsendable(_) => After::GiveBackLater,
        UnconfirmedReason::Dropped(_) => After::Settle(Disposition::Release),
    }
}
