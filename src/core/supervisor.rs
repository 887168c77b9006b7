//! When to dial, which endpoint, when to back off, and when to stop.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use thiserror::Error;

use snowshoe_codec::time::after;

use super::Epoch;
use super::backoff::{Backoff, Delays};

/// How long a connection has to last before the delays begin again with the shortest, unless no delay is
/// as long.
const STABLE: Duration = Duration::from_secs(5);

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub dial: Duration,
    pub handshake: Duration,
    /// For one step of the recovery, see [`Supervisor::progressed`].
    pub recovery: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The number of hosts to take in turn.
    pub endpoints: NonZeroUsize,
    pub backoff: Backoff,
    pub timeouts: Timeouts,
    /// Whether to give up once the first connect has failed at every address of every endpoint, when it is
    /// more likely that the configuration is wrong than that all of them are down.
    pub fail_fast: bool,
}

/// What a connection is doing.
///
/// ```text
///   Idle --start--> BackingOff --Dial--> Dialing --dialed--> Handshaking
///                       ^                   |                  |      |
///                       |                   v                  v      |
///                       +-- lost, or past its deadline: Next::Retry   | handshaken
///                       |                   ^                  ^      v
///                       |                   |                  |      |
///                       |                 Ready <--recovered-- Recovering
///
///   Recovering, Ready --close--> Closing --lost, or past its deadline--> Closed
///   Handshaking, repeatable --lost, or past its deadline: Next::Again--> BackingOff
///   every other state ------------------close--------------------------> Closed
///   every attempt failed: Next::GiveUp --------------------------------> Closed
/// ```
///
/// Nothing leads out of `Closed`, and out of `Closing` only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Idle,
    Dialing { deadline: Instant },
    Handshaking { deadline: Instant },
    Recovering { deadline: Instant },
    Ready,
    BackingOff { until: Instant },
    Closing { deadline: Instant },
    Closed,
}

/// What [`Supervisor::handle_timeout`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial this endpoint, and report everything that comes of it under this epoch.
    Dial {
        epoch: Epoch,
        /// Counted from 1 since the last time the connection was up and stable.
        attempt: u32,
        endpoint: usize,
    },
    /// A step has taken too long: drop whatever there is of this epoch. It has ended already, no
    /// [`Supervisor::lost`] is due for it.
    Abort {
        epoch: Epoch,
        step: Step,
        next: Next,
    },
}

/// The steps that have a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Dial,
    Handshake,
    Recovery,
    Close,
}

/// What follows the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next attempt follows after the delay.
    Retry { attempt: u32, delay: Duration },
    /// The same attempt is begun again at once, at the same endpoint.
    Again,
    /// There is no next attempt, and the reason is why the last one failed.
    GiveUp,
    /// The end was asked for.
    Closed,
}

/// News of an attempt that is over: whatever it brought is to be dropped, not used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this attempt to connect is over")]
pub struct TooLate;

/// The life of one connection through all its epochs.
///
/// Every dial begins an epoch, and every epoch ends exactly once: by [`lost`](Self::lost) or by
/// [`Action::Abort`]. Only one is alive at a time, and news of any other changes nothing.
#[derive(Debug)]
pub struct Supervisor {
    config: Config,
    state: State,
    epoch: Epoch,
    /// Whether the connection was ever ready.
    established: bool,
    /// The number of the last dial since the connection was stable.
    attempt: u32,
    /// The number of attempts in a row that have failed.
    failed: u32,
    delays: Delays,
    /// Whether the attempt is begun again if the handshake fails.
    is_repeatable: bool,
    /// Whether the attempt, or the next one where none is under way, is the one before it begun again.
    repeats: bool,
    /// Whether the end that comes is one that is known how to avoid.
    excused: bool,
    /// How many in a row were.
    excuses: u32,
    /// The endpoints in the order they are taken: shuffled, so that the clients of a node that
    /// dies spread over the others.
    order: Vec<usize>,
    /// How many times an endpoint was taken, or passed over.
    taken: usize,
    /// By their numbers.
    turns: Vec<Turns>,
    /// The endpoint that is dialled, or was last.
    current: usize,
}

/// The turns of an endpoint before the connection is ready for the first time.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    taken: u32,
    /// Whether there are addresses that have had none.
    is_due_more: bool,
}

impl Turns {
    fn is_due(self) -> bool {
        self.taken == 0 || self.is_due_more && self.taken < TURNS
    }
}

impl Supervisor {
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut order: Vec<usize> = (0..config.endpoints.get()).collect();
        random.shuffle(&mut order);
        Self {
            config,
            state: State::Idle,
            epoch: Epoch::default(),
            established: false,
            attempt: 0,
            failed: 0,
            delays: Delays::new(config.backoff, STABLE, random.u64(..)),
            is_repeatable: false,
            repeats: false,
            excused: false,
            excuses: 0,
            order,
            taken: 0,
            turns: vec![Turns::default(); config.endpoints.get()],
            current: 0,
        }
    }

    #[cfg(test)]
    pub fn state(&self) -> State {
        self.state
    }

    /// The epoch of the last dial.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[cfg(test)]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether the connection is being closed in order.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Begins to connect: [`handle_timeout`](Self::handle_timeout) gives the first dial.
    pub fn start(&mut self, now: Instant) {
        if self.state == State::Idle {
            self.state = State::BackingOff { until: now };
        }
    }

    /// Whether it was told to connect.
    pub fn has_started(&self) -> bool {
        self.state != State::Idle
    }

    /// How many addresses of the endpoint that is dialled have not had their turn. Until they had, the first
    /// round is not through.
    pub fn untried(&mut self, epoch: Epoch, addresses: usize) {
        if epoch == self.epoch
            && let Some(turns) = self.turns.get_mut(self.current)
        {
            turns.is_due_more = addresses > 0;
        }
    }

    /// The transport is connected.
    pub fn dialed(&mut self, epoch: Epoch, now: Instant) -> Result<(), TooLate> {
        let expected = matches!(self.state, State::Dialing { .. });
        let deadline = after(now, self.config.timeouts.handshake);
        self.advance(epoch, expected, State::Handshaking { deadline })
    }

    /// Whether the attempt is the one before it begun again: it is not to fail as that did.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// The handshake that has begun is more daring than it need be: if it fails, that is no failure yet, and
    /// the attempt is begun again, once. It has less time, since it may be that the peer waits for more. To be
    /// said once it is [`dialed`](Self::dialed).
    pub fn is_repeatable(&mut self, now: Instant) {
        if let State::Handshaking { deadline } = &mut self.state
            && !self.repeats
        {
            self.is_repeatable = true;
            let time = DARING.min(self.config.timeouts.handshake / 3);
            *deadline = after(now, time);
        }
    }

    /// What the peer said would be the same another time.
    pub fn is_not_repeatable(&mut self) {
        self.is_repeatable = false;
    }

    /// The AMQP connection is open.
    pub fn handshaken(&mut self, epoch: Epoch, now: Instant) -> Result<(), TooLate> {
        let expected = matches!(self.state, State::Handshaking { .. });
        let deadline = after(now, self.config.timeouts.recovery);
        self.advance(epoch, expected, State::Recovering { deadline })
    }

    /// The recovery has done one of its steps. How long it may take as a whole depends on how much
    /// there is to recover, so only a step has a deadline.
    pub fn progressed(&mut self, epoch: Epoch, now: Instant) -> Result<(), TooLate> {
        let expected = matches!(self.state, State::Recovering { .. });
        let deadline = after(now, self.config.timeouts.recovery);
        self.advance(epoch, expected, State::Recovering { deadline })
    }

    /// Channels, topology and consumers are back.
    pub fn recovered(&mut self, epoch: Epoch, now: Instant) -> Result<(), TooLate> {
        let expected = matches!(self.state, State::Recovering { .. });
        self.advance(epoch, expected, State::Ready)?;
        self.delays.succeeded(now);
        self.failed = 0;
        self.established = true;
        Ok(())
    }

    /// The end that comes brings it nearer who costs the connections, so that there is less to wait for the
    /// next time: it is no reason to wait longer than for a first attempt. To be said before
    /// [`lost`](Self::lost), and of no more than [`EXCUSES`] in a row.
    pub fn excuse(&mut self) {
        self.excused = true;
    }

    /// The epoch has ended, whatever the cause: a failed dial, a refused login, a reset, a close by
    /// the broker, or one by us that is done. `None` if it had ended before.
    pub fn lost(&mut self, epoch: Epoch, now: Instant) -> Option<Next> {
        if epoch != self.epoch {
            return None;
        }
        match self.state {
            State::Idle | State::BackingOff { .. } | State::Closed => None,
            State::Ready => {
                if self.delays.ended(now) {
                    self.attempt = 0;
                    self.excuses = 0;
                }
                Some(self.retry_or_give_up(now))
            }
            State::Handshaking { .. } if std::mem::take(&mut self.is_repeatable) => {
                self.repeats = true;
                self.state = State::BackingOff { until: now };
                Some(Next::Again)
            }
            State::Dialing { .. } | State::Handshaking { .. } | State::Recovering { .. } => {
                if !self.excused {
                    self.failed = self.failed.saturating_add(1);
                }
                Some(self.retry_or_give_up(now))
            }
            State::Closing { .. } => {
                self.state = State::Closed;
                Some(Next::Closed)
            }
        }
    }

    /// Ends it all for good.
    ///
    /// A connection that is open becomes [`State::Closing`], to be closed in order until the
    /// deadline; repeating this can only bring the deadline forward. Otherwise the state is
    /// [`State::Closed`] at once, and an attempt under way is to be dropped.
    ///
    /// One on which something was said behind connection.open is closed in order, too: the broker does what was
    /// said, and until it has, others cannot count on the contrary.
    pub fn close(&mut self, deadline: Instant, is_being_opened: bool) {
        self.state = match self.state {
            State::Recovering { .. } | State::Ready => State::Closing { deadline },
            State::Handshaking { .. } if is_being_opened => State::Closing { deadline },
            State::Closing { deadline: earlier } => State::Closing {
                deadline: deadline.min(earlier),
            },
            State::Idle
            | State::BackingOff { .. }
            | State::Dialing { .. }
            | State::Handshaking { .. }
            | State::Closed => State::Closed,
        };
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Dialing { deadline }
            | State::Handshaking { deadline }
            | State::Recovering { deadline }
            | State::Closing { deadline } => Some(deadline),
            State::BackingOff { until } => Some(until),
            State::Idle | State::Ready | State::Closed => None,
        }
    }

    /// Does what is due. To be called until there is nothing more.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        if self.poll_timeout()? > now {
            return None;
        }
        let step = match self.state {
            State::Dialing { .. } => Step::Dial,
            State::Handshaking { .. } => Step::Handshake,
            State::Recovering { .. } => Step::Recovery,
            State::Closing { .. } => Step::Close,
            State::BackingOff { .. } => return Some(self.dial(now)),
            State::Idle | State::Ready | State::Closed => return None,
        };
        let epoch = self.epoch;
        let next = self.lost(epoch, now)?;
        Some(Action::Abort { epoch, step, next })
    }

    fn advance(&mut self, epoch: Epoch, expected: bool, to: State) -> Result<(), TooLate> {
        if epoch != self.epoch || !expected {
            return Err(TooLate);
        }
        self.state = to;
        Ok(())
    }

    fn dial(&mut self, now: Instant) -> Action {
        let deadline = after(now, self.config.timeouts.dial);
        self.state = State::Dialing { deadline };
        self.epoch = self.epoch.next();
        let endpoint = if self.repeats {
            self.current
        } else {
            self.attempt = self.attempt.saturating_add(1);
            self.take_endpoint()
        };
        Action::Dial {
            epoch: self.epoch,
            attempt: self.attempt,
            endpoint,
        }
    }

    fn take_endpoint(&mut self) -> usize {
        let in_turn = |taken: usize| self.order[taken % self.order.len()];
        if self.in_first_round() {
            let mut all = self.taken..self.taken + self.order.len();
            let due = all.find(|taken| self.turns[in_turn(*taken)].is_due());
            self.taken = due.unwrap_or(self.taken);
        }
        self.current = in_turn(self.taken);
        self.taken += 1;
        let turns = &mut self.turns[self.current];
        turns.taken = turns.taken.saturating_add(1);
        turns.is_due_more = false;
        self.current
    }

    /// Whether the first connect has yet to try something.
    fn in_first_round(&self) -> bool {
        !self.established && self.turns.iter().any(|it| it.is_due())
    }

    fn retry_or_give_up(&mut self, now: Instant) -> Next {
        (self.is_repeatable, self.repeats) = (false, false);
        let max_attempts = self.config.backoff.max_attempts;
        let is_excused = std::mem::take(&mut self.excused) && self.excuses < EXCUSES;
        let delay = if self.in_first_round() {
            Duration::ZERO
        } else if !self.established && self.config.fail_fast
            || max_attempts.is_some_and(|max| self.failed >= max)
        {
            self.state = State::Closed;
            return Next::GiveUp;
        } else if is_excused {
            self.excuses += 1;
            self.delays.shortest()
        } else {
            self.delays.next(now)
        };
        self.state = State::BackingOff {
            until: after(now, delay),
        };
        Next::Retry {
            attempt: self.attempt.saturating_add(1),
            delay,
        }
    }
}

/// How often in a row the end of a connection is no reason to wait longer: enough to find one message among
/// a million by halves.
const EXCUSES: u32 = 20;

/// How long a daring handshake may take at most.
const DARING: Duration = Duration::from_secs(10);

/// How many turns an endpoint has in the first round, however many addresses it has.
const TURNS: u32 = 16;

#[cfg(test)]
mod tests;
