//! Whatever clients do, the broker keeps its books in order and does not panic.

use std::time::Duration;

use proptest::prelude::*;
use snowshoe_codec::method::{channel, confirm, exchange, queue, tx};
use snowshoe_codec::{ChannelId, FieldTable, Method};

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Send(Method),
    Publish {
        exchange: ShortString,
        key: ShortString,
        properties: Properties,
        mandatory: bool,
    },
    Bytes(Vec<u8>),
    OpenChannel(ChannelId),
    CloseChannel(ChannelId),
    Reconnect,
    Pass(u64),
    Restart,
    Kick,
    Block,
    Unblock,
}

fn a_name() -> impl Strategy<Value = ShortString> {
    prop::sample::select(vec!["", "a", "b", "c", "amq.topic", "amq.gen-x"])
        .prop_map(ShortString::from_static)
}

fn arguments() -> impl Strategy<Value = FieldTable> {
    let entry = prop_oneof![
        (0i64..3).prop_map(|n| FieldTable::new().with("x-max-length", n)),
        (0i64..3).prop_map(|n| FieldTable::new().with("x-message-ttl", n * 20)),
        (0i64..3).prop_map(|n| FieldTable::new().with("x-expires", n * 50)),
        Just(FieldTable::new().with("x-dead-letter-exchange", "")),
        Just(FieldTable::new().with("x-dead-letter-exchange", "a")),
        Just(FieldTable::new().with("x-overflow", "reject-publish")),
        Just(FieldTable::new().with("x-single-active-consumer", true)),
        Just(FieldTable::new().with("x-max-priority", 3)),
        Just(FieldTable::new().with("x-queue-type", "quorum")),
        Just(FieldTable::new().with("x-queue-type", "stream")),
        (0i64..3).prop_map(|n| FieldTable::new().with("x-stream-offset", n)),
        Just(FieldTable::new().with("x-delivery-limit", 1)),
        Just(FieldTable::new().with("x-message-deduplication", true)),
        Just(FieldTable::new().with("x-match", "any")),
        Just(FieldTable::new().with("x-priority", 5)),
        Just(FieldTable::new().with("alternate-exchange", "b")),
    ];
    prop::collection::vec(entry, 0..3).prop_map(|entries| {
        let mut table = FieldTable::new();
        for entry in entries.iter().flatten() {
            for (name, value) in entry.iter().flatten() {
                table.insert(name, value).unwrap();
            }
        }
        table
    })
}

fn declare() -> impl Strategy<Value = Method> {
    (a_name(), any::<[bool; 4]>(), arguments()).prop_map(
        |(queue, [passive, durable, exclusive, auto_delete], arguments)| {
            queue::Declare {
                queue,
                passive,
                durable,
                exclusive,
                auto_delete,
                arguments,
                ..Default::default()
            }
            .into()
        },
    )
}

fn exchange() -> impl Strategy<Value = Method> {
    let kind = prop::sample::select(vec!["direct", "fanout", "topic", "headers", "magic"]);
    (a_name(), kind, any::<[bool; 3]>(), arguments()).prop_map(
        |(exchange, kind, [durable, auto_delete, internal], arguments)| {
            exchange::Declare {
                exchange,
                kind: ShortString::from_static(kind),
                durable,
                auto_delete,
                internal,
                arguments,
                ..Default::default()
            }
            .into()
        },
    )
}

fn topology() -> impl Strategy<Value = Method> {
    let names = (a_name(), a_name(), a_name(), arguments());
    (names, 0..6).prop_map(|((one, other, key, arguments), which)| match which {
        0 | 1 => queue::Bind {
            queue: one,
            exchange: other,
            routing_key: key,
            arguments,
            ..Default::default()
        }
        .into(),
        2 => exchange::Bind {
            destination: one,
            source: other,
            routing_key: key,
            arguments,
            ..Default::default()
        }
        .into(),
        3 => queue::Unbind {
            queue: one,
            exchange: other,
            routing_key: key,
            arguments,
            ..Default::default()
        }
        .into(),
        4 => queue::Delete {
            queue: one,
            ..Default::default()
        }
        .into(),
        _ => exchange::Delete {
            exchange: one,
            ..Default::default()
        }
        .into(),
    })
}

fn consuming() -> impl Strategy<Value = Method> {
    let numbers = (0u64..6, 0u16..3);
    (
        a_name(),
        a_name(),
        any::<[bool; 2]>(),
        arguments(),
        numbers,
        0..12,
    )
        .prop_map(
            |(queue, consumer_tag, [one, other], arguments, (delivery_tag, count), which)| {
                match which {
                    0..3 => basic::Consume {
                        queue,
                        consumer_tag,
                        no_ack: one,
                        exclusive: one && other,
                        arguments,
                        ..Default::default()
                    }
                    .into(),
                    3 => basic::Cancel {
                        consumer_tag,
                        nowait: one,
                    }
                    .into(),
                    4 | 5 => basic::Get {
                        queue,
                        no_ack: one,
                        ..Default::default()
                    }
                    .into(),
                    6 => basic::Ack {
                        delivery_tag,
                        multiple: one,
                    }
                    .into(),
                    7 => basic::Nack {
                        delivery_tag,
                        multiple: one,
                        requeue: other,
                    }
                    .into(),
                    8 => basic::Reject {
                        delivery_tag,
                        requeue: one,
                    }
                    .into(),
                    9 => basic::Qos {
                        prefetch_count: count,
                        global: one,
                        ..Default::default()
                    }
                    .into(),
                    10 => basic::Recover { requeue: true }.into(),
                    _ => match (one, other) {
                        (true, true) => tx::Select.into(),
                        (true, false) => tx::Commit.into(),
                        (false, true) => tx::Rollback.into(),
                        (false, false) => confirm::Select::default().into(),
                    },
                }
            },
        )
}

fn an_op() -> impl Strategy<Value = Op> {
    let properties = prop_oneof![
        3 => Just(Properties::EMPTY),
        1 => (0u64..50).prop_map(|millis| {
            let properties = Properties::builder().expiration(millis.to_string());
            properties.priority(2).persistent().build().unwrap()
        }),
        1 => prop::collection::vec(any::<u8>(), 2..20)
            .prop_map(|bytes| Properties::from_encoded(bytes.into())),
    ];
    let publish = (a_name(), a_name(), properties, any::<bool>());
    prop_oneof![
        6 => declare().prop_map(Op::Send),
        2 => exchange().prop_map(Op::Send),
        4 => topology().prop_map(Op::Send),
        12 => consuming().prop_map(Op::Send),
        12 => publish.prop_map(|(exchange, key, properties, mandatory)| Op::Publish {
            exchange: if mandatory { ShortString::EMPTY } else { exchange },
            key,
            properties,
            mandatory,
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Op::Bytes),
        2 => (1u16..4).prop_map(|number| Op::OpenChannel(ChannelId(number))),
        1 => (1u16..4).prop_map(|number| Op::CloseChannel(ChannelId(number))),
        1 => Just(Op::Reconnect),
        3 => (0u64..100).prop_map(Op::Pass),
        1 => prop::sample::select(vec![Op::Restart, Op::Kick, Op::Block, Op::Unblock]),
    ]
}

fn frame(kind: u8, channel: ChannelId, payload: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u8(kind);
    frame.put_u16(channel.0);
    frame.put_u32(payload.len() as u32);
    frame.put_slice(payload);
    frame.put_u8(0xCE);
    frame
}

fn method(channel: ChannelId, method: &Method) -> BytesMut {
    let mut payload = Vec::new();
    method.encode(&mut payload);
    frame(1, channel, &payload)
}

fn message(channel: ChannelId, publish: basic::Publish, properties: &Properties) -> BytesMut {
    let mut bytes = method(channel, &publish.into());
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    header.extend_from_slice(properties.as_bytes());
    bytes.extend_from_slice(&frame(2, channel, &header));
    bytes.extend_from_slice(&frame(3, channel, b"m"));
    bytes
}

/// Clients that write what they like, and never look at what comes back.
struct Crowd {
    world: World,
    inputs: Vec<BytesMut>,
}

impl Crowd {
    fn new(limit: usize, manner: Manner) -> Self {
        let mut world = World::with(BrokerOptions {
            outbound_limit: limit,
            manner,
            consumer_timeout: Some(Duration::from_millis(60)),
            ..BrokerOptions::default()
        });
        let inputs = vec![BytesMut::new(); 2];
        for _ in 0..2 {
            let client = world.client();
            world.open_channel(client);
        }
        Self { world, inputs }
    }

    fn perform(&mut self, client: usize, channel: ChannelId, op: Op) {
        let now = self.world.now;
        let id = self.world.clients[client].id;
        let bytes = match op {
            Op::Send(sent) => method(channel, &sent),
            Op::Publish {
                exchange,
                key,
                properties,
                mandatory,
            } => {
                let publish = basic::Publish {
                    exchange,
                    routing_key: key,
                    mandatory,
                    ..Default::default()
                };
                message(channel, publish, &properties)
            }
            Op::Bytes(bytes) => BytesMut::from(&bytes[..]),
            Op::OpenChannel(channel) => method(channel, &channel::Open::default().into()),
            Op::CloseChannel(channel) => {
                let mut bytes = method(channel, &channel::Close::default().into());
                bytes.unsplit(method(channel, &channel::CloseOk.into()));
                bytes
            }
            Op::Reconnect => {
                self.world.broker.transport_ended(now, id);
                return self.reconnect(client);
            }
            Op::Pass(millis) => {
                self.world.now += Duration::from_millis(millis);
                return self.world.broker.handle_timeout(self.world.now);
            }
            Op::Restart => return self.world.broker.restart(now),
            Op::Kick => return self.world.broker.kick(now, id),
            Op::Block => return self.world.broker.block(name("why not")),
            Op::Unblock => return self.world.broker.unblock(),
        };
        self.inputs[client].unsplit(bytes);
        self.world.broker.receive(now, id, &mut self.inputs[client]);
        if self.world.broker.is_finished(id) {
            self.world.broker.transport_ended(now, id);
            self.reconnect(client);
        }
    }

    fn reconnect(&mut self, client: usize) {
        let fresh = self.world.client();
        self.world.open_channel(fresh);
        self.world.clients.swap_remove(client);
        assert_eq!(fresh, 2);
        self.inputs[client].clear();
    }

    fn read(&mut self, client: usize) {
        let id = self.world.clients[client].id;
        if let Some(outbound) = self.world.broker.outbound(id) {
            outbound.advance(outbound.remaining());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_books_are_in_order_whatever_clients_do(
        limit in prop_oneof![Just(300), Just(1 << 20)],
        manner in prop::sample::select(vec![
            Manner::RabbitMq310,
            Manner::RabbitMq40,
            Manner::RabbitMq43,
            Manner::LavinMq,
        ]),
        ops in prop::collection::vec((0usize..2, 1u16..3, an_op(), any::<bool>()), 0..80),
    ) {
        let mut crowd = Crowd::new(limit, manner);
        for (client, channel, op, reads) in ops {
            crowd.perform(client, ChannelId(channel), op);
            if reads {
                crowd.read(client);
            }
            crowd.world.broker.check_books();
        }
        // In the end nothing is left to do at once, and nobody holds anything.
        for client in 0..2 {
            let id = crowd.world.clients[client].id;
            crowd.world.broker.transport_ended(crowd.world.now, id);
        }
        crowd.world.broker.check_books();
        crowd.world.broker.handle_timeout(crowd.world.now);
        let now = crowd.world.now;
        let next = crowd.world.broker.poll_timeout();
        prop_assert!(next.is_none_or(|at| at > now), "{next:?} at {now:?}");
    }
}
