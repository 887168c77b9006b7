//! What users do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use futures_lite::future::or;
use snowshoe::codec::{CloseReason, HandshakeError};
use snowshoe::testing::{Clock, Manner, Spawner};
use snowshoe::{
    Binding, Client, Confirm, Confirmation, ConnectionErrorReason, Consumer, Declare, Delivery,
    Disposition, Error, Event, FireAndForget, Message, Mode, PauseHandle, Producer,
    ProducerBuilder, Properties, Unconfirmed,
};

use crate::ledger::{Book, Entry, Ledger, Told};
use crate::log::Log;
use crate::message::MessageId;
use crate::plan::{
    Call, ConsumerPlan, ConsumerPlanEnd, Exchange, Habit, Kinds, Manners, Poison, ProducerPlan,
    Queue, Style, Target,
};
use crate::server::Server;
use crate::witness::Settle;

/// What all users of a client share, and some of it with those of the other.
pub(crate) struct Scene {
    pub(crate) clock: Clock,
    pub(crate) start: Instant,
    pub(crate) spawner: Spawner,
    /// Which of the clients it is.
    pub(crate) index: usize,
    pub(crate) client: Client,
    pub(crate) kinds: Kinds,
    /// What the broker takes after.
    pub(crate) manner: Manner,
    pub(crate) server: Server,
    pub(crate) log: Log,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    /// How many producers, and waits for outcomes, have not come to their end.
    pub(crate) busy: Rc<Cell<usize>>,
}

impl Scene {
    /// Waits until so long after the beginning of the story.
    pub(crate) async fn until(&self, at: Duration) {
        self.clock.sleep(self.left_until(at)).await;
    }

    pub(crate) fn left_until(&self, at: Duration) -> Duration {
        (self.start + at).saturating_duration_since(self.clock.now())
    }

    /// A user says what becomes of a delivery.
    fn settle(&self, message: MessageId, settle: Settle) {
        self.log.note(format_args!("user: {settle:?} of {message}"));
        let now = self.clock.now();
        self.ledger.borrow_mut().settle(now, message, settle);
    }

    /// The client tells of itself.
    pub(crate) fn hear(&self, event: &Event) {
        let index = self.index;
        self.log.note(format_args!("client {index}: {event:?}"));
        if let Event::Returned { returned, .. } = event
            && let Some(message) = MessageId::read(&returned.body)
        {
            *self
                .ledger
                .borrow_mut()
                .returned
                .entry(message)
                .or_default() += 1;
        }
        if let Event::Disconnected { cause, .. } = event
            && let ConnectionErrorReason::Closed(CloseReason::Handshake(
                HandshakeError::ServerChanged(_),
            )) = cause.reason
        {
            let offence = "a client tells of a handshake that is begun again".to_owned();
            self.ledger.borrow_mut().offences.push(offence);
        }
    }

    /// A consumer holds so many deliveries that are not settled, of which so many are in the user's hands.
    fn holds(&self, plan: &ConsumerPlan, consumer: usize, in_hand: usize, waiting: usize) {
        // RabbitMQ 4.3 takes back what was unsettled for too long, and sends others in the place of it.
        let held = match self.manner {
            Manner::RabbitMq43 => waiting,
            _ => in_hand + waiting,
        };
        let prefetch = usize::from(plan.prefetch);
        // One that was behind, or that the broker has cancelled and that went on as it was settled after all, has
        // a prefetch of its own beside that of the one before it.
        let most = match (plan.room, self.manner) {
            (Some(_), _) | (_, Manner::RabbitMq43) => 2 * prefetch + 2,
            (None, _) => prefetch,
        };
        if prefetch > 0 && held > most && !plan.no_ack {
            let offence = format!("consumer {consumer} holds more than its prefetch");
            self.ledger.borrow_mut().offences.push(offence);
        }
    }

    /// A message has come to its end.
    fn resolve(&self, message: MessageId, outcome: Result<(), Unconfirmed>) {
        self.log
            .note(format_args!("user: {message} resolved as {outcome:?}"));
        let mut ledger = self.ledger.borrow_mut();
        let entry = ledger.entry(message);
        entry.outcome = Some(outcome);
        entry.resolved_at = Some(self.clock.now());
    }

    /// A message was accepted.
    fn accept(&self, message: MessageId) {
        self.log.note(format_args!("user: {message} accepted"));
        let mut ledger = self.ledger.borrow_mut();
        let entry = ledger.entry(message);
        entry.accepted = true;
        entry.accepted_at = Some(self.clock.now());
    }

    /// Waits for the outcome of a message for so long, and then takes it back, if that is possible still.
    async fn await_or_withdraw(
        &self,
        message: MessageId,
        mut confirmation: Confirmation,
        after: Option<Duration>,
    ) {
        let Some(after) = after else {
            return self.resolve(message, confirmation.await);
        };
        let at_once = after.is_zero();
        if !at_once && let Some(outcome) = self.with_patience(Some(after), &mut confirmation).await
        {
            return self.resolve(message, outcome);
        }
        match confirmation.withdraw() {
            Ok(withdrawn) => {
                self.log.note(format_args!("user: {message} is taken back"));
                let mut ledger = self.ledger.borrow_mut();
                ledger.entry(message).withdrawn = true;
                if MessageId::read(withdrawn.body()) != Some(message) {
                    let offence = format!("another was given back in the place of {message}");
                    ledger.offences.push(offence);
                }
            }
            Err(confirmation) => self.resolve(message, confirmation.await),
        }
    }

    pub(crate) async fn with_patience<T>(
        &self,
        patience: Option<Duration>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(patience) = patience else {
            return Some(future.await);
        };
        let done = async { Some(future.await) };
        or(done, async {
            self.clock.sleep(patience).await;
            None
        })
        .await
    }
}

/// Declares what the client uses before the story begins: its own queue, and `all` that is shared,
/// unless another has done so.
pub(crate) async fn set_up(
    client: Client,
    index: usize,
    all: bool,
    kinds: Kinds,
    stream: bool,
) -> Result<(), Error> {
    if !all {
        client
            .declare(queue(Queue::Exclusive, index, kinds))
            .await?;
        return Ok(());
    }
    client.declare(exchange(Exchange::Steady)).await?;
    client.declare(exchange(Exchange::Passing)).await?;
    let stream = stream.then_some(Queue::Stream);
    for it in Queue::ALL.into_iter().chain(stream) {
        client.declare(queue(it, index, kinds)).await?;
    }
    client.declare(binding(Exchange::Steady)).await?;
    client.declare(binding(Exchange::Passing)).await
}

fn queue(queue: Queue, client: usize, kinds: Kinds) -> snowshoe::Queue {
    let declared = snowshoe::Queue::new(queue.name(client));
    match queue {
        Queue::Bound if kinds.quorum => snowshoe::Queue::quorum(queue.name(client)),
        Queue::Stream => snowshoe::Queue::stream(queue.name(client)),
        Queue::Exclusive if kinds.exclusive => declared.exclusive(),
        Queue::Limited => declared
            .argument("x-max-length", 3)
            .argument("x-overflow", "reject-publish"),
        _ => declared,
    }
}

fn exchange(exchange: Exchange) -> snowshoe::Exchange {
    snowshoe::Exchange::direct(exchange.name())
}

fn binding(exchange: Exchange) -> Binding {
    Binding::queue(Queue::Bound.name(0))
        .to_exchange(exchange.name())
        .routing_key(KEY)
}

const KEY: &str = "key";

/// A consumer's argument that tells the witness whose it is.
pub(crate) const CONSUMER_INDEX: &str = "x-index";

/// Publishes as planned.
pub(crate) async fn produce(scene: Rc<Scene>, plan: ProducerPlan) {
    let (exchange, key) = match plan.target {
        Target::Queue(queue) => ("", queue.name(scene.index)),
        Target::Exchange(exchange) => (exchange.name(), KEY),
        Target::Missing => ("missing", KEY),
    };
    let builder = scene
        .client
        .exchange_producer(exchange, key)
        .expect("the names are short");
    let told = plan.hears.then(Told::default);
    let index = {
        let mut ledger = scene.ledger.borrow_mut();
        ledger.producers.push(Book {
            client: scene.index,
            plan: plan.clone(),
            entries: Vec::new(),
            strays: BTreeSet::new(),
            poison: BTreeSet::new(),
            told: told.clone(),
        });
        ledger.producers.len() - 1
    };
    let producer = if plan.confirms {
        let builder = builder.policy(plan.policy).capacity(plan.capacity);
        let builder = gives_up(&scene, &plan, told, builder);
        Kind::Confirm(builder.mandatory(plan.mandatory).build())
    } else {
        let builder = builder.fire_and_forget().policy(plan.policy);
        let builder = builder.capacity(plan.capacity);
        let builder = gives_up(&scene, &plan, told, builder);
        Kind::Forget(builder.mandatory(plan.mandatory).build())
    };
    let mut random = Rng::with_seed(plan.seed);
    for burst in &plan.bursts {
        scene.until(burst.at).await;
        for _ in 0..burst.count {
            publish(&scene, &plan, index, &producer, burst.patience, &mut random).await;
            if !burst.gap.is_zero() {
                scene.clock.sleep(burst.gap).await;
            }
        }
    }
    producer.flushed().await;
    scene.busy.set(scene.busy.get() - 1);
    if plan.stays {
        std::future::pending::<()>().await;
    }
}

/// When messages are given up, and who hears of what is not delivered.
fn gives_up<M: Mode>(
    scene: &Scene,
    plan: &ProducerPlan,
    told: Option<Told>,
    mut builder: ProducerBuilder<M>,
) -> ProducerBuilder<M> {
    if let Some(age) = plan.max_age {
        builder = builder.max_age(age);
    }
    let Some(told) = told else {
        return builder;
    };
    let clock = scene.clock.clone();
    builder.on_undelivered(move |undelivered| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((clock.now(), undelivered));
    })
}

enum Kind {
    Confirm(Producer<Confirm>),
    Forget(Producer<FireAndForget>),
}

impl Kind {
    async fn flushed(&self) {
        match self {
            Self::Confirm(producer) => producer.flushed().await,
            Self::Forget(producer) => producer.flushed().await,
        }
    }

    fn is_over_full(&self) -> bool {
        match self {
            Self::Confirm(producer) => producer.buffered() > producer.capacity(),
            Self::Forget(producer) => producer.buffered() > producer.capacity(),
        }
    }
}

async fn publish(
    scene: &Rc<Scene>,
    plan: &ProducerPlan,
    index: usize,
    producer: &Kind,
    patience: Option<Duration>,
    random: &mut Rng,
) {
    let id = {
        let book = &mut scene.ledger.borrow_mut().producers[index];
        book.entries.push(Entry::default());
        MessageId {
            producer: index as u32,
            number: book.entries.len() as u32 - 1,
        }
    };
    let mut message = Message::new(id.body(random, plan.length));
    if plan.strays && random.u32(..4) == 0 {
        scene.ledger.borrow_mut().producers[index]
            .strays
            .insert(id.number);
        message = message
            .with_routing_key("nowhere")
            .expect("the key is short");
    }
    if let Some(poison) = plan.poison
        && random.u32(..16) == 0
    {
        scene.ledger.borrow_mut().producers[index]
            .poison
            .insert(id.number);
        message = message.with_properties(poison.properties());
    }
    let confirmation = match producer {
        Kind::Forget(producer) => {
            let published = match plan.habit {
                Habit::Try => Some(producer.try_publish(message)),
                _ => {
                    scene
                        .with_patience(patience, producer.publish(message))
                        .await
                }
            };
            if matches!(published, Some(Ok(()))) {
                scene.accept(id);
            }
            None
        }
        Kind::Confirm(producer) => {
            let published = match plan.habit {
                Habit::Try => Some(producer.try_publish(message)),
                _ => {
                    scene
                        .with_patience(patience, producer.publish(message))
                        .await
                }
            };
            published.and_then(Result::ok)
        }
    };
    if producer.is_over_full() {
        let offence = format!("the buffer of producer {index} holds more than it may");
        scene.ledger.borrow_mut().offences.push(offence);
    }
    let Some(confirmation) = confirmation else {
        return;
    };
    scene.accept(id);
    let forgets = plan.habit == Habit::Forget && random.bool();
    scene.ledger.borrow_mut().entry(id).watched = !forgets;
    let after = Duration::from_millis(random.u64(..100));
    let withdraws = withdraws(plan, id);
    match plan.habit {
        _ if forgets => {
            let forgetful = Rc::clone(scene);
            scene.spawner.spawn(async move {
                forgetful.with_patience(Some(after), confirmation).await;
            });
        }
        Habit::Send => scene.await_or_withdraw(id, confirmation, withdraws).await,
        _ if withdraws == Some(Duration::ZERO) && id.number.is_multiple_of(2) => {
            // Before the driver has looked.
            scene.await_or_withdraw(id, confirmation, withdraws).await;
        }
        _ => {
            let watcher = Rc::clone(scene);
            scene.busy.set(scene.busy.get() + 1);
            scene.spawner.spawn(async move {
                let end = watcher.await_or_withdraw(id, confirmation, withdraws);
                end.await;
                watcher.busy.set(watcher.busy.get() - 1);
            });
        }
    }
}

/// After what time a message is taken back, if it is. It is drawn apart from all else.
fn withdraws(plan: &ProducerPlan, id: MessageId) -> Option<Duration> {
    let most = plan.withdraws?;
    let mut random = Rng::with_seed(plan.seed ^ !u64::from(id.number));
    match random.u32(..6) {
        0 => Some(Duration::ZERO),
        1 => Some(most.mul_f64(random.f64())),
        _ => None,
    }
}

impl Poison {
    fn properties(self) -> Properties {
        match self {
            Self::Channel => Properties::builder()
                .persistent()
                .user_id("somebody else")
                .build()
                .expect("a name can be encoded"),
            // The flags of headers and delivery mode; the table, which is its length, a name, and a value of
            // type `!`; and the mode.
            Self::Connection => Properties::from_encoded(Bytes::from_static(&[
                0x30, 0, 0, 0, 0, 4, 1, b'x', b'!', 0, 2,
            ])),
        }
    }
}

/// Consumes as planned; whoever drops this interrupts it.
pub(crate) async fn consume(scene: Rc<Scene>, plan: ConsumerPlan) {
    scene.until(plan.from).await;
    let cancels = plan.end == ConsumerPlanEnd::Cancelled;
    let patience = (!cancels).then(|| scene.left_until(plan.until));
    scene
        .with_patience(patience, consume_until(&scene, &plan, cancels))
        .await;
}

/// Takes everything from a queue, until it is dropped.
pub(crate) async fn collect(scene: Rc<Scene>, queue: Queue, slowness: u64, dedicated: bool) {
    let plan = ConsumerPlan {
        seed: 0,
        queue,
        from: Duration::ZERO,
        until: Duration::MAX,
        prefetch: 10,
        no_ack: false,
        capacity: 10,
        room: None,
        // An exclusive queue is not for other connections.
        dedicated: dedicated && queue != Queue::Exclusive,
        style: Style::OneByOne,
        manners: Manners {
            late: if slowness > 0 { 8 } else { 0 },
            lateness: slowness,
            ..Manners::default()
        },
        end: ConsumerPlanEnd::Dropped,
    };
    consume_until(&scene, &plan, false).await;
}

/// How long handlers have that are to come to their end.
const TIME_TO_DRAIN: Duration = Duration::from_secs(2);

/// Consumes until the client is closed, or the consumer is cancelled when its time has come.
async fn consume_until(scene: &Scene, plan: &ConsumerPlan, cancels: bool) {
    let mut random = Rng::with_seed(plan.seed);
    loop {
        let index = {
            let mut ledger = scene.ledger.borrow_mut();
            ledger.consumers.push(Vec::new());
            ledger.consumers.len() - 1
        };
        let builder = scene
            .client
            .consumer(plan.queue.name(scene.index))
            .expect("the name is short");
        let mut builder = builder
            .prefetch(plan.prefetch)
            .capacity(plan.capacity)
            .argument(CONSUMER_INDEX, index as u32)
            .expect("a number can be encoded");
        if plan.no_ack {
            builder = builder.no_ack();
        }
        if let Some(room) = plan.room {
            builder = builder.capacity_bytes(room);
        }
        if plan.dedicated {
            builder = builder.dedicated_connection();
        }
        let mut consumer = match builder.start().await {
            Ok(consumer) => consumer,
            Err(Error::Closed) => return,
            Err(_) => {
                scene.clock.sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        // Handlers come to their end in half of the plans, and are dropped in the others.
        let is_drained = matches!(plan.style, Style::Handler(_)) && plan.seed.is_multiple_of(2);
        let stop = consumer.stop_handle();
        // A third of the plans let their consumer rest now and then.
        let rests = cancels && plan.seed.is_multiple_of(3);
        let pausing = pause_now_and_then(scene, index, consumer.pause_handle(), plan.seed, rests);
        let taking = take_all(scene, plan, index, &mut consumer, &mut random);
        let taking = or(taking, pausing);
        if cancels && is_drained {
            let stopping = async {
                scene.clock.sleep(scene.left_until(plan.until)).await;
                scene.log.note(format_args!("user: stops consumer {index}"));
                stop.stop_within(TIME_TO_DRAIN);
                std::future::pending::<()>().await;
            };
            or(taking, stopping).await;
            scene.ledger.borrow_mut().cancelled += 1;
            return consumer.cancel().await;
        }
        let patience = cancels.then(|| scene.left_until(plan.until));
        if scene.with_patience(patience, taking).await.is_none() {
            scene
                .log
                .note(format_args!("user: cancels consumer {index}"));
            scene.ledger.borrow_mut().cancelled += 1;
            return consumer.cancel().await;
        }
        let mut ledger = scene.ledger.borrow_mut();
        ledger.fates[scene.index].ends.push(consumer.end());
        return;
    }
}

/// Pauses a consumer and lets it go on, at times of its own.
async fn pause_now_and_then(
    scene: &Scene,
    consumer: usize,
    pause: PauseHandle,
    seed: u64,
    rests: bool,
) {
    if !rests {
        std::future::pending::<()>().await;
    }
    let mut random = Rng::with_seed(!seed);
    loop {
        // At once, too, while the broker has not answered what was asked before.
        let time = |random: &mut Rng| Duration::from_millis(random.u64(..1500).saturating_sub(500));
        scene.clock.sleep(time(&mut random)).await;
        scene
            .log
            .note(format_args!("user: pauses consumer {consumer}"));
        pause.pause();
        scene.clock.sleep(time(&mut random)).await;
        scene
            .log
            .note(format_args!("user: lets consumer {consumer} go on"));
        pause.resume();
        // A story may not stand still where both are nothing.
        scene.clock.sleep(Duration::from_millis(1)).await;
    }
}

/// Takes what comes, until no more will.
async fn take_all(
    scene: &Scene,
    plan: &ConsumerPlan,
    index: usize,
    consumer: &mut Consumer,
    random: &mut Rng,
) {
    match plan.style {
        Style::OneByOne => one_by_one(scene, plan, index, consumer, random).await,
        Style::Batches(limit) => {
            while let Some(batch) = consumer.next_batch(limit).await {
                scene.holds(plan, index, batch.len(), consumer.waiting());
                let ids: Vec<MessageId> = batch
                    .iter()
                    .filter_map(|it| note(scene, index, it))
                    .collect();
                let acks = random.u32(..16) >= plan.manners.requeue;
                let settled = if acks { batch.ack() } else { batch.nack(true) };
                let settle = if acks { Settle::Ack } else { Settle::Requeue };
                // Some of a batch may have been settled, whatever became of the others.
                _ = settled;
                for id in ids {
                    scene.settle(id, settle);
                }
            }
        }
        Style::Handler(limit) => {
            let handler = |delivery: Delivery| handle(scene, plan, index, delivery, random.fork());
            consumer.process(limit, handler).await;
        }
    }
}

/// Notes that a message was handed out.
fn note(scene: &Scene, consumer: usize, delivery: &Delivery) -> Option<MessageId> {
    let id = MessageId::read(delivery.body())?;
    scene
        .log
        .note(format_args!("user: consumer {consumer} is handed {id}"));
    scene.server.handed_over(consumer, id);
    scene
        .ledger
        .borrow_mut()
        .hand_over(consumer, id, delivery.is_redelivered());
    Some(id)
}

async fn one_by_one(
    scene: &Scene,
    plan: &ConsumerPlan,
    index: usize,
    consumer: &mut Consumer,
    random: &mut Rng,
) {
    // What a multiple can settle: all that was handed out, of which some may be of another epoch.
    let mut open = Vec::new();
    while let Some(delivery) = consumer.next().await {
        scene.holds(plan, index, 1, consumer.waiting());
        let Some(id) = note(scene, index, &delivery) else {
            continue;
        };
        let Manners {
            late,
            lateness,
            multiple,
            requeue,
            discard,
            forget,
            ..
        } = plan.manners;
        let manner = random.u32(..16);
        let late = random.u32(..16) < late;
        if late {
            let time = Duration::from_millis(random.u64(..lateness));
            scene.clock.sleep(time).await;
        }
        let settle = |settle| scene.settle(id, settle);
        if manner < multiple {
            open.push(id);
            if delivery.ack_all_up_to().is_ok() {
                for id in open.drain(..) {
                    scene.settle(id, Settle::Ack);
                }
            }
        } else if manner < multiple + requeue {
            settle(Settle::Requeue);
            _ = delivery.nack(true);
        } else if manner < multiple + requeue + discard {
            if delivery.nack(false).is_ok() {
                settle(Settle::Discard);
            }
        } else if manner < multiple + requeue + discard + forget {
            open.push(id);
        } else if delivery.ack().is_ok() {
            settle(Settle::Ack);
        }
    }
}

async fn handle(
    scene: &Scene,
    plan: &ConsumerPlan,
    index: usize,
    delivery: Delivery,
    mut random: Rng,
) -> Disposition {
    let Some(id) = note(scene, index, &delivery) else {
        return Disposition::Ack;
    };
    let Manners {
        late,
        lateness,
        requeue,
        discard,
        hang,
        ..
    } = plan.manners;
    if random.u32(..16) < hang {
        std::future::pending::<()>().await;
    }
    if random.u32(..16) < late {
        let time = Duration::from_millis(random.u64(..lateness));
        scene.clock.sleep(time).await;
    }
    let manner = random.u32(..16);
    let (disposition, settle) = if manner < requeue {
        (Disposition::Retry, Settle::Requeue)
    } else if manner < requeue + discard {
        (Disposition::Discard, Settle::Discard)
    } else {
        (Disposition::Ack, Settle::Ack)
    };
    scene.settle(id, settle);
    disposition
}

/// Asks for something, and waits only so long.
pub(crate) async fn call(scene: Rc<Scene>, at: Duration, call: Call, patience: Option<Duration>) {
    scene.until(at).await;
    scene.with_patience(patience, make(&scene, call)).await;
}

/// Asks for something until it is granted.
pub(crate) async fn repair(scene: Rc<Scene>, call: Call) {
    while make(&scene, call).await.is_err() {
        scene.clock.sleep(Duration::from_secs(1)).await;
    }
}

async fn make(scene: &Scene, call: Call) -> Result<(), Error> {
    scene.log.note(format_args!("user: {call:?}"));
    let result = ask(scene, call).await;
    scene.log.note(format_args!("user: {call:?}: {result:?}"));
    result
}

async fn ask(scene: &Scene, call: Call) -> Result<(), Error> {
    async fn declare<D: Declare>(client: &Client, entity: D) -> Result<(), Error> {
        client.declare(entity).await.map(|_| ())
    }
    let (client, index) = (&scene.client, scene.index);
    match call {
        Call::Declare(it) => declare(client, queue(it, index, scene.kinds)).await,
        Call::Delete(queue) => client.delete_queue(queue.name(index)).await.map(|_| ()),
        Call::Purge(queue) => client.purge_queue(queue.name(index)).await.map(|_| ()),
        Call::DeclareExchange => declare(client, exchange(Exchange::Passing)).await,
        Call::DeleteExchange => client.delete_exchange(Exchange::Passing.name()).await,
        Call::Bind => declare(client, binding(Exchange::Passing)).await,
        Call::Unbind => client.unbind(binding(Exchange::Passing)).await,
        Call::Refused => client.purge_queue("never was").await.map(|_| ()),
        Call::Channel => client.channel().await.map(|_| ()),
    }
}
