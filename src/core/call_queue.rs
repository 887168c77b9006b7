//! Calls that are made one after the other on a channel of their own.
//!
//! A broker answers a channel's methods in their order, and closes the channel over the first that
//! it refuses, without a look at those after it. So of what is under way when the broker closes the
//! channel, the oldest was refused and the rest has not happened: it is sent again on the next channel.
//! Where a channel ends in any other way, what was under way may have happened.
//!
//! Calls follow the opening of their channel without waiting for the answer.

use snowshoe_codec::ChannelId;
use std::collections::VecDeque;

/// A queue of calls, each described by a `T`.
#[derive(Debug)]
pub struct CallQueue<T> {
    queue: VecDeque<T>,
    /// How many at the front of the queue were sent on the current channel.
    sent: usize,
    /// How many may be under way at once.
    window: usize,
    channel: ChannelState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelState {
    None,
    Opening(ChannelId),
    Open(ChannelId),
}

/// How many calls may be under way at once, as long as none is refused: enough for a long recovery in one
/// round trip.
const WIDEST: usize = 4_096;

/// How many, where one after the other is refused. Each costs the channel, and what was sent behind it is
/// sent again.
const NARROWEST: usize = 32;

impl<T> CallQueue<T> {
    pub const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            sent: 0,
            window: WIDEST,
            channel: ChannelState::None,
        }
    }

    pub fn push(&mut self, call: T) {
        self.queue.push_back(call);
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The calls that were not answered yet, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.queue.iter_mut()
    }

    /// The oldest call under way: the one that was refused where the broker names its kind.
    pub fn oldest_sent(&self) -> Option<&T> {
        self.queue.front().filter(|_| self.sent > 0)
    }

    /// Whether there are calls, but no channel to make them on.
    pub fn wants_channel(&self) -> bool {
        self.channel == ChannelState::None && !self.queue.is_empty()
    }

    pub fn opening(&mut self, channel: ChannelId) {
        self.channel = ChannelState::Opening(channel);
    }

    pub fn opened(&mut self) {
        if let ChannelState::Opening(channel) = self.channel {
            self.channel = ChannelState::Open(channel);
        }
    }

    /// Whether it has a channel, open or on its way.
    pub fn has_channel(&self) -> bool {
        self.channel != ChannelState::None
    }

    /// Whether nothing is under way on its channel.
    pub fn is_idle(&self) -> bool {
        matches!(self.channel, ChannelState::Open(_)) && self.sent == 0
    }

    /// Gives the channel away if nothing is under way on it: there is another when there are calls.
    pub fn release(&mut self) -> Option<ChannelId> {
        let channel = self.channel().filter(|_| self.is_idle())?;
        self.channel = ChannelState::None;
        Some(channel)
    }

    /// The channel, open or on its way.
    pub fn channel(&self) -> Option<ChannelId> {
        match self.channel {
            ChannelState::Opening(channel) | ChannelState::Open(channel) => Some(channel),
            ChannelState::None => None,
        }
    }

    /// The next call to send.
    pub fn next_to_send(&mut self) -> Option<&mut T> {
        if self.channel().is_none() || self.sent >= self.window {
            return None;
        }
        let call = self.queue.get_mut(self.sent)?;
        self.sent += 1;
        Some(call)
    }

    /// Takes the oldest call under way off the queue that an answer `is_for`.
    ///
    /// A broker answers in order, but nothing breaks where one does not.
    pub fn answered(&mut self, is_for: impl FnMut(&T) -> bool) -> Option<T> {
        let index = self.queue.iter().take(self.sent).position(is_for)?;
        self.sent -= 1;
        let answered = self.queue.remove(index);
        self.window = match self.queue.is_empty() {
            true => WIDEST,
            false => WIDEST.min(self.window + 1),
        };
        answered
    }

    /// Takes the oldest call under way off the queue: it is what the broker ended something over.
    pub fn refused(&mut self) -> Option<T> {
        let refused = self.answered(|_| true);
        if refused.is_some() && !self.queue.is_empty() {
            self.window = NARROWEST.max(self.sent.min(self.window) / 2);
        }
        refused
    }

    /// Puts a call in front of those that were not sent.
    pub fn push_next(&mut self, call: T) {
        self.queue.insert(self.sent, call);
    }

    /// The calls that were sent on the current channel and not answered yet, oldest first.
    pub fn under_way(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().take(self.sent)
    }

    /// Takes the call that [`next_to_send`](Self::next_to_send) gave last off the queue.
    pub fn unsendable(&mut self) -> Option<T> {
        self.sent = self.sent.checked_sub(1)?;
        self.queue.remove(self.sent)
    }

    /// Whether there are calls that were not sent on the current channel.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.queue.len()
    }

    /// Drops those calls, among the ones that were not sent on the current channel, that were given up.
    pub fn withdraw_unsent(&mut self, mut is_given_up: impl FnMut(&mut T) -> bool) {
        let mut sent = self.sent;
        self.queue.retain_mut(|call| {
            let is_sent = sent > 0;
            sent = sent.saturating_sub(1);
            is_sent || !is_given_up(call)
        });
    }

    /// Takes those calls under way off the queue that `are_not` to be sent again.
    pub fn withdraw_sent(&mut self, mut are_not: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut withdrawn = Vec::new();
        let mut index = 0;
        while index < self.sent {
            if are_not(&self.queue[index]) {
                withdrawn.extend(self.queue.remove(index));
                self.sent -= 1;
            } else {
                index += 1;
            }
        }
        withdrawn
    }

    /// Takes all calls off the queue: there is no channel for them.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        self.channel_lost();
        self.queue.drain(..)
    }

    /// The channel was closed: the oldest call under way was refused, if there is one, and is
    /// handed back. The others wait for the next channel.
    pub fn channel_closed(&mut self) -> Option<T> {
        let refused = self.refused();
        self.channel_lost();
        refused
    }

    /// The channel, or its whole connection, is gone, and no call was refused: all of them wait for
    /// the next one.
    pub fn channel_lost(&mut self) {
        self.channel = ChannelState::None;
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls_with(numbers: &[u8]) -> CallQueue<u8> {
        let mut calls = CallQueue::new();
        for &number in numbers {
            calls.push(number);
        }
        calls.opening(ChannelId(1));
        calls.opened();
        calls
    }

    fn send_all(calls: &mut CallQueue<u8>) -> Vec<u8> {
        std::iter::from_fn(|| calls.next_to_send().copied()).collect()
    }

    #[test]
    fn calls_follow_the_opening_of_their_channel() {
        let mut calls = CallQueue::new();
        calls.push(1);
        assert!(calls.wants_channel());
        assert_eq!(calls.next_to_send(), None);
        calls.opening(ChannelId(1));
        assert_eq!(calls.next_to_send(), Some(&mut 1));
        assert_eq!(calls.refused(), Some(1));
        assert!(!calls.is_idle(), "it may not be there yet");
        calls.opened();
        assert!(calls.is_idle());
    }

    #[test]
    fn answers_go_to_the_calls_in_their_order() {
        let mut calls = calls_with(&[1, 2]);
        assert_eq!(send_all(&mut calls), [1, 2]);
        assert_eq!(
            (calls.refused(), calls.refused(), calls.refused()),
            (Some(1), Some(2), None)
        );
    }

    #[test]
    fn an_answer_goes_to_the_oldest_call_that_it_is_for() {
        let mut calls = calls_with(&[1, 2, 1, 2]);
        calls.next_to_send();
        assert_eq!(
            calls.answered(|call| *call == 2),
            None,
            "it was not sent yet"
        );
        send_all(&mut calls);
        assert_eq!(calls.answered(|call| *call == 2), Some(2));
        assert_eq!(calls.refused(), Some(1));
        assert_eq!(calls.iter().copied().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_oldest_call_was_refused_where_the_channel_closes_and_the_rest_is_sent_again() {
        let mut calls = calls_with(&[1, 2, 3]);
        send_all(&mut calls);
        assert_eq!(calls.channel_closed(), Some(1));
        calls.opening(ChannelId(2));
        calls.opened();
        assert_eq!(send_all(&mut calls), [2, 3]);
        assert_eq!((calls.refused(), calls.refused()), (Some(2), Some(3)));
    }

    #[test]
    fn no_call_was_refused_where_nothing_was_under_way() {
        let mut calls = calls_with(&[1]);
        assert_eq!(calls.channel_closed(), None);
        assert!(calls.wants_channel());
    }

    #[test]
    fn a_lost_channel_loses_no_call() {
        let mut calls = calls_with(&[1, 2]);
        calls.next_to_send();
        calls.channel_lost();
        calls.opening(ChannelId(1));
        calls.opened();
        assert_eq!(send_all(&mut calls), [1, 2]);
    }

    #[test]
    fn a_channel_is_given_away_only_while_nothing_is_under_way_on_it() {
        let mut calls = calls_with(&[1]);
        send_all(&mut calls);
        assert!(!calls.is_idle());
        assert_eq!(calls.release(), None);
        calls.refused();
        assert!(calls.is_idle());
        assert_eq!(calls.release(), Some(ChannelId(1)));
        assert!(!calls.has_channel());
        calls.push(2);
        assert!(calls.wants_channel());
    }

    #[test]
    fn more_calls_than_the_window_wait_for_answers() {
        let mut calls = calls_with(&[0; WIDEST + 1]);
        assert_eq!(send_all(&mut calls).len(), WIDEST);
        calls.answered(|_| true);
        assert_eq!(send_all(&mut calls).len(), 1);
    }

    #[test]
    fn where_all_are_refused_each_is_sent_again_only_so_often() {
        let many = 1_000;
        let mut calls = calls_with(&vec![0; many]);
        let mut sent = 0;
        for channel in 2.. {
            sent += send_all(&mut calls).len();
            if calls.channel_closed().is_none() {
                break;
            }
            calls.opening(ChannelId(channel));
            calls.opened();
        }
        assert!(calls.is_empty());
        assert!(sent < many * (NARROWEST + 5), "{sent}");
    }

    #[test]
    fn after_a_refusal_the_window_grows_with_each_answer_and_is_as_before_when_all_are_answered() {
        let mut calls = calls_with(&[0; 200]);
        send_all(&mut calls);
        calls.channel_closed();
        calls.opening(ChannelId(2));
        calls.opened();
        assert_eq!(send_all(&mut calls).len(), 99);
        calls.answered(|_| true);
        assert_eq!(send_all(&mut calls).len(), 2);
        while calls.answered(|_| true).is_some() {}
        send_all(&mut calls);
        while calls.answered(|_| true).is_some() {}
        for _ in 0..300 {
            calls.push(0);
        }
        assert_eq!(send_all(&mut calls).len(), 300);
    }

    #[test]
    fn a_call_that_is_put_in_front_comes_after_what_was_sent() {
        let mut calls = calls_with(&[1, 2, 3]);
        calls.next_to_send();
        calls.push_next(4);
        assert_eq!(calls.under_way().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(send_all(&mut calls), [4, 2, 3]);
        assert_eq!(calls.refused(), Some(1));
    }

    #[test]
    fn what_was_sent_is_withdrawn_apart_from_what_was_not() {
        let mut calls = calls_with(&[1, 2, 3]);
        assert_eq!(send_all(&mut calls), [1, 2, 3]);
        calls.push(4);
        calls.push(5);
        assert!(calls.has_unsent());
        calls.withdraw_unsent(|call| [2, 4].contains(call));
        assert_eq!(calls.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(calls.withdraw_sent(|call| [2, 5].contains(call)), [2]);
        assert_eq!(send_all(&mut calls), [5]);
        assert!(!calls.has_unsent());
    }
}
