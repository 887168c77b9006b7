use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use snowshoe_codec::FieldTable;

use super::*;
use crate::core::scaled;

fn name(text: &str) -> ShortString {
    text.try_into().unwrap()
}

fn declare_exchange(exchange: &str, auto_delete: bool) -> exchange::Declare {
    exchange::Declare {
        exchange: name(exchange),
        kind: name("topic"),
        auto_delete,
        ..exchange::Declare::default()
    }
}

fn declare_queue(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: name(queue),
        durable: true,
        ..queue::Declare::default()
    }
}

fn exclusive(queue: &str) -> queue::Declare {
    queue::Declare {
        exclusive: true,
        ..declare_queue(queue)
    }
}

fn bind_queue(source: &str, queue: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: name(queue),
        exchange: name(source),
        routing_key: name(key),
        ..queue::Bind::default()
    }
}

fn bind_exchange(source: &str, destination: &str, key: &str) -> exchange::Bind {
    exchange::Bind {
        destination: name(destination),
        source: name(source),
        routing_key: name(key),
        ..exchange::Bind::default()
    }
}

fn delete_exchange(exchange: &str) -> exchange::Delete {
    exchange::Delete {
        exchange: name(exchange),
        ..exchange::Delete::default()
    }
}

fn unbind_queue(bind: &queue::Bind) -> queue::Unbind {
    queue::Unbind {
        ticket: 0,
        queue: bind.queue.clone(),
        exchange: bind.exchange.clone(),
        routing_key: bind.routing_key.clone(),
        arguments: bind.arguments.clone(),
    }
}

fn unbind_exchange(bind: &exchange::Bind) -> exchange::Unbind {
    exchange::Unbind {
        destination: bind.destination.clone(),
        source: bind.source.clone(),
        routing_key: bind.routing_key.clone(),
        arguments: bind.arguments.clone(),
        ..exchange::Unbind::default()
    }
}

impl Topology {
    fn with_exchange(mut self, exchange: &str, auto_delete: bool) -> Self {
        self.record_exchange(&declare_exchange(exchange, auto_delete));
        self
    }

    fn with_queue(mut self, queue: &str) -> Self {
        self.record_queue(&declare_queue(queue), &name(queue));
        self
    }

    fn methods(&self) -> Vec<Method> {
        let plan = self.plan();
        let methods: Vec<Method> = plan.iter().filter_map(|step| self.method(step)).collect();
        assert_eq!(methods.len(), plan.len(), "a fresh plan has no dead steps");
        methods
    }
}

// fault 43
#[test]
fn exchanges_come_first_then_queues_then_bindings_of_both_kinds() {
    let mut topology = Topology::default();
    topology.record_exchange_binding(&bind_exchange("a", "z", ""));
    topology.record_queue_binding(&bind_queue("z", "q", "key"));
    let topology = topology
        .with_queue("q")
        .with_exchange("z", false)
        .with_exchange("a", false);
    let expected: [Method; 5] = [
        declare_exchange("a", false).into(),
        declare_exchange("z", false).into(),
        declare_queue("q").into(),
        bind_exchange("a", "z", "").into(),
        bind_queue("z", "q", "key").into(),
    ];
    assert_eq!(topology.methods(), expected);
}

// fault 43
#[test]
fn bindings_that_differ_only_in_key_or_arguments_are_all_kept() {
    let mut topology = Topology::default();
    topology.record_queue_binding(&bind_queue("e", "q", "a"));
    topology.record_queue_binding(&bind_queue("e", "q", "b"));
    let mut with_arguments = bind_queue("e", "q", "a");
    with_arguments.arguments.insert("x-match", "any").unwrap();
    topology.record_queue_binding(&with_arguments);
    topology.record_exchange_binding(&bind_exchange("e", "q", "a"));
    assert_eq!(topology.plan().len(), 4);
    topology.record_queue_binding(&with_arguments);
    assert_eq!(topology.plan().len(), 4);
}

// fault 48
#[test]
fn a_binding_is_forgotten_whatever_the_order_of_its_arguments() {
    let mut topology = Topology::default();
    let mut bind = bind_queue("e", "q", "");
    bind.arguments.insert("a", 1).unwrap();
    bind.arguments.insert("b", 2).unwrap();
    topology.record_queue_binding(&bind);
    assert_eq!(topology.methods(), [bind.clone().into()]);
    let mut unbind = unbind_queue(&bind);
    unbind.arguments = FieldTable::new()
        .with("b", 2)
        .unwrap()
        .with("a", 1)
        .unwrap();
    topology.forget_what_is_deleted(&unbind.into());
    assert_eq!(topology.plan(), []);
}

// fault 55
#[test]
fn what_was_only_asked_about_is_not_declared() {
    let mut topology = Topology::default();
    topology.record_exchange(&exchange::Declare {
        passive: true,
        ..declare_exchange("e", false)
    });
    let passive = queue::Declare {
        passive: true,
        ..declare_queue("q")
    };
    let id = topology.record_queue(&passive, &name("q"));
    assert_eq!(id, QueueId::Named(name("q")));
    assert_eq!(topology.plan(), []);
}

// fault 55
#[test]
fn a_queue_is_declared_again_with_the_arguments_it_was_declared_with_and_awaits_an_answer() {
    let arguments = FieldTable::new().with("x-queue-type", "quorum").unwrap();
    let declare = queue::Declare {
        nowait: true,
        arguments,
        ..declare_queue("q")
    };
    let mut topology = Topology::default();
    topology.record_queue(&declare, &name("q"));
    let expected = queue::Declare {
        nowait: false,
        ..declare
    };
    assert_eq!(topology.methods(), [expected.into()]);
}

// fault 46
#[test]
fn a_server_named_queue_is_declared_without_a_name_and_its_bindings_follow_the_new_one() {
    let mut topology = Topology::default().with_exchange("e", false);
    let id = topology.record_queue(&exclusive(""), &name("amq.gen-1"));
    topology.record_queue_binding(&bind_queue("e", "amq.gen-1", "key"));
    let plan = topology.plan();
    let [exchange, queue, binding] = plan.as_slice() else {
        panic!("{plan:?}");
    };
    assert_eq!(*exchange, Step::Exchange(name("e")));
    assert_eq!(topology.method(queue), Some(exclusive("").into()));
    let old = topology.rename_queue(&id, &name("amq.gen-2"));
    assert_eq!(old, Some(name("amq.gen-1")));
    let expected = bind_queue("e", "amq.gen-2", "key").into();
    assert_eq!(topology.method(binding), Some(expected));
    assert_eq!(topology.queue_name(&id), Some(&name("amq.gen-2")));
    assert_eq!(topology.queue_id(&name("amq.gen-2")), id);
    assert_eq!(topology.plan(), plan);
}

#[test]
fn a_server_named_queue_that_may_be_there_is_looked_for_before_another_is_declared() {
    let mut topology = Topology::default();
    let id = topology.record_queue(&declare_queue(""), &name("amq.gen-1"));
    let step = Step::Queue(id.clone());
    let looked_for = |queue: &str| queue::Declare {
        queue: name(queue),
        passive: true,
        ..queue::Declare::default()
    };
    assert_eq!(topology.methods(), [looked_for("amq.gen-1").into()]);
    let missing = topology.is_missing(&step);
    assert_eq!(missing, Some(Missing::DeclaredAnew));
    assert_eq!(topology.methods(), [declare_queue("").into()]);
    let missing = topology.is_missing(&step);
    assert_eq!(missing, None, "it is not looked for twice");
    topology.rename_queue(&id, &name("amq.gen-2"));
    assert_eq!(topology.methods(), [looked_for("amq.gen-2").into()]);
}

#[test]
fn only_a_server_named_queue_that_outlives_its_connection_is_looked_for() {
    let mut topology = Topology::default().with_exchange("e", false);
    for (declare, called) in [
        (declare_queue("q"), "q"),
        (exclusive("p"), "p"),
        (exclusive(""), "amq.gen-1"),
    ] {
        let id = topology.record_queue(&declare, &name(called));
        assert_eq!(
            topology.method(&Step::Queue(id.clone())),
            Some(declare.into())
        );
        assert_eq!(topology.is_missing(&Step::Queue(id)), None);
    }
    let missing = topology.is_missing(&Step::Exchange(name("e")));
    assert_eq!(missing, None);
}

#[test]
fn a_queue_that_keeps_its_name_is_not_renamed() {
    let mut topology = Topology::default();
    let id = topology.record_queue(&declare_queue("q"), &name("q"));
    assert_eq!(topology.rename_queue(&id, &name("q")), None);
    topology.forget_queue(&id);
    assert_eq!(topology.rename_queue(&id, &name("p")), None);
}

// fault 46
#[test]
fn a_server_named_queue_declared_again_by_its_name_is_one_queue_and_stays_server_named() {
    let mut topology = Topology::default();
    let id = topology.record_queue(&exclusive(""), &name("amq.gen-1"));
    let again = topology.record_queue(&exclusive("amq.gen-1"), &name("amq.gen-1"));
    assert_eq!(again, id);
    assert_eq!(topology.methods(), [exclusive("").into()]);
}

#[test]
fn two_queues_named_by_the_server_are_told_apart() {
    let mut topology = Topology::default();
    let one = topology.record_queue(&declare_queue(""), &name("amq.gen-1"));
    let two = topology.record_queue(&declare_queue(""), &name("amq.gen-2"));
    topology.forget_queue(&one);
    assert_eq!(topology.queue_name(&one), None);
    assert_eq!(topology.queue_name(&two), Some(&name("amq.gen-2")));
}

// fault 48
#[test]
fn a_deleted_queue_takes_its_bindings_along() {
    let mut topology = Topology::default().with_queue("q").with_queue("other");
    topology.record_queue_binding(&bind_queue("e", "q", ""));
    topology.record_queue_binding(&bind_queue("e", "other", ""));
    topology.record_exchange_binding(&bind_exchange("e", "q", ""));
    topology.forget_queue(&QueueId::Named(name("q")));
    let expected: [Method; 3] = [
        declare_queue("other").into(),
        bind_queue("e", "other", "").into(),
        bind_exchange("e", "q", "").into(),
    ];
    assert_eq!(topology.methods(), expected);
}

// fault 48
#[test]
fn a_deleted_exchange_takes_the_bindings_on_both_its_sides_along() {
    let mut topology = Topology::default().with_exchange("e", false);
    topology.record_queue_binding(&bind_queue("e", "q", ""));
    topology.record_exchange_binding(&bind_exchange("e", "f", ""));
    topology.record_exchange_binding(&bind_exchange("f", "e", ""));
    topology.record_queue_binding(&bind_queue("f", "e", ""));
    topology.forget_what_is_deleted(&delete_exchange("e").into());
    assert_eq!(topology.methods(), [bind_queue("f", "e", "").into()]);
}

// fault 48
#[test]
fn auto_delete_exchanges_go_with_their_last_binding_one_after_the_other() {
    let mut topology = Topology::default()
        .with_exchange("a", true)
        .with_exchange("b", true)
        .with_exchange("kept", true)
        .with_queue("q");
    topology.record_exchange_binding(&bind_exchange("a", "b", ""));
    topology.record_exchange_binding(&bind_exchange("kept", "b", ""));
    topology.record_exchange_binding(&bind_exchange("kept", "amq.topic", ""));
    topology.record_queue_binding(&bind_queue("b", "q", "1"));
    topology.record_queue_binding(&bind_queue("b", "q", "2"));
    topology.forget_what_is_deleted(&unbind_queue(&bind_queue("b", "q", "1")).into());
    assert_eq!(topology.plan().len(), 8);
    topology.forget_what_is_deleted(&unbind_queue(&bind_queue("b", "q", "2")).into());
    let expected: [Method; 3] = [
        declare_exchange("kept", true).into(),
        declare_queue("q").into(),
        bind_exchange("kept", "amq.topic", "").into(),
    ];
    assert_eq!(topology.methods(), expected);
}

#[test]
fn an_auto_delete_exchange_that_was_never_bound_stays() {
    let mut topology = Topology::default().with_exchange("e", true);
    topology.forget_what_is_deleted(&unbind_queue(&bind_queue("e", "q", "")).into());
    assert_eq!(topology.plan().len(), 1);
}

/// Two queues that are bound and consumed from, of which one is auto-delete.
fn with_consumers(goes: queue::Declare) -> Topology {
    let mut topology = Topology::default().with_queue("stays");
    topology.record_queue(&goes, &name("goes"));
    topology.record_queue_binding(&bind_queue("e", "goes", ""));
    for queue in ["goes", "goes", "stays"] {
        topology.consumer_started(&name(queue));
    }
    topology.consumer_cancelled(&name("goes"));
    assert_eq!(topology.methods().len(), 3);
    assert_eq!(topology.left_queue(&name("goes")), None);
    topology.consumer_cancelled(&name("goes"));
    topology.consumer_cancelled(&name("stays"));
    assert_eq!(topology.left_queue(&name("stays")), None);
    topology
}

fn auto_delete(exclusive: bool) -> queue::Declare {
    queue::Declare {
        auto_delete: true,
        exclusive,
        ..declare_queue("goes")
    }
}

// fault 48
#[test]
fn an_exclusive_auto_delete_queue_goes_with_its_last_consumer_and_no_other_does() {
    let topology = with_consumers(auto_delete(true));
    assert_eq!(topology.methods(), [declare_queue("stays").into()]);
}

// fault 48
#[test]
fn an_auto_delete_queue_that_its_last_consumer_has_left_is_looked_for_and_goes_where_it_is_missing()
{
    let mut topology = with_consumers(auto_delete(false));
    let left = topology.left_queue(&name("goes")).unwrap();
    assert!(topology.is_looked_for(&left));
    let looks = topology.method(&left).unwrap();
    assert!(matches!(looks, Method::QueueDeclare(it) if it.passive && it.queue == "goes"));
    let missing = topology.is_missing(&left);
    assert_eq!(missing, Some(Missing::Forgotten));
    assert_eq!(topology.methods(), [declare_queue("stays").into()]);
}

#[test]
fn an_auto_delete_queue_that_others_still_use_or_that_is_used_again_stays() {
    let mut topology = with_consumers(auto_delete(false));
    let left = topology.left_queue(&name("goes")).unwrap();
    // It is there.
    let Step::Queue(id) = &left else { panic!() };
    assert_eq!(topology.rename_queue(id, &name("goes")), None);
    assert_eq!(topology.method(&left), Some(auto_delete(false).into()));

    let mut topology = with_consumers(auto_delete(false));
    topology.consumer_started(&name("goes"));
    assert_eq!(topology.left_queue(&name("goes")), None);
    assert_eq!(topology.methods().len(), 3);
}

#[test]
fn a_call_follows_a_queue_to_its_new_name() {
    let mut topology = Topology::default();
    let id = topology.record_queue(&declare_queue(""), &name("amq.gen-0"));
    for number in 1..=FORMER_NAMES {
        topology.rename_queue(&id, &name(&format!("amq.gen-{number}")));
    }
    let delete_queue = |queue: &str| {
        Method::from(queue::Delete {
            queue: name(queue),
            ..Default::default()
        })
    };
    let follow = |topology: &Topology, queue: &str| {
        let mut delete = delete_queue(queue);
        topology.follow_renames(&mut delete);
        delete
    };
    let newest = format!("amq.gen-{FORMER_NAMES}");
    for former in ["amq.gen-0", "amq.gen-7", &newest] {
        assert_eq!(follow(&topology, former), delete_queue(&newest));
    }
    assert_eq!(follow(&topology, "q"), delete_queue("q"));
    topology.rename_queue(&id, &name("amq.gen-x"));
    assert_eq!(follow(&topology, "amq.gen-0"), delete_queue("amq.gen-0"));
    assert_eq!(topology.renamed.len(), FORMER_NAMES);
    topology.forget_queue(&id);
    assert!(topology.renamed.is_empty());
}

// faults 44 and 47
#[test]
fn a_binding_binds_what_it_comes_from_and_leads_to() {
    let mut topology = Topology::default()
        .with_exchange("e", false)
        .with_exchange("f", false)
        .with_queue("q");
    topology.record_queue_binding(&bind_queue("e", "q", ""));
    topology.record_exchange_binding(&bind_exchange("f", "e", ""));
    let plan = topology.plan();
    let bindings_of = |entity: Step| {
        let bindings = plan.iter().filter(|step| step.binds(&entity));
        bindings.filter_map(|step| topology.method(step)).collect()
    };
    let (to_queue, to_exchange) = (bind_queue("e", "q", ""), bind_exchange("f", "e", ""));
    let (to_queue, to_exchange) = (Method::from(to_queue), Method::from(to_exchange));
    let of_queue: Vec<Method> = bindings_of(Step::Queue(QueueId::Named(name("q"))));
    assert_eq!(of_queue, std::slice::from_ref(&to_queue));
    let of_source: Vec<Method> = bindings_of(Step::Exchange(name("f")));
    assert_eq!(of_source, std::slice::from_ref(&to_exchange));
    let of_both: Vec<Method> = bindings_of(Step::Exchange(name("e")));
    assert_eq!(of_both, [to_queue, to_exchange]);
}

// fault 48
#[test]
fn what_is_deleted_during_the_recovery_is_not_declared_by_a_later_step() {
    let mut topology = Topology::default().with_exchange("e", false);
    let id = topology.record_queue(&declare_queue(""), &name("amq.gen-1"));
    topology.record_queue_binding(&bind_queue("e", "amq.gen-1", ""));
    let plan = topology.plan();
    topology.forget_queue(&id);
    topology.forget_what_is_deleted(&delete_exchange("e").into());
    for step in &plan {
        assert_eq!(topology.method(step), None, "{step:?}");
    }
}

/// A broker that starts empty, and can do no more than declare, bind and delete.
#[derive(Default, Debug)]
struct Broker {
    /// Whether they are auto-delete.
    exchanges: BTreeMap<ShortString, bool>,
    queues: BTreeSet<ShortString>,
    /// Those among them that end with the connection.
    exclusive: BTreeSet<ShortString>,
    /// Source, whether to a queue, destination, routing key.
    bindings: BTreeSet<(ShortString, bool, ShortString, ShortString)>,
    names_given: u32,
}

impl Broker {
    /// Does what a method asks for. `None` stands for a closed channel, where nothing is done.
    fn receive(&mut self, method: &Method) -> Option<ShortString> {
        let mut answer = ShortString::EMPTY;
        let bound: BTreeSet<_> = self.bindings.iter().map(|it| it.0.clone()).collect();
        match method {
            Method::ExchangeDeclare(it) => {
                let known = self
                    .exchanges
                    .entry(it.exchange.clone())
                    .or_insert(it.auto_delete);
                if *known != it.auto_delete {
                    return None;
                }
            }
            Method::QueueDeclare(it) => {
                answer = it.queue.clone();
                if it.passive {
                    return self.queues.contains(&answer).then_some(answer);
                }
                if answer.is_empty() {
                    self.names_given += 1;
                    answer = name(&format!("amq.gen-{}", self.names_given));
                } else if answer.as_bytes().starts_with(b"amq.") {
                    return None;
                }
                if self.queues.insert(answer.clone()) && it.exclusive {
                    self.exclusive.insert(answer.clone());
                }
            }
            Method::QueueBind(it) => {
                if !self.exchanges.contains_key(&it.exchange) || !self.queues.contains(&it.queue) {
                    return None;
                }
                let key = it.routing_key.clone();
                self.bindings
                    .insert((it.exchange.clone(), true, it.queue.clone(), key));
            }
            Method::ExchangeBind(it) => {
                if ![&it.source, &it.destination]
                    .iter()
                    .all(|name| self.exchanges.contains_key(*name))
                {
                    return None;
                }
                let key = it.routing_key.clone();
                self.bindings
                    .insert((it.source.clone(), false, it.destination.clone(), key));
            }
            Method::QueueUnbind(it) => {
                let key = it.routing_key.clone();
                self.bindings
                    .remove(&(it.exchange.clone(), true, it.queue.clone(), key));
            }
            Method::ExchangeUnbind(it) => {
                let key = it.routing_key.clone();
                self.bindings
                    .remove(&(it.source.clone(), false, it.destination.clone(), key));
            }
            Method::QueueDelete(it) => {
                self.queues.remove(&it.queue);
                self.exclusive.remove(&it.queue);
            }
            Method::ExchangeDelete(it) => {
                self.exchanges.remove(&it.exchange);
            }
            _ => unreachable!("no test sends {method:?}"),
        }
        self.settle(bound);
        Some(answer)
    }

    /// Removes dangling bindings and auto-delete exchanges out of use, until nothing moves.
    fn settle(&mut self, mut bound: BTreeSet<ShortString>) {
        loop {
            let before = (self.exchanges.len(), self.bindings.len());
            self.bindings.retain(|(source, to_queue, destination, _)| {
                self.exchanges.contains_key(source)
                    && if *to_queue {
                        self.queues.contains(destination)
                    } else {
                        self.exchanges.contains_key(destination)
                    }
            });
            let still: BTreeSet<_> = self.bindings.iter().map(|it| it.0.clone()).collect();
            self.exchanges.retain(|name, auto_delete| {
                !*auto_delete || !bound.contains(name) || still.contains(name)
            });
            bound.extend(still);
            if before == (self.exchanges.len(), self.bindings.len()) {
                return;
            }
        }
    }
}

/// The user's calls: what the broker accepts is recorded.
fn call(broker: &mut Broker, topology: &mut Topology, method: &Method) {
    let Some(answer) = broker.receive(method) else {
        return;
    };
    match method {
        Method::ExchangeDeclare(it) => topology.record_exchange(it),
        Method::QueueDeclare(it) => {
            topology.record_queue(it, &answer);
        }
        Method::QueueBind(it) => topology.record_queue_binding(it),
        Method::ExchangeBind(it) => topology.record_exchange_binding(it),
        deletes => topology.forget_what_is_deleted(deletes),
    }
}

/// Carries out the plan on a broker that lost everything but some queues, and names its queues as the
/// old one did. Gives the names that were changed, too.
fn recover(
    topology: &mut Topology,
    names_given: u32,
    kept: BTreeSet<ShortString>,
) -> (Broker, BTreeSet<ShortString>) {
    let mut broker = Broker {
        names_given,
        queues: kept,
        ..Broker::default()
    };
    let mut old_names = BTreeMap::new();
    for step in topology.plan() {
        let mut method = topology.method(&step).unwrap();
        let mut answer = broker.receive(&method);
        if answer.is_none() && topology.is_missing(&step).is_some() {
            method = topology.method(&step).unwrap();
            answer = broker.receive(&method);
        }
        let answer = answer.unwrap_or_else(|| panic!("{method:?} closes the channel"));
        if let Step::Queue(id) = &step
            && let Some(old) = topology.rename_queue(id, &answer)
        {
            old_names.insert(answer, old);
        }
    }
    let old = |name: ShortString| old_names.get(&name).cloned().unwrap_or(name);
    broker.queues = broker.queues.into_iter().map(old).collect();
    broker.bindings = broker
        .bindings
        .into_iter()
        .map(|(source, to_queue, destination, key)| (source, to_queue, old(destination), key))
        .collect();
    (broker, old_names.into_values().collect())
}

fn method() -> impl Strategy<Value = Method> {
    let exchange = || prop::sample::select(vec!["e1", "e2", "e3", "e4"]);
    let queue = || prop::sample::select(vec!["q1", "q2", "amq.gen-1", "amq.gen-2"]);
    let key = || prop::sample::select(vec!["", "k"]);
    let queue_binding = || (exchange(), queue(), key());
    let exchange_binding = || (exchange(), exchange(), key());
    prop_oneof![
        4 => (exchange(), any::<bool>())
            .prop_map(|(name, auto_delete)| declare_exchange(name, auto_delete).into()),
        3 => queue().prop_map(|name| declare_queue(name).into()),
        1 => Just(declare_queue("").into()),
        1 => Just(exclusive("").into()),
        6 => queue_binding().prop_map(|(e, q, key)| bind_queue(e, q, key).into()),
        6 => exchange_binding().prop_map(|(e, f, key)| bind_exchange(e, f, key).into()),
        3 => queue_binding().prop_map(|(e, q, key)| unbind_queue(&bind_queue(e, q, key)).into()),
        3 => exchange_binding()
            .prop_map(|(e, f, key)| unbind_exchange(&bind_exchange(e, f, key)).into()),
        1 => queue().prop_map(|queue| Method::from(queue::Delete {
            queue: name(queue),
            ..queue::Delete::default()
        })),
        1 => exchange().prop_map(|exchange| Method::from(exchange::Delete {
            exchange: name(exchange),
            ..exchange::Delete::default()
        })),
    ]
}

proptest! {
    // faults 43, 46, 48, 57
    #[test]
    fn the_plan_brings_back_what_the_user_had_whatever_the_broker_kept(
        methods in vec(method(), 0..scaled(80)),
        is_kept in vec(any::<bool>(), scaled(80)),
    ) {
        let mut broker = Broker::default();
        let mut topology = Topology::default();
        for method in &methods {
            call(&mut broker, &mut topology, method);
        }
        let outliving = broker.queues.difference(&broker.exclusive).cloned();
        let kept: BTreeSet<_> = outliving.zip(is_kept).filter_map(|(name, is_kept)| is_kept.then_some(name)).collect();
        let (recovered, renamed) = recover(&mut topology, broker.names_given, kept.clone());
        prop_assert!(renamed.is_disjoint(&kept), "{renamed:?} of {kept:?}");
        prop_assert_eq!(recovered.exchanges, broker.exchanges);
        prop_assert_eq!(recovered.queues, broker.queues);
        prop_assert_eq!(recovered.bindings, broker.bindings);
    }
}

#[test]
fn what_lasts_is_durable_and_does_not_go_with_those_who_use_it() {
    let declared = |change: fn(&mut queue::Declare, &mut exchange::Declare)| {
        let mut queue = queue::Declare {
            queue: name("q"),
            durable: true,
            ..Default::default()
        };
        let mut exchange = exchange::Declare {
            exchange: name("x"),
            durable: true,
            ..Default::default()
        };
        change(&mut queue, &mut exchange);
        let mut topology = Topology::default();
        topology.record_queue(&queue, &queue.queue);
        topology.record_exchange(&exchange);
        topology
    };
    assert!(Topology::default().is_lasting());
    assert!(declared(|_, _| {}).is_lasting());
    assert!(!declared(|queue, _| queue.durable = false).is_lasting());
    assert!(!declared(|queue, _| queue.auto_delete = true).is_lasting());
    assert!(!declared(|_, exchange| exchange.durable = false).is_lasting());
    assert!(!declared(|_, exchange| exchange.auto_delete = true).is_lasting());
    let expires = |queue: &mut queue::Declare, _: &mut exchange::Declare| {
        queue.arguments = FieldTable::new().with("x-expires", 60_000).unwrap();
    };
    assert!(!declared(expires).is_lasting());
    // Other connections cannot declare it anyway.
    let exclusive = declared(|queue, _| (queue.exclusive, queue.durable) = (true, false));
    assert!(exclusive.is_lasting());
}
