//! What a client does in a scenario.

use snowshoe::codec::ChannelId;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use snowshoe::codec::frame::FRAME_END;
use snowshoe::codec::method::{Arguments, basic, confirm, exchange, queue, tx};
use snowshoe::codec::{FrameKind, Method};
use snowshoe::testing::Manner;
use snowshoe::{FieldTable, Properties, PropertiesBuilder, ShortString, ToField};

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
    /// Why a broker does not do the same as the one in memory.
    differs: Option<(Vec<Manner>, &'static str)>,
}

impl Scenario {
    /// Says that the broker in memory is another here than any real one, and why it may.
    pub(crate) fn differs(self, reason: &'static str) -> Self {
        let all = [Manner::RabbitMq310, Manner::RabbitMq40, Manner::RabbitMq43];
        self.differs_from(&all, reason)
    }

    /// The same for some brokers only.
    pub(crate) fn differs_from(mut self, brokers: &[Manner], reason: &'static str) -> Self {
        self.differs = Some((brokers.to_vec(), reason));
        self
    }

    /// Why this broker is not to do the same as the one in memory, if so.
    pub(crate) fn difference(&self, broker: Manner) -> Option<&'static str> {
        let (brokers, reason) = self.differs.as_ref()?;
        brokers.contains(&broker).then_some(*reason)
    }

    /// The queues and exchanges that are named.
    pub(crate) fn names(&self) -> (Vec<ShortString>, Vec<ShortString>) {
        let (mut queues, mut exchanges) = (Vec::new(), Vec::new());
        for step in &self.steps {
            match &step.act {
                Act::Send(Method::QueueDeclare(declare)) if !declare.queue.is_empty() => {
                    queues.push(declare.queue.clone());
                }
                Act::Send(Method::ExchangeDeclare(declare)) => {
                    exchanges.push(declare.exchange.clone());
                }
                _ => {}
            }
        }
        queues.sort();
        queues.dedup();
        (queues, exchanges)
    }
}

pub(crate) fn scenario(name: &'static str, steps: impl Into<Vec<Step>>) -> Scenario {
    Scenario {
        name,
        steps: steps.into(),
        differs: None,
    }
}

/// One act, on a connection and a channel that are opened when they are first used.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) channel: usize,
    pub(crate) act: Act,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(Method),
    Publish(Post),
    /// Publishes to the address for the answer to what was delivered last, to a queue of that name.
    Answer(Post),
    /// Declares a queue of that name, passively or not.
    DeclareAddress {
        passive: bool,
    },
    /// Bytes that the codec's client would not send.
    Raw(Vec<u8>),
    CloseChannel,
    CloseConnection,
    /// Ends the transport without a word.
    HangUp,
    /// Connects otherwise than as `guest` to `/`, or with other frames.
    Connect {
        user: &'static str,
        password: &'static str,
        virtual_host: &'static str,
        frame_max: u32,
    },
    Pass(Duration),
    /// The broker is killed and started again.
    Restart,
    /// The broker runs short of memory, or no longer.
    Alarm(bool),
}

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) exchange: ShortString,
    pub(crate) key: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

impl Step {
    fn new(act: Act) -> Self {
        Self {
            connection: 1,
            channel: 1,
            act,
        }
    }

    /// On another channel.
    pub(crate) fn on(self, channel: usize) -> Self {
        Self { channel, ..self }
    }

    /// On another connection.
    pub(crate) fn by(self, connection: usize) -> Self {
        Self { connection, ..self }
    }

    fn change(mut self, change: impl FnOnce(&mut Method)) -> Self {
        match &mut self.act {
            Act::Send(method) => change(method),
            other => panic!("{other:?} is no method"),
        }
        self
    }

    /// Adds an argument.
    pub(crate) fn with(self, name: &str, value: impl ToField) -> Self {
        self.change(|method| {
            let arguments = match method {
                Method::QueueDeclare(declare) => &mut declare.arguments,
                Method::QueueBind(bind) => &mut bind.arguments,
                Method::QueueUnbind(unbind) => &mut unbind.arguments,
                Method::ExchangeDeclare(declare) => &mut declare.arguments,
                Method::ExchangeBind(bind) => &mut bind.arguments,
                Method::BasicConsume(consume) => &mut consume.arguments,
                other => panic!("{} has no arguments", other.name()),
            };
            arguments.insert(name, value).expect("it can be encoded");
        })
    }

    pub(crate) fn durable(self) -> Self {
        self.change(|method| match method {
            Method::QueueDeclare(declare) => declare.durable = true,
            Method::ExchangeDeclare(declare) => declare.durable = true,
            other => panic!("{} cannot be durable", other.name()),
        })
    }

    pub(crate) fn auto_delete(self) -> Self {
        self.change(|method| match method {
            Method::QueueDeclare(declare) => declare.auto_delete = true,
            Method::ExchangeDeclare(declare) => declare.auto_delete = true,
            other => panic!("{} cannot be auto-delete", other.name()),
        })
    }

    pub(crate) fn passive(self) -> Self {
        self.change(|method| match method {
            Method::QueueDeclare(declare) => declare.passive = true,
            Method::ExchangeDeclare(declare) => declare.passive = true,
            other => panic!("{} cannot be passive", other.name()),
        })
    }

    pub(crate) fn exclusive(self) -> Self {
        self.change(|method| match method {
            Method::QueueDeclare(declare) => declare.exclusive = true,
            Method::BasicConsume(consume) => consume.exclusive = true,
            other => panic!("{} cannot be exclusive", other.name()),
        })
    }

    pub(crate) fn internal(self) -> Self {
        self.change(|method| match method {
            Method::ExchangeDeclare(declare) => declare.internal = true,
            other => panic!("{} cannot be internal", other.name()),
        })
    }

    pub(crate) fn no_ack(self) -> Self {
        self.change(|method| match method {
            Method::BasicConsume(consume) => consume.no_ack = true,
            Method::BasicGet(get) => get.no_ack = true,
            other => panic!("{} cannot go without acks", other.name()),
        })
    }

    pub(crate) fn nowait(self) -> Self {
        self.change(|method| match method {
            Method::QueueDeclare(declare) => declare.nowait = true,
            Method::QueueBind(bind) => bind.nowait = true,
            Method::QueuePurge(purge) => purge.nowait = true,
            Method::QueueDelete(delete) => delete.nowait = true,
            Method::ExchangeDeclare(declare) => declare.nowait = true,
            Method::ExchangeDelete(delete) => delete.nowait = true,
            Method::BasicConsume(consume) => consume.nowait = true,
            Method::BasicCancel(cancel) => cancel.nowait = true,
            Method::ConfirmSelect(select) => select.nowait = true,
            other => panic!("{} is always answered or never", other.name()),
        })
    }

    pub(crate) fn if_unused(self) -> Self {
        self.change(|method| match method {
            Method::QueueDelete(delete) => delete.if_unused = true,
            Method::ExchangeDelete(delete) => delete.if_unused = true,
            other => panic!("{} has no condition", other.name()),
        })
    }

    pub(crate) fn if_empty(self) -> Self {
        self.change(|method| match method {
            Method::QueueDelete(delete) => delete.if_empty = true,
            other => panic!("{} has no condition", other.name()),
        })
    }

    fn post(mut self, change: impl FnOnce(&mut Post)) -> Self {
        match &mut self.act {
            Act::Publish(post) | Act::Answer(post) => change(post),
            other => panic!("{other:?} publishes nothing"),
        }
        self
    }

    pub(crate) fn mandatory(self) -> Self {
        self.post(|post| post.mandatory = true)
    }

    pub(crate) fn properties(
        self,
        set: impl FnOnce(PropertiesBuilder) -> PropertiesBuilder,
    ) -> Self {
        let properties = set(Properties::builder()).build();
        self.post(|post| post.properties = properties.expect("they can be encoded"))
    }
}

/// A short name.
pub(crate) fn name(text: &str) -> ShortString {
    ShortString::try_from(text).expect("it is short")
}

pub(crate) fn send(method: impl Into<Method>) -> Step {
    Step::new(Act::Send(method.into()))
}

pub(crate) fn declare(queue: &str) -> Step {
    send(queue::Declare {
        queue: name(queue),
        ..Default::default()
    })
}

pub(crate) fn bind(queue: &str, exchange: &str, key: &str) -> Step {
    send(queue::Bind {
        queue: name(queue),
        exchange: name(exchange),
        routing_key: name(key),
        ..Default::default()
    })
}

pub(crate) fn unbind(queue: &str, exchange: &str, key: &str) -> Step {
    send(queue::Unbind {
        queue: name(queue),
        exchange: name(exchange),
        routing_key: name(key),
        ..Default::default()
    })
}

pub(crate) fn purge(queue: &str) -> Step {
    send(queue::Purge {
        queue: name(queue),
        ..Default::default()
    })
}

pub(crate) fn delete(queue: &str) -> Step {
    send(queue::Delete {
        queue: name(queue),
        ..Default::default()
    })
}

pub(crate) fn exchange(exchange: &str, kind: &str) -> Step {
    send(exchange::Declare {
        exchange: name(exchange),
        kind: name(kind),
        ..Default::default()
    })
}

pub(crate) fn delete_exchange(exchange: &str) -> Step {
    send(exchange::Delete {
        exchange: name(exchange),
        ..Default::default()
    })
}

pub(crate) fn bind_exchange(destination: &str, source: &str, key: &str) -> Step {
    send(exchange::Bind {
        destination: name(destination),
        source: name(source),
        routing_key: name(key),
        ..Default::default()
    })
}

pub(crate) fn unbind_exchange(destination: &str, source: &str, key: &str) -> Step {
    send(exchange::Unbind {
        destination: name(destination),
        source: name(source),
        routing_key: name(key),
        ..Default::default()
    })
}

pub(crate) fn publish(exchange: &str, key: &str, body: &str) -> Step {
    Step::new(Act::Publish(Post {
        exchange: name(exchange),
        key: name(key),
        mandatory: false,
        properties: Properties::EMPTY,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }))
}

/// Publishes to the address that the last delivery has for its answer.
pub(crate) fn answer(body: &str) -> Step {
    let Act::Publish(post) = publish("", "", body).act else {
        unreachable!("it publishes");
    };
    Step::new(Act::Answer(post))
}

/// Declares the address that the last delivery has for its answer.
pub(crate) fn declare_address(passive: bool) -> Step {
    Step::new(Act::DeclareAddress { passive })
}

pub(crate) fn get(queue: &str) -> Step {
    send(basic::Get {
        queue: name(queue),
        ..Default::default()
    })
}

pub(crate) fn consume(queue: &str, tag: &str) -> Step {
    send(basic::Consume {
        queue: name(queue),
        consumer_tag: name(tag),
        ..Default::default()
    })
}

pub(crate) fn cancel(tag: &str) -> Step {
    send(basic::Cancel {
        consumer_tag: name(tag),
        nowait: false,
    })
}

pub(crate) fn qos(prefetch_count: u16) -> Step {
    send(basic::Qos {
        prefetch_count,
        ..Default::default()
    })
}

pub(crate) fn qos_global(prefetch_count: u16) -> Step {
    send(basic::Qos {
        prefetch_count,
        global: true,
        ..Default::default()
    })
}

pub(crate) fn ack(delivery_tag: u64) -> Step {
    send(basic::Ack {
        delivery_tag,
        multiple: false,
    })
}

pub(crate) fn ack_all_to(delivery_tag: u64) -> Step {
    send(basic::Ack {
        delivery_tag,
        multiple: true,
    })
}

pub(crate) fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Step {
    send(basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    })
}

pub(crate) fn reject(delivery_tag: u64, requeue: bool) -> Step {
    send(basic::Reject {
        delivery_tag,
        requeue,
    })
}

pub(crate) fn recover(requeue: bool) -> Step {
    send(basic::Recover { requeue })
}

pub(crate) fn confirms() -> Step {
    send(confirm::Select::default())
}

pub(crate) fn tx_select() -> Step {
    send(tx::Select)
}

pub(crate) fn tx_commit() -> Step {
    send(tx::Commit)
}

pub(crate) fn tx_rollback() -> Step {
    send(tx::Rollback)
}

pub(crate) fn close_channel() -> Step {
    Step::new(Act::CloseChannel)
}

pub(crate) fn close_connection() -> Step {
    Step::new(Act::CloseConnection)
}

pub(crate) fn hang_up() -> Step {
    Step::new(Act::HangUp)
}

pub(crate) fn connect(
    user: &'static str,
    password: &'static str,
    virtual_host: &'static str,
) -> Step {
    Step::new(Act::Connect {
        user,
        password,
        virtual_host,
        frame_max: 131_072,
    })
}

/// Connects with frames of so many bytes at most.
pub(crate) fn connect_with_frames(frame_max: u32) -> Step {
    Step::new(Act::Connect {
        user: "guest",
        password: "guest",
        virtual_host: "/",
        frame_max,
    })
}

pub(crate) fn restart() -> Step {
    Step::new(Act::Restart)
}

pub(crate) fn alarm(raised: bool) -> Step {
    Step::new(Act::Alarm(raised))
}

pub(crate) fn pass(millis: u64) -> Step {
    Step::new(Act::Pass(Duration::from_millis(millis)))
}

/// A method on a channel as bytes, past the checks of the codec's client.
pub(crate) fn raw(channel: ChannelId, method: impl Into<Method>) -> Step {
    Step::new(Act::Raw(method_frame(channel, &method.into())))
}

/// A message on channel 1 as bytes, past the checks of the codec's client.
pub(crate) fn raw_publish(publish: basic::Publish, properties: &[u8], body: &[u8]) -> Step {
    let mut header = Vec::new();
    header.put_u16(basic::Publish::ID.class);
    header.put_u16(0);
    header.put_u64(body.len() as u64);
    header.put_slice(properties);
    let mut bytes = method_frame(ChannelId(1), &publish.into());
    bytes.extend(frame(FrameKind::Header, ChannelId(1), &header));
    if !body.is_empty() {
        bytes.extend(frame(FrameKind::Body, ChannelId(1), body));
    }
    Step::new(Act::Raw(bytes))
}

fn method_frame(channel: ChannelId, method: &Method) -> Vec<u8> {
    let mut payload = Vec::new();
    method.encode(&mut payload);
    frame(FrameKind::Method, channel, &payload)
}

pub(crate) fn frame(kind: FrameKind, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind as u8];
    frame.put_u16(channel.0);
    frame.put_u32(payload.len() as u32);
    frame.put_slice(payload);
    frame.put_u8(FRAME_END);
    frame
}

/// A table of one entry, for headers.
pub(crate) fn table(key: &str, value: impl ToField) -> FieldTable {
    FieldTable::new()
        .with(key, value)
        .expect("it can be encoded")
}
