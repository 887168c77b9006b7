use snowshoe_codec::method::basic;
use snowshoe_codec::{FieldTable, FieldValue, ShortString};

use crate::core::Flow;

/// What a consumer asks of the broker.
#[derive(Clone, Debug, Default)]
pub struct ConsumerSpec {
    pub queue: ShortString,
    /// The part of the consumer tag that is the same on every channel.
    pub tag: ShortString,
    pub prefetch: u16,
    pub no_ack: bool,
    pub exclusive: bool,
    pub no_local: bool,
    pub arguments: FieldTable,
}

impl ConsumerSpec {
    /// What the user asked for.
    pub(super) fn flow(&self) -> Flow {
        let prefetch = if self.no_ack { 0 } else { self.prefetch };
        Flow::Wide { prefetch }
    }

    /// What the tags of narrow consumers begin with, and those of wide ones do not.
    pub fn narrow_prefix(&self) -> &'static [u8] {
        if self.tag.as_bytes().starts_with(b"paused") {
            b"narrow-"
        } else {
            b"paused-"
        }
    }

    /// The tag of the consumer that comes after so many exchanges on its channel. None has that of
    /// another: a quorum queue of RabbitMQ 3.10 keeps a cancelled consumer for as long as there is
    /// something of it to be settled, and the next one of its tag ends the connection (541).
    pub(super) fn tag_of(&self, flow: Flow, exchanges: u32) -> ShortString {
        let prefix: &[u8] = match flow {
            Flow::Wide { .. } => b"",
            Flow::Narrow => self.narrow_prefix(),
        };
        let suffix = match exchanges / 2 {
            0 => String::new(),
            before => format!("#{}", before + 1),
        };
        let room = usize::from(u8::MAX) - prefix.len() - suffix.len();
        let tag = [prefix, start(&self.tag, room), suffix.as_bytes()].concat();
        ShortString::try_from(&tag[..]).unwrap_or_default()
    }

    /// Its consumer, as it is asked of the broker.
    pub(super) fn consume(&self, flow: Flow, exchanges: u32) -> basic::Consume {
        let is_narrow = flow == Flow::Narrow;
        basic::Consume {
            queue: self.queue.clone(),
            consumer_tag: self.tag_of(flow, exchanges),
            no_local: self.no_local,
            no_ack: self.no_ack && !is_narrow,
            exclusive: self.exclusive,
            arguments: match is_narrow {
                true => self.narrow_arguments(),
                false => self.arguments.clone(),
            },
            ..Default::default()
        }
    }

    /// Of a lower priority, so that the narrow consumer gets nothing while the wide one is there, and
    /// nothing that another consumer would take: without acknowledgements it has to wait.
    fn narrow_arguments(&self) -> FieldTable {
        let mut arguments = self.arguments.clone();
        let priority = arguments.get("x-priority").ok().flatten();
        let priority = priority.and_then(FieldValue::as_i64).unwrap_or(0);
        // Where it does not fit in, it is left as it is.
        _ = arguments.set("x-priority", priority.saturating_sub(1));
        arguments
    }
}

/// As much of a tag as there is room for, in whole characters.
fn start(tag: &ShortString, room: usize) -> &[u8] {
    let tag = tag.as_bytes();
    let goes_on = |at: &usize| tag.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=room.min(tag.len())).rev().find(|at| !goes_on(at));
    &tag[..end.unwrap_or(0)]
}
