//! amq-protocol's side. What it makes and what it is given is the same, byte by byte.

use std::hint::black_box;

use amq_protocol::frame::{
    AMQPContentHeader, AMQPFrame, GenResult, SerializeFn, WriteContext, gen_frame, parse_frame,
};
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use snowshoe::FieldValue;

use crate::wire::{self, CHANNEL, QUEUE};
use crate::{GRAIN, Runner};

/// Writes the frames of a publish, which were made beforehand.
pub(crate) fn publish(size: usize) -> Runner {
    let method = basic::Publish {
        exchange: ShortString::default(),
        routing_key: QUEUE.into(),
        mandatory: false,
        immediate: false,
    };
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: size as u64,
        properties: basic::AMQPProperties::default().with_delivery_mode(2),
    };
    let frames = [
        AMQPFrame::Method(
            CHANNEL.0,
            AMQPClass::Basic(basic::AMQPMethod::Publish(method)),
        ),
        AMQPFrame::Header(CHANNEL.0, header),
        AMQPFrame::Body(CHANNEL.0, wire::body(size).into()),
    ];
    let mut out = Vec::new();
    for frame in &frames {
        out = append(out, gen_frame(frame));
    }
    assert_eq!(out, wire::publish(size), "both write the same");
    out.clear();
    Box::new(move |messages| {
        for number in 1..=messages {
            for frame in &frames {
                out = append(std::mem::take(&mut out), gen_frame(black_box(frame)));
            }
            if number % wire::batch(size) == 0 {
                black_box(&out);
                out.clear();
            }
        }
    })
}

/// Parses deliveries where they are, without the copy that a socket would make.
pub(crate) fn deliver(size: usize) -> Runner {
    parse(wire::deliveries(size, wire::batch(size)), wire::batch(size))
}

pub(crate) fn decode_ack(_: usize) -> Runner {
    parse(wire::acks(GRAIN), GRAIN)
}

fn parse(block: Vec<u8>, count: u64) -> Runner {
    Box::new(move |messages| {
        for _ in 0..messages / count {
            let mut rest = &block[..];
            while !rest.is_empty() {
                let (after, frame) = parse_frame(rest).expect("these are frames");
                black_box(frame);
                rest = after;
            }
        }
    })
}

pub(crate) fn encode_ack(_: usize) -> Runner {
    let mut out = Vec::new();
    Box::new(move |messages| {
        for delivery_tag in 1..=messages {
            let ack = basic::Ack {
                delivery_tag,
                multiple: false,
            };
            let ack = AMQPClass::Basic(basic::AMQPMethod::Ack(ack));
            let frame = AMQPFrame::Method(CHANNEL.0, ack);
            out = append(std::mem::take(&mut out), gen_frame(&frame));
            if delivery_tag % GRAIN == 0 {
                black_box(&out);
                out.clear();
            }
        }
    })
}

pub(crate) fn encode_table(_: usize) -> Runner {
    let mut out = Vec::new();
    Box::new(move |messages| {
        for _ in 0..messages {
            let table = table(black_box(wire::entries()));
            out = append(std::mem::take(&mut out), gen_field_table(&table));
            black_box(&out);
            out.clear();
        }
    })
}

pub(crate) fn decode_table(_: usize) -> Runner {
    let table = wire::table();
    let mut bytes = (table.as_bytes().len() as u32).to_be_bytes().to_vec();
    bytes.extend(table.as_bytes());
    Box::new(move |messages| {
        for _ in 0..messages {
            let (_, table) = parse_field_table(black_box(&bytes[..])).expect("it is well-formed");
            black_box(table);
        }
    })
}

fn table(entries: [(&str, FieldValue<'_>); 8]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        let value = match value {
            FieldValue::Bool(value) => AMQPValue::Boolean(value),
            FieldValue::I32(value) => AMQPValue::LongInt(value),
            FieldValue::I64(value) => AMQPValue::LongLongInt(value),
            other => {
                let bytes = other.as_bytes().expect("there are no others");
                AMQPValue::LongString(LongString::from(bytes))
            }
        };
        table.insert(name.into(), value);
    }
    table
}

fn append(out: Vec<u8>, write: impl SerializeFn<Vec<u8>>) -> Vec<u8> {
    let position = out.len() as u64;
    let written: GenResult<Vec<u8>> = write(WriteContext {
        write: out,
        position,
    });
    written.expect("a vector takes everything").write
}
