//! One connection: its transport, its session, and the handles of those who use it.

mod attempts;
mod channels;
mod consumers;
mod deadlines;
mod log_limit;
mod outputs;
mod producers;
mod report;
mod requester;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use log::Level;
use snowshoe_codec::method::{Arguments, basic};
use snowshoe_codec::time::{after, earlier};
use snowshoe_codec::{ClientOptions, CloseReason, Method, ShortString};

use self::attempts::Attempts;
use self::channels::Channels;
use self::consumers::Consumers;
use self::log_limit::{ClientName, LogLimit};
use self::producers::Producers;
use self::report::Report;
use self::requester::Requester;
use super::blocks::Blocks;
use super::config::Config;
use super::guard::Guarded;
use super::known::{KnownServers, Place};
use super::login::{Asking, Login};
use super::readiness::Readiness;
use super::stream::{Finishing, Stream};
use crate::core::session::{CallToken, ConsumerKey, ProducerKey, Session};
use crate::core::subscription::ConsumerSpec;
use crate::core::topology::Topology;
use crate::core::{Epoch, renewal};
use crate::error::{ConnectionError, ConnectionErrorReason, ConsumerEnd, Error, SendMessageError};
use crate::events::{ConnectionRole, Entity, Event};
use crate::outcome::DropReason;
use crate::runtime::{Runtime, Timer};
use crate::shared::channel::{ChannelInbox, ChannelOperation};
use crate::shared::handle::Shared;
use crate::shared::inbox::Inbox;
use crate::shared::outbox::Outbox;
use crate::shared::place::LinkIndex;
use crate::sync::answer::Answer;
use crate::transport::{Connecting, Transport};

pub(super) struct Link {
    id: LinkIndex,
    role: ConnectionRole,
    config: Arc<Config>,
    runtime: Arc<dyn Runtime>,
    shared: Arc<Shared>,
    session: Session,
    io: Io,
    attempts: Attempts,
    report: Report,
    /// Where the handshake goes by what is known of the server.
    ahead_at: Option<Place>,
    /// What transports are read into.
    blocks: Blocks,
    /// Whether the session stopped in the middle of what was read.
    is_behind: bool,
    timer: Box<dyn Timer>,
    /// Whether the timer is to be asked.
    alarm: Readiness,
    /// What the timer is set to; it may be earlier than needed, never later.
    armed: Option<Instant>,
    /// When something is due, as was found at the end of the last turn. What came about since then waits for the
    /// end of the next one.
    due: Option<Instant>,
    producers: Producers,
    consumers: Consumers,
    channels: Channels,
    requester: Option<Requester>,
    /// When to look for deliveries that are unsettled for too long, as far as that is known.
    consumers_due: Option<Instant>,
    calls: BTreeMap<CallToken, Answer<Result<Method, Error>>>,
    blocked: bool,
    /// Whether producers may publish now.
    publishes: bool,
    log: LogLimit,
    was_ready: bool,
    moved: bool,
    given_up: Option<ConnectionError>,
    /// When what it has logged in with is to be renewed.
    renews_at: Option<Instant>,
}

/// When credentials of now are to be renewed; those without a secret to tell cannot be.
fn renewal_of(now: Instant, login: &Login) -> Option<Instant> {
    let until = login.valid_until.filter(|_| login.secret.is_some())?;
    Some(renewal::due(now, until))
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    Some,
    End,
}

enum Io {
    Idle,
    Dialing(Epoch, Guarded<Connecting>),
    /// The transport is connected, and credentials are asked for.
    LoggingIn(Epoch, Guarded<Box<dyn Transport>>, Asking),
    Open(Stream),
    /// The session has ended; its last words are being written.
    Finishing(Finishing),
}

impl Link {
    pub(super) fn new(
        id: LinkIndex,
        session: Session,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
        shared: Arc<Shared>,
    ) -> Self {
        let timer = runtime.timer();
        let attempts = Attempts::new(&config.endpoints);
        let client = ClientName(config.name.clone());
        let log = LogLimit::new(client.clone());
        let report = Report::new(id, Arc::clone(&shared), client);
        Self {
            id,
            role: id.role(),
            config,
            runtime,
            shared,
            session,
            io: Io::Idle,
            attempts,
            report,
            ahead_at: None,
            blocks: Blocks::new(),
            is_behind: false,
            timer,
            alarm: Readiness::new(),
            armed: None,
            due: None,
            producers: Producers::default(),
            consumers: Consumers::default(),
            channels: Channels::default(),
            requester: None,
            consumers_due: None,
            calls: BTreeMap::new(),
            blocked: false,
            publishes: false,
            log,
            was_ready: false,
            moved: false,
            given_up: None,
            renews_at: None,
        }
    }

    pub(super) fn id(&self) -> LinkIndex {
        self.id
    }

    /// The first connection need not wait until everything is declared again: it is there.
    pub(super) fn trust_what_is_declared(&mut self) {
        self.session.trust_what_is_declared();
    }

    /// Whether all that is declared was declared on it a short while ago.
    pub(super) fn has_just_declared(&self, now: Instant) -> bool {
        self.session.has_just_declared(now)
    }

    /// Whether it was told to connect.
    pub(super) fn has_started(&self) -> bool {
        self.session.has_started()
    }

    /// Begins to connect, unless it has begun.
    pub(super) fn start(&mut self, now: Instant) {
        if !self.session.has_started() {
            self.session.start(now);
            self.report.started(now);
        }
    }

    // What users ask for.

    pub(super) fn add_producer(&mut self, now: Instant, outbox: Arc<Outbox>) {
        self.producers.add(now, self.id, &mut self.session, outbox);
    }

    pub(super) fn add_consumer(
        &mut self,
        now: Instant,
        consumer: (Arc<Inbox>, ConsumerSpec),
        started: Answer<Result<(), Error>>,
    ) {
        self.consumers
            .add(now, self.id, &mut self.session, consumer, started);
        self.consumers_due = Some(now);
    }

    pub(super) fn cancel_consumer(
        &mut self,
        now: Instant,
        key: ConsumerKey,
        inbox: &Arc<Inbox>,
        topology: &mut Topology,
    ) {
        let session = &mut self.session;
        self.consumers.cancel(now, session, key, inbox, topology);
    }

    /// A consumer is to receive nothing for now, or to go on.
    pub(super) fn pause_consumer(
        &mut self,
        now: Instant,
        key: ConsumerKey,
        inbox: &Arc<Inbox>,
        topology: &Topology,
    ) {
        let session = &mut self.session;
        self.consumers.pause(now, session, key, inbox, topology);
    }

    pub(super) fn call(
        &mut self,
        now: Instant,
        method: Method,
        answer: Answer<Result<Method, Error>>,
    ) {
        let token = CallToken(self.shared.next_id());
        self.calls.insert(token, answer);
        self.session.call(now, token, method);
    }

    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        inbox: Arc<ChannelInbox>,
        answer: Answer<Result<(), Error>>,
    ) {
        self.channels.open(now, &mut self.session, inbox, answer);
    }

    pub(super) fn operate(&mut self, inbox: Arc<ChannelInbox>, operation: ChannelOperation) {
        self.channels.ask(inbox, operation);
    }

    pub(super) fn update_secret(&mut self, now: Instant, secret: &Bytes, reason: &ShortString) {
        if let Err(error) = self.tell_secret(now, secret, reason) {
            let who = self.report.who();
            log::warn!("{who}: the secret was not updated: {error}");
        }
    }

    fn tell_secret(
        &mut self,
        now: Instant,
        secret: &Bytes,
        reason: &ShortString,
    ) -> Result<(), Error> {
        // The next connection asks for the credentials anyway.
        if !matches!(self.io, Io::Open(_)) {
            return Ok(());
        }
        let session = &mut self.session;
        session.update_secret(now, secret.clone(), reason.clone())
    }

    /// When what it has logged in with is to be renewed, if it is open.
    pub(super) fn renews_at(&self) -> Option<Instant> {
        self.renews_at.filter(|_| self.report.peer().is_some())
    }

    /// There are other credentials, which an open connection is told.
    ///
    /// # Errors
    /// They cannot be told, so that they are still to be renewed.
    pub(super) fn renew(&mut self, now: Instant, login: &Login) -> Result<(), Error> {
        if self.renews_at().is_none() {
            return Ok(());
        }
        if let Some(secret) = &login.secret {
            let reason = ShortString::from_static("the credentials were renewed");
            self.tell_secret(now, secret, &reason)?;
        }
        self.renews_at = renewal_of(now, login);
        Ok(())
    }

    pub(super) fn producer_is_ready(&mut self, now: Instant, key: ProducerKey) {
        if self.publishes && !self.producers.has_max_age(key) {
            // How it stands is seen when it is its turn to publish.
            self.producers.is_ready(key);
        } else {
            self.producers.look_at(now, &mut self.session, key);
        }
    }

    /// A producer has to wait for what it publishes on, or to, which is told.
    pub(super) fn producer_is_delayed(&self, key: ProducerKey, reason: Error) {
        if let Some(producer) = self.producers.id(key).map(Entity::Producer) {
            outputs::delayed(&self.shared.hub, self.report.client(), producer, reason);
        }
    }

    fn producer_is_restored(&self, key: ProducerKey) {
        if let Some(producer) = self.producers.id(key).map(Entity::Producer) {
            outputs::restored(&self.shared.hub, self.report.client(), producer);
        }
    }

    /// What a producer publishes to is there, or the broker refuses it: its messages need not wait for it any
    /// more.
    pub(super) fn producer_is_declared(
        &mut self,
        now: Instant,
        key: ProducerKey,
        declared: Result<(), Error>,
        was_delayed: bool,
    ) {
        if declared.is_ok() && was_delayed {
            self.producer_is_restored(key);
        }
        if let Err(error) = &declared
            && let Some(producer) = self.producers.id(key)
        {
            self.log.say(
                now,
                Level::Error,
                format_args!("what a producer publishes to cannot be declared: {error}"),
            );
            let error = error.clone();
            (self.shared.hub).emit(&Event::NotDeclared { producer, error });
        }
        (self.producers).is_declared(now, &mut self.session, key, declared);
    }

    pub(super) fn owes_room(&mut self, key: ProducerKey) {
        self.producers.owes_room(key);
    }

    /// A handler of a consumer has panicked, which is told.
    pub(super) fn handler_panicked(&mut self, now: Instant, inbox: &Inbox, message: String) {
        let consumer = inbox.id();
        let queue = &consumer.queue;
        self.log.say(
            now,
            Level::Error,
            format_args!("a handler of a message from {queue:?} panicked: {message}"),
        );
        let panicked = Event::HandlerPanicked { consumer, message };
        self.shared.hub.emit(&panicked);
    }

    /// A reply to a request cannot be sent, which is told.
    pub(super) fn reply_failed(&mut self, now: Instant, inbox: &Inbox, error: SendMessageError) {
        let consumer = inbox.id();
        let queue = &consumer.queue;
        self.log.say(
            now,
            Level::Error,
            format_args!("a reply to a request from {queue:?} cannot be sent: {error}"),
        );
        let failed = Event::ReplyFailed { consumer, error };
        self.shared.hub.emit(&failed);
    }

    /// A message could not be decoded, and goes to no handler, which is told.
    pub(super) fn undecodable(&mut self, now: Instant, inbox: &Inbox, reason: String) {
        let consumer = inbox.id();
        let queue = &consumer.queue;
        // The reason may tell of the body, which has no place in a log.
        self.log.say(
            now,
            Level::Warn,
            format_args!("a message from {queue:?} cannot be decoded, and goes to no handler"),
        );
        let undecodable = Event::Undecodable { consumer, reason };
        self.shared.hub.emit(&undecodable);
    }

    pub(super) fn consumer_is_ready(&mut self, key: ConsumerKey) {
        self.consumers.is_ready(key);
    }

    // The end.

    pub(super) fn stop_accepting(&mut self) {
        self.producers.stop_accepting();
    }

    /// Whoever works on deliveries is to begin with no more of them.
    pub(super) fn stop_consuming(&self) {
        self.consumers.stop();
    }

    /// Whether every message has its outcome, and every settle was written.
    pub(super) fn is_drained(&self) -> bool {
        let are_answered = self.requester.as_ref().is_none_or(Requester::is_drained);
        are_answered && self.producers.are_drained() && self.consumers.have_settled()
    }

    /// Asks the broker to send the consumers no more, where it matters how what they have goes back.
    pub(super) fn call_off_consumers(&mut self, now: Instant) {
        self.consumers.call_off(now, &mut self.session);
    }

    /// Whether the broker has not answered that yet.
    pub(super) fn calls_off(&self) -> bool {
        self.session.calls_off()
    }

    /// Ends all handles: what is not settled is given up.
    pub(super) fn give_up(&mut self, reason: DropReason, end: &ConsumerEnd) {
        self.producers.give_up(reason, &self.shared);
        self.consumers.give_up(&mut self.session, end);
        self.channels.give_up();
        self.requester = None;
        // Dropping the answers tells.
        self.calls.clear();
    }

    pub(super) fn close(&mut self, now: Instant, deadline: Instant) {
        self.session.close(now, deadline);
        self.report_end(now);
    }

    /// Drops the transport, with a reset.
    pub(super) fn abort(&mut self, now: Instant) {
        match mem::replace(&mut self.io, Io::Idle) {
            Io::Open(stream) => stream.abort(),
            Io::Finishing(finishing) => finishing.abort(),
            Io::Idle | Io::Dialing(..) | Io::LoggingIn(..) => {}
        }
        self.session.abandon(now);
        self.report_end(now);
    }

    fn report_end(&mut self, now: Instant) {
        match self.session.is_closed() {
            true => self.report.closed(now),
            false => self.report.closes(now),
        }
    }

    /// Nothing comes of what was under way on it.
    pub(super) fn let_go(&mut self, topology: &mut Topology) {
        self.session.tell_what_ended(topology);
    }

    /// Whether it has ended, or is about to.
    pub(super) fn is_closing(&self) -> bool {
        self.session.is_closing()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.is_closed() && matches!(self.io, Io::Idle)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// Whether there is anybody whom it is for.
    pub(super) fn is_used(&self) -> bool {
        !self.consumers.is_empty() || self.requester.is_some()
    }

    pub(super) fn given_up(&self) -> Option<&ConnectionError> {
        self.given_up.as_ref()
    }

    /// How many bytes are encoded and not written.
    #[cfg(feature = "_internal")]
    pub(super) fn unwritten(&mut self) -> usize {
        producers::unwritten(&mut self.session)
    }

    // The loop.

    /// Whether anything moved in its last turn.
    pub(super) fn moved(&self) -> bool {
        self.moved
    }

    /// Does what can be done now. Whether anything moved; otherwise it rests, until something wakes the driver.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        topology: &mut Topology,
        known: &mut KnownServers,
        may_publish: bool,
    ) -> bool {
        self.moved = self.go_on(cx, now, topology, known, may_publish) || self.rest(cx, now);
        self.moved
    }

    fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        topology: &mut Topology,
        known: &mut KnownServers,
        may_publish: bool,
    ) -> bool {
        self.withdraw_calls();
        let mut moved = self.dial(cx, now, known);
        let read = self.read(cx, now);
        moved |= read == Read::End;
        moved |= self.let_time_pass(now, topology);
        moved |= self.producers.handle_timeout(now, &mut self.session);
        if let Some(requester) = &mut self.requester {
            requester.handle_timeout(now);
        }
        moved |= self.carry_out(now, topology, known);
        let (session, log) = (&mut self.session, &mut self.log);
        self.consumers.settle(now, session, topology, log);
        self.tell_losses();
        self.tell_overdue(now);
        moved |= self.channels.operate(now, &mut self.session, topology);
        moved |= self.go_on_requesting(now, topology);
        self.publishes = may_publish && !self.blocked;
        if self.publishes {
            if self.producers.end_trials(now, &mut self.session) {
                let unanswered = CloseReason::CallTimeout(basic::Qos::ID);
                let cause = ConnectionErrorReason::Closed(unanswered);
                self.session.transport_ended(now, Some(cause));
                moved = true;
            }
            moved |= self.producers.publish(now, &mut self.session);
        }
        moved |= self.write(cx, now);
        moved |= self.arm(cx, now);
        // What was done for users may have come to something.
        moved |= self.session.has_output(topology);
        // All that came of what was read is done: what there is to do is to read on.
        moved || read == Read::Some && self.read_ahead()
    }

    /// There is nothing to do for now. Whether there is again, since a timer has gone off.
    fn rest(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.producers.rest(now);
        self.producers.poll_timeout().is_some() && self.arm(cx, now)
    }

    fn tell_losses(&mut self) {
        let (hub, client) = (&self.shared.hub, self.report.client());
        self.consumers.tell_losses(|consumer, count| {
            let entity = Entity::Consumer(consumer.clone());
            log::warn!("{client}{entity} does not keep up: {count} deliveries were dropped");
            hub.emit_with(|| Event::DeliveriesDropped { consumer, count });
        });
    }

    /// What nobody waits for any more, and what was not sent, is not going to be.
    fn withdraw_calls(&mut self) {
        let calls = &mut self.calls;
        if calls.is_empty() {
            return;
        }
        self.session.withdraw_calls(|token| {
            let is_given_up = calls.get(&token).is_some_and(Answer::is_closed);
            if is_given_up {
                calls.remove(&token);
            }
            is_given_up
        });
    }

    fn dial(&mut self, cx: &mut Context<'_>, now: Instant, known: &KnownServers) -> bool {
        let moved = self.reach(cx, now);
        self.log_in(cx, now, known) || moved
    }

    /// Connects the transport.
    fn reach(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Io::Dialing(epoch, connecting) = &mut self.io else {
            return false;
        };
        let epoch = *epoch;
        let polled = connecting.poll(cx);
        // It is to be known however the attempt ends, and be it by its deadline.
        self.session.untried(epoch, self.attempts.untried());
        let Poll::Ready(result) = polled else {
            return false;
        };
        self.io = Io::Idle;
        match result {
            Ok(transport) => {
                // Asked at every attempt (fault 28).
                let asking = Asking::begin(&self.config.credentials, now);
                self.io = Io::LoggingIn(epoch, transport, asking);
            }
            Err(error) => {
                let error = ConnectionErrorReason::Dial(Arc::new(error));
                self.session.dial_failed(now, epoch, error);
            }
        }
        true
    }

    /// Begins the handshake, once there is something to log in with.
    fn log_in(&mut self, cx: &mut Context<'_>, now: Instant, known: &KnownServers) -> bool {
        let Io::LoggingIn(_, _, asking) = &mut self.io else {
            return false;
        };
        let Poll::Ready(login) = asking.poll(cx, now, &*self.runtime) else {
            return false;
        };
        let Io::LoggingIn(epoch, transport, _) = mem::replace(&mut self.io, Io::Idle) else {
            return false;
        };
        match login {
            Ok(login) => {
                self.renews_at = renewal_of(now, &login);
                let mut options = self.client_options(login);
                let place = self.attempts.place();
                let may_foresee = self.config.pipelines_handshake && self.session.may_foresee();
                let place = place.filter(|_| may_foresee);
                options.known_server = place.and_then(|place| known.get(now, place)).cloned();
                self.ahead_at = place.filter(|_| options.known_server.is_some());
                // Where it comes too late, the attempt is dropped (fault 34).
                if self.session.dialed(now, epoch, options) {
                    let reached = self.attempts.place().map(|place| place.address);
                    self.report.reached(reached);
                    self.blocks.begin_life();
                    self.io = Io::Open(Stream::new(transport));
                }
            }
            Err(error) => {
                let error = ConnectionErrorReason::Credentials(error);
                self.session.dial_failed(now, epoch, error);
            }
        }
        true
    }

    fn client_options(&self, login: Login) -> ClientOptions {
        ClientOptions {
            mechanisms: login.mechanisms,
            virtual_host: self.config.virtual_host.clone(),
            properties: self.config.properties_for(self.role),
            limits: self.config.limits.clone(),
            known_server: None,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Read {
        let Io::Open(stream) = &mut self.io else {
            return Read::Nothing;
        };
        let error = match stream.read(cx, &mut self.blocks) {
            Poll::Pending => return Read::Nothing,
            Poll::Ready(Ok(1..)) => {
                self.take_in(now);
                return Read::Some;
            }
            Poll::Ready(Ok(0)) => None,
            Poll::Ready(Err(error)) => Some(ConnectionErrorReason::Transport(Arc::new(error))),
        };
        self.reset();
        self.session.transport_ended(now, error);
        Read::End
    }

    /// Whether there is more to read by now, which is read for the next turn.
    fn read_ahead(&mut self) -> bool {
        match &mut self.io {
            Io::Open(stream) => stream.read_ahead(&mut self.blocks),
            _ => false,
        }
    }

    /// Drops the transport of a connection that has ended. What the system has not sent of it is dropped, too:
    /// it would be done later, after what the next connection says.
    fn reset(&mut self) {
        if let Io::Open(stream) = mem::replace(&mut self.io, Io::Idle) {
            stream.abort();
        }
    }

    /// Gives the session what was read.
    fn take_in(&mut self, now: Instant) {
        if let Io::Open(stream) = &mut self.io {
            let (consumers, input) = (&mut self.consumers, stream.input());
            self.session.copy_below(self.blocks.share_from());
            self.is_behind = (self.session).receive(now, input, |consumer, delivery| {
                consumers.deliver(consumer, delivery);
            });
        }
    }

    /// Tells of deliveries that the broker is about to take back.
    fn tell_overdue(&mut self, now: Instant) {
        // Looked at as seldom as it is due: there may be many consumers.
        if self.consumers_due.is_none_or(|due| due > now) {
            return;
        }
        let (hub, log) = (&self.shared.hub, &mut self.log);
        self.consumers.tell_overdue(now, |consumer, unsettled_for| {
            let minutes = unsettled_for.as_secs() / 60;
            log.say(
                now,
                Level::Warn,
                format_args!(
                    "consumer {:?} has not settled a delivery for {minutes} min: the broker takes it back when its \
                     consumer timeout is over, after 30 min as a rule",
                    consumer.tag
                ),
            );
            hub.emit(&Event::Overdue {
                consumer,
                unsettled_for,
            });
        });
        self.consumers_due = self.consumers.poll_timeout();
    }

    fn let_time_pass(&mut self, now: Instant, topology: &mut Topology) -> bool {
        // It need not be the session's, which does no harm.
        let due = self.due.is_some_and(|at| at <= now);
        if due {
            self.session.handle_timeout(now, topology);
        }
        due
    }

    /// Looks for what is due next, and sets the timer, unless it goes off early enough: one that goes off too
    /// early costs a turn, and setting it costs something every time. Whether it has gone off, or something is
    /// due now.
    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let io = match &self.io {
            Io::Open(stream) => self.stalls_at(stream),
            Io::Finishing(finishing) => Some(finishing.deadline()),
            Io::LoggingIn(_, _, asking) => Some(asking.deadline()),
            Io::Idle | Io::Dialing(..) => None,
        };
        let trials = self.producers.trials_due().filter(|_| self.publishes);
        let due = earlier(self.session.poll_timeout(), self.producers.poll_timeout());
        let requests = (self.requester.as_ref()).and_then(Requester::poll_timeout);
        let due = earlier(due, self.consumers_due);
        self.due = earlier(earlier(earlier(due, requests), trials), io);
        if let Some(due) = self.due
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            self.timer.set_at(due.max(now));
            self.alarm.ask();
        }
        let gone_off = self.alarm.was_woken(cx) && {
            let cx = &mut Context::from_waker(self.alarm.waker());
            self.timer.poll(cx).is_ready()
        };
        if gone_off {
            self.armed = None;
        }
        gone_off || self.due.is_some_and(|due| due <= now)
    }

    /// When a transport that takes no bytes is given up. A broker that blocks publishers reads
    /// nothing, and is no reason to reconnect (fault 12).
    fn stalls_at(&self, stream: &Stream) -> Option<Instant> {
        let since = stream.stalled_since().filter(|_| !self.blocked)?;
        Some(after(since, self.config.write_timeout))
    }

    /// Writes what there is. Whether something can go on by it.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let error = match &mut self.io {
            Io::Open(stream) => {
                let Some(outbound) = self.session.outbound() else {
                    return false;
                };
                let before = outbound.written();
                let result = stream.write(now, outbound);
                let written = outbound.written();
                let has_written = written != before;
                // As a rule all that there was has left, and nothing comes of that but the broker's answer.
                let mut moved = has_written && self.waits_for_room();
                if has_written {
                    moved |= self.producers.flushed(now, &mut self.session, written);
                }
                match result {
                    Err(error) => ConnectionErrorReason::Transport(Arc::new(error)),
                    Ok(()) => return moved || self.check_stall(now),
                }
            }
            Io::Finishing(finishing) => {
                let finished = finishing.poll(cx, now).is_ready();
                if finished {
                    self.io = Io::Idle;
                }
                return finished;
            }
            Io::Idle | Io::Dialing(..) | Io::LoggingIn(..) => return false,
        };
        self.session.transport_ended(now, Some(error));
        true
    }

    /// Whether there is more to say once the transport has taken what waits to be written.
    fn waits_for_room(&self) -> bool {
        self.producers.wait_for_room()
            || self.channels.wait_for_room()
            || (self.requester.as_ref()).is_some_and(Requester::waits_for_room)
    }

    fn check_stall(&mut self, now: Instant) -> bool {
        let Io::Open(stream) = &self.io else {
            return false;
        };
        let stalled = self.stalls_at(stream).is_some_and(|at| at <= now);
        if stalled {
            self.session
                .transport_ended(now, Some(ConnectionErrorReason::WriteStalled));
        }
        stalled
    }
}
