use std::collections::BTreeMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use snowshoe_codec::frame::{self, FrameKind, Limits, PROTOCOL_HEADER};
use snowshoe_codec::method::{MethodId, connection};
use snowshoe_codec::{ChannelId, Connection, FieldValue, Method, Properties, ShortString, Stage};

use super::channel::{Channel, Confirms, Mode};
use super::manner::Manner;

/// A client's connection, as the broker has it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) user: String,
    pub(super) virtual_host: ShortString,
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    /// Whether it published while the broker was short of memory, and is no longer read.
    pub(super) is_blocked: bool,
    /// Whether what it left behind has been cleared away.
    pub(super) is_gone: bool,
    /// When it is cut off without a word. Until then it is not heard any more.
    pub(super) cut_at: Option<Instant>,
}

impl Client {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            user: String::new(),
            virtual_host: ShortString::EMPTY,
            channels: BTreeMap::new(),
            is_blocked: false,
            is_gone: false,
            cut_at: None,
        }
    }

    /// Takes one frame off the front of the input, so that it is answered before the next is looked
    /// at; and the method in it, if there is one.
    pub(super) fn take_frame(&self, input: &mut BytesMut) -> Option<(BytesMut, Option<MethodId>)> {
        if self.connection.stage() == Stage::Greeting {
            let whole = input.len() >= PROTOCOL_HEADER.len();
            return whole.then(|| (input.split_to(PROTOCOL_HEADER.len()), None));
        }
        // Whether it is too large is the codec's to say, which sees it before it is whole.
        let limits = Limits {
            frame_max: u32::MAX,
            header_frame_max: u32::MAX,
        };
        let frame = frame::find(input, &limits).ok()??;
        let method = match frame.kind {
            FrameKind::Method => MethodId::split_from(frame.payload).ok(),
            _ => None,
        };
        let method = method.map(|(id, _)| id);
        let len = frame.encoded_len();
        Some((input.split_to(len), method))
    }

    /// Whether the client said that it understands something.
    pub(super) fn is_capable_of(&self, name: &str) -> bool {
        let properties = self.connection.peer_properties();
        let capabilities = properties.get("capabilities").ok().flatten();
        let capable = capabilities
            .and_then(FieldValue::as_table)
            .and_then(|table| table.get(name).ok().flatten());
        capable.and_then(FieldValue::as_bool) == Some(true)
    }

    /// Sends a method, unless the channel is no longer open.
    pub(super) fn send(&mut self, now: Instant, channel: ChannelId, method: impl Into<Method>) {
        if let Some(mut channel) = self.connection.channel(channel) {
            // It can only fail where the client can no longer hear it, or has tuned frames that
            // are too short for it, and then there is nothing that could be said instead.
            let _ = channel.send(now, method);
        }
    }

    /// Sends a message; whether the channel took it.
    pub(super) fn send_content(
        &mut self,
        channel: ChannelId,
        method: impl Into<Method>,
        properties: &Properties,
        body: &Bytes,
    ) -> bool {
        let channel = self.connection.channel(channel);
        channel.is_some_and(|mut channel| channel.send_content(method, properties, body).is_ok())
    }

    pub(super) fn blocked(&mut self, reason: &ShortString) {
        self.is_blocked = true;
        if self.is_capable_of("connection.blocked") {
            let reason = reason.clone();
            let _ = self.connection.send_notice(connection::Blocked { reason });
        }
    }

    pub(super) fn unblocked(&mut self) {
        if std::mem::take(&mut self.is_blocked) && self.is_capable_of("connection.blocked") {
            let _ = self.connection.send_notice(connection::Unblocked);
        }
    }

    /// Tells the confirms that are due on all channels.
    pub(super) fn flush_confirms(&mut self, manner: Manner) {
        for (id, channel) in &mut self.channels {
            if let (Mode::Confirm(confirms), Some(mut channel)) =
                (&mut channel.mode, self.connection.channel(*id))
            {
                for confirm in confirms.take(manner) {
                    let _ = match confirm {
                        Confirm::Ack(tag, multiple) => channel.ack(tag, multiple),
                        Confirm::Nack(tag, multiple) => channel.nack(tag, multiple, false),
                    };
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirm {
    Ack(u64, bool),
    Nack(u64, bool),
}

impl Confirms {
    /// What is to be told now.
    fn take(&mut self, manner: Manner) -> Vec<Confirm> {
        let acks = std::mem::take(&mut self.acks);
        let nacks = std::mem::take(&mut self.nacks);
        match manner {
            Manner::LavinMq => {
                let nacks = nacks.into_iter().map(|tag| Confirm::Nack(tag, false));
                let ack = acks.last().map(|tag| Confirm::Ack(*tag, true));
                nacks.chain(ack).collect()
            }
            // Acks up to the first nack go together, the rest one by one; then the nacks
            // (RabbitMQ: `coalesce_and_send`).
            _ => {
                let told = coalesce(&acks, nacks.first(), Confirm::Ack);
                let refused = coalesce(&nacks, acks.first(), Confirm::Nack);
                told.into_iter().chain(refused).collect()
            }
        }
    }
}

fn coalesce(
    tags: &[u64],
    cutoff: Option<&u64>,
    confirm: impl Fn(u64, bool) -> Confirm,
) -> Vec<Confirm> {
    if let [tag] = tags {
        return vec![confirm(*tag, false)];
    }
    let together = tags.partition_point(|tag| cutoff.is_none_or(|cutoff| tag < cutoff));
    let (together, alone) = tags.split_at(together);
    let first = together.last().map(|tag| confirm(*tag, true));
    let rest = alone.iter().map(|tag| confirm(*tag, false));
    first.into_iter().chain(rest).collect()
}
