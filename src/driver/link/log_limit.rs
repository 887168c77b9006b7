use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

/// Writes to the log what a peer can say as often as it likes, and no more of it than somebody could
/// read: a broker that blocks and unblocks in turn would fill a disk.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    /// The client, whose name each line begins with.
    client: ClientName,
    /// Errors for themselves, which no flood of warnings is to hide.
    errors: Limit,
    others: Limit,
}

#[derive(Debug, Default)]
struct Limit {
    /// When the interval began, and how many lines there were in it.
    since: Option<Instant>,
    lines: u32,
    /// How many were left out in it.
    left_out: u64,
}

/// How many lines are written in an interval.
const LINES: u32 = 100;

const INTERVAL: Duration = Duration::from_secs(10);

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is written; and so many before it were not.
    Written {
        left_out: u64,
    },
    /// It is written, and is the last for a while.
    Last,
    LeftOut,
}

/// The name of a client, as lines in the log begin with it.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientName(pub(super) Option<Arc<str>>);

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "{name}: "),
            None => Ok(()),
        }
    }
}

impl LogLimit {
    pub(super) fn new(client: ClientName) -> Self {
        Self {
            client,
            ..Self::default()
        }
    }

    pub(super) fn say(&mut self, now: Instant, level: Level, line: fmt::Arguments<'_>) {
        let limit = match level {
            Level::Error => &mut self.errors,
            _ => &mut self.others,
        };
        let verdict = limit.judge(now);
        let client = &self.client;
        match verdict {
            Verdict::LeftOut => {}
            Verdict::Written { left_out: 0 } => log::log!(level, "{client}{line}"),
            Verdict::Written { left_out } => {
                log::log!(
                    level,
                    "{client}{line} (after {left_out} lines that were left out)"
                );
            }
            Verdict::Last => {
                log::log!(
                    level,
                    "{client}{line} (more like it are left out for a while)"
                );
            }
        }
    }
}

impl Limit {
    fn judge(&mut self, now: Instant) -> Verdict {
        let goes_on = self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) < INTERVAL);
        if !goes_on {
            let left_out = self.left_out;
            (self.since, self.lines, self.left_out) = (Some(now), 1, 0);
            return Verdict::Written { left_out };
        }
        if self.lines == LINES {
            self.left_out += 1;
            return Verdict::LeftOut;
        }
        self.lines += 1;
        if self.lines == LINES {
            Verdict::Last
        } else {
            Verdict::Written { left_out: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case G5
    #[test]
    fn no_peer_writes_more_lines_than_can_be_read() {
        let mut limit = Limit::default();
        let begin = Instant::now();
        let mut lines = |from: u32, to: u32| {
            let at = |second| begin + second * Duration::from_secs(1);
            let judged: Vec<_> = (from..to)
                .flat_map(|second| [at(second); 1000])
                .map(|now| limit.judge(now))
                .filter(|verdict| *verdict != Verdict::LeftOut)
                .collect();
            let left_out = judged.iter().map(|verdict| match verdict {
                Verdict::Written { left_out } => *left_out,
                _ => 0,
            });
            (judged.len(), left_out.sum::<u64>())
        };
        assert_eq!(lines(0, 10), (100, 0));
        assert_eq!(lines(10, 11), (100, 9_900));
        assert_eq!(lines(11, 20), (0, 0));
        // What comes now and then is all there.
        assert_eq!(lines(40, 41).1, 9_900);
        let rare = (50..1000).filter(|n| n % 10 == 0);
        for second in rare {
            let now = begin + second * Duration::from_secs(1);
            assert_ne!(limit.judge(now), Verdict::LeftOut);
        }
    }
}
