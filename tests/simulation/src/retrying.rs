//! Who works on tasks that fail, and whether each was tried as often as it should have been.

mod verdict;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use snowshoe::testing::{Broker, Manner, MessageView};
use snowshoe::{Consumer, Delivery, Error, FieldValue, Message, Outcome};

pub(crate) use self::verdict::check;
use crate::message::TaskId;
use crate::plan::{Delays, Deleted, Deletion, Ending, RetryPlan, RunPlan, Stop};
use crate::workload::Scene;

/// What the queues are called.
const QUEUE: &str = "tasks";
/// Where copies are published, and how the names of the queues begin in which they wait.
const RETRY: &str = "tasks.retry";
const DEAD: &str = "tasks.dead";
/// Where the queue sends what is rejected, or came back too often.
const GIVEN_UP: &str = "tasks.given-up";

/// All tasks of a story, and what became of them.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Whose they are.
    pub(crate) client: usize,
    plan: RetryPlan,
    manner: Manner,
    books: BTreeMap<TaskId, Book>,
    /// When a consumer had stopped whose handlers did not have all the time that they needed.
    stops: Vec<Instant>,
}

/// What became of a task.
#[derive(Debug, Default)]
struct Book {
    /// When it was published, and confirmed.
    published: Option<Instant>,
    confirmed: Option<Instant>,
    runs: Vec<Run>,
}

/// A handler's work on a task.
#[derive(Clone, Copy, Debug)]
struct Run {
    attempt: u32,
    begun: Instant,
    /// What the handler said, unless it was cut off.
    end: Option<(Instant, Ending)>,
}

/// Where the broker has a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue, or in one that leads back there.
    Queue,
    /// Among the dead letters, which tell of so many attempts.
    Dead(Option<i64>),
    /// The queue has given it up. Whether that is because it was rejected.
    GivenUp { rejected: bool },
}

/// A task that the broker has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    task: TaskId,
    place: Place,
}

impl Tasks {
    /// Whether the queue lets tasks wait by itself that failed, and counts their attempts.
    fn wait_in_the_queue(&self) -> bool {
        let grows = matches!(self.plan.policy.delays, Delays::Growing { .. });
        self.plan.waits_by_itself && grows && self.manner == Manner::RabbitMq43
    }

    fn book(&mut self, task: TaskId) -> &mut Book {
        self.books.entry(task).or_default()
    }

    /// A handler begins: which run it is, and what it is to do.
    fn begin(&mut self, now: Instant, task: TaskId, attempt: u32) -> (usize, RunPlan) {
        let book = self.books.entry(task).or_default();
        let number = book.runs.len();
        book.runs.push(Run {
            attempt,
            begun: now,
            end: None,
        });
        let plan = self.plan.tasks.get(usize::from(task.0));
        let run = plan.and_then(|plan| plan.runs.get(number).copied());
        (number, run.unwrap_or(RunPlan::DONE))
    }

    /// Whether there is nothing left to do at the broker.
    pub(crate) fn are_through(&self, broker: &Broker) -> bool {
        let queues = broker.queue_names("/").into_iter();
        let mut queues = queues.filter_map(|name| broker.queue("/", name.as_str()?));
        queues.all(|queue| {
            let has_none = queue.ready.is_empty() && queue.delayed.is_empty() && queue.unacked == 0;
            has_none || !leads_to_consumers(queue.name.as_str())
        })
    }

    /// What they add up to.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let runs = || self.books.values().flat_map(|book| &book.runs);
        let count = |is_meant: fn(&Run) -> bool| runs().filter(|run| is_meant(run)).count() as u64;
        vec![
            ("tasks", self.books.len() as u64),
            ("runs at tasks", count(|_| true)),
            ("runs again", count(|run| run.attempt > 1)),
            ("runs cut off", count(|run| run.end.is_none())),
        ]
    }
}

/// Whether it is the queue of the tasks, or one in which they wait.
fn leads_to_consumers(queue: Option<&str>) -> bool {
    queue.is_some_and(|name| name == QUEUE || name.starts_with(RETRY))
}

/// Publishes tasks and works on them as planned, until the client is closed.
pub(crate) async fn run(scene: Rc<Scene>, another: Rc<Scene>, plan: RetryPlan) {
    scene.ledger.borrow_mut().tasks = Some(Tasks {
        client: scene.index,
        plan: plan.clone(),
        manner: scene.manner,
        books: BTreeMap::new(),
        stops: Vec::new(),
    });
    scene.until(plan.from).await;
    let is_there = declare(&scene, &plan).await.is_some();
    let publisher = Rc::clone(&scene);
    let tasks = plan.clone();
    scene.spawner.spawn(async move {
        if is_there {
            publish(&publisher, &tasks).await;
        }
        publisher.busy.set(publisher.busy.get() - 1);
    });
    for deletion in &plan.deletions {
        let who = if deletion.by_another {
            &another
        } else {
            &scene
        };
        let (who, deletion) = (Rc::clone(who), *deletion);
        scene
            .spawner
            .spawn(async move { delete(&who, deletion).await });
    }
    if is_there {
        work(&scene, &plan).await;
    }
}

/// Declares the queue, and where it sends what it gives up. `None` where the client is closed.
async fn declare(scene: &Scene, plan: &RetryPlan) -> Option<()> {
    let tasks = match plan.quorum {
        true => snowshoe::Queue::quorum(QUEUE),
        false => snowshoe::Queue::new(QUEUE),
    };
    let tasks = tasks.dead_letter_exchange("");
    let tasks = tasks.dead_letter_routing_key(GIVEN_UP);
    let tasks = match plan.waits_by_itself {
        true => tasks.retry(&plan.policy.retry()),
        false => tasks,
    };
    for queue in [snowshoe::Queue::new(GIVEN_UP), tasks] {
        loop {
            match scene.client.declare(queue.clone()).await {
                Ok(_) => break,
                Err(Error::Closed) => return None,
                Err(_) => scene.clock.sleep(PAUSE).await,
            }
        }
    }
    Some(())
}

/// How long somebody waits who was refused.
const PAUSE: Duration = Duration::from_millis(500);

async fn publish(scene: &Scene, plan: &RetryPlan) {
    let producer = scene.client.producer(QUEUE).expect("the name is short");
    let producer = producer.build();
    let mut tasks: Vec<_> = (0..).map(TaskId).zip(&plan.tasks).collect();
    tasks.sort_by_key(|(_, plan)| plan.at);
    for (task, plan) in tasks {
        scene.until(plan.at).await;
        let now = scene.clock.now();
        with(scene, |tasks| tasks.book(task).published = Some(now));
        let sent = producer.send(Message::new(task.body())).await;
        scene
            .log
            .note(format_args!("user: {task} is sent: {sent:?}"));
        if sent.is_ok() {
            let now = scene.clock.now();
            with(scene, |tasks| tasks.book(task).confirmed = Some(now));
        }
    }
}

/// Deletes what the policy needs. What is in a queue is not to be lost, so that it has to be empty.
async fn delete(scene: &Scene, deletion: Deletion) {
    scene.until(deletion.at).await;
    scene.log.note(format_args!("user: {deletion:?}"));
    match deletion.what {
        Deleted::Exchange => _ = scene.client.delete_exchange(RETRY).await,
        Deleted::Queues => {
            let names = scene.server.witnessed(|_, broker| broker.queue_names("/"));
            for name in names {
                if name.as_str().is_some_and(|name| name.starts_with(RETRY)) {
                    _ = scene.client.delete_queue(name).if_empty().await;
                }
            }
        }
    }
}

/// Works until the client is closed; the consumer is stopped now and then.
async fn work(scene: &Rc<Scene>, plan: &RetryPlan) {
    for stop in &plan.stops {
        let Some(consumer) = start(scene, plan).await else {
            return;
        };
        if work_until(scene, plan, consumer, *stop).await.is_none() {
            return;
        }
        scene.clock.sleep(stop.pause).await;
    }
    let Some(mut consumer) = start(scene, plan).await else {
        return;
    };
    let handler = |delivery| handle(Rc::clone(scene), delivery);
    consumer.process(plan.limit, handler).await;
    let ends = &mut scene.ledger.borrow_mut().fates[scene.index].ends;
    ends.push(consumer.end());
}

/// Starts a consumer, as soon as that can be. `None` where the client is closed.
async fn start(scene: &Scene, plan: &RetryPlan) -> Option<Consumer> {
    loop {
        let builder = scene.client.consumer(QUEUE).expect("the name is short");
        let mut builder = builder.prefetch(plan.prefetch).retry(plan.policy.retry());
        if plan.dedicated {
            builder = builder.dedicated_connection();
        }
        match builder.start().await {
            Ok(consumer) => return Some(consumer),
            Err(Error::Closed) => return None,
            Err(_) => scene.clock.sleep(PAUSE).await,
        }
    }
}

/// Works until the consumer is stopped. `None` where the client is closed.
async fn work_until(
    scene: &Rc<Scene>,
    plan: &RetryPlan,
    mut consumer: Consumer,
    stop: Stop,
) -> Option<()> {
    let (handle_to_stop, is_stopped) = (consumer.stop_handle(), Cell::new(false));
    let stopping = async {
        scene.clock.sleep(stop.after).await;
        scene.log.note(format_args!("user: {stop:?}"));
        is_stopped.set(true);
        handle_to_stop.stop_within(stop.within);
        std::future::pending().await
    };
    let handler = |delivery| handle(Rc::clone(scene), delivery);
    let handled = or(consumer.process(plan.limit, handler), stopping).await;
    scene.log.note(format_args!("user: {handled:?}"));
    let now = scene.clock.now();
    with(scene, |tasks| tasks.stops.push(now));
    if is_stopped.get() {
        consumer.cancel().await;
        return Some(());
    }
    let ends = &mut scene.ledger.borrow_mut().fates[scene.index].ends;
    ends.push(consumer.end());
    None
}

async fn handle(scene: Rc<Scene>, delivery: Delivery) -> Outcome {
    let Some(task) = TaskId::read(delivery.body()) else {
        let offence = "somebody else's message is among the tasks".to_owned();
        scene.ledger.borrow_mut().offences.push(offence);
        return Outcome::reject();
    };
    let attempt = delivery.attempt();
    scene
        .log
        .note(format_args!("user: attempt {attempt} at {task}"));
    let now = scene.clock.now();
    let (number, run) = with(&scene, |tasks| tasks.begin(now, task, attempt));
    if !run.takes.is_zero() {
        scene.clock.sleep(run.takes).await;
    }
    scene
        .log
        .note(format_args!("user: {task}: {:?}", run.ending));
    let end = Some((scene.clock.now(), run.ending));
    with(&scene, |tasks| tasks.book(task).runs[number].end = end);
    match run.ending {
        Ending::Done => Outcome::done(),
        Ending::Fail => Outcome::retry().because("it failed"),
        // Without a word of the panic hook.
        Ending::Panic => panic::resume_unwind(Box::new("it panicked")),
        Ending::RetryAfter(time) => Outcome::retry_after(time),
        Ending::Release => Outcome::release(),
        Ending::DeadLetter => Outcome::dead_letter().because("it is of no use"),
        Ending::Reject => Outcome::reject(),
    }
}

fn with<R>(scene: &Scene, work: impl FnOnce(&mut Tasks) -> R) -> R {
    let mut ledger = scene.ledger.borrow_mut();
    work(ledger.tasks.as_mut().expect("they were there before"))
}

/// All tasks that the broker has.
pub(crate) fn held(broker: &Broker) -> Vec<Held> {
    let mut held = Vec::new();
    for name in broker.queue_names("/") {
        let Some(name) = name.as_str() else {
            continue;
        };
        let Some(queue) = broker.queue("/", name) else {
            continue;
        };
        for message in queue.ready.iter().chain(&queue.delayed) {
            let place = match name {
                DEAD => Place::Dead(attempts(message)),
                GIVEN_UP => Place::GivenUp {
                    rejected: reason(message).as_deref() == Some("rejected"),
                },
                name if leads_to_consumers(Some(name)) => Place::Queue,
                _ => continue,
            };
            let task = TaskId::read(&message.body);
            held.extend(task.map(|task| Held { task, place }));
        }
    }
    held
}

/// How many attempts a dead letter tells of.
fn attempts(message: &MessageView) -> Option<i64> {
    let headers = message.properties.decode().ok()?.headers?;
    headers.get("snowshoe-attempts").ok()??.as_i64()
}

/// Why a queue has given up a message.
fn reason(message: &MessageView) -> Option<String> {
    let headers = message.properties.decode().ok()?.headers?;
    let deaths = headers.get("x-death").ok()??.as_array()?;
    let latest = deaths.iter().next()?.ok()?;
    let FieldValue::Table(latest) = latest else {
        return None;
    };
    Some(latest.get("reason").ok()??.as_str()?.to_owned())
}
