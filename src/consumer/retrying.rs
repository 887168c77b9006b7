//! What becomes of messages at which a handler failed, by the policy of their consumer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use snowshoe_codec as codec;
use snowshoe_codec::ShortString;

use crate::delivery::{Claim, Disposition, What, counts};
use crate::error::{Error, PublishErrorReason, SendMessageError};
use crate::message::Message;
use crate::outcome::{Unconfirmed, UnconfirmedReason};
use crate::producer::{Producer, ProducerBuilder};
use crate::retry::{Entities, Failed, Retry, Standing, Step};
use crate::settings::BufferPolicy;
use crate::shared::handle::Handle;
use crate::shared::inbox::Inbox;
use crate::sync::{AtomicBool, Ordering};

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
pub(super) struct Publishing {
    publishing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether that has failed, and is tried again.
    is_stuck: Arc<AtomicBool>,
}

impl Publishing {
    /// Whether it has failed, and is tried again from time to time. Nobody works on it meanwhile.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }
}

impl Future for Publishing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.publishing.as_mut().poll(cx)
    }
}

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

    /// Sees to it that there is what the policy needs for the queue as it is now.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        if !self.inbox.delays_retries() {
            self.declare_waiting().await?;
        }
        self.declare_dead().await
    }

    /// Declares where copies wait.
    async fn declare_waiting(&self) -> Result<(), Error> {
        self.client.call_each(self.entities.waiting(), drop).await
    }

    /// Declares where dead letters go.
    async fn declare_dead(&self) -> Result<(), Error> {
        if let Some(dead) = self.entities.dead() {
            self.client.declare(dead).await?;
        }
        Ok(())
    }

    /// What is to be done with a message before a handler sees it, if it is to wait for longer.
    pub(super) fn before(
        self: &Arc<Self>,
        delivery: &codec::Delivery,
        claim: &Claim,
    ) -> Option<Verdict> {
        let Standing { failed, more } = Standing::of(&delivery.content);
        let step = self.policy.wait_on(more)?;
        Some(self.publish(step, delivery, failed, None, claim))
    }

    /// What is to be done after a handler has said this.
    pub(super) fn after(
        self: &Arc<Self>,
        (what, reason): (What, Option<&str>),
        delivery: &codec::Delivery,
        claim: &Claim,
    ) -> Verdict {
        if self.inbox.is_stream() && what != What::Done {
            // Its messages stay where they are, and there is nobody to send a copy to.
            return Verdict::Settle(Disposition::Release);
        }
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
        let dead_letters = self.entities.dead_letters.as_ref();
        if step == Step::DeadLetter && dead_letters.is_none() {
            return Verdict::Settle(Disposition::Discard);
        }
        let queue = &self.inbox.queue();
        let failed = Failed {
            content: &delivery.content,
            queue,
            attempts,
            reason,
        };
        let copy = match step {
            Step::DeadLetter => failed.dead(dead_letters.and_then(|it| it.routing_key.as_ref())),
            Step::Wait { millis, more } => failed.waiting(millis, more),
        };
        let is_dead = step == Step::DeadLetter;
        let (retrier, claim) = (Arc::clone(self), claim.clone());
        let is_stuck = Arc::new(AtomicBool::new(false));
        let stuck = Arc::clone(&is_stuck);
        let publishing: Pin<Box<dyn Future<Output = ()> + Send>> = match copy {
            Ok(copy) => Box::pin(async move {
                retrier.settle_with_copy(copy, is_dead, claim, &stuck).await;
            }),
            // Its properties cannot be read, and so nothing can be written into them.
            Err(_) => Box::pin(async move { retrier.give_back_later(claim, &stuck).await }),
        };
        Verdict::Publish(Publishing {
            publishing,
            is_stuck,
        })
    }

    /// Publishes a copy until the broker has it, and settles the message then.
    async fn settle_with_copy(
        &self,
        copy: Message,
        is_dead: bool,
        claim: Claim,
        stuck: &AtomicBool,
    ) {
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
                        stuck.store(true, Ordering::Relaxed);
                        // Somebody has deleted it. What is refused will be told by the next attempt.
                        _ = match is_dead {
                            true => self.declare_dead().await,
                            false => self.declare_waiting().await,
                        };
                    }
                    After::Wait => {}
                    After::Settle(disposition) => return claim.settle(disposition),
                    After::GiveBackLater => return self.give_back_later(claim, stuck).await,
                },
            }
            stuck.store(true, Ordering::Relaxed);
            self.client.delay(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// There can be no copy of a message: it is tried again as often as its queue lets it, but not all the time.
    async fn give_back_later(&self, claim: Claim, stuck: &AtomicBool) {
        stuck.store(true, Ordering::Relaxed);
        self.client.delay(LONGEST_PAUSE).await;
        claim.settle(Disposition::Retry);
    }

    fn copies(&self) -> &Producer {
        self.copies
            .get_or_init(|| self.producer(self.entities.retry.clone()))
    }

    fn dead_letters(&self) -> &Producer {
        self.dead_letters.get_or_init(|| {
            let dead_letters = self.entities.dead_letters.as_ref();
            self.producer(dead_letters.map_or(ShortString::EMPTY, |it| it.exchange.clone()))
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
            PublishErrorReason::Unsendable(_)
            | PublishErrorReason::DelayTooLong { .. }
            | PublishErrorReason::DelayExpires => return After::GiveBackLater,
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
