use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::{Connection, Phase};
use crate::assembly::{Announcement, ContentMethod, Layout};
use crate::channel::{ChannelPhase, ChannelState, Untold, is_housekeeping};
use crate::content::{CONTENT_HEADER_LEN, Delivery};
use crate::event::{ChannelCloseReason, CloseReason, Event, PeerClose, PublisherConfirm};
use crate::frame::{self, Frame, FrameError, FrameKind, HEADER_LEN, RestOfFrame};
use crate::handshake::Stage;
use crate::method::{Arguments, Method, MethodError, MethodId, basic, channel, connection};
use crate::side::Side;
use crate::types::ChannelId;
use crate::violation::Violation;
use crate::write;

impl Connection {
    /// Takes what was read from the transport: whole frames are consumed, the rest of a frame
    /// stays in `input` for the next call, after which more is to be appended.
    ///
    /// Messages share the memory of `input` instead of copying it, unless told
    /// [otherwise](Self::copy_below). Any split of the stream gives
    /// the same events. Once the connection has ended, input is discarded.
    ///
    /// It stops when 128 events wait to be polled, so that no input, however long, holds more memory
    /// than these, and answers `true`: poll them, and call it again with what is left. A server's also stops
    /// where its word is awaited, for a client need not wait for it: after
    /// [`accept_login`](Self::accept_login) and [`accept_open`](Self::accept_open) call it again, too.
    #[must_use = "whole frames may be left in the input, to be taken once events were polled"]
    pub fn receive(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        self.receive_into(now, input, &mut |_, delivery| Err(delivery))
    }

    /// The same, but messages for consumers go straight to `deliver`, with their channel, unless an
    /// event waits to be polled before them. What it gives back becomes an event as well.
    ///
    /// It spares each message the way through a queue, which is for whoever has one of their own.
    #[must_use = "whole frames may be left in the input, to be taken once events were polled"]
    pub fn receive_into(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        deliver: &mut dyn FnMut(ChannelId, Delivery) -> Result<(), Delivery>,
    ) -> bool {
        // What was left over the last time is no new sign of life.
        if input.len() > self.left_over {
            self.heard(now);
            self.received_at = now;
        }
        while !self.is_closed() && !self.events.are_many() {
            match self.receive_one(now, input, deliver) {
                Ok(true) => {}
                Ok(false) => break,
                Err(violation) => self.violated(violation),
            }
        }
        if self.is_closed() {
            input.clear();
        }
        self.left_over = input.len();
        let is_to_be_polled = self.events.are_many() || self.owes_word() && !self.events.is_empty();
        is_to_be_polled && !input.is_empty()
    }

    /// Whether the application of a server has yet to say whether a client may come in.
    fn owes_word(&self) -> bool {
        matches!(&self.phase, Phase::Server(handshake, _) if handshake.owes_word())
    }

    /// Takes a frame, or a whole message, off the front of the input; whether there was one.
    fn receive_one(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        deliver: &mut dyn FnMut(ChannelId, Delivery) -> Result<(), Delivery>,
    ) -> Result<bool, Violation> {
        if !self.is_open() && self.owes_word() {
            return Ok(false);
        }
        if !self.is_open() && self.stage() == Stage::Greeting {
            let Some(len) = self.greet(input) else {
                return Ok(false);
            };
            input.advance(len);
            if self.is_closed() {
                return Ok(true);
            }
        }
        if let Some(rest) = &mut self.skipping {
            let is_through = rest.skip(input)?;
            if is_through {
                self.skipping = None;
            }
            return Ok(is_through);
        }
        let limits = self.frame_limits();
        let frame = match frame::find(input, &limits) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(false),
            Err(error) => return self.large_frame(input, error),
        };
        let Frame { kind, channel, .. } = frame;
        let len = frame.encoded_len();
        match (&self.phase, kind, channel) {
            (_, FrameKind::Heartbeat, _) => {}
            (Phase::Closing, FrameKind::Method, ChannelId::CONNECTION) => {
                self.method_while_closing(&frame)?;
            }
            (Phase::Closing, ..) => {}
            (_, FrameKind::Method, ChannelId::CONNECTION) => self.connection_method(now, &frame)?,
            (Phase::Open, FrameKind::Method, ChannelId(1..)) => {
                if let Some(announcement) = self.channel_method(&frame)? {
                    let max_message = self.limits.max_message_size;
                    match Layout::of_whole(announcement, input, &frame, &limits, max_message) {
                        Some(layout) => {
                            let buffer = self.take_message(input, layout.frames_len());
                            self.message(layout.event(channel, buffer), deliver);
                            return Ok(true);
                        }
                        None => self.begin_message(announcement, &frame),
                    }
                }
            }
            (Phase::Open, _, ChannelId(1..)) => self.content_frame(&frame)?,
            _ => return Err(Violation::unexpected(&frame)),
        }
        input.advance(len);
        Ok(true)
    }

    /// After our own connection.close all but its answer, and a close that crosses it, is
    /// discarded (AMQP 0-9-1 §1.4.2.10).
    fn method_while_closing(&mut self, frame: &Frame<'_>) -> Result<(), MethodError> {
        match MethodId::peek(frame.payload) {
            Ok(connection::CloseOk::ID) => self.end(CloseReason::Requested),
            Ok(connection::Close::ID) => self.closed_by_peer(frame)?,
            _ => {}
        }
        Ok(())
    }

    fn connection_method(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), Violation> {
        if MethodId::peek(frame.payload)? == connection::Close::ID {
            return Ok(self.closed_by_peer(frame)?);
        }
        let method = Method::decode(frame.payload)?;
        match self.phase {
            Phase::Client(_) => self.client_handshake(now, method),
            Phase::Server(..) => self.server_handshake(now, method),
            Phase::Open | Phase::Closing | Phase::Closed => self.notice(now, method),
        }
    }

    /// The peer's connection.close. If it crosses our own, RabbitMQ sends no answer to that.
    fn closed_by_peer(&mut self, frame: &Frame<'_>) -> Result<(), MethodError> {
        let close = decode::<connection::Close>(frame)?;
        write::short_method(
            &mut self.outbound,
            ChannelId::CONNECTION,
            &connection::CloseOk,
        );
        self.end(CloseReason::Peer(PeerClose::of_connection(close)));
        Ok(())
    }

    /// A method about the connection while it is open.
    fn notice(&mut self, now: Instant, method: Method) -> Result<(), Violation> {
        let event = match (method, self.side) {
            (Method::ConnectionBlocked(blocked), Side::Client) => {
                self.blocked = true;
                self.rest_calls();
                Event::Blocked {
                    reason: blocked.reason,
                }
            }
            (Method::ConnectionUnblocked(_), Side::Client) => {
                self.blocked = false;
                self.resume_calls(now);
                Event::Unblocked
            }
            (Method::ConnectionUpdateSecretOk(_), Side::Client)
                if self.deadlines.secret.is_some() =>
            {
                self.deadlines.secret = None;
                Event::SecretUpdated
            }
            (method @ Method::ConnectionUpdateSecret(_), Side::Server) => Event::Request {
                channel: ChannelId::CONNECTION,
                method: Box::new(method),
            },
            (method, _) => {
                return Err(Violation::UnexpectedMethod {
                    channel: ChannelId::CONNECTION,
                    method: method.id(),
                });
            }
        };
        self.events.push(event);
        Ok(())
    }

    /// A method on a channel. If it announces a message, which is still to be received, that is told
    /// to the caller.
    fn channel_method(&mut self, frame: &Frame<'_>) -> Result<Option<Announcement>, Violation> {
        let Some(state) = self.channels.get_mut(frame.channel) else {
            self.frame_without_channel(frame)?;
            return Ok(None);
        };
        let method = MethodId::peek(frame.payload)?;
        let content = ContentMethod::from_id(method)
            .filter(|content| !state.is_closing() && content.receiver() == self.side);
        let Some(kind) = content else {
            self.plain_method(frame, method)?;
            return Ok(None);
        };
        if !state.assembly.is_idle() {
            return Err(Violation::unexpected(frame));
        }
        let (received_at, patience) = (self.received_at, self.limits.call_timeout);
        if !state.expects_content(method, received_at, patience) {
            let channel = frame.channel;
            return Err(Violation::UnexpectedMethod { channel, method });
        }
        let announcement = Announcement::parse(kind, frame.payload);
        let announcement = announcement.ok_or(Violation::MalformedArguments(method))?;
        Ok(Some(announcement))
    }

    /// A whole message, off the front of the input.
    #[inline]
    fn take_message(&self, input: &mut BytesMut, len: usize) -> Bytes {
        if len >= self.copy_below {
            return input.split_to(len).freeze();
        }
        let copy = Bytes::copy_from_slice(&input[..len]);
        input.advance(len);
        copy
    }

    /// A whole message.
    #[inline]
    fn message(
        &mut self,
        event: Event,
        deliver: &mut dyn FnMut(ChannelId, Delivery) -> Result<(), Delivery>,
    ) {
        let event = match event {
            Event::Delivery { channel, delivery } if self.events.is_empty() => {
                match deliver(channel, delivery) {
                    Ok(()) => return,
                    Err(delivery) => Event::Delivery { channel, delivery },
                }
            }
            event => event,
        };
        self.events.push(event);
    }

    /// The method of a message whose other frames follow, and are put together one by one.
    fn begin_message(&mut self, announcement: Announcement, frame: &Frame<'_>) {
        if let Some(state) = self.channels.get_mut(frame.channel) {
            state.assembly.begin(announcement, frame.payload);
        }
    }

    /// A content header, or a part of a body, of a message that did not come in one piece.
    fn content_frame(&mut self, frame: &Frame<'_>) -> Result<(), Violation> {
        let Some(state) = self.channels.get_mut(frame.channel) else {
            return self.frame_without_channel(frame);
        };
        if !state.is_closing()
            && let Some(event) = state.assembly.add(frame, self.limits.max_message_size)?
        {
            self.events.push(event);
        }
        Ok(())
    }

    /// A frame that cannot be taken. Of those that are too long, a content header need not be the
    /// peer's fault: no broker can split one, and each forwards what any publisher wrote. So it costs
    /// its message alone, and the rest of it is skipped as it comes.
    #[cold]
    fn large_frame(&mut self, input: &mut BytesMut, error: FrameError) -> Result<bool, Violation> {
        const FRONT: usize = HEADER_LEN + CONTENT_HEADER_LEN;
        let FrameError::TooLarge {
            kind: kind @ FrameKind::Header,
            channel: channel @ ChannelId(1..),
            size,
            max,
        } = error
        else {
            return Err(error.into());
        };
        if !matches!(self.phase, Phase::Open | Phase::Closing) {
            return Err(error.into());
        }
        let Some(payload) = input.get(HEADER_LEN..FRONT) else {
            return Ok(false);
        };
        let frame = Frame {
            kind,
            channel,
            payload,
        };
        match (&self.phase, self.channels.get_mut(channel)) {
            (Phase::Open, Some(state)) if !state.is_closing() => {
                if let Some(event) = state.assembly.add_large_header(&frame, size, max)? {
                    self.events.push(event);
                }
            }
            (Phase::Open, None) => self.frame_without_channel(&frame)?,
            _ => {}
        }
        input.advance(FRONT);
        self.skipping = Some(RestOfFrame {
            kind,
            channel,
            payload: size - (FRONT + 1) as u64,
        });
        Ok(true)
    }

    /// A frame on a channel that does not exist.
    fn frame_without_channel(&mut self, frame: &Frame<'_>) -> Result<(), Violation> {
        let channel = frame.channel;
        let unknown = Err(Violation::UnknownChannel { channel });
        match self.side {
            // RabbitMQ repeats a channel.close over a consumer timeout until it has seen close-ok.
            Side::Client if self.channels.is_closed(channel) => Ok(()),
            Side::Client => unknown,
            // After a client's close or close-ok nothing else is on its way.
            Side::Server => {
                let opens = frame.kind == FrameKind::Method
                    && MethodId::peek(frame.payload)? == channel::Open::ID;
                if !opens || channel.0 > self.tuning.channel_max {
                    return unknown;
                }
                self.channels.insert(channel, ChannelPhase::Open);
                self.reply(channel, &channel::OpenOk::default())?;
                self.events.push(Event::ChannelOpen { channel });
                Ok(())
            }
        }
    }

    /// A method on an existing channel, other than one that a message follows.
    fn plain_method(&mut self, frame: &Frame<'_>, method: MethodId) -> Result<(), Violation> {
        let channel = frame.channel;
        let Some(state) = self.channels.get_mut(channel) else {
            return Ok(());
        };
        let (received_at, patience) = (self.received_at, self.limits.call_timeout);
        match (state.phase, method) {
            // Not about this channel, which the peer has not opened yet, but about the one that
            // was at this number before: a repeated close may cross our close-ok.
            (ChannelPhase::Opening { reused: true }, channel::Close::ID) => Ok(()),
            (ChannelPhase::Opening { .. } | ChannelPhase::Open, channel::Close::ID) => {
                let close = decode::<channel::Close>(frame)?;
                self.reply(channel, &channel::CloseOk)?;
                self.release_channel(channel);
                self.channel_closed(
                    channel,
                    ChannelCloseReason::Peer(PeerClose::of_channel(close)),
                );
                Ok(())
            }
            (ChannelPhase::Opening { .. }, channel::OpenOk::ID)
                if state.answers(method, received_at, patience) =>
            {
                state.phase = ChannelPhase::Open;
                self.events.push(Event::ChannelOpen { channel });
                Ok(())
            }
            (ChannelPhase::Open, _) if !state.assembly.is_idle() => {
                Err(Violation::unexpected(frame))
            }
            (ChannelPhase::Open, _) => {
                let event = match (self.side, method) {
                    (Side::Client, basic::Ack::ID | basic::Nack::ID) => {
                        confirm(state, frame, method)
                    }
                    (Side::Client, _) => self.answer(channel, Method::decode(frame.payload)?),
                    (Side::Server, _) => self.request(channel, Method::decode(frame.payload)?),
                };
                self.events.push(event?);
                Ok(())
            }
            (ChannelPhase::Opening { .. }, _) => {
                Err(Violation::UnexpectedMethod { channel, method })
            }
            (ChannelPhase::Closing { .. }, _) => self.channel_method_while_closing(frame, method),
        }
    }

    /// After our own channel.close all but its answer, and a close that crosses it, is discarded.
    fn channel_method_while_closing(
        &mut self,
        frame: &Frame<'_>,
        method: MethodId,
    ) -> Result<(), Violation> {
        let channel = frame.channel;
        let phase = self.channels.get_mut(channel).map(|state| &mut state.phase);
        let Some(ChannelPhase::Closing { untold, answered }) = phase else {
            return Ok(());
        };
        let untold_before = *untold;
        match method {
            channel::Close::ID if !*answered => {
                let close = decode::<channel::Close>(frame)?;
                (*untold, *answered) = (Untold::Nothing, true);
                self.reply(channel, &channel::CloseOk)?;
                let reason = ChannelCloseReason::Peer(PeerClose::of_channel(close));
                self.events.extend(untold_before.told(channel, reason));
            }
            channel::CloseOk::ID => {
                self.release_channel(channel);
                let told = untold_before.told(channel, ChannelCloseReason::Requested);
                self.events.extend(told);
            }
            channel::Open::ID if self.side == Side::Server => {
                return Err(Violation::ChannelInUse { channel });
            }
            _ => {}
        }
        Ok(())
    }

    /// A server's turn: what a client wants on an open channel.
    fn request(&self, channel: ChannelId, method: Method) -> Result<Event, Violation> {
        let id = method.id();
        if id == channel::Open::ID {
            Err(Violation::ChannelInUse { channel })
        } else if is_housekeeping(id) || !self.side.receives(id) {
            Err(Violation::UnexpectedMethod {
                channel,
                method: id,
            })
        } else {
            let method = Box::new(method);
            Ok(Event::Request { channel, method })
        }
    }

    /// A client's turn: what a server says on an open channel.
    fn answer(&mut self, channel: ChannelId, method: Method) -> Result<Event, Violation> {
        let id = method.id();
        let Some(state) = self.channels.get_mut(channel) else {
            return Err(Violation::UnknownChannel { channel });
        };
        match method {
            Method::ChannelFlow(channel::Flow { active }) => {
                state.flow_active = active;
                self.reply(channel, &channel::FlowOk { active })?;
                Ok(Event::Flow { channel, active })
            }
            Method::BasicCancel(basic::Cancel {
                consumer_tag,
                nowait,
            }) => {
                let reply = basic::CancelOk { consumer_tag };
                if !nowait {
                    self.reply(channel, &reply)?;
                }
                Ok(Event::ConsumerCancelled {
                    channel,
                    consumer_tag: reply.consumer_tag,
                })
            }
            method if state.answers(id, self.received_at, self.limits.call_timeout) => {
                let method = Box::new(method);
                Ok(Event::Reply { channel, method })
            }
            _ => Err(Violation::UnexpectedMethod {
                channel,
                method: id,
            }),
        }
    }

    /// Answers what the peer may say as often as it likes. It is to read the answers, or they would
    /// fill our memory.
    fn reply(&mut self, channel: ChannelId, method: &impl Arguments) -> Result<(), Violation> {
        let before = self.outbound.len();
        write::short_method(&mut self.outbound, channel, method);
        let bytes = self.outbound.count_reply(self.outbound.len() - before);
        if bytes > MAX_UNREAD_REPLIES {
            return Err(Violation::UnreadReplies { bytes });
        }
        Ok(())
    }

    fn release_channel(&mut self, channel: ChannelId) {
        match self.side {
            Side::Client => self.channels.release(channel),
            Side::Server => _ = self.channels.close(channel),
        }
    }

    fn channel_closed(&mut self, channel: ChannelId, reason: ChannelCloseReason) {
        self.events.push(Event::ChannelClosed { channel, reason });
    }
}

/// How many bytes of answers may wait for a peer to read them: those to thousands of channels at once,
/// and more than any honest peer has under way.
const MAX_UNREAD_REPLIES: usize = 256 * 1024;

/// The arguments of a method whose ids were read.
fn decode<A: Arguments>(frame: &Frame<'_>) -> Result<A, MethodError> {
    let (_, arguments) = MethodId::split_from(frame.payload)?;
    A::decode_arguments(arguments)
}

/// A publisher confirm. It is read by hand, since confirms come by the million: the ids, the tag, and
/// an octet of which the first bit is `multiple`, for both methods.
fn confirm(state: &ChannelState, frame: &Frame<'_>, method: MethodId) -> Result<Event, Violation> {
    let channel = frame.channel;
    let arguments = match frame.payload {
        [_, _, _, _, tag @ .., bits] => tag.try_into().ok().zip(Some(*bits)),
        _ => None,
    };
    let Some((tag, bits)) = arguments else {
        // Too few or too many: decoding says which.
        Method::decode(frame.payload)?;
        return Err(Violation::MalformedArguments(method));
    };
    let delivery_tag = u64::from_be_bytes(tag);
    if !state.may_confirm(delivery_tag) {
        return Err(Violation::UnknownConfirm {
            channel,
            delivery_tag,
        });
    }
    let confirm = PublisherConfirm {
        delivery_tag,
        multiple: bits & 1 != 0,
        ack: method == basic::Ack::ID,
    };
    Ok(Event::Confirm { channel, confirm })
}
