use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::content::{Assembly, ContentMethod, Message};
use crate::encode;
use crate::frame::{self, FRAME_END, FRAME_OVERHEAD, Frame, FrameHeader, FrameKind};
use crate::method::{Arguments, MethodId, SentBy, basic, channel};
use crate::outbound::Outbound;
use crate::{ChannelCloseReason, Method, Properties, ReplyCode, ShortStr, ShortString, Violation};

/// One channel of a [`Connection`], borrowed to speak on it.
///
/// Every method is either refused before a byte is written, or written whole.
#[derive(Debug)]
pub struct Channel<'a> {
    pub(crate) id: u16,
    pub(crate) state: &'a mut ChannelState,
    pub(crate) wire: Wire<'a>,
}

/// What a channel needs of its connection.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) outbound: &'a mut Outbound,
    pub(crate) deadlines: &'a mut VecDeque<(Instant, u16)>,
    pub(crate) frame_max: u32,
    pub(crate) call_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) sends: SentBy,
}

/// The state of one channel.
///
/// ```text
///            open            open-ok                close              close-ok
///  (free) ──────────► Opening ───────► Open ─────────────────► Closing ────────► (free)
///                        │              │ │   call timed out      │  ▲
///                        │ timed out    │ └───────────────────────┘  │ the peer's close
///                        └──────────────┼──────────► Closing         │ crosses ours: it gets
///                                       │                            │ its close-ok, and ours
///                                       │ the peer's close           │ is still awaited
///                                       └──────────► (free)
/// ```
///
/// While closing, all but close and close-ok is discarded (AMQP 0-9-1 §1.5.2.5). An id is free
/// again only behind close-ok: used before, it would end the connection with a 504.
#[derive(Debug)]
pub(crate) struct ChannelState {
    pub(crate) phase: ChannelPhase,
    pub(crate) assembly: Assembly,
    /// What awaits a reply, oldest first: a server answers a channel's methods in their order.
    calls: VecDeque<PendingCall>,
    /// Publishes since confirm.select, where confirms were asked for.
    published: Option<u64>,
    pub(crate) flow_active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelPhase {
    Opening,
    Open,
    /// `told`: whether the end of the channel was announced already.
    Closing {
        told: bool,
    },
}

#[derive(Debug)]
struct PendingCall {
    method: MethodId,
    deadline: Instant,
}

impl ChannelState {
    pub(crate) fn new(phase: ChannelPhase) -> Self {
        Self {
            phase,
            assembly: Assembly::Idle,
            calls: VecDeque::new(),
            published: None,
            flow_active: true,
        }
    }

    /// Registers a call that awaits its reply until `deadline`.
    pub(crate) fn expect(&mut self, method: MethodId, deadline: Instant) {
        self.calls.push_back(PendingCall { method, deadline });
    }

    /// Takes the oldest call off the list if `reply` answers it.
    pub(crate) fn answers(&mut self, reply: MethodId) -> bool {
        let answered = self
            .calls
            .front()
            .is_some_and(|call| call.method.replies().contains(&reply));
        if answered {
            self.calls.pop_front();
        }
        answered
    }

    /// The oldest call that is still open at `now` although its deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<MethodId> {
        self.calls
            .front()
            .filter(|call| call.deadline <= now)
            .map(|call| call.method)
    }

    /// Whether the peer may name this tag in a confirm.
    pub(crate) fn may_confirm(&self, delivery_tag: u64) -> bool {
        self.published
            .is_some_and(|published| delivery_tag <= published)
    }

    /// Gives up on what was called.
    pub(crate) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, ChannelPhase::Closing { .. })
    }

    /// Whether a method that a message follows may come now.
    pub(crate) fn expect_content(
        &mut self,
        frame: &Frame<'_>,
        kind: ContentMethod,
    ) -> Result<(), Violation> {
        let due = self.phase == ChannelPhase::Open && self.assembly.is_idle();
        // A message that was not asked for has no one to go to.
        if due && (kind != ContentMethod::GetOk || self.answers(kind.id())) {
            Ok(())
        } else {
            Err(Violation::UnexpectedFrame {
                channel: frame.channel,
                kind: frame.kind,
            })
        }
    }

    /// Takes a content header; the message, if there is no body.
    pub(crate) fn header(
        &mut self,
        frame: &Frame<'_>,
        max_message: u32,
    ) -> Result<Option<Message>, Violation> {
        if self.is_closing() {
            Ok(None)
        } else {
            self.assembly.header(frame, max_message)
        }
    }

    /// Takes a part of a body; the message, if it was the last.
    pub(crate) fn body(&mut self, frame: &Frame<'_>) -> Result<Option<Message>, Violation> {
        if self.is_closing() {
            Ok(None)
        } else {
            self.assembly.body(frame)
        }
    }

    /// Enters the phase in which only the peer's close-ok is awaited.
    pub(crate) fn begin_close(&mut self, told: bool, deadline: Instant) {
        self.phase = ChannelPhase::Closing { told };
        self.assembly = Assembly::Idle;
        self.calls.clear();
        self.expect(channel::Close::ID, deadline);
    }
}

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The exchange; empty for the default exchange, which routes to the queue that the routing
    /// key names.
    pub exchange: ShortStr<'a>,
    /// The routing key.
    pub routing_key: ShortStr<'a>,
    /// Whether the broker is to return the message if it cannot be routed.
    pub mandatory: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The body. A large one is shared, not copied.
    pub body: &'a Bytes,
}

/// Why something could not be sent; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is not open yet, or no longer.
    #[error("the channel is not open")]
    NotOpen,
    /// A method that the machine sends by itself, that carries a message, or that belongs to
    /// another channel or to the other side.
    #[error("{0} cannot be sent this way")]
    NotSendable(MethodId),
    /// A method's arguments or a message's properties do not fit into one frame, and cannot be
    /// split.
    #[error("a frame of {size} bytes would be needed; {limit} were negotiated")]
    FrameTooLarge {
        /// The length of the frame.
        size: usize,
        /// The limit that was negotiated.
        limit: u32,
    },
}

impl Channel<'_> {
    /// The channel's number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Whether it is open, so that methods can be sent.
    pub fn is_open(&self) -> bool {
        self.state.phase == ChannelPhase::Open
    }

    /// Whether the peer allows messages: see [`Event::Flow`](crate::Event::Flow).
    pub fn flow_active(&self) -> bool {
        self.state.flow_active
    }

    /// The position in the connection's stream behind all that was sent so far: once
    /// [`Outbound::written`] reaches it, the transport has it.
    pub fn queued(&self) -> u64 {
        self.wire.outbound.queued()
    }

    /// How many calls await their reply.
    pub fn pending_calls(&self) -> usize {
        self.state.calls.len()
    }

    /// Sends a method.
    ///
    /// Where the protocol has a reply for it, the reply comes as
    /// [`Event::Reply`](crate::Event::Reply), in the order of the calls; if it does not come in
    /// time, the channel is closed. Several calls may be under way.
    ///
    /// # Errors
    /// [`SendError`]; methods about the channel or the connection itself have functions of their
    /// own, and so has everything that carries a message.
    pub fn send(&mut self, now: Instant, method: impl Into<Method>) -> Result<(), SendError> {
        let method = method.into();
        let id = method.id();
        let by_us = id
            .sent_by()
            .is_some_and(|by| by == self.wire.sends || by == SentBy::Both);
        if !by_us || id.has_content() || matches!(id.class, CONNECTION | CHANNEL) {
            return Err(SendError::NotSendable(id));
        }
        self.check_open()?;
        write_method(self.wire.outbound, self.id, &method, self.wire.frame_max)?;
        if matches!(method, Method::ConfirmSelect(_)) {
            // Numbers count from the first confirm.select; a second one changes nothing.
            self.state.published.get_or_insert(0);
        }
        if self.wire.sends == SentBy::Client && !id.replies().is_empty() && !method.is_nowait() {
            let deadline = now + self.wire.call_timeout;
            self.state.expect(id, deadline);
            self.wire.deadlines.push_back((deadline, self.id));
        }
        Ok(())
    }

    /// Publishes a message, its body split over as many frames as it takes.
    ///
    /// In confirm mode the answer is the number by which the broker will confirm it.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn publish(&mut self, message: &Publish<'_>) -> Result<Option<u64>, SendError> {
        if self.wire.sends != SentBy::Client {
            return Err(SendError::NotSendable(basic::Publish::ID));
        }
        self.check_open()?;
        let Publish {
            exchange,
            routing_key,
            mandatory,
            ..
        } = *message;
        self.write_content(message.properties, message.body, |out| {
            put_method_id(out, basic::Publish::ID);
            out.extend_from_slice(&[0, 0]); // the reserved ticket
            encode::put_short_str(out, exchange);
            encode::put_short_str(out, routing_key);
            out.push(mandatory.into());
        })?;
        let number = self.state.published.as_mut().map(|published| {
            *published += 1;
            *published
        });
        Ok(number)
    }

    /// Sends a message to a client, as a server: `method` is basic.deliver, basic.return or
    /// basic.get-ok.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_content(
        &mut self,
        method: impl Into<Method>,
        properties: &Properties,
        body: &Bytes,
    ) -> Result<(), SendError> {
        let method = method.into();
        let id = method.id();
        if !id.has_content()
            || id.sent_by() != Some(self.wire.sends)
            || self.wire.sends == SentBy::Client
        {
            return Err(SendError::NotSendable(id));
        }
        self.check_open()?;
        self.write_content(properties, body, |out| method.encode(out))
    }

    /// Acknowledges a delivery, or with `multiple` all up to it. Tag 0 is refused by brokers, and
    /// with `multiple` it acknowledges everything.
    ///
    /// # Errors
    /// [`SendError::NotOpen`].
    pub fn ack(&mut self, delivery_tag: u64, multiple: bool) -> Result<(), SendError> {
        self.write_settle(basic::Ack::ID, delivery_tag, multiple.into())
    }

    /// Refuses a delivery, or with `multiple` all up to it.
    ///
    /// # Errors
    /// [`SendError::NotOpen`].
    pub fn nack(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), SendError> {
        self.write_settle(
            basic::Nack::ID,
            delivery_tag,
            u8::from(multiple) | u8::from(requeue) << 1,
        )
    }

    /// Refuses one delivery.
    ///
    /// # Errors
    /// [`SendError::NotOpen`].
    pub fn reject(&mut self, delivery_tag: u64, requeue: bool) -> Result<(), SendError> {
        self.write_settle(basic::Reject::ID, delivery_tag, requeue.into())
    }

    /// Closes the channel; [`Event::ChannelClosed`](crate::Event::ChannelClosed) follows.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] where it is not open, which is no harm.
    pub fn close(
        &mut self,
        now: Instant,
        code: ReplyCode,
        text: ShortString,
    ) -> Result<(), SendError> {
        self.check_open()?;
        self.begin_close(now, false, code, text);
        Ok(())
    }

    /// Closes the channel because a call on it was not answered in time.
    pub(crate) fn time_out(&mut self, now: Instant, method: MethodId) -> ChannelCloseReason {
        let text = ShortString::from_static("a call was not answered in time");
        self.begin_close(now, true, ReplyCode::SUCCESS, text);
        ChannelCloseReason::CallTimeout(method)
    }

    fn begin_close(
        &mut self,
        now: Instant,
        told: bool,
        reply_code: ReplyCode,
        reply_text: ShortString,
    ) {
        let close = channel::Close {
            reply_code,
            reply_text,
            class_id: 0,
            method_id: 0,
        };
        write_short_method(self.wire.outbound, self.id, &close.into());
        let deadline = now + self.wire.close_timeout;
        self.state.begin_close(told, deadline);
        self.wire.deadlines.push_back((deadline, self.id));
    }

    fn check_open(&self) -> Result<(), SendError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(SendError::NotOpen)
        }
    }

    fn write_settle(
        &mut self,
        method: MethodId,
        delivery_tag: u64,
        bits: u8,
    ) -> Result<(), SendError> {
        self.check_open()?;
        let out = self.wire.outbound.copied();
        frame::encode(out, FrameKind::Method, self.id, |out| {
            put_method_id(out, method);
            out.extend_from_slice(&delivery_tag.to_be_bytes());
            out.push(bits);
        });
        Ok(())
    }

    /// Writes a method, a content header and the body.
    fn write_content(
        &mut self,
        properties: &Properties,
        body: &Bytes,
        method: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        let limit = self.wire.frame_max;
        let properties = properties.as_bytes();
        let header_len = CONTENT_HEADER_LEN + properties.len() + FRAME_OVERHEAD;
        if header_len > limit as usize {
            return Err(SendError::FrameTooLarge {
                size: header_len,
                limit,
            });
        }
        let start = self.wire.outbound.copied().len();
        let out = self.wire.outbound.copied();
        frame::encode(out, FrameKind::Method, self.id, method);
        let method_len = out.len() - start;
        if method_len > limit as usize {
            out.truncate(start);
            return Err(SendError::FrameTooLarge {
                size: method_len,
                limit,
            });
        }
        frame::encode(out, FrameKind::Header, self.id, |out| {
            out.extend_from_slice(&BASIC.to_be_bytes());
            out.extend_from_slice(&[0, 0]); // weight: RabbitMQ answers anything else with a 505
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
            out.extend_from_slice(properties);
        });
        let per_frame = limit as usize - FRAME_OVERHEAD;
        let mut rest = body.clone();
        while !rest.is_empty() {
            let part = rest.split_to(per_frame.min(rest.len()));
            let header = FrameHeader {
                kind: FrameKind::Body,
                channel: self.id,
                size: part.len() as u32,
            };
            self.wire
                .outbound
                .copied()
                .extend_from_slice(&header.to_bytes());
            self.wire.outbound.push(part);
            self.wire.outbound.copied().push(FRAME_END);
        }
        Ok(())
    }
}

/// Writes a method frame, or nothing if it would be longer than `frame_max`.
pub(crate) fn write_method(
    outbound: &mut Outbound,
    channel: u16,
    method: &Method,
    frame_max: u32,
) -> Result<(), SendError> {
    let out = outbound.copied();
    let start = out.len();
    frame::encode(out, FrameKind::Method, channel, |out| method.encode(out));
    let size = out.len() - start;
    if size > frame_max as usize {
        out.truncate(start);
        return Err(SendError::FrameTooLarge {
            size,
            limit: frame_max,
        });
    }
    Ok(())
}

/// Writes a method whose arguments are short strings and numbers, and so fit into any frame.
pub(crate) fn write_short_method(outbound: &mut Outbound, channel: u16, method: &Method) {
    frame::encode(outbound.copied(), FrameKind::Method, channel, |out| {
        method.encode(out);
    });
}

fn put_method_id(out: &mut Vec<u8>, id: MethodId) {
    out.extend_from_slice(&id.class.to_be_bytes());
    out.extend_from_slice(&id.method.to_be_bytes());
}

const CONNECTION: u16 = 10;
const CHANNEL: u16 = 20;
const BASIC: u16 = 60;
/// Class, weight and body size.
const CONTENT_HEADER_LEN: usize = 12;
