//! Whether what a consumer receives comes from a stream, which takes nothing back.
//!
//! RabbitMQ 3.10 closes the connection over a basic.nack or basic.reject of a delivery from a stream (540), and
//! does not tell in any answer that a queue is one. Two things do: somebody *says* so who has to know, and
//! each delivery *shows* its place in the stream, in a header. The header alone does not prove it: whoever
//! passes on a message of a stream, as it is, to an ordinary queue passes on the header, too.
//!
//! So what is at stake decides how much is asked for. Not to give back what can as well be left to the end
//! of the channel does no harm to an ordinary queue, and takes one sign. To acknowledge what was to be
//! refused would lose an ordinary queue's message, and takes both.
//!
//! Where a consumer of a stream is, is for it alone to know: that is its [`Progress`].

mod progress;

pub use self::progress::Progress;

#[derive(Debug, Default)]
pub struct StreamSigns {
    is_said: bool,
    /// What the deliveries of the present channel show; they are all alike.
    is_shown: Option<bool>,
}

impl StreamSigns {
    /// The user asked for a place in a stream, it was declared as one, or the broker has refused to take
    /// something back.
    pub fn said(&mut self) {
        self.is_said = true;
    }

    /// Whether anybody said so.
    pub fn is_said(&self) -> bool {
        self.is_said
    }

    /// Whether a delivery of this channel is still to be looked at.
    pub fn is_open(&self) -> bool {
        self.is_shown.is_none()
    }

    /// A delivery shows whether it has a place in a stream.
    pub fn shown(&mut self, has_place: bool) {
        self.is_shown.get_or_insert(has_place);
    }

    /// The broker has closed the connection over a refusal, and this consumer is among those who refused
    /// something.
    pub fn refusal_refused(&mut self) {
        self.is_said |= self.is_shown == Some(true);
    }

    /// The channel is gone. The queue may be another by the next.
    pub fn channel_lost(&mut self) {
        self.is_shown = None;
    }

    /// Whether nothing is to be given back unless it has to be.
    pub fn may_be_stream(&self) -> bool {
        self.is_shown.unwrap_or(self.is_said)
    }

    /// Whether a refusal would cost the connection.
    pub fn is_stream(&self) -> bool {
        self.is_said && self.may_be_stream()
    }
}

#[cfg(test)]
mod tests;
