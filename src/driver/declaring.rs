//! Producers that wait until what they publish to is declared.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use snowshoe_codec::Method;
use snowshoe_codec::time::after;

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

/// How long it takes until what was not answered, or found no channel, is asked again.
const PAUSE: Duration = Duration::from_secs(1);

impl Declaring {
    pub(super) fn new(outbox: Arc<Outbox>, declaration: Declaration) -> Self {
        Self {
            outbox,
            steps: Steps::new(declaration),
            asked: Vec::new(),
        }
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

/// Whether the broker has not spoken, and may do so another time.
fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::Timeout(_) | Error::ConnectionLost | Error::NoFreeChannel
    )
}
