use std::ops::Range;

/// Which messages may be what the broker closed a channel or a connection over, and in which portions
/// they are tried.
///
/// The broker does not say which publish it was (faults 9 and 10). So half of the suspects are written,
/// and nothing else until the broker has spoken: those that it confirms are innocent, and of those that
/// it closes the channel over again, one is the culprit. Either way about half of the suspects are left,
/// and of n in flight the culprit is found after log2 n trials.
///
/// A queue may keep its confirms for itself, as a quorum queue without a majority does. So where they do
/// not come, the broker is asked for something else on the same channel: it does what comes there in its
/// order, and its answer means that it has taken what was written before, and closed nothing over it.
///
/// ```text
///    settled   | in flight, and innocent | in flight, and on trial | to be tried | newer: waits
///              |                  innocent_before               written        before
/// ```
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Messages before this position are suspected, unless they are settled or innocent.
    before: u64,
    /// Those that were written before this position on this channel are innocent.
    innocent_before: u64,
    /// Those before this position were innocent on the channel before. They go out ahead of the others
    /// again, and are a portion of their own: what was harmless once need not be so again, and then it is
    /// not to be taken for one of those that are tried.
    tried_first: u64,
    /// Before which position they are innocent once the broker has answered.
    asked: Option<u64>,
    /// How many of them may still be written in this trial.
    portion: usize,
    /// Whether all of them are tried at once, because it is not known whether the culprit is among them.
    whole: bool,
}

impl Suspects {
    /// The culprit is among the messages of this range; those before it are innocent.
    pub(super) fn convict(&mut self, range: Range<u64>) {
        *self = Self {
            before: range.end,
            tried_first: range.start,
            ..Self::default()
        };
    }

    /// The culprit may be among the messages before this position.
    pub(super) fn suspect_before(&mut self, position: u64) {
        *self = Self {
            before: position.max(self.before),
            whole: true,
            ..Self::default()
        };
    }

    /// If the culprit was not elsewhere, it is among them. A trial of a half that has begun goes on.
    pub(super) fn halve(&mut self) {
        if std::mem::take(&mut self.whole) {
            self.portion = 0;
        }
    }

    /// None of them is it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The positions from which and before which messages are suspected.
    pub(super) fn range(&self) -> Range<u64> {
        self.innocent_before..self.before
    }

    /// What was tried is on no wire any more: the trial begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.portion = 0;
        self.asked = None;
        self.tried_first = self.tried_first.max(self.innocent_before);
        self.innocent_before = 0;
    }

    /// Whether the next message may be written; `on_trial` tells whether there are any in flight that are
    /// not innocent, and `left` counts the suspects before a position.
    pub(super) fn let_write(&mut self, on_trial: bool, left: impl Fn(u64) -> usize) -> bool {
        if self.portion == 0 && !on_trial {
            let first = left(self.tried_first.min(self.before));
            let left = left(self.before);
            self.portion = match first {
                0 if self.whole => left,
                0 => left.div_ceil(2),
                first => first,
            };
        }
        self.portion > 0
    }

    /// One was written.
    pub(super) fn written(&mut self) {
        self.portion = self.portion.saturating_sub(1);
    }

    /// Whether everything that is tried now was written.
    pub(super) fn is_portion_written(&self) -> bool {
        self.portion == 0
    }

    /// The broker is asked about what was written before this position.
    pub(super) fn ask_before(&mut self, position: u64) {
        self.asked = Some(position);
    }

    /// Whether its answer is awaited.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        if let Some(position) = self.asked.take() {
            self.innocent_before = position;
        }
    }
}
