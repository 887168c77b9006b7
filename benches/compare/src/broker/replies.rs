use crate::wire::{Arguments, method, u16_at};

/// A method that a client sent, beyond publishes and acknowledgements.
#[derive(Debug)]
pub(super) enum Request<'a> {
    /// connection.tune-ok, with the longest frame.
    TuneOk(usize),
    ConfirmSelect,
    Qos(u16),
    Consume {
        queue: &'a [u8],
        tag: &'a [u8],
        no_ack: bool,
    },
    Cancel {
        tag: &'a [u8],
    },
    /// A reply is all it takes, if that.
    Other,
}

/// Answers a method, and says what else there is to do.
pub(super) fn reply<'a>(
    out: &mut Vec<u8>,
    channel: u16,
    id: u32,
    arguments: &'a [u8],
) -> Request<'a> {
    let ok = |out: &mut Vec<u8>, arguments: Arguments| arguments.write(out, channel, id + 1);
    match (id >> 16, id & 0xffff) {
        // connection.start-ok, answered by tune.
        (10, 11) => {
            let tune = Arguments::new()
                .short(2047)
                .long(FRAME_MAX)
                .short(HEARTBEAT);
            tune.write(out, 0, method(10, 30));
        }
        (10, 31) => return Request::TuneOk(frame_max(arguments)),
        // connection.open, queue.bind and channel.open have an obsolete argument in their reply,
        // or none.
        (10, 40) => ok(out, Arguments::new().short_string(b"")),
        (20, 10) => ok(out, Arguments::new().long_string(b"")),
        (10, 50) | (20, 40) => ok(out, Arguments::new()),
        (40, 10 | 20) | (50, 20) => ok(out, Arguments::new()),
        (50, 10) => {
            let (queue, _) = short_string(&arguments[2..]);
            ok(out, Arguments::new().short_string(queue).long(0).long(0));
        }
        (60, 10) => {
            ok(out, Arguments::new());
            return Request::Qos(u16_at(arguments, 4));
        }
        (60, 20) => return consume(out, channel, id, arguments),
        (60, 30) => {
            let (tag, _) = short_string(arguments);
            ok(out, Arguments::new().short_string(tag));
            return Request::Cancel { tag };
        }
        (85, 10) => {
            if arguments[0] & 1 == 0 {
                ok(out, Arguments::new());
            }
            return Request::ConfirmSelect;
        }
        _ => {}
    }
    Request::Other
}

/// The first thing that a broker says.
pub(super) fn start(out: &mut Vec<u8>) {
    let mut capabilities = Vec::new();
    for name in CAPABILITIES {
        capabilities.push(name.len() as u8);
        capabilities.extend(name.as_bytes());
        capabilities.extend([b't', 1]);
    }
    let mut properties = vec![12];
    properties.extend(b"capabilitiesF");
    properties.extend((capabilities.len() as u32).to_be_bytes());
    properties.extend(capabilities);
    Arguments::new()
        .octet(0)
        .octet(9)
        .long_string(&properties)
        .long_string(b"PLAIN AMQPLAIN")
        .long_string(b"en_US")
        .write(out, 0, method(10, 10));
}

fn consume<'a>(out: &mut Vec<u8>, channel: u16, id: u32, arguments: &'a [u8]) -> Request<'a> {
    let (queue, rest) = short_string(&arguments[2..]);
    let (tag, rest) = short_string(rest);
    let tag = if tag.is_empty() { b"given" } else { tag };
    if rest[0] & 8 == 0 {
        let ok = Arguments::new().short_string(tag);
        ok.write(out, channel, id + 1);
    }
    Request::Consume {
        queue,
        tag,
        no_ack: rest[0] & 2 != 0,
    }
}

/// The longest frame that a client wants, where it says so.
fn frame_max(arguments: &[u8]) -> usize {
    match crate::wire::u32_at(arguments, 2) {
        0 => FRAME_MAX as usize,
        bytes => bytes.min(FRAME_MAX) as usize,
    }
}

fn short_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[1..].split_at(bytes[0].into())
}

/// What RabbitMQ offers.
pub(super) const FRAME_MAX: u32 = 131_072;

/// In seconds. The broker sends none, and no run is as long.
const HEARTBEAT: u16 = 60;

const CAPABILITIES: [&str; 6] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
];
