//! Whose message the broker closes a channel or a connection over, where several producers use it.
//!
//! The broker names neither the producer nor the message. So those who had something in flight are
//! suspects. Half of them write what they had, and everybody else waits until that is confirmed, and the
//! culprit is among the rest, or until it is refused again, and the culprit is among them. Once one
//! producer is left, [its messages](super::publisher) are tried in halves in the same way: of n in flight
//! the culprit is found after about log2 n trials.
//!
//! Of some there is no word, since the broker has not come to what they wrote: it waits for a queue without
//! a leader. They are put off, and the search goes on without them. What they have in flight may still be to
//! blame, so nobody is found guilty on that connection; on the next one they write nothing until the others
//! are through, and if none of these is it, the search ends without a result.

/// Which producers are suspected, and which of them are tried now.
#[derive(Debug)]
pub struct Isolation<K> {
    suspects: Vec<K>,
    /// How many of the first of them are tried.
    tried: usize,
    /// Those that were tried, and of which there was no word.
    put_off: Vec<K>,
    /// Whether somebody has written on this connection of whose messages nobody is told: one without
    /// confirms. A close of the connection can be over those, and so makes nobody guilty.
    has_untold: bool,
}

/// What the broker has closed over a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// `has_untold` tells whether messages were written on it of whose end nobody would be told, and which
    /// the broker has not confirmed: the close can be over those, and so makes nobody guilty.
    Channel {
        has_untold: bool,
    },
    Connection,
}

/// What a refusal says about the producers whose messages may be to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is innocent.
    Cleared,
    /// It is one of several, or the first time.
    Suspected,
    /// It was tried alone.
    Guilty,
}

impl<K> Default for Isolation<K> {
    fn default() -> Self {
        Self {
            suspects: Vec::new(),
            tried: 0,
            put_off: Vec::new(),
            has_untold: false,
        }
    }
}

impl<K: Copy + PartialEq> Isolation<K> {
    /// Whether nobody is suspected, so that everybody may write.
    pub fn is_over(&self) -> bool {
        self.suspects.is_empty()
    }

    /// Whether a producer may write now.
    pub fn lets_write(&self, producer: K) -> bool {
        self.is_over() || self.tried().contains(&producer)
    }

    /// Those who are tried now.
    pub fn tried(&self) -> &[K] {
        &self.suspects[..self.tried]
    }

    /// The one that is left.
    pub fn alone(&self) -> Option<K> {
        match self.suspects[..] {
            [producer] => Some(producer),
            _ => None,
        }
    }

    /// A producer has written of whose messages nobody is told.
    pub fn wrote_untold(&mut self) {
        self.has_untold = true;
    }

    /// There is another connection, on which nobody has written anything.
    pub fn connected(&mut self) {
        self.has_untold = false;
    }

    /// The broker closed something over a message of one of those that had some `in_flight`. The result
    /// judges any of them.
    pub fn refused(&mut self, closed: Closed, in_flight: &[K]) -> impl Fn(K) -> Verdict + use<K> {
        let is_tried = |producer: &K| self.lets_write(*producer);
        let may_be_untold = match closed {
            Closed::Channel { has_untold } => has_untold,
            Closed::Connection => self.has_untold,
        };
        let is_verdict = !may_be_untold && in_flight.iter().all(is_tried);
        let convicted = self.alone().filter(|_| is_verdict);
        if !is_verdict {
            // It may be over what others had written before: that says nothing of those who are tried.
            let is_new = |producer: &K| {
                !self.suspects.contains(producer) && !self.put_off.contains(producer)
            };
            let others: Vec<K> = in_flight.iter().copied().filter(is_new).collect();
            self.suspects.extend(others);
            self.try_half();
        } else if !in_flight.is_empty() {
            self.suspects = in_flight.to_vec();
            self.try_half();
        }
        let mut suspects = self.suspects.clone();
        if convicted.is_none() {
            suspects.extend_from_slice(&self.put_off);
        }
        self.end_if_nobody_is_left();
        move |producer| match suspects.contains(&producer) {
            false => Verdict::Cleared,
            true if convicted == Some(producer) => Verdict::Guilty,
            true => Verdict::Suspected,
        }
    }

    /// Forgets those of the tried that turned out to be innocent, or are gone, and goes on to the rest once
    /// nobody is left among them.
    pub fn clear(&mut self, is_innocent: impl Fn(K) -> bool) {
        self.take_from_tried(is_innocent);
    }

    /// Goes on without those of the tried of which there is no word.
    pub fn put_off(&mut self, is_silent: impl Fn(K) -> bool) {
        let silent = self.take_from_tried(is_silent);
        self.put_off.extend(silent);
        self.end_if_nobody_is_left();
    }

    fn take_from_tried(&mut self, is_taken: impl Fn(K) -> bool) -> Vec<K> {
        let tried = ..self.tried;
        let taken: Vec<K> = (self.suspects)
            .extract_if(tried, |producer| is_taken(*producer))
            .collect();
        self.tried -= taken.len();
        if self.tried == 0 {
            self.try_half();
        }
        self.end_if_nobody_is_left();
        taken
    }

    fn end_if_nobody_is_left(&mut self) {
        if self.suspects.is_empty() {
            self.put_off.clear();
        }
    }

    fn try_half(&mut self) {
        self.tried = self.suspects.len().div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: Closed = Closed::Channel { has_untold: false };

    /// How often the broker closes the connection until the culprit is known, and how many trials it takes.
    fn trials(producers: usize, culprit: usize) -> usize {
        let everybody: Vec<usize> = (0..producers).collect();
        let mut isolation = Isolation::default();
        let mut in_flight = everybody.clone();
        for trial in 1..=producers + 1 {
            if in_flight.contains(&culprit) {
                let verdict = isolation.refused(CHANNEL, &in_flight);
                assert_ne!(verdict(culprit), Verdict::Cleared);
                if verdict(culprit) == Verdict::Guilty {
                    return trial;
                }
            } else {
                isolation.clear(|producer| in_flight.contains(&producer));
            }
            in_flight = everybody.clone();
            in_flight.retain(|producer| isolation.lets_write(*producer));
        }
        panic!("it is not found");
    }

    // case C3
    #[test]
    fn of_n_producers_the_culprit_is_found_in_log_n_trials() {
        for n in [1_usize, 2, 3, 5, 64, 1000] {
            for culprit in [0, n / 2, n - 1] {
                let log = n.next_power_of_two().ilog2() as usize;
                let trials = trials(n, culprit);
                assert!(trials <= log + 2, "{trials} trials for {culprit} of {n}");
            }
        }
    }

    #[test]
    fn nobody_is_found_guilty_the_first_time() {
        let mut isolation = Isolation::default();
        assert_eq!(isolation.refused(CHANNEL, &['a'])('a'), Verdict::Suspected);
        assert_eq!(isolation.alone(), Some('a'));
        assert_eq!(isolation.refused(CHANNEL, &['a'])('a'), Verdict::Guilty);
    }

    #[test]
    fn whoever_was_not_tried_is_cleared_by_a_refusal_and_waits_until_it_is_over() {
        let mut isolation = Isolation::default();
        _ = isolation.refused(CHANNEL, &['a', 'b', 'c', 'd']);
        assert!(isolation.lets_write('a') && isolation.lets_write('b'));
        assert!(!isolation.lets_write('c') && !isolation.lets_write('e'));
        let verdict = isolation.refused(CHANNEL, &['a', 'b']);
        assert_eq!(verdict('c'), Verdict::Cleared);
        assert_eq!(verdict('a'), Verdict::Suspected);
        assert!(!isolation.lets_write('c'), "somebody is still looked for");
        isolation.clear(|it| it == 'a');
        assert_eq!(isolation.alone(), Some('b'));
        isolation.clear(|it| it == 'b');
        assert!(isolation.is_over() && isolation.lets_write('c'));
    }

    #[test]
    fn nobody_is_found_guilty_of_what_others_may_have_written_before() {
        let mut isolation = Isolation::default();
        // On a channel that both had; another has something in flight on one of its own.
        _ = isolation.refused(CHANNEL, &['a']);
        assert_eq!(isolation.alone(), Some('a'));
        let verdict = isolation.refused(CHANNEL, &['a', 'x']);
        assert_eq!(
            (verdict('a'), verdict('x')),
            (Verdict::Suspected, Verdict::Suspected)
        );
        assert!(isolation.lets_write('a') && !isolation.lets_write('x'));
        isolation.clear(|it| it == 'a');
        assert_eq!(isolation.refused(CHANNEL, &['x'])('x'), Verdict::Guilty);
    }

    #[test]
    fn a_refusal_of_others_does_not_clear_those_who_are_tried() {
        let mut isolation = Isolation::default();
        _ = isolation.refused(CHANNEL, &['a', 'b']);
        assert!(isolation.lets_write('a') && !isolation.lets_write('b'));
        // On another channel, which had been written to before.
        let verdict = isolation.refused(CHANNEL, &['x', 'y']);
        assert_eq!(
            (verdict('x'), verdict('y')),
            (Verdict::Suspected, Verdict::Suspected)
        );
        assert!(isolation.lets_write('a') && !isolation.lets_write('x'));
        assert_eq!(isolation.refused(CHANNEL, &['a'])('a'), Verdict::Suspected);
        assert_eq!(isolation.refused(CHANNEL, &['a'])('a'), Verdict::Guilty);
        isolation.clear(|_| true);
        assert!(isolation.is_over());
    }

    // As a quorum queue without a leader.
    #[test]
    fn whoever_there_is_no_word_of_is_put_off_and_makes_nobody_else_guilty() {
        let mut isolation = Isolation::default();
        _ = isolation.refused(CHANNEL, &['a', 'b', 'c']);
        assert_eq!(isolation.tried(), ['a', 'b']);
        isolation.put_off(|it| it == 'a');
        isolation.clear(|it| it == 'b');
        assert_eq!(isolation.alone(), Some('c'));
        // It can have been a as well, which has written something on this connection.
        let verdict = isolation.refused(CHANNEL, &['a', 'c']);
        assert_eq!(verdict('c'), Verdict::Suspected);
        assert_eq!(verdict('a'), Verdict::Suspected);
        // On the next one it does not write.
        assert!(isolation.lets_write('c') && !isolation.lets_write('a'));
        let verdict = isolation.refused(CHANNEL, &['c']);
        assert_eq!(verdict('c'), Verdict::Guilty);
        assert_eq!(verdict('a'), Verdict::Cleared);
        isolation.clear(|it| it == 'c');
        assert!(isolation.is_over() && isolation.lets_write('a'));
    }

    #[test]
    fn where_nobody_is_left_but_those_who_were_put_off_it_is_over() {
        let mut isolation = Isolation::default();
        _ = isolation.refused(CHANNEL, &['a', 'b']);
        isolation.put_off(|_| true);
        isolation.clear(|it| it == 'b');
        assert!(isolation.is_over() && isolation.lets_write('a'));
        // They are suspects like others the next time.
        assert_eq!(
            isolation.refused(CHANNEL, &['a', 'b'])('a'),
            Verdict::Suspected
        );
        assert_eq!(isolation.tried(), ['a']);
    }

    // Simulation, seed 38793.
    #[test]
    fn what_those_without_confirms_have_written_makes_nobody_guilty() {
        let mut isolation = Isolation::default();
        isolation.wrote_untold();
        _ = isolation.refused(CHANNEL, &['a']);
        assert_eq!(isolation.alone(), Some('a'));
        // It can have been over what was written before.
        let verdict = isolation.refused(Closed::Connection, &['a']);
        assert_eq!(verdict('a'), Verdict::Suspected);
        // On the next one nobody else writes.
        isolation.connected();
        assert!(isolation.lets_write('a') && !isolation.lets_write('u'));
        let verdict = isolation.refused(Closed::Connection, &['a']);
        assert_eq!(verdict('a'), Verdict::Guilty);
    }

    // Simulation, seed 754734.
    #[test]
    fn what_those_without_confirms_have_written_on_a_shared_channel_makes_nobody_guilty() {
        let mut isolation = Isolation::default();
        let others = Closed::Channel { has_untold: true };
        _ = isolation.refused(others, &['a']);
        assert_eq!(isolation.alone(), Some('a'));
        // It comes onto another channel that is closed over what was written there before.
        assert_eq!(isolation.refused(others, &['a'])('a'), Verdict::Suspected);
        assert_eq!(isolation.refused(CHANNEL, &['a'])('a'), Verdict::Guilty);
    }

    #[test]
    fn where_nobody_had_anything_in_flight_those_who_are_tried_are_still_to_be_cleared() {
        let mut isolation = Isolation::default();
        _ = isolation.refused(CHANNEL, &['a', 'b']);
        _ = isolation.refused(CHANNEL, &[]);
        assert!(!isolation.is_over());
        isolation.clear(|_| true);
        isolation.clear(|_| true);
        assert!(isolation.is_over());
    }
}
