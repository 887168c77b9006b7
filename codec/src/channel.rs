mod state;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};

pub(crate) use self::state::{ChannelPhase, ChannelState, Untold};
use crate::event::{ChannelCloseReason, Event};
use crate::frame::{self, FrameKind};
use crate::method::{Arguments, Method, MethodId, SentBy, basic, channel, connection};
use crate::outbound::Outbound;
use crate::properties::Properties;
use crate::reply::ReplyCode;
use crate::side::Side;
use crate::time::after;
use crate::types::{ChannelId, ShortString};
use crate::write::{self, Publish, SendError, put_method_id};

/// One channel of a [`Connection`](crate::Connection), borrowed to speak on it.
///
/// Every method is either refused before a byte is written, or written whole.
#[derive(Debug)]
pub struct Channel<'a> {
    pub(crate) id: ChannelId,
    pub(crate) state: &'a mut ChannelState,
    pub(crate) wire: Wire<'a>,
}

/// What a channel needs of its connection.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) outbound: &'a mut Outbound,
    /// When the first call on any channel could be overdue.
    pub(crate) calls_due: &'a mut Option<Instant>,
    pub(crate) frame_max: u32,
    pub(crate) call_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) side: Side,
}

impl Channel<'_> {
    /// The channel's number.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// Whether the peer has opened it.
    ///
    /// What a client sends before that follows its channel.open without waiting for the answer: the
    /// server takes it in the same order.
    pub fn is_open(&self) -> bool {
        self.state.phase == ChannelPhase::Open
    }

    /// Whether something can be sent on it: it is open, or on its way, and nobody has begun to close it.
    pub fn can_send(&self) -> bool {
        self.check_open().is_ok()
    }

    /// Whether the peer allows messages: see [`Event::Flow`](crate::Event::Flow).
    pub fn flow_active(&self) -> bool {
        self.state.flow_active
    }

    /// The position in the connection's stream after all that was sent so far: once
    /// [`Outbound::written`] reaches it, the transport has it.
    pub fn queued(&self) -> u64 {
        self.wire.outbound.queued()
    }

    /// How many publishes were numbered so far, in confirm mode.
    pub fn published(&self) -> Option<u64> {
        self.state.published()
    }

    /// How many calls await their reply.
    pub fn pending_calls(&self) -> usize {
        self.state.pending_calls()
    }

    /// Sends a method.
    ///
    /// Where the protocol has a reply for it, the reply comes as
    /// [`Event::Reply`](crate::Event::Reply); if it does not come in time, the channel is closed.
    /// Several calls may be under way, with one exception: RabbitMQ fails the whole connection
    /// over a basic.cancel that it gets before its basic.consume-ok has left.
    ///
    /// # Errors
    /// [`SendError`]; methods about the channel or the connection itself have functions of their
    /// own, and so has everything that carries a message.
    pub fn send(&mut self, now: Instant, method: impl Into<Method>) -> Result<(), SendError> {
        let deadline = after(now, self.wire.call_timeout);
        self.send_and_wait_until(deadline, method.into())
    }

    /// Sends a method as [`send`](Self::send) does, to which the reply may take as long as it likes: the
    /// channel is not closed for want of it.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_patiently(
        &mut self,
        now: Instant,
        method: impl Into<Method>,
    ) -> Result<(), SendError> {
        self.send_and_wait_until(after(now, Duration::MAX), method.into())
    }

    fn send_and_wait_until(&mut self, deadline: Instant, method: Method) -> Result<(), SendError> {
        let id = method.id();
        let side = self.wire.side;
        if !side.sends(id) || is_housekeeping(id) || id.has_content() {
            return Err(SendError::NotSendable(id));
        }
        if side == Side::Client && settles_tag_zero(&method) {
            return Err(SendError::TagZero);
        }
        self.check_open()?;
        write::method(self.wire.outbound, self.id, &method, self.wire.frame_max)?;
        if matches!(method, Method::ConfirmSelect(_)) {
            self.state.begin_confirms();
        }
        if side == Side::Client && !id.replies().is_empty() && !method.is_nowait() {
            self.expect(id, deadline);
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
        if self.wire.side != Side::Client {
            return Err(SendError::NotSendable(basic::Publish::ID));
        }
        self.check_open()?;
        write::publish(self.wire.outbound, self.id, self.wire.frame_max, message)?;
        Ok(self.state.count_publish())
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
        let to_a_client = id.has_content() && id.sent_by() == Some(SentBy::Server);
        if !to_a_client || self.wire.side != Side::Server {
            return Err(SendError::NotSendable(id));
        }
        self.check_open()?;
        let put_method = |out: &mut Vec<u8>| method.encode(out);
        let Wire {
            outbound,
            frame_max,
            ..
        } = &mut self.wire;
        write::content(outbound, self.id, *frame_max, put_method, properties, body)
    }

    /// Acknowledges a delivery, or with `multiple` all up to it.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], [`SendError::TagZero`].
    pub fn ack(&mut self, delivery_tag: u64, multiple: bool) -> Result<(), SendError> {
        self.write_settle(basic::Ack::ID, delivery_tag, multiple.into())
    }

    /// Refuses a delivery, or with `multiple` all up to it.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], [`SendError::TagZero`].
    pub fn nack(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), SendError> {
        let bits = u8::from(multiple) | u8::from(requeue) << 1;
        self.write_settle(basic::Nack::ID, delivery_tag, bits)
    }

    /// Refuses one delivery.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], [`SendError::TagZero`]; and servers do not reject.
    pub fn reject(&mut self, delivery_tag: u64, requeue: bool) -> Result<(), SendError> {
        if self.wire.side != Side::Client {
            return Err(SendError::NotSendable(basic::Reject::ID));
        }
        self.write_settle(basic::Reject::ID, delivery_tag, requeue.into())
    }

    /// Closes the channel, open or not yet; [`Event::ChannelClosed`](crate::Event::ChannelClosed)
    /// follows.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] where it is being closed already, which is no harm.
    pub fn close(
        &mut self,
        now: Instant,
        code: ReplyCode,
        text: ShortString,
    ) -> Result<(), SendError> {
        self.close_over(now, code, text, NO_METHOD)
    }

    /// Closes the channel as [`close`](Self::close) does, and says over which of the peer's methods:
    /// for a server that refuses one.
    ///
    /// # Errors
    /// [`SendError::NotOpen`].
    pub fn close_over(
        &mut self,
        now: Instant,
        code: ReplyCode,
        text: ShortString,
        method: MethodId,
    ) -> Result<(), SendError> {
        if self.state.is_closing() {
            return Err(SendError::NotOpen);
        }
        self.begin_close(now, Untold::End, code, text, method);
        Ok(())
    }

    /// Asks the peer to open the channel.
    pub(crate) fn open(&mut self, now: Instant) {
        write::short_method(self.wire.outbound, self.id, &channel::Open::default());
        self.expect(channel::Open::ID, after(now, self.wire.call_timeout));
    }

    /// Closes the channel if a call on it was not answered in time; what is to be told of that.
    pub(crate) fn check_calls(&mut self, now: Instant, is_blocked: bool) -> Option<Event> {
        let method = self.state.overdue(now, is_blocked)?;
        let untold = match &mut self.state.phase {
            ChannelPhase::Opening { .. } | ChannelPhase::Open => {
                let text = ShortString::from_static("a call was not answered in time");
                self.begin_close(now, Untold::Release, ReplyCode::SUCCESS, text, NO_METHOD);
                Untold::End
            }
            // The peer does not even answer channel.close. The number stays taken until it does.
            ChannelPhase::Closing { untold, .. } => {
                let untold = std::mem::replace(untold, Untold::Nothing);
                self.state.forget_calls();
                untold
            }
        };
        untold.told(self.id, ChannelCloseReason::CallTimeout(method))
    }

    fn begin_close(
        &mut self,
        now: Instant,
        untold: Untold,
        reply_code: ReplyCode,
        reply_text: ShortString,
        method: MethodId,
    ) {
        let close = channel::Close {
            reply_code,
            reply_text,
            class_id: method.class,
            method_id: method.method,
        };
        write::short_method(self.wire.outbound, self.id, &close);
        let deadline = after(now, self.wire.close_timeout);
        self.state.begin_close(untold, deadline);
        self.due_at(deadline);
    }

    /// Registers a call that awaits its reply until `deadline`.
    fn expect(&mut self, method: MethodId, deadline: Instant) {
        self.state.expect(method, deadline);
        self.due_at(deadline);
    }

    fn due_at(&mut self, deadline: Instant) {
        let due = self.wire.calls_due.unwrap_or(deadline);
        *self.wire.calls_due = Some(due.min(deadline));
    }

    fn check_open(&self) -> Result<(), SendError> {
        match self.state.phase {
            ChannelPhase::Opening { .. } | ChannelPhase::Open => Ok(()),
            ChannelPhase::Closing { .. } => Err(SendError::NotOpen),
        }
    }

    fn write_settle(
        &mut self,
        method: MethodId,
        delivery_tag: u64,
        bits: u8,
    ) -> Result<(), SendError> {
        self.check_open()?;
        if delivery_tag == 0 {
            return Err(SendError::TagZero);
        }
        let out = self.wire.outbound.copied();
        frame::encode(out, FrameKind::Method, self.id, |out| {
            put_method_id(out, method);
            out.put_u64(delivery_tag);
            out.put_u8(bits);
        });
        Ok(())
    }
}

/// Whether a client would settle a delivery that cannot be, or all of them (fault 3).
fn settles_tag_zero(method: &Method) -> bool {
    match method {
        Method::BasicAck(ack) => ack.delivery_tag == 0,
        Method::BasicNack(nack) => nack.delivery_tag == 0,
        Method::BasicReject(reject) => reject.delivery_tag == 0,
        _ => false,
    }
}

/// Whether a method is about a connection or a channel itself, and so the business of the machine.
pub(crate) fn is_housekeeping(id: MethodId) -> bool {
    match id.class {
        CONNECTION => true,
        CHANNEL => !matches!(id, channel::Flow::ID | channel::FlowOk::ID),
        _ => false,
    }
}

const CONNECTION: u16 = connection::Open::ID.class;
const CHANNEL: u16 = channel::Open::ID.class;

/// What a close names where it is not about any method.
pub(crate) const NO_METHOD: MethodId = MethodId {
    class: 0,
    method: 0,
};
