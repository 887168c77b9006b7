//! What the user declared on purpose, as a plan to declare it again.
//!
//! After a reconnect the broker may have forgotten transient, exclusive and auto-delete entities,
//! or everything. The registry holds the user's intent and nothing else: what was not declared is
//! never invented, and what was deleted does not rise again. Since several sessions declare from it, it
//! knows what is on its way, too: see [`changes`].

mod changes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use snowshoe_codec::method::{Arguments as _, MethodId, exchange, queue};
use snowshoe_codec::{FieldTable, FieldValue, Method, ShortString, TableError};

use self::changes::Changes;
pub use self::changes::{Declaring, Deletion};
use crate::declare;
use crate::events::Entity;

/// A queue, whatever its name is at the moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueId {
    /// A queue whose name the user chose. It need not be declared by this client.
    Named(ShortString),
    /// A queue declared without a name. The server gives it another each time it is declared, and
    /// refuses to declare it under the name it had (RabbitMQ: 403 for `amq.`). Under that it can only
    /// be looked for.
    ServerNamed(u64),
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BindingEnd {
    Queue(QueueId),
    Exchange(ShortString),
}

/// What tells one binding from another: all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingKey {
    source: ShortString,
    destination: BindingEnd,
    routing_key: ShortString,
    /// Encoded in the order of their names: RabbitMQ does not tell other orders apart, and a user
    /// who fills them from a hash map has a new order every time.
    arguments: Vec<u8>,
}

impl BindingKey {
    fn new(
        source: &ShortString,
        destination: BindingEnd,
        routing_key: &ShortString,
        arguments: &FieldTable,
    ) -> Self {
        // A table that does not decode can only be compared as it is.
        let sorted = sorted(arguments).unwrap_or_else(|_| arguments.clone());
        Self {
            source: source.clone(),
            destination,
            routing_key: routing_key.clone(),
            arguments: sorted.as_bytes().to_vec(),
        }
    }

    fn leads_to_queue(&self, queue: &QueueId) -> bool {
        matches!(&self.destination, BindingEnd::Queue(id) if id == queue)
    }

    fn leads_to_exchange(&self, exchange: &ShortString) -> bool {
        matches!(&self.destination, BindingEnd::Exchange(name) if name == exchange)
    }
}

/// One entity to declare again. Those that others are bound to come before them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Exchange(ShortString),
    Queue(QueueId),
    Binding(BindingKey),
}

impl Step {
    /// The method that declares it.
    pub fn method_id(&self) -> MethodId {
        match self {
            Self::Exchange(_) => exchange::Declare::ID,
            Self::Queue(_) => queue::Declare::ID,
            Self::Binding(binding) => match binding.destination {
                BindingEnd::Queue(_) => queue::Bind::ID,
                BindingEnd::Exchange(_) => exchange::Bind::ID,
            },
        }
    }

    /// Whether it is a binding of this exchange or queue, and so cannot be declared before it.
    pub fn binds(&self, entity: &Self) -> bool {
        match (self, entity) {
            (Self::Binding(binding), Self::Queue(queue)) => binding.leads_to_queue(queue),
            (Self::Binding(binding), Self::Exchange(exchange)) => {
                binding.source == *exchange || binding.leads_to_exchange(exchange)
            }
            _ => false,
        }
    }

    /// What a binding binds; the others bind nothing.
    fn bound(&self) -> Vec<Self> {
        let Self::Binding(binding) = self else {
            return Vec::new();
        };
        let destination = match &binding.destination {
            BindingEnd::Queue(queue) => Self::Queue(queue.clone()),
            BindingEnd::Exchange(name) => Self::Exchange(name.clone()),
        };
        vec![Self::Exchange(binding.source.clone()), destination]
    }
}

#[derive(Debug)]
struct QueueRecord {
    /// Its name on the server.
    name: ShortString,
    declare: queue::Declare,
    /// What it was called before, of late.
    former: VecDeque<ShortString>,
    /// It was looked for, and is not there.
    is_gone: bool,
    /// It is auto-delete, and the last consumer of ours has left it: the broker has deleted it, unless
    /// somebody else consumes from it.
    is_left: bool,
}

/// What becomes of a queue that was looked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is to be declared, and will have another name.
    DeclaredAnew,
    /// It went with its last consumer.
    Forgotten,
}

/// How many former names of a queue still lead to it.
const FORMER_NAMES: usize = 16;

impl QueueRecord {
    /// One that the server names counts as one: were both connections to declare it again, there would
    /// be two.
    fn is_exclusive(&self) -> bool {
        self.declare.exclusive || self.declare.queue.is_empty()
    }

    /// Whether it may be there, but cannot be declared to find out: under the name that the server gave
    /// it, with all that is in it; or because others use it.
    fn is_looked_for(&self) -> bool {
        let has_given_name = self.declare.queue.is_empty() && !self.declare.exclusive;
        (has_given_name || self.is_left) && !self.is_gone
    }

    fn declare_again(&self) -> queue::Declare {
        match self.is_looked_for() {
            true => queue::Declare {
                queue: self.name.clone(),
                passive: true,
                ..queue::Declare::default()
            },
            false => self.declare.clone(),
        }
    }
}

/// The registry of exchanges, queues and bindings.
///
/// A call is to be recorded when the broker has accepted it. Like the broker, the registry forgets
/// what goes away with something else: the bindings of a deleted queue or exchange, and an
/// auto-delete exchange that lost its last binding.
#[derive(Debug, Default)]
pub struct Topology {
    exchanges: BTreeMap<ShortString, exchange::Declare>,
    queues: BTreeMap<QueueId, QueueRecord>,
    /// Those that were called otherwise, by the names that they had.
    renamed: BTreeMap<ShortString, QueueId>,
    /// With their arguments in the order the user gave them.
    bindings: BTreeMap<BindingKey, FieldTable>,
    server_named: u64,
    /// How many consumers of ours a queue has.
    consumers: BTreeMap<QueueId, usize>,
    changes: Changes,
}

impl Topology {
    /// The queue that has this name now.
    pub fn queue_id(&self, name: &ShortString) -> QueueId {
        self.queues
            .range(QueueId::ServerNamed(0)..)
            .find(|(_, queue)| queue.name == *name)
            .map_or_else(|| QueueId::Named(name.clone()), |(id, _)| id.clone())
    }

    /// The name of a queue now; `None` if it was server-named and is gone.
    pub fn queue_name<'a>(&'a self, queue: &'a QueueId) -> Option<&'a ShortString> {
        match queue {
            QueueId::Named(name) => Some(name),
            QueueId::ServerNamed(_) => self.queues.get(queue).map(|queue| &queue.name),
        }
    }

    /// What a queue is called now that the server once called so, where it is another name.
    pub fn new_name(&self, former: &ShortString) -> Option<&ShortString> {
        self.queue_name(self.renamed.get(former)?)
    }

    /// Lets a call that names a queue by a name that the server has replaced name it as it is called now:
    /// whoever made it cannot know.
    pub fn follow_renames(&self, call: &mut Method) {
        let queue = match call {
            Method::QueueBind(bind) => &mut bind.queue,
            Method::QueueUnbind(unbind) => &mut unbind.queue,
            Method::QueuePurge(purge) => &mut purge.queue,
            Method::QueueDelete(delete) => &mut delete.queue,
            Method::QueueDeclare(declare) if declare.passive => &mut declare.queue,
            _ => return,
        };
        if let Some(name) = self.new_name(queue) {
            queue.clone_from(name);
        }
    }

    /// Takes note of a call that the broker has answered: what it declared or deleted.
    pub fn observe(&mut self, call: &Method, reply: &Method) {
        match (call, reply) {
            (Method::ExchangeDeclare(declare), _) => self.record_exchange(declare),
            (Method::QueueDeclare(declare), Method::QueueDeclareOk(ok)) => {
                self.record_queue(declare, &ok.queue);
            }
            (Method::QueueBind(bind), _) => self.record_queue_binding(bind),
            (Method::ExchangeBind(bind), _) => self.record_exchange_binding(bind),
            _ => self.forget_what_is_deleted(call),
        }
    }

    /// Takes note of a call that deletes or unbinds something: nobody wants that any more.
    pub fn forget_what_is_deleted(&mut self, call: &Method) {
        if let Some(deleted) = self.deleted_by(call) {
            self.forget(deleted);
        }
    }

    /// What a call deletes, if it deletes anything. A purge leaves the queue.
    fn deleted_by(&self, call: &Method) -> Option<Step> {
        Some(match call {
            Method::ExchangeDelete(delete) => Step::Exchange(delete.exchange.clone()),
            Method::QueueDelete(delete) => Step::Queue(self.queue_id(&delete.queue)),
            Method::QueueUnbind(unbind) => Step::Binding(self.unbound_queue(unbind)),
            Method::ExchangeUnbind(unbind) => Step::Binding(unbound_exchange(unbind)),
            _ => return None,
        })
    }

    /// Whether a step is about a queue that belongs to one connection alone.
    pub fn is_exclusive(&self, step: &Step) -> bool {
        let queue = match step {
            Step::Queue(id) => Some(id),
            Step::Binding(BindingKey {
                destination: BindingEnd::Queue(id),
                ..
            }) => Some(id),
            Step::Exchange(_) | Step::Binding(_) => None,
        };
        queue
            .and_then(|id| self.queues.get(id))
            .is_some_and(QueueRecord::is_exclusive)
    }

    /// Whether the queue that is called this on the server was declared exclusive, so that no connection
    /// but that which declared it may use it.
    pub fn is_locked(&self, queue: &ShortString) -> bool {
        (self.queues.values()).any(|it| it.declare.exclusive && it.name == *queue)
    }

    /// Whether a queue goes with its last consumer; `None` of one that was not declared here.
    pub fn is_auto_delete(&self, name: &ShortString) -> Option<bool> {
        let queue = self.queues.get(&self.queue_id(name))?;
        Some(queue.declare.auto_delete)
    }

    /// Whether a queue was declared here as a quorum queue.
    pub fn is_quorum(&self, name: &ShortString) -> bool {
        self.is_of_type(name, "quorum")
    }

    /// Whether a queue was declared here as a stream.
    pub fn is_stream(&self, name: &ShortString) -> bool {
        self.is_of_type(name, "stream")
    }

    /// How long a delivery of a queue may be unsettled, in milliseconds, where that was declared here.
    pub fn consumer_timeout(&self, name: &ShortString) -> Option<u64> {
        let timeout = self.argument_of(name, "x-consumer-timeout")?.as_i64()?;
        u64::try_from(timeout).ok()
    }

    /// Whether a queue was declared here to be deleted when nobody has used it for a time.
    pub fn expires(&self, name: &ShortString) -> bool {
        self.argument_of(name, "x-expires").is_some()
    }

    /// Whether a queue was declared here to let messages wait that failed.
    pub fn says_to_delay_retries(&self, name: &ShortString) -> bool {
        self.argument_of(name, "x-delayed-retry-min").is_some()
    }

    /// Whether a queue was declared here to have one active consumer at a time, and does not go with its
    /// last.
    pub fn is_single_active(&self, name: &ShortString) -> bool {
        let argument = self.argument_of(name, "x-single-active-consumer");
        argument == Some(FieldValue::Bool(true)) && self.is_auto_delete(name) == Some(false)
    }

    fn is_of_type(&self, name: &ShortString, wanted: &str) -> bool {
        let kind = self.argument_of(name, "x-queue-type");
        kind.and_then(FieldValue::as_str) == Some(wanted)
    }

    fn argument_of(&self, name: &ShortString, argument: &str) -> Option<FieldValue<'_>> {
        let queue = self.queues.get(&self.queue_id(name))?;
        queue.declare.arguments.get(argument).ok().flatten()
    }

    /// Whether all of it that any connection can declare outlives the broker's process and whoever uses it:
    /// what was there is there, unless somebody has deleted it.
    pub fn is_lasting(&self) -> bool {
        let mut queues = self.queues.values().filter(|it| !it.is_exclusive());
        let mut exchanges = self.exchanges.values();
        let expires = |it: &QueueRecord| !matches!(it.declare.arguments.get("x-expires"), Ok(None));
        queues.all(|it| it.declare.durable && !it.declare.auto_delete && !expires(it))
            && exchanges.all(|it| it.durable && !it.auto_delete)
    }

    /// Whether all that can be bound is known by its name: no queue is named by the server when it is declared
    /// anew, and none is looked for, which may be gone.
    pub fn is_known_by_name(&self) -> bool {
        let mut queues = self.queues.iter();
        queues.all(|(id, queue)| matches!(id, QueueId::Named(_)) && !queue.is_looked_for())
    }

    /// Whether there is any queue that belongs to one connection alone.
    pub fn has_exclusive_queues(&self) -> bool {
        self.queues.values().any(QueueRecord::is_exclusive)
    }

    pub fn record_exchange(&mut self, declare: &exchange::Declare) {
        // A passive declare asks whether there is one, it does not wish for one.
        if declare.passive {
            return;
        }
        let name = declare.exchange.clone();
        let declare = exchange::Declare {
            nowait: false,
            ..declare.clone()
        };
        self.exchanges.insert(name, declare);
    }

    /// Records a queue, where `name` is the one in the broker's answer.
    pub fn record_queue(&mut self, declare: &queue::Declare, name: &ShortString) -> QueueId {
        if declare.passive {
            return self.queue_id(name);
        }
        let id = if declare.queue.is_empty() {
            self.server_named += 1;
            QueueId::ServerNamed(self.server_named)
        } else {
            match self.queue_id(name) {
                // Declared once more, under the name that the server gave it: it stays what it is.
                known @ QueueId::ServerNamed(_) => return known,
                named @ QueueId::Named(_) => named,
            }
        };
        let queue = QueueRecord {
            name: name.clone(),
            declare: queue::Declare {
                nowait: false,
                ..declare.clone()
            },
            former: VecDeque::new(),
            is_gone: false,
            is_left: false,
        };
        self.queues.insert(id.clone(), queue);
        id
    }

    pub fn record_queue_binding(&mut self, bind: &queue::Bind) {
        let binding = BindingKey::new(
            &bind.exchange,
            BindingEnd::Queue(self.queue_id(&bind.queue)),
            &bind.routing_key,
            &bind.arguments,
        );
        self.bindings.insert(binding, bind.arguments.clone());
    }

    pub fn record_exchange_binding(&mut self, bind: &exchange::Bind) {
        let binding = BindingKey::new(
            &bind.source,
            BindingEnd::Exchange(bind.destination.clone()),
            &bind.routing_key,
            &bind.arguments,
        );
        self.bindings.insert(binding, bind.arguments.clone());
    }

    fn unbound_queue(&self, unbind: &queue::Unbind) -> BindingKey {
        BindingKey::new(
            &unbind.exchange,
            BindingEnd::Queue(self.queue_id(&unbind.queue)),
            &unbind.routing_key,
            &unbind.arguments,
        )
    }

    /// A queue was deleted on purpose.
    pub fn forget_queue(&mut self, queue: &QueueId) {
        self.forget(Step::Queue(queue.clone()));
    }

    /// Something was deleted on purpose.
    fn forget(&mut self, deleted: Step) {
        for step in self.with_what_goes_along(deleted) {
            match step {
                Step::Exchange(name) => _ = self.exchanges.remove(&name),
                Step::Queue(queue) => {
                    for former in self
                        .queues
                        .remove(&queue)
                        .into_iter()
                        .flat_map(|it| it.former)
                    {
                        self.renamed.remove(&former);
                    }
                }
                Step::Binding(binding) => _ = self.bindings.remove(&binding),
            }
        }
    }

    /// An entity, and what the broker deletes together with it: its bindings, the auto-delete exchanges
    /// that lose the last binding from them, the bindings to those, and so on.
    fn with_what_goes_along(&self, deleted: Step) -> BTreeSet<Step> {
        let mut all = BTreeSet::from([deleted.clone()]);
        let mut unseen = vec![deleted];
        while let Some(step) = unseen.pop() {
            let along = match &step {
                Step::Binding(binding) => self.left_unbound(binding, &all).into_iter().collect(),
                _ => self.bindings_of(&step),
            };
            unseen.extend(along.into_iter().filter(|step| all.insert(step.clone())));
        }
        all
    }

    fn bindings_of(&self, entity: &Step) -> Vec<Step> {
        let bindings = self.bindings.keys().cloned().map(Step::Binding);
        bindings.filter(|step| step.binds(entity)).collect()
    }

    /// The auto-delete exchange that goes with this binding, if no other is left than the `doomed`. One
    /// that was never bound stays.
    fn left_unbound(&self, binding: &BindingKey, doomed: &BTreeSet<Step>) -> Option<Step> {
        let source = &binding.source;
        let goes = self.exchanges.get(source).is_some_and(|it| it.auto_delete)
            && self.bindings.contains_key(binding)
            && !self.bindings.keys().any(|other| {
                other.source == *source && !doomed.contains(&Step::Binding(other.clone()))
            });
        goes.then(|| Step::Exchange(source.clone()))
    }

    /// A consumer of a queue was started.
    pub fn consumer_started(&mut self, queue: &ShortString) {
        let queue = self.queue_id(queue);
        if let Some(declared) = self.queues.get_mut(&queue) {
            declared.is_left = false;
        }
        *self.consumers.entry(queue).or_default() += 1;
    }

    /// The user cancelled a consumer of a queue. With the last one the broker deletes the queue, if
    /// it is auto-delete: at once, where no other connection can have one, and otherwise only
    /// [looking](Self::left_queue) tells.
    pub fn consumer_cancelled(&mut self, queue: &ShortString) {
        let queue = self.queue_id(queue);
        let Some(left) = self.consumers.get_mut(&queue) else {
            return;
        };
        *left -= 1;
        if *left > 0 {
            return;
        }
        self.consumers.remove(&queue);
        let declared = self.queues.get_mut(&queue);
        let Some(declared) = declared.filter(|it| it.declare.auto_delete) else {
            return;
        };
        if declared.declare.exclusive {
            self.forget_queue(&queue);
        } else {
            declared.is_left = true;
        }
    }

    /// What is to be looked for, where it may have gone with the last consumer of a queue.
    pub fn left_queue(&self, queue: &ShortString) -> Option<Step> {
        let id = self.queue_id(queue);
        let is_left = self.queues.get(&id).is_some_and(|it| it.is_left);
        is_left.then_some(Step::Queue(id))
    }

    /// The server has given a queue another name. Its bindings follow. Gives the old name if there
    /// is a change to tell the user about.
    pub fn rename_queue(&mut self, id: &QueueId, name: &ShortString) -> Option<ShortString> {
        let queue = self.queues.get_mut(id)?;
        (queue.is_gone, queue.is_left) = (false, false);
        if queue.name == *name {
            return None;
        }
        let old = mem::replace(&mut queue.name, name.clone());
        if queue.former.len() >= FORMER_NAMES
            && let Some(oldest) = queue.former.pop_front()
        {
            self.renamed.remove(&oldest);
        }
        queue.former.push_back(old.clone());
        self.renamed.insert(old.clone(), id.clone());
        Some(old)
    }

    /// Whether it is a queue that is looked for before another is declared, if that is done at all.
    pub fn is_looked_for(&self, step: &Step) -> bool {
        let Step::Queue(id) = step else { return false };
        self.queues.get(id).is_some_and(QueueRecord::is_looked_for)
    }

    /// The broker does not know what a step is about. What becomes of it, if it is a queue that was
    /// [looked for](Self::is_looked_for), or is forgotten already: another session may have looked, too.
    pub fn is_missing(&mut self, step: &Step) -> Option<Missing> {
        if self.method(step).is_none() {
            return Some(Missing::Forgotten);
        }
        let Step::Queue(id) = step else { return None };
        let queue = self.queues.get_mut(id).filter(|it| it.is_looked_for())?;
        if queue.is_left {
            self.forget_queue(&id.clone());
            return Some(Missing::Forgotten);
        }
        queue.is_gone = true;
        Some(Missing::DeclaredAnew)
    }

    /// Everything, in the order in which it can be declared: all exchanges, all queues, then the
    /// bindings between them.
    ///
    /// The steps name entities and not methods, for those change on the way: a queue is given a
    /// new name, or the user deletes what is yet to come.
    pub fn plan(&self) -> Vec<Step> {
        let exchanges = self.exchanges.keys().cloned().map(Step::Exchange);
        let queues = self.queues.keys().cloned().map(Step::Queue);
        let bindings = self.bindings.keys().cloned().map(Step::Binding);
        exchanges.chain(queues).chain(bindings).collect()
    }

    /// The method to call for a step; `None` if the entity has been forgotten since.
    ///
    /// The answer to that of a queue is to be reported by [`rename_queue`](Self::rename_queue).
    pub fn method(&self, step: &Step) -> Option<Method> {
        Some(match step {
            Step::Exchange(name) => self.exchanges.get(name)?.clone().into(),
            Step::Queue(id) => self.queues.get(id)?.declare_again().into(),
            Step::Binding(binding) => self.bind(binding, self.bindings.get(binding)?)?,
        })
    }

    /// What events call the entity of a step.
    pub fn entity(&self, step: &Step) -> Entity {
        match step {
            Step::Exchange(name) => Entity::Exchange(name.clone()),
            Step::Queue(id) => Entity::Queue(self.name_or_none(id)),
            Step::Binding(binding) => {
                let destination = match &binding.destination {
                    BindingEnd::Queue(id) => declare::Destination::Queue(self.name_or_none(id)),
                    BindingEnd::Exchange(name) => declare::Destination::Exchange(name.clone()),
                };
                let arguments = self.bindings.get(binding).cloned();
                Entity::Binding(declare::Binding::declared(
                    binding.source.clone(),
                    destination,
                    binding.routing_key.clone(),
                    arguments.unwrap_or_default(),
                ))
            }
        }
    }

    /// The name of a queue; of one that was server-named and is forgotten, none is left.
    fn name_or_none(&self, queue: &QueueId) -> ShortString {
        self.queue_name(queue).cloned().unwrap_or_default()
    }

    fn bind(&self, binding: &BindingKey, arguments: &FieldTable) -> Option<Method> {
        Some(match &binding.destination {
            BindingEnd::Queue(id) => Method::from(queue::Bind {
                queue: self.queue_name(id)?.clone(),
                exchange: binding.source.clone(),
                routing_key: binding.routing_key.clone(),
                arguments: arguments.clone(),
                ..queue::Bind::default()
            }),
            BindingEnd::Exchange(name) => Method::from(exchange::Bind {
                destination: name.clone(),
                source: binding.source.clone(),
                routing_key: binding.routing_key.clone(),
                arguments: arguments.clone(),
                ..exchange::Bind::default()
            }),
        })
    }
}

fn unbound_exchange(unbind: &exchange::Unbind) -> BindingKey {
    BindingKey::new(
        &unbind.source,
        BindingEnd::Exchange(unbind.destination.clone()),
        &unbind.routing_key,
        &unbind.arguments,
    )
}

/// The entries by name; those of one name keep their order.
fn sorted(table: &FieldTable) -> Result<FieldTable, TableError> {
    let mut entries = table.iter().collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|&(name, _)| name);
    entries
        .into_iter()
        .try_fold(FieldTable::new(), |sorted, (name, value)| {
            sorted.with(name, value)
        })
}

#[cfg(test)]
mod tests;
