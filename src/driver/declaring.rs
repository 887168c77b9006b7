//! Producers that wait until what they publish to is declared.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use snowshoe_codec::Method;
use snowshoe_codec::time::after;

use crate::core::refusal::{is_away, is_passing};
use crate::declare::Declaration;
use crate::error::Error;
use crate::runtime::{Runtime, Timer};
use crate::shared::declaring::Steps;
use crate::shared::outbox::Outbox;
use crate::sync::answer::{Answer, Answered, answer};

/// A producer whose messages are held until what they go to is there.
pub(super) struct Declaring {
    pub(super) outbox: Arc<Outbox>,
    steps: Steps,
    /// What was asked of the broker and is not answered.
    asked: Vec<Call>,
    delay: Delay,
}

/// Whether it takes longer than the broker's word.
enum Delay {
    None,
    /// It does, for this, which is to be told.
    ToTell(Error),
    Told,
}

struct Call {
    method: Method,
    state: State,
}

enum State {
    Asked(Answered<Result<Method, Error>>),
    /// It is asked again when this goes off.
    Again(Box<dyn Timer>),
}

/// How long it takes until what was not answered, found no channel, or was refused for now, is asked again.
const PAUSE: Duration = Duration::from_secs(1);

impl Declaring {
    pub(super) fn new(outbox: Arc<Outbox>, declaration: Declaration) -> Self {
        Self {
            outbox,
            steps: Steps::new(declaration),
            asked: Vec::new(),
            delay: Delay::None,
        }
    }

    /// Whether nobody needs it any more: the producer is closed, and has nothing left.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.look(|state| state.publisher.is_finished())
    }

    /// Why it has to be asked for again, once.
    pub(super) fn take_delay(&mut self) -> Option<Error> {
        match std::mem::replace(&mut self.delay, Delay::Told) {
            Delay::ToTell(reason) => Some(reason),
            delay => {
                self.delay = delay;
                None
            }
        }
    }

    /// Whether [a delay](Self::take_delay) was told.
    pub(super) fn is_delayed(&self) -> bool {
        matches!(self.delay, Delay::Told)
    }

    /// Goes on with what is answered, and `ask`s for what is next. Ready when everything is there, or will
    /// not be.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        runtime: &dyn Runtime,
        mut ask: impl FnMut(Method, Answer<Result<Method, Error>>),
    ) -> Poll<Result<(), Error>> {
        let mut ask = |method: &Method| {
            let (answer, answered) = answer();
            ask(method.clone(), answer);
            State::Asked(answered)
        };
        loop {
            let mut index = 0;
            while let Some(call) = self.asked.get_mut(index) {
                let answered = match &mut call.state {
                    State::Asked(answered) => match Pin::new(answered).poll(cx) {
                        Poll::Ready(answered) => answered,
                        Poll::Pending => {
                            index += 1;
                            continue;
                        }
                    },
                    State::Again(timer) => {
                        if timer.poll(cx).is_ready() {
                            call.state = ask(&call.method);
                        } else {
                            index += 1;
                        }
                        continue;
                    }
                };
                match answered {
                    Some(Ok(reply)) => {
                        self.asked.swap_remove(index);
                        self.steps.answered(reply);
                    }
                    Some(Err(error)) if passes(&error) => {
                        let mut timer = runtime.timer();
                        timer.set_at(after(now, PAUSE));
                        call.state = State::Again(timer);
                        // The end of a connection is told as that.
                        if matches!(self.delay, Delay::None)
                            && !matches!(error, Error::ConnectionLost)
                        {
                            self.delay = Delay::ToTell(error);
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Err(Error::Closed)),
                }
            }
            if !self.asked.is_empty() {
                return Poll::Pending;
            }
            let next = match self.steps.next_step() {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            };
            for method in next {
                let state = ask(&method);
                self.asked.push(Call { method, state });
            }
        }
    }
}

/// Whether it may go well another time, as the recovery has it of what was there before.
fn passes(error: &Error) -> bool {
    match error {
        Error::Timeout(_) | Error::ConnectionLost | Error::NoFreeChannel => true,
        Error::Refused(close) => is_passing(close) || is_away(close),
        _ => false,
    }
}
