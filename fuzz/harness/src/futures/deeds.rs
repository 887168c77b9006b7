//! What a program asks for, and whether what became of it is true.

use std::cell::RefCell;
use std::rc::Rc;

use snowshoe::codec::method::queue;
use snowshoe::testing::Server;
use snowshoe::{
    Binding, Channel, Client, Error, Message, Producer, PublishError, Queue, Unconfirmed,
};

/// What is asked for. The numbers say what it is about: nothing is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Declare(usize),
    Delete(usize),
    Purge(usize),
    Unbind(usize),
    /// To fetch a message by hand.
    Get(usize),
    Publish(usize),
    Flush,
    Consume,
    /// The next delivery, of which there may be none.
    Next,
    Cancel,
    Open,
    Ready,
}

#[derive(Debug)]
pub(super) struct Deed {
    pub(super) what: What,
    /// Whether it was polled, and whether the client has had a turn since.
    pub(super) is_polled: bool,
    pub(super) is_reached: bool,
    pub(super) is_given_up: bool,
    /// Of a message: whether it was accepted, and whether it is published on a channel, which may
    /// write it before it can tell.
    pub(super) is_accepted: bool,
    pub(super) is_by_hand: bool,
    pub(super) end: Option<End>,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    Done,
    /// The broker has refused it.
    Refused,
    /// Nobody knows, or it does not matter.
    Failed,
    Unconfirmed(Unconfirmed),
}

/// All that was ever asked for.
#[derive(Clone, Default)]
pub(super) struct Deeds(Rc<RefCell<Vec<Deed>>>);

/// One of them.
#[derive(Clone)]
pub(super) struct Noted {
    deeds: Deeds,
    index: usize,
}

/// How many things there are of each kind to be deleted, purged and so on.
pub(super) const POOL: usize = 6;

/// Where messages are published to that nobody takes.
pub(super) const STORED: &str = "stored";

/// Where consumers take them from, and how many there are at first.
pub(super) const CONSUMED: &str = "consumed";
pub(super) const MESSAGES: usize = 6;

/// What the broker says of what was purged has to hold for what came before, and for nothing else.
const AFTERWARDS: &[u8] = b"afterwards";

pub(super) fn named(kind: &str, number: usize) -> String {
    format!("{kind}-{number}")
}

/// Declares what the program goes on to work with.
pub(super) async fn set_up(client: Client) -> Result<(), Error> {
    for name in [STORED, CONSUMED] {
        client.declare(Queue::new(name)).await?;
    }
    for number in 0..POOL {
        for kind in ["deleted", "purged", "got", "unbound"] {
            client.declare(Queue::new(named(kind, number))).await?;
        }
        client.declare(binding(number)).await?;
    }
    let names = (0..POOL).flat_map(|number| ["purged", "got"].map(|kind| named(kind, number)));
    for name in names.chain((0..MESSAGES).map(|_| CONSUMED.to_owned())) {
        let producer = client.producer(&name)?.build();
        producer.send("before").await.expect("it can be stored");
    }
    Ok(())
}

/// To what was purged, something comes that is to stay.
pub(super) async fn add_afterwards(client: Client, deeds: Deeds) {
    let purged = deeds.numbers(|deed| match deed.what {
        What::Purge(number) if deed.is_done() => Some(number),
        _ => None,
    });
    for number in purged {
        let producer = client.producer(named("purged", number));
        let producer = producer.expect("the name is short").build();
        let sent = producer.send(AFTERWARDS).await;
        sent.expect("all is well, and the queue is there");
    }
}

pub(super) async fn declare(client: Client, noted: Noted, number: usize) {
    let declared = client.declare(Queue::new(named("declared", number))).await;
    noted.ends(declared);
}

/// Deletes a queue; by hand, if there is a channel for that.
pub(super) async fn delete(
    client: Client,
    by_hand: Option<Rc<Channel>>,
    noted: Noted,
    number: usize,
) {
    let name = named("deleted", number);
    match by_hand {
        None => noted.ends(client.delete_queue(name).await),
        Some(channel) => {
            let queue = name.try_into().expect("it is short");
            let delete = queue::Delete {
                queue,
                ..Default::default()
            };
            noted.ends(channel.call(delete).await);
        }
    }
}

pub(super) async fn purge(
    client: Client,
    by_hand: Option<Rc<Channel>>,
    noted: Noted,
    number: usize,
) {
    let name = named("purged", number);
    match by_hand {
        None => noted.ends_with(client.purge_queue(name).await, 1),
        Some(channel) => {
            let queue = name.try_into().expect("it is short");
            let purge = queue::Purge {
                queue,
                ..Default::default()
            };
            let purged = channel.call(purge).await;
            noted.ends_with(purged.map(|it| it.message_count), 1);
        }
    }
}

pub(super) async fn unbind(client: Client, noted: Noted, number: usize) {
    noted.ends(client.unbind(binding(number)).await);
}

pub(super) async fn get(channel: Rc<Channel>, noted: Noted, number: usize) {
    let got = channel.get(named("got", number), false).await;
    noted.ends(got);
}

pub(super) async fn publish(producer: Rc<Producer>, noted: Noted, number: usize) {
    let message = Message::from(number.to_string());
    let accepted: Result<_, PublishError> = producer.publish(message).await;
    let Ok(confirmation) = accepted else {
        return noted.end(End::Failed);
    };
    noted.change(|deed| deed.is_accepted = true);
    noted.end(match confirmation.await {
        Ok(()) => End::Done,
        Err(unconfirmed) => End::Unconfirmed(unconfirmed),
    });
}

/// Publishes on a channel, where nobody tells what becomes of it.
pub(super) async fn publish_by_hand(channel: Rc<Channel>, noted: Noted, number: usize) {
    noted.change(|deed| deed.is_by_hand = true);
    let sent = channel.publish("", STORED, number.to_string()).await;
    noted.change(|deed| deed.is_accepted = sent.is_ok());
    noted.end(End::Failed);
}

fn binding(number: usize) -> Binding {
    Binding::queue(named("unbound", number))
        .to_exchange("amq.topic")
        .routing_key("key")
}

impl Deeds {
    pub(super) fn begin(&self, what: What) -> Noted {
        let mut deeds = self.0.borrow_mut();
        deeds.push(Deed {
            what,
            is_polled: false,
            is_reached: false,
            is_given_up: false,
            is_accepted: false,
            is_by_hand: false,
            end: None,
        });
        Noted {
            deeds: self.clone(),
            index: deeds.len() - 1,
        }
    }

    /// The client has had a turn: what was polled may happen.
    pub(super) fn reach(&self) {
        for deed in self.0.borrow_mut().iter_mut() {
            deed.is_reached |= deed.is_polled && !deed.is_given_up;
        }
    }

    /// Whether everything has ended that was not given up and is not waiting for a delivery.
    pub(super) fn are_over(&self, are_waited_for: impl Fn(usize) -> bool) -> bool {
        let deeds = self.0.borrow();
        let mut deeds = deeds.iter().enumerate();
        deeds.all(|(index, deed)| {
            let may_wait = deed.is_given_up || deed.what == What::Next;
            may_wait || deed.end.is_some() || !are_waited_for(index)
        })
    }

    /// What has not ended, for a report.
    pub(super) fn open(&self) -> Vec<What> {
        let deeds = self.0.borrow();
        let open = deeds
            .iter()
            .filter(|it| it.end.is_none() && !it.is_given_up);
        open.map(|it| it.what).collect()
    }

    fn numbers(&self, of: impl Fn(&Deed) -> Option<usize>) -> Vec<usize> {
        self.0.borrow().iter().filter_map(of).collect()
    }

    /// Whether the broker agrees with all that was answered and given up.
    pub(super) fn check(&self, server: &Server) {
        for deed in self.0.borrow().iter() {
            if let Err(what) = deed.check(server) {
                panic!("{what}: {deed:?}");
            }
        }
    }

    /// Whether no purge has taken what came after its answer.
    pub(super) fn check_afterwards(&self, server: &Server) {
        for deed in self.0.borrow().iter() {
            deed.check_afterwards(server);
        }
    }
}

impl Noted {
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Deed)) {
        change(&mut self.deeds.0.borrow_mut()[self.index]);
    }

    pub(super) fn end(&self, end: End) {
        self.change(|deed| deed.end = Some(end));
    }

    /// It is not done twice: there is only so much to be done.
    fn ends_with(&self, result: Result<u32, Error>, count: u32) {
        if let Ok(done) = result {
            assert_eq!(done, count, "it was done twice");
        }
        self.ends(result);
    }

    fn ends<T>(&self, result: Result<T, Error>) {
        self.end(match result {
            Ok(_) => End::Done,
            Err(Error::Refused(_)) => End::Refused,
            Err(_) => End::Failed,
        });
    }
}

impl Deed {
    fn is_done(&self) -> bool {
        matches!(self.end, Some(End::Done))
    }

    /// Whether it cannot have happened: it was given up before the client could do anything about it, or
    /// the broker has refused it. What is declared can be refused after it was done once.
    fn is_undone(&self) -> bool {
        let is_refused = matches!(self.end, Some(End::Refused));
        self.is_given_up && !self.is_reached || is_refused && !matches!(self.what, What::Declare(_))
    }

    fn check(&self, server: &Server) -> Result<(), &'static str> {
        let claim = |holds: bool, otherwise| if holds { Ok(()) } else { Err(otherwise) };
        let (is_done, is_undone) = (self.is_done(), self.is_undone());
        let queue = |kind: &str, number| server.queue(&named(kind, number));
        match self.what {
            What::Declare(number) => {
                let is_there = queue("declared", number).is_some();
                claim(!is_done || is_there, "it was declared, and is not there")?;
                claim(!is_undone || !is_there, "it was given up, and is there")
            }
            What::Delete(number) => {
                let is_there = queue("deleted", number).is_some();
                claim(!is_done || !is_there, "it was deleted, and is there")?;
                claim(!is_undone || is_there, "it was not deleted, and is gone")
            }
            What::Purge(number) => {
                let ready = queue("purged", number).expect("nobody deletes it").ready;
                let is_there = ready.iter().any(|it| it.body != AFTERWARDS);
                claim(!is_done || !is_there, "it was purged, and has its message")?;
                claim(!is_undone || is_there, "it was not purged, and is empty")
            }
            What::Unbind(number) => {
                let exchanges = server.exchanges();
                let mut bindings = exchanges.iter().flat_map(|it| &it.bindings);
                let name = named("unbound", number);
                let is_there =
                    bindings.any(|it| it.destination == name.as_str() && it.routing_key == "key");
                claim(!is_done || !is_there, "it was unbound, and is there")?;
                claim(!is_undone || is_there, "it was not unbound, and is gone")
            }
            What::Get(number) => {
                let queue = queue("got", number).expect("nobody deletes it");
                let is_there = queue.ready.len() == 1 && queue.unacked == 0;
                claim(!is_undone || is_there, "it was not fetched, and is gone")
            }
            What::Publish(number) => {
                let stored = server.queue(STORED).expect("nobody deletes it").ready;
                let body = number.to_string();
                let is_there = stored.iter().any(|it| it.body == body);
                let is_lost = match &self.end {
                    Some(End::Unconfirmed(unconfirmed)) => !unconfirmed.possibly_stored,
                    Some(_) => false,
                    None => {
                        self.is_given_up
                            && !self.is_accepted
                            && (!self.is_reached || !self.is_by_hand)
                    }
                };
                claim(!is_done || is_there, "it was confirmed, and is not there")?;
                claim(!is_lost || !is_there, "it is there, and nobody was told")
            }
            What::Flush | What::Consume | What::Next | What::Cancel | What::Open | What::Ready => {
                Ok(())
            }
        }
    }

    /// Of what was purged: whether that has taken what came after the answer.
    fn check_afterwards(&self, server: &Server) {
        if let What::Purge(number) = self.what
            && self.is_done()
        {
            let queue = server.queue(&named("purged", number));
            let ready = queue.expect("nobody deletes it").ready;
            assert!(
                ready.iter().any(|it| it.body == AFTERWARDS),
                "it was purged once more: {self:?}"
            );
        }
    }
}
