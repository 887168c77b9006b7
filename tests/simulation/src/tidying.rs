//! Who declares and deletes, and whether what was deleted stays deleted.

use std::rc::Rc;
use std::time::{Duration, Instant};

use snowshoe::codec::method::{exchange, queue};
use snowshoe::testing::Broker;
use snowshoe::{Binding, Client, Error, Exchange, Queue, ShortString};

use crate::plan::{Act, Thing, exchange_name, queue_name};
use crate::workload::Scene;

/// Something that a user has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    act: Act,
    since: Instant,
    /// When it was answered, and whether it was done. Nothing where it was given up, or where nobody knows.
    answered: Option<(Instant, bool)>,
}

/// Declares what is to be deleted.
pub(crate) async fn set_up(client: &Client, index: usize) -> Result<(), Error> {
    for thing in [Thing::Queue, Thing::Exchange, Thing::Binding] {
        declare(client, index, thing).await?;
    }
    Ok(())
}

/// Does it, and waits for the answer only so long.
pub(crate) async fn tidy(scene: Rc<Scene>, at: Duration, act: Act, patience: Option<Duration>) {
    scene.until(at).await;
    let index = {
        let mut ledger = scene.ledger.borrow_mut();
        ledger.asked.push(Asked {
            client: scene.index,
            act,
            since: scene.clock.now(),
            answered: None,
        });
        ledger.asked.len() - 1
    };
    scene.log.note(format_args!("user: {act:?}"));
    let done = carry_out(&scene.client, scene.index, act);
    let result = scene.with_patience(patience, done).await;
    scene.log.note(format_args!("user: {act:?}: {result:?}"));
    let was_done = match result {
        Some(Ok(())) => true,
        Some(Err(Error::Refused(_))) => false,
        _ => return,
    };
    let answered = Some((scene.clock.now(), was_done));
    scene.ledger.borrow_mut().asked[index].answered = answered;
}

async fn carry_out(client: &Client, index: usize, act: Act) -> Result<(), Error> {
    match act {
        Act::Declare(thing) => declare(client, index, thing).await,
        Act::Delete {
            thing,
            by_hand: false,
            if_unused,
        } => delete(client, index, thing, if_unused).await,
        Act::Delete {
            thing, if_unused, ..
        } => delete_by_hand(client, index, thing, if_unused).await,
    }
}

async fn declare(client: &Client, index: usize, thing: Thing) -> Result<(), Error> {
    match thing {
        Thing::Queue => client
            .declare(Queue::new(queue_name(index)))
            .await
            .map(drop),
        Thing::Exchange => client.declare(Exchange::direct(exchange_name(index))).await,
        Thing::Binding => client.declare(binding(index)).await,
    }
}

fn binding(index: usize) -> Binding {
    Binding::queue(queue_name(index)).to_exchange(exchange_name(index))
}

async fn delete(client: &Client, index: usize, thing: Thing, if_unused: bool) -> Result<(), Error> {
    match thing {
        Thing::Queue => {
            let delete = client.delete_queue(queue_name(index));
            let delete = if if_unused {
                delete.if_unused()
            } else {
                delete
            };
            delete.await.map(drop)
        }
        Thing::Exchange => {
            let delete = client.delete_exchange(exchange_name(index));
            let delete = if if_unused {
                delete.if_unused()
            } else {
                delete
            };
            delete.await
        }
        Thing::Binding => client.unbind(binding(index)).await,
    }
}

async fn delete_by_hand(
    client: &Client,
    index: usize,
    thing: Thing,
    if_unused: bool,
) -> Result<(), Error> {
    let queue = ShortString::from_static(queue_name(index));
    let exchange = ShortString::from_static(exchange_name(index));
    let channel = client.channel().await?;
    match thing {
        Thing::Queue => {
            let delete = queue::Delete {
                queue,
                if_unused,
                ..Default::default()
            };
            channel.call(delete).await.map(drop)
        }
        Thing::Exchange => {
            let delete = exchange::Delete {
                exchange,
                if_unused,
                ..Default::default()
            };
            channel.call(delete).await.map(drop)
        }
        Thing::Binding => {
            let unbind = queue::Unbind {
                queue,
                exchange,
                ..Default::default()
            };
            channel.call(unbind).await.map(drop)
        }
    }
}

/// Whether what a client deleted last is gone, and what it declared last is there. Where the one was asked
/// for before the other was answered, nobody can tell which came last.
pub(crate) fn check(asked: &[Asked], client: usize, broker: &Broker) -> Result<(), String> {
    for thing in Thing::ALL {
        let of = |concerns: fn(Act, Thing) -> bool| {
            let asked = asked.iter().filter(move |it| it.client == client);
            asked.filter(move |it| concerns(it.act, thing))
        };
        let (declared, deleted) = (|| of(Act::declares), || of(Act::deletes));
        let is_there = is_there(broker, client, thing);
        if is_there && deleted().any(|it| it.comes_after(declared())) {
            return Err(format!(
                "{thing:?} of client {client} was deleted, and is there"
            ));
        }
        if !is_there && declared().any(|it| it.comes_after(deleted())) {
            return Err(format!(
                "{thing:?} of client {client} was declared, and is gone"
            ));
        }
    }
    Ok(())
}

impl Asked {
    /// Whether it was done, and asked for after all of those were answered.
    fn comes_after<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> bool {
        matches!(self.answered, Some((_, true)))
            && others.all(|it| it.answered.is_some_and(|(at, _)| at < self.since))
    }
}

fn is_there(broker: &Broker, client: usize, thing: Thing) -> bool {
    let (queue, exchange) = (queue_name(client), exchange_name(client));
    let mut exchanges = broker.exchanges("/").into_iter();
    let found = exchanges.find(|it| it.name == exchange);
    match thing {
        Thing::Queue => broker.queue("/", queue).is_some(),
        Thing::Exchange => found.is_some(),
        Thing::Binding => {
            found.is_some_and(|it| it.bindings.iter().any(|it| it.destination == queue))
        }
    }
}
