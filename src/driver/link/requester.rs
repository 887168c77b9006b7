//! The requester of a connection, which has it to itself: a broker that is short of memory stops reading who
//! publishes, and a requester has to publish where it gets its answers.

use std::collections::BTreeMap;
use std::time::Instant;

use log::Level;
use snowshoe_codec as codec;
use snowshoe_codec::{CloseReason, Content, Incoming};

use super::Link;
use super::producers::is_full;
use crate::core::requests::{Output, Request, RequestId, Requests, Settings};
use crate::core::session::{ChannelKey, Session};
use crate::core::topology::Topology;
use crate::error::{ConnectionError, ConnectionErrorReason, Error, RequestError};
use crate::shared::command::RequesterId;
use crate::sync::answer::Answer;

type Answers = BTreeMap<RequestId, Answer<Result<Content, RequestError>>>;

pub(super) struct Requester {
    id: RequesterId,
    requests: Requests,
    channel: Option<ChannelKey>,
    /// Whoever waits for it to start.
    started: Option<Answer<Result<(), Error>>>,
    answers: Answers,
}

impl Requester {
    /// The requester whose channel this is.
    pub(super) fn of(requester: &mut Option<Self>, channel: ChannelKey) -> Option<&mut Self> {
        (requester.as_mut()).filter(|requester| requester.channel == Some(channel))
    }

    /// Whether every request has come to its end.
    pub(super) fn is_drained(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether some requests are to be sent, and could not.
    pub(super) fn waits_for_room(&self) -> bool {
        self.requests.has_waiting()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.requests.handle_timeout(now);
    }

    pub(super) fn usable(&mut self) {
        self.requests.usable();
    }

    /// Something came over its channel.
    pub(super) fn event(&mut self, now: Instant, event: codec::Event) {
        use codec::Event;
        match event {
            Event::Delivery { delivery, .. } => self.requests.answered(delivery.content),
            Event::Reply { method, .. } => self.requests.replied(now, &method),
            Event::Returned { returned, .. } => self.requests.returned(&returned),
            Event::Oversized { oversized, .. } => match &oversized.message {
                Incoming::Returned(returned) => self.requests.returned(returned),
                _ => self.requests.oversized(&oversized),
            },
            Event::Confirm { confirm, .. } => self.requests.confirmed(confirm),
            Event::ConsumerCancelled { .. } => self.requests.cancelled(now),
            _ => {}
        }
    }

    /// Its channel is gone. Where the connection is, too, that is told with its cause.
    pub(super) fn closed(&mut self, now: Instant, error: Error) {
        if !matches!(error, Error::ConnectionLost) {
            self.requests.closed(now, error);
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, cause: &ConnectionError) {
        let refusal = match &cause.reason {
            ConnectionErrorReason::Closed(CloseReason::Peer(close)) => Some(close),
            _ => None,
        };
        self.requests.disconnected(now, cause, refusal);
    }

    /// Publishes what can be. Whether anything was.
    fn publish(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        while !is_full(session)
            && let Some(mut wire) = self.channel.and_then(|key| session.user_channel(key))
            && wire.flow_active()
            && let Some(publish) = self.requests.next_publish(now)
        {
            moved = true;
            let published = wire.publish(&codec::Publish {
                exchange: publish.exchange.as_short_str(),
                routing_key: publish.routing_key.as_short_str(),
                mandatory: publish.mandatory,
                properties: &publish.properties,
                body: &publish.body,
            });
            match published {
                Ok(_) => self.requests.sent(publish.id),
                Err(error) => self.requests.not_sent(publish.id, error.into()),
            }
        }
        moved
    }

    /// Tells who waits.
    fn settle(answers: &mut Answers, id: RequestId, result: Result<Content, RequestError>) {
        if let Some(answer) = answers.remove(&id) {
            _ = answer.send(result);
        }
    }
}

/// Whoever waits is told, and dropping the answers tells the rest.
impl Drop for Requester {
    fn drop(&mut self) {
        self.requests.close();
        while let Some(output) = self.requests.poll_output() {
            if let Output::Settled(id, result) = output {
                Self::settle(&mut self.answers, id, result);
            }
        }
    }
}

impl Link {
    pub(in super::super) fn add_requester(
        &mut self,
        id: RequesterId,
        settings: Settings,
        started: Answer<Result<(), Error>>,
    ) {
        self.requester = Some(Requester {
            id,
            requests: Requests::new(settings),
            channel: None,
            started: Some(started),
            answers: BTreeMap::new(),
        });
    }

    pub(in super::super) fn remove_requester(&mut self, id: RequesterId) {
        self.requester.take_if(|requester| requester.id == id);
    }

    /// Where the requester is gone, dropping the answer tells.
    pub(in super::super) fn request(
        &mut self,
        now: Instant,
        requester: RequesterId,
        (id, request): (RequestId, Request),
        answer: Answer<Result<Content, RequestError>>,
    ) {
        if let Some(requester) = self.requester(requester) {
            requester.answers.insert(id, answer);
            requester.requests.push(now, id, request);
        }
    }

    pub(in super::super) fn withdraw_request(&mut self, requester: RequesterId, id: RequestId) {
        if let Some(requester) = self.requester(requester) {
            requester.requests.withdraw(id);
            requester.answers.remove(&id);
        }
    }

    fn requester(&mut self, id: RequesterId) -> Option<&mut Requester> {
        (self.requester.as_mut()).filter(|requester| requester.id == id)
    }

    /// Does what the requester wants done, and publishes its requests. Whether there was anything.
    pub(super) fn go_on_requesting(&mut self, now: Instant, topology: &mut Topology) -> bool {
        let Some(requester) = &mut self.requester else {
            return false;
        };
        let session = &mut self.session;
        let mut moved = false;
        loop {
            while let Some(output) = requester.requests.poll_output() {
                moved = true;
                match output {
                    Output::Open => {
                        if let Some(old) = requester.channel {
                            session.remove_channel(now, old);
                        }
                        requester.channel = Some(session.add_channel(now));
                    }
                    Output::Close => {
                        if let Some(old) = requester.channel.take() {
                            session.remove_channel(now, old);
                        }
                    }
                    Output::Send(method) => {
                        if let Some(channel) = requester.channel
                            && let Err(error) = session.send_by_hand(now, channel, method, topology)
                        {
                            requester.requests.unsendable(now, error);
                        }
                    }
                    Output::Started => {
                        if let Some(started) = requester.started.take() {
                            _ = started.send(Ok(()));
                        }
                    }
                    Output::Failed(error) => {
                        if let Some(started) = requester.started.take() {
                            _ = started.send(Err(error));
                        }
                        self.requester = None;
                        return true;
                    }
                    Output::Delayed(error) => self.log.say(
                        now,
                        Level::Warn,
                        format_args!("a requester cannot get answers for now: {error}"),
                    ),
                    Output::Settled(id, result) => {
                        Requester::settle(&mut requester.answers, id, result);
                    }
                }
            }
            if !self.blocked {
                moved |= requester.publish(now, session);
            }
            if !requester.requests.has_output() {
                return moved;
            }
        }
    }
}
