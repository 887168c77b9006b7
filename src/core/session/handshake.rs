//! What the end of a transport is likely to mean before the connection is open.

use snowshoe_codec::{Connection, Stage};

use crate::error::{ConnectionErrorReason, Hint};

/// The end of a transport, with what it is likely to mean in the handshake, where brokers that refuse
/// something often say nothing of it.
pub(super) fn told(
    connection: &Connection,
    stage: Stage,
    error: ConnectionErrorReason,
) -> ConnectionErrorReason {
    let login = connection.longest_in_handshake();
    let frame_max = connection.tuning().frame_max;
    // A RabbitMQ that says that it is older than 4.1 takes small frames, and one that says that it is not
    // gets none; others, and what stands in front of one, may be anything.
    let release = connection.rabbitmq_release();
    let surely_taken = match release {
        Some(release) if release >= (4, 1) => TAKEN_SINCE_4_1,
        _ => SURELY_TAKEN,
    };
    let hint = match stage {
        Stage::Greeting => Hint::Port,
        Stage::Login if login > surely_taken => Hint::LoginTooLong(login),
        Stage::Login => Hint::Login,
        Stage::Opening if frame_max < LEAST_FRAME_MAX && release.is_none() => {
            Hint::FrameMax(frame_max)
        }
        Stage::Opening => Hint::VirtualHost,
        _ => return error,
    };
    error.cut_in_handshake(stage, hint)
}

/// The longest frame before tuning that every broker takes (AMQP 0-9-1 §4.2.3). RabbitMQ 3.10.8 was seen
/// to reset after 3 s where start-ok was longer.
const SURELY_TAKEN: usize = 4096;

/// The same for RabbitMQ from 4.1 on, unless its `initial_frame_max` is another; seen on 4.3.6.
const TAKEN_SINCE_4_1: usize = 8192;

/// The smallest `frame_max` that RabbitMQ takes, from 4.1 on. On 4.3.6 the end without a word was seen
/// where it was smaller.
const LEAST_FRAME_MAX: u32 = 8192;
