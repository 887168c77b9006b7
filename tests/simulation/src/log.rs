//! What happened in a story, one line for each thing, in virtual time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use snowshoe::testing::Clock;

/// Takes notes where somebody wants to read them, and costs nothing otherwise. Clones are the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Option<Rc<Notes>>);

struct Notes {
    clock: Clock,
    start: Instant,
    limit: usize,
    lines: RefCell<Lines>,
}

/// The last lines, and how many were left out before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    left_out: usize,
    lines: VecDeque<String>,
}

impl Log {
    /// A log that keeps so many lines, the last ones.
    pub(crate) fn new(clock: Clock, limit: usize) -> Self {
        Self(Some(Rc::new(Notes {
            start: clock.now(),
            clock,
            limit,
            lines: RefCell::default(),
        })))
    }

    /// Notes that something happened.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let Some(notes) = &self.0 else { return };
        let time = notes.clock.now() - notes.start;
        let mut line = format!("{:>12.3} ms  {what}", time.as_secs_f64() * 1_000.0);
        if let Some((end, _)) = line.char_indices().nth(WIDTH) {
            line.truncate(end);
            line.push('…');
        }
        let mut kept = notes.lines.borrow_mut();
        kept.lines.push_back(line);
        if kept.lines.len() > notes.limit {
            kept.lines.pop_front();
            kept.left_out += 1;
        }
    }

    /// What was noted.
    pub(crate) fn lines(&self) -> Lines {
        let notes = self.0.as_ref();
        notes.map_or_else(Lines::default, |notes| notes.lines.borrow().clone())
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out > 0 {
            writeln!(f, "({} lines before these are left out)", self.left_out)?;
        }
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// How many characters of a line are kept.
const WIDTH: usize = 200;
