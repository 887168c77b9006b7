//! What happens in a run, as a fuzzer wrote it.

/// A byte for each choice: a seed can be written by hand, and where a fuzzer changes one byte, one
/// thing happens differently. After the end all bytes are zero.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        let len = data.len().min(LONGEST);
        Self { rest: &data[..len] }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Four flags, of one byte.
    pub(crate) fn flags(&mut self) -> [bool; 4] {
        let byte = self.byte();
        [0, 1, 2, 3].map(|bit| byte >> bit & 1 == 1)
    }

    /// One of a few choices.
    pub(crate) fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// A number: small as a rule, for those are what means something.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ ..250 => byte.into(),
            byte => u64::MAX >> (8 * (byte - 250)),
        }
    }

    /// So many bytes, or as many as there are.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

/// What follows is not looked at: it would take long, and say little that is new.
const LONGEST: usize = 4096;
