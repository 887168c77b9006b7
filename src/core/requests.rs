//! Requests and their answers: which answer is to which request, what is sent again when a connection or
//! a channel is lost, and when nobody waits any longer.
//!
//! Requests go out in order over the channel that consumes the answers, for a broker gives a direct reply
//! its address there ([`line`]). Each ends with exactly one [`Output::Settled`], at the latest with its
//! timeout, unless it is [withdrawn](Requests::withdraw) before.
//!
//! An answer is told by its correlation id, which no other request has or had ([`correlation`]), so one that
//! comes late, twice, or from somebody else is none to any that waits. What was sent when a channel is lost
//! may have been done or not; it is sent again, under the same id, only if it was said to be idempotent.
//! Where the broker has closed the channel over a request and does not say which, those that may be it are
//! sent one by one, each with a question after it, so that the next time it is known ([`refusal`]).

mod correlation;
mod line;
mod refusal;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;
use snowshoe_codec::{
    Content, Method, Oversized, PeerClose, PublisherConfirm, Returned, SendError, ShortString,
};

pub use self::correlation::Chance;
use self::correlation::{Correlation, Token};
use self::line::{Line, Step};
pub use self::wire::Publish;
use super::backoff::Backoff;
use crate::error::{ConnectionError, Error, RequestError, RequestErrorReason};
use crate::message::Message;
use crate::outcome::Return;

/// How a requester goes about it.
#[derive(Debug)]
pub struct Settings {
    pub replies: ReplyTo,
    pub confirms: bool,
    /// How many may be sent and not answered; more wait for their turn.
    pub max_in_flight: usize,
    /// Whether the broker may drop a request for which nobody waits any more.
    pub expires: bool,
    /// What its consumers are called, with the number of each. No others in the world are called like that.
    pub tag: String,
    pub backoff: Backoff,
    /// Of the delays.
    pub seed: u64,
    /// Of the correlation ids.
    pub chance: Chance,
}

/// Where answers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// Straight to the channel (RabbitMQ: direct reply-to).
    Direct,
    /// Into a queue that belongs to the connection.
    Queue,
}

/// A request by its number, which no other of the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Request {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    /// With all its properties but those by which it is answered.
    pub message: Message,
    pub timeout: Duration,
    /// Whether it may be sent again where it may have been done.
    pub idempotent: bool,
}

/// What is to be done, or has happened.
#[derive(Debug)]
pub enum Output {
    /// There is to be a channel, as soon as there is a connection.
    Open,
    /// The channel is to be closed.
    Close,
    /// This is to be sent on the channel.
    Send(Method),
    /// Requests can go out, for the first time.
    Started,
    /// The broker would not even let it start.
    Failed(Error),
    /// There is no way to get answers for now. It is tried again.
    Delayed(Error),
    /// A request has come to its end.
    Settled(RequestId, Result<Content, RequestError>),
}

/// The requests of one requester.
#[derive(Debug)]
pub struct Requests {
    settings: Settings,
    line: Line,
    correlation: Correlation,
    requests: BTreeMap<RequestId, Pending>,
    /// Those to be sent, for the first time or again, in order.
    waiting: BTreeSet<RequestId>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    /// Those that were sent on the present channel and have no answer, by the numbers of their publishes.
    sent: BTreeMap<u64, RequestId>,
    /// Those of them of which it is not known whether the broker has taken them.
    untaken: BTreeMap<u64, RequestId>,
    /// Those of [`sent`](Self::sent) on which the broker's confirm has not come, with confirms.
    unconfirmed: BTreeSet<u64>,
    /// How many were published on the channel.
    published: u64,
    /// Whether the broker is asked whether it has taken all of them.
    is_asked: bool,
    /// Whether it was online before.
    has_started: bool,
    /// How many answers came that nobody waited for.
    unmatched: u64,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    deadline: Instant,
    token: Token,
    /// The number of its publish on the present channel.
    number: Option<u64>,
    /// Whether it was sent on an earlier channel, and may have been done.
    is_doubtful: bool,
    /// Whether the broker may have closed a channel over it.
    is_suspected: bool,
}

impl Pending {
    /// Whether somebody may have done it.
    fn may_be_done(&self) -> bool {
        self.is_doubtful || self.number.is_some()
    }
}

impl Requests {
    pub fn new(mut settings: Settings) -> Self {
        Self {
            line: Line::new(&settings),
            correlation: Correlation::new(&mut settings.chance),
            settings,
            requests: BTreeMap::new(),
            waiting: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            sent: BTreeMap::new(),
            untaken: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            published: 0,
            is_asked: false,
            has_started: false,
            unmatched: 0,
            outputs: VecDeque::from([Output::Open]),
        }
    }

    /// Whether some wait to be sent.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether no request is under way.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many answers came that nobody waited for: too late, a second time, or from somebody else.
    #[cfg(test)]
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// Whether there is something to be done. Asking for the [next to publish](Self::next_publish) can bring that
    /// about.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    // What users ask for.

    /// Takes a request, which waits from now on.
    pub fn push(&mut self, now: Instant, id: RequestId, request: Request) {
        let deadline = after(now, request.timeout);
        let pending = Pending {
            request,
            deadline,
            token: Token::new(&mut self.settings.chance),
            number: None,
            is_doubtful: false,
            is_suspected: false,
        };
        self.requests.insert(id, pending);
        self.deadlines.insert((deadline, id));
        self.waiting.insert(id);
    }

    /// Nobody waits for this request any more.
    pub fn withdraw(&mut self, id: RequestId) {
        self.remove(id);
    }

    /// All that wait are told that the client is closed.
    pub fn close(&mut self) {
        for id in self.ids() {
            if let Some(pending) = self.remove(id) {
                let possibly_done = pending.may_be_done();
                self.settled(id, RequestErrorReason::Closed, possibly_done);
            }
        }
    }

    // Time.

    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.line.poll_timeout()).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            let Some(pending) = self.remove(id) else {
                self.deadlines.remove(&(deadline, id));
                continue;
            };
            let reason = RequestErrorReason::Timeout(pending.request.timeout);
            self.settled(id, reason, pending.may_be_done());
        }
        if self.line.retries(now) {
            self.outputs.push_back(Output::Open);
        }
    }

    // The channel.

    /// The channel that was to be opened is there: what is sent on it follows its opening.
    pub fn usable(&mut self) {
        let methods = self.line.usable();
        self.outputs.extend(methods.into_iter().map(Output::Send));
    }

    /// What was [to be sent](Output::Send) does not fit.
    pub fn unsendable(&mut self, now: Instant, error: SendError) {
        self.outputs.push_back(Output::Close);
        self.closed(now, error.into());
    }

    /// A call on the channel was answered.
    pub fn replied(&mut self, now: Instant, method: &Method) {
        if matches!(method, Method::BasicQosOk(_)) {
            return self.all_is_taken();
        }
        match self.line.replied(now, method) {
            Some(Step::Send(method)) => self.outputs.push_back(Output::Send(method)),
            Some(Step::Online) if !std::mem::replace(&mut self.has_started, true) => {
                self.outputs.push_back(Output::Started);
            }
            Some(Step::Online) | None => {}
        }
    }

    /// The broker has ended the consumer of the answers.
    pub fn cancelled(&mut self, now: Instant) {
        self.outputs.push_back(Output::Close);
        self.closed(now, Error::ChannelClosed);
    }

    /// The channel is gone, and the connection is not.
    pub fn closed(&mut self, now: Instant, error: Error) {
        self.unsay();
        let lost = RequestErrorReason::ChannelLost(Box::new(error.clone()));
        match &error {
            Error::Refused(close) => self.refused(close, &lost),
            _ => self.lost(&lost),
        }
        if !self.has_started {
            self.outputs.push_back(Output::Failed(error));
            return;
        }
        match self.line.lost(now, true) {
            None => self.outputs.push_back(Output::Open),
            Some(_) => self.outputs.push_back(Output::Delayed(error)),
        }
    }

    /// The connection is gone, and with it the channel if there was one. The broker may have said over what.
    pub fn disconnected(
        &mut self,
        now: Instant,
        cause: &ConnectionError,
        refusal: Option<&PeerClose>,
    ) {
        if !self.line.has_channel() {
            return;
        }
        self.unsay();
        let lost = RequestErrorReason::ConnectionLost(Box::new(cause.clone()));
        match refusal {
            Some(close) => self.refused(close, &lost),
            None => self.lost(&lost),
        }
        self.line.lost(now, false);
        self.outputs.push_back(Output::Open);
    }

    // Requests on their way.

    /// The next request to publish, which stays that until it was [sent](Self::sent) or
    /// [could not be](Self::not_sent).
    pub fn next_publish(&mut self, now: Instant) -> Option<Publish> {
        loop {
            if !self.line.is_online() {
                return None;
            }
            let id = *self.waiting.first()?;
            if self.sent.len() >= self.settings.max_in_flight.max(1) || self.waits_for_proof(id) {
                return None;
            }
            let (pending, reply_to) = (self.requests.get(&id)?, self.line.reply_to()?);
            let correlation = self.correlation.id(id, pending.token);
            let left = pending.deadline.saturating_duration_since(now);
            let expires = self.settings.expires.then_some(left);
            match Publish::new(id, &pending.request, reply_to, &correlation, expires) {
                Ok(publish) => return Some(publish),
                Err(error) => self.not_sent(id, error.into()),
            }
        }
    }

    /// A request was published.
    pub fn sent(&mut self, id: RequestId) {
        self.waiting.remove(&id);
        let Some(pending) = self.requests.get_mut(&id) else {
            return;
        };
        self.published += 1;
        pending.number = Some(self.published);
        self.sent.insert(self.published, id);
        self.untaken.insert(self.published, id);
        if self.settings.confirms {
            self.unconfirmed.insert(self.published);
        }
        let is_suspected = pending.is_suspected;
        // Of those that nobody waits for any more, nothing else might ever tell.
        let are_many = self.untaken.len() > self.settings.max_in_flight.max(32).saturating_mul(2);
        if (is_suspected || are_many) && !self.is_asked {
            self.ask_for_proof();
        }
    }

    /// A request cannot be published.
    pub fn not_sent(&mut self, id: RequestId, reason: RequestErrorReason) {
        if let Some(pending) = self.remove(id) {
            self.settled(id, reason, pending.is_doubtful);
        }
    }

    /// An answer came, or what may be one.
    pub fn answered(&mut self, content: Content) {
        match self.take(&content) {
            Some((id, _)) => self.outputs.push_back(Output::Settled(id, Ok(content))),
            None => self.unmatched = self.unmatched.saturating_add(1),
        }
    }

    /// An answer came that is too long, or what may be one.
    pub fn oversized(&mut self, oversized: &Oversized) {
        match self.take(oversized.message.content()) {
            Some((id, _)) => {
                let reason = RequestErrorReason::OversizedReply(oversized.excess);
                self.settled(id, reason, true);
            }
            None => self.unmatched = self.unmatched.saturating_add(1),
        }
    }

    /// No queue took a request.
    pub fn returned(&mut self, returned: &Returned) {
        if let Some((id, pending)) = self.take(&returned.content) {
            let reason = RequestErrorReason::Unroutable(Box::new(Return::new(returned)));
            self.settled(id, reason, pending.is_doubtful);
        }
    }

    /// The broker took responsibility for requests, or refused to.
    pub fn confirmed(&mut self, confirm: PublisherConfirm) {
        let PublisherConfirm {
            delivery_tag,
            multiple,
            ack,
        } = confirm;
        let last = match (delivery_tag, multiple) {
            (0, true) => u64::MAX,
            (tag, _) => tag,
        };
        let first = if multiple { 0 } else { last };
        let told: Vec<_> = (self.unconfirmed.range(first..=last).copied()).collect();
        for number in told {
            self.unconfirmed.remove(&number);
            if !ack
                && let Some(id) = self.sent.get(&number).copied()
                && self.remove(id).is_some()
            {
                // A queue may have dead-lettered what it refused, and another may have taken it.
                self.settled(id, RequestErrorReason::Nacked, true);
            }
        }
        if multiple {
            self.are_taken(last);
        } else {
            self.untaken.remove(&last);
        }
    }

    /// Takes out the request that a message names by its correlation id. The broker has taken it then, and all
    /// that were published before it.
    fn take(&mut self, content: &Content) -> Option<(RequestId, Pending)> {
        let id = self.named_by(content)?;
        let pending = self.remove(id)?;
        if let Some(number) = pending.number {
            self.are_taken(number);
        }
        Some((id, pending))
    }

    /// The broker has taken all up to this one.
    fn are_taken(&mut self, last: u64) {
        self.untaken = self.untaken.split_off(&last.saturating_add(1));
    }

    /// The request that a message names by its correlation id.
    fn named_by(&self, content: &Content) -> Option<RequestId> {
        let properties = content.properties().ok()?;
        let (id, token) = self
            .correlation
            .read(properties.correlation_id?.as_bytes())?;
        let pending = self.requests.get(&id)?;
        (pending.token == token).then_some(id)
    }

    /// The channel is gone: what was sent on it is sent again if it may be, and has failed otherwise.
    fn lost(&mut self, reason: &RequestErrorReason) {
        let sent = self.begin_anew();
        for id in sent.into_values() {
            self.lost_one(id, reason, true);
        }
    }

    fn lost_one(&mut self, id: RequestId, reason: &RequestErrorReason, may_be_done: bool) {
        let Some(pending) = self.requests.get_mut(&id) else {
            return;
        };
        pending.number = None;
        pending.is_doubtful |= may_be_done;
        if pending.request.idempotent {
            self.waiting.insert(id);
        } else if let Some(pending) = self.remove(id) {
            self.settled(id, reason.clone(), pending.is_doubtful);
        }
    }

    /// The channel is gone, and what was to be sent on it with it: it says nothing to the next.
    fn unsay(&mut self) {
        (self.outputs).retain(|output| !matches!(output, Output::Send(_)));
    }

    /// Forgets the channel; what was sent on it.
    fn begin_anew(&mut self) -> BTreeMap<u64, RequestId> {
        self.untaken.clear();
        self.unconfirmed.clear();
        self.published = 0;
        self.is_asked = false;
        std::mem::take(&mut self.sent)
    }

    fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        self.waiting.remove(&id);
        if let Some(number) = pending.number {
            self.sent.remove(&number);
            self.unconfirmed.remove(&number);
        }
        Some(pending)
    }

    fn settled(&mut self, id: RequestId, reason: RequestErrorReason, possibly_done: bool) {
        let mut error = RequestError::not_done(reason);
        error.possibly_done = possibly_done;
        self.outputs.push_back(Output::Settled(id, Err(error)));
    }

    fn ids(&self) -> Vec<RequestId> {
        self.requests.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests;
