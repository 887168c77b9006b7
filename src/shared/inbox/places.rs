//! Places in a stream: what deliveries tell of them, and how far a consumer has come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use snowshoe_codec::{Delivery, Excess};

use super::{Inbox, InboxState};
use crate::core::acks::Settle;
use crate::core::stream::Progress;
use crate::stream::{OFFSET, StreamOffset};

/// Code of a user's: told where a consumer would begin by itself, it says where it does.
pub(crate) type AskForOffset = Arc<dyn Fn(StreamOffset) -> StreamOffset + Send + Sync>;

/// Brokers tell the place in a stream with every delivery from it. `None` where that cannot be seen.
pub(super) fn has_place_in_stream(delivery: &Delivery) -> Option<bool> {
    if let Some(Excess::Header { .. }) = delivery.content.excess() {
        return None;
    }
    let headers = delivery.content.properties().ok()?.headers;
    Some(headers.is_some_and(|it| matches!(it.get(OFFSET), Ok(Some(_)))))
}

/// The place in a stream of a delivery, where it can be seen.
pub(crate) fn place_in_stream(delivery: &Delivery) -> Option<u64> {
    if let Some(Excess::Header { .. }) = delivery.content.excess() {
        return None;
    }
    let headers = delivery.content.properties().ok()?.headers?;
    let place = headers.get(OFFSET).ok().flatten()?;
    place.as_i64()?.try_into().ok()
}

impl InboxState {
    /// Leaves out of a batch what was settled on a channel before this one: a stream sends all again from
    /// the first that was not. It is acknowledged, so that more can come. Whether there was any.
    #[inline]
    pub(super) fn leave_out_settled(&mut self, batch: &mut VecDeque<Delivery>) -> bool {
        self.progress.is_some() && self.leave_out_settled_of_stream(batch)
    }

    fn leave_out_settled_of_stream(&mut self, batch: &mut VecDeque<Delivery>) -> bool {
        let Some(progress) = &mut self.progress else {
            return false;
        };
        // What only looks like a stream may have the same offset twice.
        let is_stream = self.signs.is_stream();
        let (tracker, epoch) = (&mut self.tracker, self.epoch);
        let before = batch.len();
        batch.retain(|delivery| {
            let tag = delivery.delivery_tag;
            let is_wanted = progress.received(tag, place_in_stream(delivery)) || !is_stream;
            // Tags are to be noted in their order.
            if tracker.delivered(tag).is_ok() && !is_wanted {
                _ = tracker.settle(epoch, tag, Settle::Ack, false);
            }
            is_wanted
        });
        batch.len() < before
    }

    /// A delivery is settled, and with `multiple` all before it.
    #[inline]
    pub(super) fn goes_on(&mut self, tag: u64, multiple: bool) {
        match &mut self.progress {
            None => {}
            Some(progress) if multiple => progress.settled_up_to(tag),
            Some(progress) => progress.settled(tag),
        }
    }

    /// The channel is gone.
    pub(super) fn stream_lost(&mut self) {
        // Where nobody has said that it is a stream, nothing is made of how far it has come.
        let progress = self.progress.as_mut().filter(|_| self.signs.is_said());
        match progress {
            Some(progress) => progress.channel_lost(),
            None => self.progress = None,
        }
        self.signs.channel_lost();
    }
}

impl Inbox {
    /// The same, with somebody who is asked where the stream is to be read from.
    pub(crate) fn asking_for_offset(mut self, ask: Option<AskForOffset>) -> Self {
        if ask.is_some() {
            self.said_to_be_stream();
        }
        self.ask_for_offset = ask;
        self
    }

    /// The first offset that is not settled, where it is a stream of which something was received.
    pub(crate) fn position(&self) -> Option<u64> {
        let state = self.lock();
        let progress = state.progress.as_ref();
        progress.filter(|_| state.signs.may_be_stream())?.position()
    }

    /// Where the next channel is to begin; `None` where that is for the broker to say, or it is no stream
    /// that anybody knows of. `call` calls code of a user's, without the lock; `None` of it is no answer.
    pub(crate) fn begin_in_stream(
        &self,
        now: Instant,
        call: impl FnOnce(&AskForOffset, StreamOffset) -> Option<StreamOffset>,
    ) -> Option<StreamOffset> {
        let mut state = self.lock();
        if !state.signs.is_said() {
            return None;
        }
        let progress = (state.progress).get_or_insert_with(|| Box::new(Progress::new(None)));
        let own = progress.resume(now);
        let begin = match &self.ask_for_offset {
            None => own,
            Some(ask) => {
                drop(state);
                let answer = call(ask, own.unwrap_or(StreamOffset::Next));
                state = self.lock();
                answer
                    .filter(|it| *it != own.unwrap_or(StreamOffset::Next))
                    .or(own)
            }
        };
        if let Some(progress) = &mut state.progress {
            progress.begins(now, begin);
        }
        begin
    }

    /// Its queue is not there any more: where that was a stream, the next is another.
    pub(crate) fn stream_deleted(&self) {
        if let Some(progress) = &mut self.lock().progress {
            progress.deleted();
        }
    }

    /// The channel receives from now on.
    pub(crate) fn receives_stream(&self, now: Instant) {
        if let Some(progress) = &mut self.lock().progress {
            progress.receives(now);
        }
    }

    /// It does so no more. To be told before its epoch ends.
    pub(crate) fn receives_stream_no_more(&self, now: Instant) {
        if let Some(progress) = &mut self.lock().progress {
            progress.receives_no_more(now);
        }
    }
}
