//! Snowshoe's side.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Buf as _, BufMut as _, BytesMut};
use snowshoe::codec::frame::{self, Limits};
use snowshoe::codec::method::{Arguments as _, confirm};
use snowshoe::codec::sasl::Plain;
use snowshoe::codec::{
    ChannelId, ClientOptions, Connection, Delivery, Event, FieldTableRef, Method, Publish,
    ServerOptions,
};
use snowshoe::{FieldTable, ShortStr};

use crate::wire::{self, CHANNEL, FRAME_MAX, QUEUE};
use crate::{GRAIN, Runner};

/// A client's connection with a channel in confirm mode. Its server is gone.
pub(crate) fn open() -> (Connection, ChannelId) {
    let now = Instant::now();
    let mut client = Connection::client(ClientOptions::new(Plain::new("guest", "guest")), now);
    let mut server = Connection::server(ServerOptions::default(), now);
    let mut confirms = false;
    while !confirms {
        carry(&mut client, &mut server, now);
        carry(&mut server, &mut client, now);
        client.handle_timeout(now);
        while let Some(event) = client.poll_event() {
            match event {
                Event::Open(_) => _ = client.open_channel(now).expect("one is free"),
                Event::ChannelOpen { channel } => {
                    let mut channel = client.channel(channel).expect("it is open");
                    let sent = channel.send(now, confirm::Select::default());
                    sent.expect("it is open");
                }
                Event::Reply { .. } => confirms = true,
                _ => {}
            }
        }
        while let Some(event) = server.poll_event() {
            match event {
                Event::Login { .. } => server.accept_login(),
                Event::OpenRequested { .. } => server.accept_open(),
                Event::Request { channel, .. } => {
                    let mut channel = server.channel(channel).expect("it is open");
                    channel.send(now, confirm::SelectOk {}).expect("it is open");
                }
                _ => {}
            }
        }
    }
    (client, CHANNEL)
}

fn carry(from: &mut Connection, to: &mut Connection, now: Instant) {
    let mut bytes = BytesMut::new();
    bytes.put(from.outbound());
    _ = to.receive(now, &mut bytes);
}

/// Publishes, and takes them from the outbound buffer as often as a socket would.
pub(crate) fn publish(size: usize) -> Runner {
    let (mut connection, channel) = open();
    let (body, properties) = (wire::body(size), wire::properties());
    let message = move |connection: &mut Connection| {
        let mut channel = connection.channel(channel).expect("it is open");
        let published = channel.publish(&Publish {
            exchange: ShortStr::default(),
            routing_key: QUEUE.try_into().expect("it is short"),
            mandatory: false,
            properties: &properties,
            body: &body,
        });
        black_box(published).expect("it fits");
    };
    Box::new(move |messages| {
        for number in 1..=messages {
            message(&mut connection);
            if number % wire::batch(size) == 0 {
                let outbound = connection.outbound();
                outbound.advance(black_box(outbound.remaining()));
            }
        }
    })
}

/// Receives deliveries, a block at a time. That the block is copied first, as a socket's bytes
/// are, belongs to it.
pub(crate) fn deliver(size: usize) -> Runner {
    let block = wire::deliveries(size, wire::batch(size));
    receive(block, wire::batch(size))
}

/// Receives confirms.
pub(crate) fn confirm(_: usize) -> Runner {
    receive(wire::acks(GRAIN), GRAIN)
}

fn receive(block: Vec<u8>, count: u64) -> Runner {
    let (mut connection, channel) = open();
    for _ in 0..count {
        let body = wire::body(1);
        let published = connection
            .channel(channel)
            .expect("it is open")
            .publish(&Publish {
                exchange: ShortStr::default(),
                routing_key: ShortStr::default(),
                mandatory: false,
                properties: &wire::properties(),
                body: &body,
            });
        published.expect("it fits");
    }
    let now = Instant::now();
    Box::new(move |messages| {
        for _ in 0..messages / count {
            let mut input = BytesMut::from(&block[..]);
            let mut events = 0;
            let mut is_behind = true;
            while is_behind {
                is_behind = connection.receive(now, &mut input);
                while let Some(event) = connection.poll_event() {
                    black_box(event);
                    events += 1;
                }
            }
            assert_eq!(events, count);
        }
    })
}

/// One delivery.
pub(crate) fn delivery() -> Delivery {
    let (mut connection, _) = open();
    let mut input = BytesMut::from(&wire::deliveries(16, 1)[..]);
    _ = connection.receive(Instant::now(), &mut input);
    match connection.poll_event() {
        Some(Event::Delivery { delivery, .. }) => delivery,
        other => unreachable!("it was sent a delivery, not {other:?}"),
    }
}

/// Finds frames, and looks at nothing in them.
pub(crate) fn scan(size: usize) -> Runner {
    let count = wire::batch(size);
    let block = wire::deliveries(size, count);
    let limits = Limits {
        frame_max: FRAME_MAX,
        header_frame_max: FRAME_MAX,
    };
    Box::new(move |messages| {
        for _ in 0..messages / count {
            let mut rest = &block[..];
            while let Some(frame) = frame::find(rest, &limits).expect("these are frames") {
                rest = &rest[black_box(frame).encoded_len()..];
            }
        }
    })
}

pub(crate) fn encode_ack(_: usize) -> Runner {
    let mut out = Vec::new();
    Box::new(move |messages| {
        for tag in 1..=messages {
            frame::encode(&mut out, frame::FrameKind::Method, CHANNEL, |out| {
                wire::ack(tag).encode(out);
            });
            if tag % GRAIN == 0 {
                black_box(&out);
                out.clear();
            }
        }
    })
}

pub(crate) fn decode_ack(_: usize) -> Runner {
    let block = wire::acks(GRAIN);
    let limits = Limits {
        frame_max: FRAME_MAX,
        header_frame_max: FRAME_MAX,
    };
    Box::new(move |messages| {
        for _ in 0..messages / GRAIN {
            let mut rest = &block[..];
            while let Some(frame) = frame::find(rest, &limits).expect("these are frames") {
                black_box(Method::decode(frame.payload)).expect("these are methods");
                rest = &rest[frame.encoded_len()..];
            }
        }
    })
}

pub(crate) fn encode_table(_: usize) -> Runner {
    Box::new(|messages| {
        for _ in 0..messages {
            let mut table = FieldTable::new();
            for (name, value) in black_box(wire::entries()) {
                table.insert(name, value).expect("the name is short");
            }
            black_box(table.as_bytes());
        }
    })
}

pub(crate) fn decode_table(_: usize) -> Runner {
    let bytes = wire::table().as_bytes().to_vec();
    Box::new(move |messages| {
        for _ in 0..messages {
            for entry in FieldTableRef::new(black_box(&bytes)) {
                _ = black_box(entry.expect("it is well-formed"));
            }
        }
    })
}
