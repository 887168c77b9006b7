//! What a refusal of a broker means for another time.

use snowshoe_codec::{PeerClose, ReplyCode};

/// Whether the broker will take the same thing later: LavinMQ refuses publishes and declarations,
/// instead of blocking the connection, while its disk is nearly full ("Server low on disk space"). What stands in the
/// middle of a text may be the name of a queue.
pub fn is_passing(close: &PeerClose) -> bool {
    close.code == ReplyCode::PRECONDITION_FAILED
        && close.text.to_string_lossy().ends_with("low on disk space")
}

/// Whether the broker says that something is not there, and not that it cannot be reached.
pub fn is_gone(close: &PeerClose) -> bool {
    close.code == ReplyCode::NOT_FOUND && !is_away(close)
}

/// Whether the broker says that something cannot be reached. RabbitMQ has the same code for a queue that is
/// there, but whose node or process is not (`priv_absent` in `rabbit_amqqueue.erl`).
pub fn is_away(close: &PeerClose) -> bool {
    const ABSENT_FOR_NOW: [&str; 4] = [
        "down or inaccessible",
        "stopped by supervisor",
        "crashed and failed to restart",
        "failed to perform operation",
    ];
    let text = close.text.to_string_lossy();
    close.code == ReplyCode::NOT_FOUND && ABSENT_FOR_NOW.iter().any(|it| text.contains(it))
}
