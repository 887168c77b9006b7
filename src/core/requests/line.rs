//! The channel that requests go out on and their answers come back over, from its opening on.

use std::time::{Duration, Instant};

use snowshoe_codec::method::{basic, confirm, queue};
use snowshoe_codec::time::after;
use snowshoe_codec::{Method, ShortString};

use super::{ReplyTo, Settings};
use crate::core::backoff::Delays;

/// Where the channel is.
///
/// ```text
///          usable             confirmed, declared, consumed
/// Awaited ────────► Preparing ──────────────────────────────► Online
///    ▲                  │ refused                                │
///    │ retry            ▼                                        │
///    └────────────── Postponed                                   │
///    └───────────────────────────────────────────────────────────┘ lost
/// ```
#[derive(Debug)]
pub(super) struct Line {
    state: State,
    replies: ReplyTo,
    confirms: bool,
    /// What its consumers are called, with the number of each.
    tag: String,
    /// How many channels there were.
    opened: u64,
    delays: Delays,
}

#[derive(Debug)]
enum State {
    /// There is to be a channel, as soon as there is a connection.
    Awaited,
    Preparing {
        /// Whether confirm.select was answered, or need not be.
        confirms: bool,
        /// Whether basic.consume was answered.
        consumes: bool,
        queue: ShortString,
    },
    Online {
        reply_to: ShortString,
    },
    /// It is tried again then.
    Postponed(Instant),
}

/// What comes of an answer of the broker's.
#[derive(Debug)]
pub(super) enum Step {
    Send(Method),
    Online,
}

impl Line {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: State::Awaited,
            replies: settings.replies,
            confirms: settings.confirms,
            tag: settings.tag.clone(),
            opened: 0,
            delays: Delays::new(settings.backoff, STABLE, settings.seed),
        }
    }

    /// Where answers are to go, once they can.
    pub(super) fn reply_to(&self) -> Option<&ShortString> {
        match &self.state {
            State::Online { reply_to } => Some(reply_to),
            _ => None,
        }
    }

    pub(super) fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// Whether it has a channel, or had one until now.
    pub(super) fn has_channel(&self) -> bool {
        matches!(self.state, State::Preparing { .. } | State::Online { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Postponed(at) => Some(at),
            _ => None,
        }
    }

    /// The channel is there: what is to be sent on it, in order.
    pub(super) fn usable(&mut self) -> Vec<Method> {
        self.opened += 1;
        let queue = ShortString::from_static(match self.replies {
            ReplyTo::Direct => DIRECT,
            ReplyTo::Queue => "",
        });
        let mut methods = Vec::new();
        if self.confirms {
            methods.push(confirm::Select::default().into());
        }
        methods.push(match self.replies {
            ReplyTo::Direct => self.consume(queue.clone()),
            // It goes with the connection, and with its consumer: what could still come into it later is
            // asked for by nobody.
            ReplyTo::Queue => queue::Declare {
                exclusive: true,
                auto_delete: true,
                ..Default::default()
            }
            .into(),
        });
        self.state = State::Preparing {
            confirms: !self.confirms,
            consumes: false,
            queue,
        };
        methods
    }

    fn consume(&self, queue: ShortString) -> Method {
        // LavinMQ keys direct replies by consumer tag, so tags are unique across the world, and no channel
        // gets what was for the one before.
        let tag = format!("{}-{}", self.tag, self.opened);
        basic::Consume {
            queue,
            consumer_tag: tag.try_into().unwrap_or_default(),
            // Direct replies know no other way, and a queue that goes with the connection keeps nothing.
            no_ack: true,
            ..Default::default()
        }
        .into()
    }

    pub(super) fn replied(&mut self, now: Instant, method: &Method) -> Option<Step> {
        let State::Preparing {
            confirms,
            consumes,
            queue,
        } = &mut self.state
        else {
            return None;
        };
        match method {
            Method::ConfirmSelectOk(_) => *confirms = true,
            Method::QueueDeclareOk(declared) => {
                queue.clone_from(&declared.queue);
                let queue = declared.queue.clone();
                return Some(Step::Send(self.consume(queue)));
            }
            Method::BasicConsumeOk(_) => *consumes = true,
            _ => {}
        }
        if !(*confirms && *consumes) {
            return None;
        }
        let reply_to = std::mem::take(queue);
        self.state = State::Online { reply_to };
        self.delays.succeeded(now);
        Some(Step::Online)
    }

    /// The channel is gone, and there is to be another at once, or after a while where it was refused before
    /// it was ready. When, unless at once.
    pub(super) fn lost(&mut self, now: Instant, is_refused: bool) -> Option<Instant> {
        let was_online = self.is_online();
        self.state = State::Awaited;
        if is_refused && !was_online {
            let at = after(now, self.delays.next(now));
            self.state = State::Postponed(at);
            return Some(at);
        }
        None
    }

    /// Whether it is tried again now.
    pub(super) fn retries(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.state, State::Postponed(at) if at <= now);
        if is_due {
            self.state = State::Awaited;
        }
        is_due
    }
}

/// What is consumed from, and named in a request, so that the broker gives it an address for its answer.
const DIRECT: &str = "amq.rabbitmq.reply-to";

/// How long a channel has to last before the delays begin again with the shortest.
const STABLE: Duration = Duration::from_secs(5);
