use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::{Connection, Phase};
use crate::channel::{ChannelPhase, ChannelState};
use crate::content::{Announcement, ContentMethod, Layout, Message};
use crate::frame::{self, Frame, FrameKind};
use crate::handshake::{Greeting, HandshakeError, ServerHandshake};
use crate::method::{Arguments, MethodId, SentBy, basic, channel, connection};
use crate::write;
use crate::{ChannelCloseReason, CloseReason, Event, Method, PeerClose, Violation};

/// What became of the front of the input.
pub(super) enum Step {
    /// So many bytes were used up.
    Consumed(usize),
    /// A message stands whole at the front, and is to be cut out of the input.
    Message(u16, Announcement, Layout),
    /// More bytes are needed.
    Incomplete,
}

impl Connection {
    /// Takes what was read from the transport: whole frames are consumed, the rest of a frame
    /// stays in `input` for the next call, behind which more is to be appended.
    ///
    /// Messages share the memory of `input` instead of copying it. Any split of the stream gives
    /// the same events. Once the connection has ended, input is discarded.
    pub fn receive(&mut self, now: Instant, input: &mut BytesMut) {
        if !input.is_empty() {
            self.heard(now);
        }
        while !self.is_closed() {
            let outcome = match self.receive_one(now, input) {
                Ok(Step::Consumed(len)) => {
                    input.advance(len);
                    Ok(())
                }
                Ok(Step::Message(id, announcement, layout)) => {
                    let buffer = input.split_to(layout.frames_len).freeze();
                    self.message(id, Message::new(announcement, buffer, &layout));
                    Ok(())
                }
                Ok(Step::Incomplete) => return,
                Err(violation) => Err(violation),
            };
            if let Err(violation) = outcome {
                self.violated(violation);
            }
        }
        input.clear();
    }

    fn receive_one(&mut self, now: Instant, input: &[u8]) -> Result<Step, Violation> {
        match &self.phase {
            Phase::Server(ServerHandshake::Header, _) => return Ok(self.protocol_header(input)),
            Phase::Client(handshake) if handshake.is_start() => match Greeting::recognise(input) {
                Ok(None) => {}
                Ok(Some(greeting)) => {
                    self.end(CloseReason::Handshake(HandshakeError::NotAmqp(greeting)));
                    return Ok(Step::Consumed(0));
                }
                Err(()) => return Ok(Step::Incomplete),
            },
            _ => {}
        }
        let limits = self.frame_limits();
        let Some(frame) = frame::find(input, &limits)? else {
            return Ok(Step::Incomplete);
        };
        let consumed = Step::Consumed(frame.encoded_len());
        if frame.kind == FrameKind::Heartbeat {
            return Ok(consumed);
        }
        if frame.channel == 0 {
            self.connection_frame(now, &frame)?;
            return Ok(consumed);
        }
        if !matches!(self.phase, Phase::Open) {
            // Behind our own connection.close all but its answer is discarded (§1.4.2.10).
            return match self.phase {
                Phase::Closing => Ok(consumed),
                _ => Err(Violation::unexpected(&frame)),
            };
        }
        let Some(state) = self.channels.get_mut(frame.channel) else {
            self.frame_without_channel(&frame)?;
            return Ok(consumed);
        };
        let message = match frame.kind {
            FrameKind::Header => state.header(&frame, self.limits.max_message_size)?,
            FrameKind::Body => state.body(&frame)?,
            FrameKind::Method => {
                let id = MethodId::peek(frame.payload)?;
                match ContentMethod::from_id(id).filter(|_| id.sent_by() != Some(self.sends)) {
                    Some(_) if state.is_closing() => {}
                    Some(kind) => {
                        state.expect_content(&frame, id)?;
                        let announcement = Announcement::parse(kind, frame.payload)
                            .ok_or(Violation::MalformedArguments(id))?;
                        let max_message = self.limits.max_message_size;
                        if let Some(layout) = Layout::of_whole(input, &frame, &limits, max_message)
                        {
                            return Ok(Step::Message(frame.channel, announcement, layout));
                        }
                        state.assembly.begin(announcement, frame.payload);
                    }
                    None => self.channel_method(&frame, id)?,
                }
                None
            }
            // `frame::find` lets heartbeats come on channel 0 only.
            FrameKind::Heartbeat => None,
        };
        if let Some(message) = message {
            self.message(frame.channel, message);
        }
        Ok(consumed)
    }

    fn connection_frame(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), Violation> {
        if frame.kind != FrameKind::Method {
            return Err(Violation::unexpected(frame));
        }
        if matches!(self.phase, Phase::Closing) {
            let id = MethodId::peek(frame.payload)?;
            if !matches!(id, connection::Close::ID | connection::CloseOk::ID) {
                return Ok(());
            }
        }
        match (Method::decode(frame.payload)?, &self.phase) {
            (Method::ConnectionClose(_), Phase::Closing) => {
                // Both closed at once: each is owed its answer, and ours is still to come.
                write::short_method(&mut self.outbound, 0, &connection::CloseOk);
                Ok(())
            }
            (Method::ConnectionCloseOk(_), Phase::Closing) => {
                self.end(CloseReason::Requested);
                Ok(())
            }
            (Method::ConnectionClose(close), _) => {
                write::short_method(&mut self.outbound, 0, &connection::CloseOk);
                self.end(CloseReason::Peer(PeerClose {
                    code: close.reply_code,
                    text: close.reply_text,
                    method: MethodId {
                        class: close.class_id,
                        method: close.method_id,
                    },
                }));
                Ok(())
            }
            (method, Phase::Client(_)) => self.client_handshake(now, method),
            (method, Phase::Server(..)) => self.server_handshake(now, method),
            (method, _) => self.notice(method),
        }
    }

    /// A method about the connection while it is open.
    fn notice(&mut self, method: Method) -> Result<(), Violation> {
        let event = match (method, self.sends) {
            (Method::ConnectionBlocked(blocked), SentBy::Client) => {
                self.blocked = true;
                Event::Blocked {
                    reason: blocked.reason,
                }
            }
            (Method::ConnectionUnblocked(_), SentBy::Client) => {
                self.blocked = false;
                Event::Unblocked
            }
            (Method::ConnectionUpdateSecretOk(_), SentBy::Client)
                if self.deadlines.secret.is_some() =>
            {
                self.deadlines.secret = None;
                Event::SecretUpdated
            }
            (method @ Method::ConnectionUpdateSecret(_), SentBy::Server) => {
                Event::Request { channel: 0, method }
            }
            (method, _) => {
                return Err(Violation::UnexpectedMethod {
                    channel: 0,
                    method: method.id(),
                });
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    /// A frame on a channel that does not exist.
    fn frame_without_channel(&mut self, frame: &Frame<'_>) -> Result<(), Violation> {
        let opens = self.sends == SentBy::Server
            && frame.kind == FrameKind::Method
            && MethodId::peek(frame.payload)? == channel::Open::ID;
        if opens && frame.channel <= self.tuning.channel_max {
            self.channels
                .insert(frame.channel, ChannelState::new(ChannelPhase::Open));
            write::short_method(
                &mut self.outbound,
                frame.channel,
                &channel::OpenOk::default(),
            );
            self.events.push_back(Event::ChannelOpen {
                channel: frame.channel,
            });
            return Ok(());
        }
        // What was on its way when the channel ended is of no use any more, and RabbitMQ repeats a
        // channel.close over a consumer timeout until it has seen close-ok.
        if self.channels.is_closed(frame.channel) {
            Ok(())
        } else {
            Err(Violation::UnknownChannel {
                channel: frame.channel,
            })
        }
    }

    /// A method on an existing channel, other than one that a message follows.
    fn channel_method(&mut self, frame: &Frame<'_>, id: MethodId) -> Result<(), Violation> {
        let channel = frame.channel;
        let Some(state) = self.channels.get_mut(channel) else {
            return Ok(());
        };
        match (id, state.phase) {
            (channel::Close::ID, ChannelPhase::Opening) => {
                // It cannot be about this channel, which the peer has not opened yet, but about
                // the one before it at this number.
                return Ok(());
            }
            (channel::Close::ID, ChannelPhase::Closing { .. }) => {
                // Both closed at once: each is owed its answer, and ours is still to come.
                write::short_method(&mut self.outbound, channel, &channel::CloseOk);
                return Ok(());
            }
            (channel::CloseOk::ID, ChannelPhase::Closing { told }) => {
                self.release_channel(channel);
                if !told {
                    let reason = ChannelCloseReason::Requested;
                    self.events
                        .push_back(Event::ChannelClosed { channel, reason });
                }
                return Ok(());
            }
            (_, ChannelPhase::Closing { .. }) => return Ok(()),
            // Within a message only the end of the channel may come.
            (channel::Close::ID, ChannelPhase::Open) => {}
            _ if !state.assembly.is_idle() => return Err(Violation::unexpected(frame)),
            _ => {}
        }
        let unexpected = Err(Violation::UnexpectedMethod {
            channel,
            method: id,
        });
        if id.sent_by() == Some(self.sends) {
            return unexpected;
        }
        let event = match Method::decode(frame.payload)? {
            Method::ChannelClose(close) => {
                write::short_method(&mut self.outbound, channel, &channel::CloseOk);
                self.release_channel(channel);
                let reason = ChannelCloseReason::Peer(PeerClose {
                    code: close.reply_code,
                    text: close.reply_text,
                    method: MethodId {
                        class: close.class_id,
                        method: close.method_id,
                    },
                });
                Event::ChannelClosed { channel, reason }
            }
            Method::ChannelOpenOk(_)
                if state.phase == ChannelPhase::Opening && state.answers(id) =>
            {
                state.phase = ChannelPhase::Open;
                Event::ChannelOpen { channel }
            }
            Method::ChannelFlow(channel::Flow { active }) => {
                state.flow_active = active;
                write::short_method(&mut self.outbound, channel, &channel::FlowOk { active });
                Event::Flow { channel, active }
            }
            method if self.sends == SentBy::Server => Event::Request { channel, method },
            Method::BasicAck(basic::Ack {
                delivery_tag,
                multiple,
            }) if state.may_confirm(delivery_tag) => Event::Confirm {
                channel,
                delivery_tag,
                multiple,
                ack: true,
            },
            Method::BasicNack(basic::Nack {
                delivery_tag,
                multiple,
                ..
            }) if state.may_confirm(delivery_tag) => Event::Confirm {
                channel,
                delivery_tag,
                multiple,
                ack: false,
            },
            Method::BasicCancel(basic::Cancel {
                consumer_tag,
                nowait,
            }) => {
                if !nowait {
                    let consumer_tag = consumer_tag.clone();
                    let reply = basic::CancelOk { consumer_tag };
                    write::short_method(&mut self.outbound, channel, &reply);
                }
                Event::ConsumerCancelled {
                    channel,
                    consumer_tag,
                }
            }
            method if state.answers(id) => Event::Reply { channel, method },
            _ => return unexpected,
        };
        self.events.push_back(event);
        Ok(())
    }

    fn release_channel(&mut self, channel: u16) {
        match self.sends {
            SentBy::Client => self.channels.release(channel),
            _ => _ = self.channels.close(channel),
        }
    }

    fn message(&mut self, channel: u16, message: Message) {
        self.events.push_back(match message {
            Message::Delivery(delivery) => Event::Delivery { channel, delivery },
            Message::Returned(returned) => Event::Returned { channel, returned },
            Message::Got(got) => Event::Got { channel, got },
            Message::Published(published) => Event::Published { channel, published },
        });
    }
}
