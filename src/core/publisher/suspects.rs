/// Which messages may be what the broker closed a channel or a connection over, and in which portions
/// they are tried.
///
/// The broker does not say which publish it was (faults 9 and 10). So half of the suspects are written,
/// and nothing else until the broker has spoken: those that it confirms are innocent, and of those that
/// it closes the channel over again, one is the culprit. Either way about half of the suspects are left,
/// and of n in flight the culprit is found after log2 n trials.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Messages before this position are suspected, unless they are settled.
    before: u64,
    /// How many of them may still be written in this trial.
    portion: usize,
    /// Whether all of them are tried at once, because it is not known whether the culprit is among them.
    whole: bool,
}

impl Suspects {
    /// The culprit is among the messages before this position.
    pub(super) fn convict_before(&mut self, position: u64) {
        *self = Self {
            before: position,
            portion: 0,
            whole: false,
        };
    }

    /// The culprit may be among the messages before this position.
    pub(super) fn suspect_before(&mut self, position: u64) {
        *self = Self {
            before: position.max(self.before),
            portion: 0,
            whole: true,
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

    /// The position before which messages are suspected.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// What was tried is on no wire any more: the trial begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.portion = 0;
    }

    /// Whether the next message may be written, with so many in flight; `left` counts the suspects.
    pub(super) fn let_write(&mut self, in_flight: usize, left: impl FnOnce() -> usize) -> bool {
        if self.portion == 0 && in_flight == 0 {
            let left = left();
            self.portion = if self.whole { left } else { left.div_ceil(2) };
        }
        self.portion > 0
    }

    /// One was written.
    pub(super) fn written(&mut self) {
        self.portion = self.portion.saturating_sub(1);
    }
}
