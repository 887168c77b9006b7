//! The only poll loop: it moves bytes between transports and sessions, and what comes of them
//! between sessions and users.
//!
//! ```text
//! loop until nothing moved:
//!     take commands, and handles that have something to write
//!     each connection on which anything can have happened:
//!         read; let timers run; carry out what the session says; write
//!         and where nothing came of that but deliveries and confirms: read what the next turn begins with
//!         and where there is nothing: wake who waits for what is not worth a wake while there is more to come
//! park: register the waker, only if all is still quiet
//! ```
//!
//! While it runs nobody can wake it, so a burst of publishes wakes it once. Reading never waits for
//! writing, and nothing in here waits for user code.

mod blocks;
mod closing;
mod config;
mod declaring;
mod delays;
mod guard;
mod known;
mod link;
mod login;
mod readiness;
mod renewal;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use self::closing::{Closing, GOODBYE, Step};
pub(crate) use self::config::{Config, Provided};
use self::declaring::Declaring;
use self::delays::Delays;
use self::known::KnownServers;
use self::link::Link;
use self::renewal::Renewal;
use crate::core::session::{Session, Settings};
use crate::core::topology::Topology;
use crate::error::{ConnectionError, ConsumerEnd, Error, RequestError, RequestErrorReason};
use crate::outcome::DropReason;
use crate::runtime::{Runtime, Timer};
use crate::shared::command::{Command, RequesterId};
use crate::shared::doorbell::Ready;
use crate::shared::handle::Shared;
use crate::shared::inbox::{Asked, Inbox};
use crate::shared::place::{LinkIndex, Place};
use crate::sync::answer::Answer;

/// Runs a client's connections.
///
/// Spawn it on any executor; it completes when the client is closed, or has given up. Dropping it
/// ends the client at once: whoever waits for something is told.
///
/// ```no_run
/// # fn main() -> Result<(), snowshoe::Error> {
/// let (client, driver) = snowshoe::Client::builder("amqp://localhost")?.build();
/// std::thread::spawn(|| async_io::block_on(driver)); // or smol::spawn, tokio::spawn, …
/// # Ok(()) }
/// ```
#[must_use = "nothing happens unless the driver is polled"]
pub struct Driver {
    config: Arc<Config>,
    runtime: Arc<dyn Runtime>,
    shared: Arc<Shared>,
    /// By their numbers: the main one, that for publishing, and those for one consumer or requester each.
    links: Vec<Link>,
    /// Where the requesters are, or were.
    requesters: BTreeMap<RequesterId, LinkIndex>,
    topology: Topology,
    known: KnownServers,
    renewal: Renewal,
    commands: VecDeque<Command>,
    ready: Vec<Ready>,
    closing: Option<Closing>,
    /// Consumers with handlers, which may be through.
    working: Vec<Arc<Inbox>>,
    /// Consumers whose handlers have a time of their own to come to their end.
    stops: Vec<(Box<dyn Timer>, Weak<Inbox>)>,
    delays: Delays,
    /// Producers whose messages wait until something is declared.
    declaring: Vec<Declaring>,
    /// Whether producers may publish, when that was last asked.
    may_publish: bool,
    done: bool,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("config", &self.config)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

impl Driver {
    pub(crate) fn new(config: Config, runtime: Arc<dyn Runtime>, shared: Arc<Shared>) -> Self {
        let config = Arc::new(config);
        let renewal = Renewal::new(Arc::clone(&config), &*runtime, Arc::clone(&shared));
        let mut driver = Self {
            config,
            runtime,
            shared,
            links: Vec::new(),
            requesters: BTreeMap::new(),
            topology: Topology::default(),
            known: KnownServers::default(),
            renewal,
            commands: VecDeque::new(),
            ready: Vec::new(),
            closing: None,
            working: Vec::new(),
            stops: Vec::new(),
            delays: Delays::default(),
            declaring: Vec::new(),
            may_publish: false,
            done: false,
        };
        driver.add_link(LinkIndex::MAIN);
        driver.add_link(LinkIndex::PUBLISHING);
        let now = driver.runtime.now();
        driver.link(LinkIndex::MAIN).start(now);
        if driver.config.publishing_at_once {
            let publishing = driver.shared.publishes_on;
            driver.link(publishing).start(now);
        }
        driver
    }

    /// Adds a connection, which is still to be started. The main one is that for everything but
    /// publishing.
    fn add_link(&mut self, id: LinkIndex) {
        let is_main = id == LinkIndex::MAIN;
        let session = Session::new(Settings {
            // Once the client has connected, what fails is the network's fault and passes.
            supervisor: self.config.supervisor(is_main && self.config.fail_fast),
            backoff: self.config.backoff,
            owns_exclusive_queues: is_main,
            makes_calls: is_main,
            seed: self.config.seed.wrapping_add(self.shared.next_id()),
        });
        let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
        let link = Link::new(id, session, config, Arc::clone(&self.runtime), shared);
        match self.links.get_mut(id.index()) {
            Some(old) => {
                old.let_go(&mut self.topology);
                *old = link;
            }
            None => self.links.push(link),
        }
    }

    fn link(&mut self, id: LinkIndex) -> &mut Link {
        &mut self.links[id.index()]
    }

    /// The connection that a consumer is on, or was: it may have left it by now.
    fn link_of(&mut self, consumer: &Inbox) -> &mut Link {
        let link = consumer.place().map_or(LinkIndex::MAIN, |it| it.link);
        self.link(link)
    }

    /// The connection for publishing. Where it is one of its own, it is started for the first producer.
    fn publishing_link(&mut self, now: Instant) -> &mut Link {
        let publishing = self.shared.publishes_on;
        if !self.link(publishing).has_started() {
            // What the main connection has declared at the same broker, and what lasts, is there.
            let is_same = self.config.endpoints.len() == 1;
            let is_there = is_same && self.link(LinkIndex::MAIN).has_just_declared(now);
            if is_there && self.topology.is_lasting() {
                self.link(publishing).trust_what_is_declared();
            }
            self.link(publishing).start(now);
        }
        self.link(publishing)
    }

    fn dedicated_link(&mut self, now: Instant) -> &mut Link {
        let dedicated = self.links.iter().skip(LinkIndex::dedicated(0).index());
        let in_use = dedicated.take_while(|link| !link.is_closed()).count();
        let id = LinkIndex::dedicated(in_use);
        self.add_link(id);
        let link = self.link(id);
        link.start(now);
        link
    }

    fn carry_out(&mut self, now: Instant, command: Command) {
        if self.is_too_late_for(&command) {
            return self.refuse(command, DropReason::Closed);
        }
        match command {
            Command::AddProducer(outbox) => self.publishing_link(now).add_producer(now, outbox),
            Command::DeclareFor(outbox, declaration) => {
                (self.publishing_link(now)).add_producer(now, Arc::clone(&outbox));
                self.declaring.push(Declaring::new(outbox, declaration));
            }
            Command::AddConsumer {
                inbox,
                spec,
                dedicated,
                raised_from,
                started,
            } => {
                if let Some(before) = raised_from {
                    log::info!(
                        "consumer {:?}: the prefetch is raised from {before} to {}, as many handlers as are to run",
                        spec.tag,
                        spec.prefetch,
                    );
                }
                // The broker would answer 405, on a connection that was opened for it.
                if dedicated && self.topology.is_locked(&spec.queue) {
                    let error = Error::ExclusiveQueue(spec.queue);
                    inbox.finish(ConsumerEnd::Failed(error.clone()));
                    _ = started.send(Err(error));
                    return;
                }
                let link = if dedicated {
                    self.dedicated_link(now)
                } else {
                    self.link(LinkIndex::MAIN)
                };
                link.add_consumer(now, (inbox, spec), started);
            }
            Command::CancelConsumer(inbox) => {
                if let Some(Place { link, key }) = inbox.place() {
                    let link = &mut self.links[link.index()];
                    link.cancel_consumer(now, key, &inbox, &mut self.topology);
                }
            }
            Command::PauseConsumer(inbox) => {
                if let Some(Place { link, key }) = inbox.place() {
                    let link = &mut self.links[link.index()];
                    link.pause_consumer(now, key, &inbox, &self.topology);
                }
            }
            Command::BeginHandlers(inbox) => {
                if self.closing.is_some() {
                    inbox.stop_by_close();
                }
                self.working.retain(|it| it.stopping().has_handlers());
                self.working.push(inbox);
            }
            Command::CutOffHandlers { inbox, within } => {
                let mut timer = self.runtime.timer();
                timer.set_at(after(now, within));
                self.stops.push((timer, Arc::downgrade(&inbox)));
            }
            Command::Delay { time, answer } => self.delays.add(after(now, time), answer),
            Command::HandlerPanicked { inbox, message } => {
                self.link_of(&inbox).handler_panicked(now, &inbox, message);
            }
            Command::ReplyFailed { inbox, error } => {
                self.link_of(&inbox).reply_failed(now, &inbox, *error);
            }
            Command::Undecodable { inbox, reason } => {
                self.link_of(&inbox).undecodable(now, &inbox, reason);
            }
            Command::Call { method, answer } => {
                self.link(LinkIndex::MAIN).call(now, method, answer);
            }
            Command::OpenChannel { inbox, answer } => {
                let link = self.link(inbox.link());
                link.start(now);
                link.open_channel(now, inbox, answer);
            }
            Command::Channel { inbox, operation } => {
                self.link(inbox.link()).operate(inbox, operation);
            }
            Command::AddRequester {
                id,
                settings,
                started,
            } => {
                let link = self.dedicated_link(now);
                link.add_requester(id, settings, started);
                let place = link.id();
                self.requesters.insert(id, place);
            }
            Command::RemoveRequester(id) => {
                if let Some(place) = self.requesters.remove(&id) {
                    self.link(place).remove_requester(id);
                }
            }
            Command::Request {
                requester,
                id,
                request,
                answer,
            } => match self.requesters.get(&requester).copied() {
                Some(place) => self
                    .link(place)
                    .request(now, requester, (id, *request), answer),
                None => refuse_request(answer),
            },
            Command::WithdrawRequest { requester, id } => {
                if let Some(place) = self.requesters.get(&requester).copied() {
                    self.link(place).withdraw_request(requester, id);
                }
            }
            Command::UpdateSecret { secret, reason } => {
                for link in &mut self.links {
                    link.update_secret(now, &secret, &reason);
                }
            }
            Command::Close { within } => self.begin_close(now, within),
        }
    }

    fn attend(&mut self, now: Instant, ready: Ready) {
        match ready {
            Ready::Producer(Place { link, key }) => self.link(link).producer_is_ready(now, key),
            Ready::Room(Place { link, key }) => self.link(link).owes_room(key),
            Ready::Consumer(Place { link, key }) => self.link(link).consumer_is_ready(key),
        }
    }

    fn begin_close(&mut self, now: Instant, within: Option<Duration>) {
        self.shared.board.begin_close();
        let within = within.unwrap_or(self.config.close_timeout);
        match &mut self.closing {
            Some(closing) => closing.shorten(now, within),
            None => self.closing = Some(Closing::new(self.runtime.timer(), now, within)),
        }
        for link in &self.links {
            link.stop_consuming();
        }
    }

    /// Whether a client that is being closed has nobody left who may begin this.
    fn is_too_late_for(&self, command: &Command) -> bool {
        let is_refused = |closing: &Closing| match command {
            // Handlers may need these to come to their end.
            Command::AddProducer(_)
            | Command::DeclareFor(..)
            | Command::AddRequester { .. }
            | Command::Call { .. }
            | Command::OpenChannel { .. }
            | Command::Request { .. } => closing.step > Step::Handlers,
            Command::AddConsumer { .. } => true,
            _ => false,
        };
        self.closing.as_ref().is_some_and(is_refused)
    }

    /// Lets those producers publish for which everything is declared now. Whether anything was asked or answered.
    fn go_on_declaring(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.declaring.is_empty() {
            return false;
        }
        let mut moved = false;
        for mut declaring in std::mem::take(&mut self.declaring) {
            if declaring.is_idle() {
                // Calls that were not made yet go with it.
                continue;
            }
            let main = &mut self.links[LinkIndex::MAIN.index()];
            let ask = |method, answer| {
                moved = true;
                main.call(now, method, answer);
            };
            let polled = declaring.poll(cx, now, &*self.runtime, ask);
            let place = declaring.outbox.place();
            if let Some(reason) = declaring.take_delay()
                && let Some(Place { link, key }) = place
            {
                self.link(link).producer_is_delayed(key, reason);
            }
            match (polled, place) {
                (Poll::Pending, _) => self.declaring.push(declaring),
                (Poll::Ready(declared), Some(Place { link, key })) => {
                    moved = true;
                    let was_delayed = declaring.is_delayed();
                    let link = self.link(link);
                    link.producer_is_declared(now, key, declared, was_delayed);
                }
                (Poll::Ready(_), None) => moved = true,
            }
        }
        moved
    }

    /// Ends the handlers that have had their time.
    fn cut_off_handlers(&mut self, cx: &mut Context<'_>) {
        if self.stops.is_empty() {
            return;
        }
        self.stops.retain_mut(|(timer, inbox)| {
            // Handlers may not have begun yet.
            let Some(inbox) = inbox.upgrade() else {
                return false;
            };
            let has_time = timer.poll(cx).is_pending();
            if !has_time {
                inbox.stop(Asked::CutOff);
            }
            has_time
        });
    }

    /// How many bytes are encoded and not written, on the connection with the most of them.
    #[cfg(feature = "_internal")]
    pub(crate) fn unwritten(&mut self) -> usize {
        let unwritten = self.links.iter_mut().map(Link::unwritten);
        unwritten.max().unwrap_or(0)
    }

    /// Goes on with closing, step by step. Whether one was taken.
    fn go_on_closing(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        let late = closing.is_late(cx, now);
        match closing.step {
            Step::Handlers | Step::CutOff => {
                self.working.retain(|it| it.stopping().has_handlers());
                if !self.working.is_empty() && !late {
                    return false;
                }
                let cuts_off = closing.step == Step::Handlers && !self.working.is_empty();
                closing.begin(if cuts_off {
                    Step::CutOff
                } else {
                    Step::Messages
                });
                // Who cannot be woken in time has lost the rest, too.
                let out_of_time = std::mem::take(&mut self.working);
                for inbox in &out_of_time {
                    inbox.stop(Asked::CutOff);
                }
                if cuts_off {
                    self.working = out_of_time;
                }
                for link in &mut self.links {
                    link.stop_accepting();
                }
            }
            Step::Messages => {
                if !late && !self.links.iter().all(Link::is_drained) {
                    return false;
                }
                closing.begin(Step::Consumers);
                for link in &mut self.links {
                    link.call_off_consumers(now);
                }
            }
            Step::Consumers => {
                if !late && self.links.iter().any(Link::calls_off) {
                    return false;
                }
                closing.begin(Step::Connections);
                let deadline = closing.deadline();
                self.give_up(DropReason::Closed, &ConsumerEnd::ClientClosed);
                for link in &mut self.links {
                    link.close(now, deadline);
                }
            }
            Step::Connections => {
                if late {
                    for link in &mut self.links {
                        link.abort(now);
                    }
                }
                if self.links.iter().all(Link::is_closed) {
                    self.finish(DropReason::Closed);
                }
                return late;
            }
        }
        true
    }

    /// Closes connections that were for one consumer or requester, which has ended. Whether there was one.
    fn close_unused(&mut self, now: Instant) -> bool {
        let mut closed = false;
        for link in self.links.iter_mut().skip(LinkIndex::dedicated(0).index()) {
            if !link.is_used() && !link.is_closing() {
                link.close(now, after(now, GOODBYE));
                closed = true;
            }
        }
        closed
    }

    /// Notes how the first connection went, and what a connection that was given up takes with it.
    fn review(&mut self, now: Instant) {
        if self.links[LinkIndex::MAIN.index()].was_ready() && !self.shared.first.is_told() {
            self.settle_first(Ok(()));
        }
        let given_up = self.links.iter().find_map(Link::given_up).cloned();
        if let Some(cause) = given_up.filter(|_| !self.done) {
            self.end(now, &cause);
        }
    }

    /// A connection was given up, and with it the client.
    fn end(&mut self, now: Instant, cause: &ConnectionError) {
        log::error!("giving up: {}", guard::text(cause));
        self.settle_first(Err(Error::from(cause.clone())));
        let end = ConsumerEnd::Failed(Error::from(cause.clone()));
        self.give_up(DropReason::ConnectionGivenUp, &end);
        for link in &mut self.links {
            link.abort(now);
        }
        self.finish(DropReason::ConnectionGivenUp);
    }

    /// Tells whoever waits for the first connection.
    fn settle_first(&self, result: Result<(), Error>) {
        // Only the driver sets it, and only the first time counts.
        self.shared.first.tell(result);
    }

    /// Ends all handles, and leaves what they have not delivered for whoever closes the client.
    fn give_up(&mut self, reason: DropReason, end: &ConsumerEnd) {
        for link in &mut self.links {
            link.give_up(reason, end);
        }
    }

    fn finish(&mut self, reason: DropReason) {
        self.done = true;
        self.settle_first(Err(Error::Closed));
        // Nobody would cut them off later.
        let late = self.stops.drain(..).filter_map(|(_, it)| it.upgrade());
        let closed = self.closing.is_some().then(|| self.working.drain(..));
        for inbox in late.chain(closed.into_iter().flatten()) {
            inbox.stop(Asked::CutOff);
        }
        self.declaring.clear();
        let mut commands = std::mem::take(&mut self.commands);
        commands.append(&mut self.shared.commands.close());
        for command in commands {
            self.refuse(command, reason);
        }
        self.closing = None;
        self.delays = Delays::default();
        self.shared.board.end(self.runtime.now());
        self.shared.end();
        self.shared.hub.close();
    }

    /// Tells whoever waits for a command that it will not be carried out. Most are told by dropping it.
    fn refuse(&self, command: Command, reason: DropReason) {
        match command {
            Command::AddProducer(outbox) | Command::DeclareFor(outbox, _) => {
                self.shared.leave(outbox.abandon(reason));
            }
            Command::AddConsumer { inbox, .. } | Command::CancelConsumer(inbox) => {
                inbox.finish(ConsumerEnd::ClientClosed);
            }
            Command::CutOffHandlers { inbox, .. } => inbox.stop(Asked::CutOff),
            Command::Channel { inbox, .. } | Command::OpenChannel { inbox, .. } => {
                inbox.close(Error::Closed);
            }
            Command::Request { answer, .. } => refuse_request(answer),
            _ => {}
        }
    }

    /// Gives those connections a turn on which anything can have happened: all of them where `all` is said, or
    /// where users have come, and otherwise those that moved the last time. The others rest, and wake the driver.
    fn turn(&mut self, cx: &mut Context<'_>, now: Instant, all: bool) -> Moved {
        let asked = (self.shared.commands).take(&mut self.commands, &mut self.ready);
        while let Some(command) = self.commands.pop_front() {
            self.carry_out(now, command);
        }
        if !self.ready.is_empty() {
            let mut ready = std::mem::take(&mut self.ready);
            for ready in ready.drain(..) {
                self.attend(now, ready);
            }
            // Its memory is for those who come next.
            self.ready = ready;
        }
        // Publishing waits for queues that only the main connection can declare again.
        let may_publish =
            self.links[LinkIndex::MAIN.index()].is_ready() || !self.topology.has_exclusive_queues();
        let was_told = std::mem::replace(&mut self.may_publish, may_publish) == may_publish;
        let all = all || asked || !was_told;
        let ended = self.topology.changes_ended();
        let mut some = false;
        for link in &mut self.links {
            if link.has_started() && (all || link.moved()) {
                let (topology, known) = (&mut self.topology, &mut self.known);
                some |= link.turn(cx, now, topology, known, may_publish);
            }
        }
        // Another connection may have waited for it.
        let mut others = self.topology.changes_ended() != ended;
        others |= self.close_unused(now);
        let (runtime, links) = (&*self.runtime, &mut self.links);
        others |= self.renewal.go_on(cx, now, runtime, links);
        others |= self.go_on_declaring(cx, now);
        self.review(now);
        self.cut_off_handlers(cx);
        self.delays.poll(cx, now, &*self.runtime);
        others |= !self.done && self.go_on_closing(cx, now);
        match (some, others) {
            (_, true) => Moved::All,
            (true, false) => Moved::Some,
            (false, false) => Moved::Nothing,
        }
    }
}

/// Tells whoever waits for an answer that the request is not going to be sent.
fn refuse_request<T>(answer: Answer<Result<T, RequestError>>) {
    let closed = RequestError::not_done(RequestErrorReason::Closed);
    _ = answer.send(Err(closed));
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// Nothing, and nobody need look again before something happens.
    Nothing,
    /// Those who moved have to look again.
    Some,
    /// All have to.
    All,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The turns of one poll are over so soon that they are at one time.
        let now = self.runtime.now();
        let mut moved = Moved::All;
        for _ in 0..TURNS {
            if !self.done {
                moved = self.turn(cx, now, moved == Moved::All);
            }
            if self.done {
                return Poll::Ready(());
            }
            if moved == Moved::Nothing && self.shared.doorbell.park(cx.waker()) {
                return Poll::Pending;
            }
        }
        // Others want to run, too.
        self.runtime.give_way(cx);
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Whoever waits for something is told, or would wait for ever (fault 17).
        let reason = DropReason::ConnectionGivenUp;
        self.give_up(reason, &ConsumerEnd::ClientClosed);
        self.finish(DropReason::ConnectionGivenUp);
    }
}

/// How often the loop goes round before other tasks of the executor get their turn: those who take
/// what was read do so while it is still in the processor's cache.
const TURNS: usize = 4;
