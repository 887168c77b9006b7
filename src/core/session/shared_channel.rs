//! A channel on which several producers publish, where there are not enough for each to have its own.

use std::collections::{BTreeMap, BTreeSet};

use snowshoe_codec::PublisherConfirm;

use super::keys::ProducerKey;

/// Whose the publishes of a channel are. The broker numbers all of them in one row; each producer numbers
/// its own, as if it were alone.
#[derive(Debug)]
pub(super) struct SharedChannel {
    members: BTreeMap<ProducerKey, Member>,
    /// Publishes in a row of one producer, by the number of the first.
    runs: BTreeMap<u64, Run>,
    /// How many publishes were numbered.
    numbered: u64,
    /// Whether some may be open that have no number, since they came before it was asked for confirms.
    has_unnumbered: bool,
}

#[derive(Debug)]
struct Member {
    confirms: bool,
    /// How many publishes of its own were numbered.
    numbered: u64,
}

#[derive(Debug)]
struct Run {
    /// `None` where nobody wants to hear of its confirms, or can any more.
    producer: Option<ProducerKey>,
    /// The producer's own number of the first.
    own: u64,
    len: u64,
    /// Those after the first of which the broker has spoken already.
    early: BTreeSet<u64>,
}

impl SharedChannel {
    /// A channel that was this producer's own, and on which so many publishes were numbered.
    pub(super) fn new(producer: ProducerKey, confirms: bool, numbered: u64) -> Self {
        let mut shared = Self {
            members: BTreeMap::new(),
            runs: BTreeMap::new(),
            numbered: 0,
            has_unnumbered: !confirms,
        };
        shared.join(producer, confirms);
        shared.published(producer, numbered);
        shared
    }

    pub(super) fn join(&mut self, producer: ProducerKey, confirms: bool) {
        let member = Member {
            confirms,
            numbered: 0,
        };
        self.members.insert(producer, member);
    }

    /// A producer has ended; what it has published stays numbered. Whether nobody is left.
    pub(super) fn leave(&mut self, producer: ProducerKey) -> bool {
        self.members.remove(&producer);
        // Another may get its key.
        let own = |run: &&mut Run| run.producer == Some(producer);
        (self.runs.values_mut().filter(own)).for_each(|run| run.producer = None);
        self.members.is_empty()
    }

    pub(super) fn producers(&self) -> impl Iterator<Item = ProducerKey> {
        self.members.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether publishes are open of which nobody wants to hear, or can any more.
    pub(super) fn has_untold(&self) -> bool {
        self.has_unnumbered || self.runs.values().any(|run| run.producer.is_none())
    }

    /// Those who may have published what the broker returns, in the order in which they have written.
    pub(super) fn by_age(&self) -> Vec<ProducerKey> {
        let mut seen = BTreeSet::new();
        let writers = self.runs.values().filter_map(|run| run.producer);
        let all = writers.chain(self.producers());
        all.filter(|producer| seen.insert(*producer)).collect()
    }

    /// A producer has published, and so many publishes of the channel are numbered now.
    pub(super) fn published(&mut self, producer: ProducerKey, numbered: u64) {
        let len = numbered - self.numbered;
        let member = self.members.get_mut(&producer);
        let Some(member) = member.filter(|_| len > 0) else {
            return;
        };
        let first = self.numbered + 1;
        let run = Run {
            producer: member.confirms.then_some(producer),
            own: member.numbered + 1,
            len,
            early: BTreeSet::new(),
        };
        self.numbered = numbered;
        member.numbered += len;
        match self.runs.last_entry() {
            Some(mut last) if last.get().goes_on_with(*last.key(), first, &run) => {
                last.get_mut().len += len;
            }
            _ => _ = self.runs.insert(first, run),
        }
    }

    /// Tells each producer of its part in a confirm.
    pub(super) fn confirm(
        &mut self,
        confirm: PublisherConfirm,
        mut tell: impl FnMut(ProducerKey, PublisherConfirm),
    ) {
        let mut tell = |run: &Run, delivery_tag| {
            if let Some(producer) = run.producer {
                tell(
                    producer,
                    PublisherConfirm {
                        delivery_tag,
                        ..confirm
                    },
                );
            }
        };
        // The broker has come to those with numbers.
        self.has_unnumbered = false;
        let tag = match confirm.delivery_tag {
            // All of them (AMQP 0-9-1, basic.ack).
            0 => self.numbered,
            tag => tag,
        };
        if confirm.multiple {
            while let Some(first) = self.runs.first_entry().filter(|run| *run.key() <= tag) {
                let (first, run) = first.remove_entry();
                let confirmed = (tag - first + 1).min(run.len);
                tell(&run, run.own + confirmed - 1);
                self.keep(first, run, confirmed);
            }
        } else if let Some((&first, run)) = self.runs.range_mut(..=tag).next_back()
            && tag < first + run.len
        {
            tell(run, run.own + (tag - first));
            run.early.insert(tag);
            if tag == first
                && let Some(run) = self.runs.remove(&first)
            {
                self.keep(first, run, 1);
            }
        }
    }

    /// Keeps of a run that begins with the number `first` what the broker has not spoken of.
    fn keep(&mut self, first: u64, mut run: Run, confirmed: u64) {
        run.early = run.early.split_off(&(first + confirmed));
        let in_a_row = (first + confirmed..).zip(&run.early);
        let in_a_row = in_a_row.take_while(|(next, early)| next == *early).count();
        let confirmed = confirmed + in_a_row as u64;
        if confirmed < run.len {
            run.own += confirmed;
            run.len -= confirmed;
            run.early = run.early.split_off(&(first + confirmed));
            self.runs.insert(first + confirmed, run);
        }
    }
}

impl Run {
    /// Whether the one that begins with the number `first` goes on with this one, that began at `own_first`.
    fn goes_on_with(&self, own_first: u64, first: u64, next: &Self) -> bool {
        self.producer == next.producer
            && own_first + self.len == first
            && self.own + self.len == next.own
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::*;

    fn key(number: usize) -> ProducerKey {
        ProducerKey::new(number)
    }

    fn confirm(delivery_tag: u64, multiple: bool) -> PublisherConfirm {
        PublisherConfirm {
            delivery_tag,
            multiple,
            ack: true,
        }
    }

    fn told(shared: &mut SharedChannel, tag: u64, multiple: bool) -> Vec<(usize, u64)> {
        let mut told = Vec::new();
        shared.confirm(confirm(tag, multiple), |producer, confirm| {
            told.push((producer.index(), confirm.delivery_tag));
        });
        told
    }

    /// The first had the channel for itself and published 2, then the second 3, and the first 2 again.
    fn shared() -> SharedChannel {
        let mut shared = SharedChannel::new(key(1), true, 2);
        shared.join(key(2), true);
        shared.published(key(2), 5);
        shared.published(key(1), 7);
        shared
    }

    #[test]
    fn each_confirm_goes_to_its_producer_by_its_own_number() {
        let mut shared = shared();
        let of_each: Vec<_> = (1..=7)
            .flat_map(|tag| told(&mut shared, tag, false))
            .collect();
        let expected = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (1, 3), (1, 4)];
        assert_eq!(of_each, expected);
        assert!(
            shared.runs.is_empty(),
            "nothing is kept of what is confirmed"
        );
    }

    #[test]
    fn a_confirm_of_several_tells_each_producer_of_its_last() {
        assert_eq!(told(&mut shared(), 6, true), [(1, 2), (2, 3), (1, 3)]);
        assert_eq!(told(&mut shared(), 0, true), [(1, 2), (2, 3), (1, 4)]);
        let mut shared = shared();
        assert_eq!(told(&mut shared, 4, true), [(1, 2), (2, 2)]);
        assert_eq!(told(&mut shared, 5, false), [(2, 3)]);
        assert_eq!(told(&mut shared, 7, true), [(1, 4)]);
        assert!(shared.runs.is_empty());
    }

    #[test]
    fn confirms_in_any_order_are_told_once_each() {
        let mut shared = shared();
        assert_eq!(told(&mut shared, 7, false), [(1, 4)]);
        assert_eq!(told(&mut shared, 4, false), [(2, 2)]);
        assert_eq!(told(&mut shared, 3, true), [(1, 2), (2, 1)]);
        assert_eq!(told(&mut shared, 6, true), [(2, 3), (1, 3)]);
        assert!(shared.runs.is_empty());
    }

    #[test]
    fn what_one_without_confirms_publishes_is_numbered_and_told_to_nobody() {
        let mut shared = SharedChannel::new(key(1), false, 0);
        shared.join(key(2), true);
        shared.published(key(1), 3);
        shared.published(key(2), 4);
        assert_eq!(told(&mut shared, 4, true), [(2, 1)]);
    }

    // Simulation, seed 754734.
    #[test]
    fn it_is_known_whether_publishes_are_open_of_which_nobody_hears() {
        let mut shared = SharedChannel::new(key(1), false, 0);
        shared.join(key(2), true);
        shared.published(key(2), 1);
        assert!(shared.has_untold(), "the first may have published before");
        told(&mut shared, 1, false);
        assert!(!shared.has_untold(), "the broker has come to what is newer");
        shared.published(key(1), 2);
        assert!(shared.has_untold());
        told(&mut shared, 2, false);
        assert!(!shared.has_untold());
        // One that ends.
        shared.published(key(2), 3);
        assert!(!shared.has_untold());
        shared.leave(key(2));
        assert!(shared.has_untold());
    }

    #[test]
    fn nobody_hears_of_what_one_that_has_ended_had_published() {
        let mut shared = shared();
        assert!(!shared.leave(key(1)));
        // Another got its key.
        shared.join(key(1), true);
        shared.published(key(1), 8);
        assert_eq!(told(&mut shared, 8, true), [(2, 3), (1, 1)]);
    }

    #[test]
    fn a_row_of_publishes_of_one_producer_is_one_run() {
        let mut shared = shared();
        for numbered in 8..1_000 {
            shared.published(key(1), numbered);
        }
        assert_eq!(shared.runs.len(), 3);
    }

    #[test]
    fn whoever_wrote_first_is_asked_first_about_what_was_returned() {
        let mut shared = shared();
        assert_eq!(shared.by_age(), [key(1), key(2)]);
        told(&mut shared, 2, true);
        assert_eq!(shared.by_age(), [key(2), key(1)]);
    }
}
