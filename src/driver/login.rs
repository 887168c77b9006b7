//! What a client logs in with, asked of its provider.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use snowshoe_codec::sasl::Mechanism;
use snowshoe_codec::time::after;

use super::config::{Provided, Provider};
use super::guard::{Guarded, Panicked, guard, guarded_mechanism};
use crate::credentials::{Credentials, CredentialsError, Validity};
use crate::runtime::Runtime;

/// How long a provider may take. RabbitMQ gives a connection 10 s to log in.
const TIME_TO_PROVIDE: Duration = Duration::from_secs(8);

/// What the provider was asked for, and has not given yet.
pub(super) struct Asking {
    provided: Result<Guarded<Provided>, Panicked>,
    deadline: Instant,
}

/// What to log in with.
pub(super) struct Login {
    pub(super) mechanisms: Vec<Box<dyn Mechanism>>,
    /// What open connections are to be told.
    pub(super) secret: Option<Bytes>,
    pub(super) valid_until: Option<Instant>,
}

/// Why there is nothing to log in with, though the provider gave no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLogin {
    #[error("the provider of credentials did not give any in time")]
    TooLate,
    #[error("the provider gave credentials whose time is over: let it fetch new ones")]
    Expired,
}

const WHO: &str = "the provider of credentials";

impl Asking {
    pub(super) fn begin(provider: &Provider, now: Instant) -> Self {
        // User code: called without any lock.
        let provided = guard(WHO, || provider());
        Self {
            provided: provided.map(|provided| Guarded::new(WHO, provided)),
            deadline: after(now, TIME_TO_PROVIDE),
        }
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        runtime: &dyn Runtime,
    ) -> Poll<Result<Login, Arc<dyn Error + Send + Sync>>> {
        let polled = match &mut self.provided {
            Ok(provided) => provided.poll(cx),
            Err(panicked) => Poll::Ready(Err((*panicked).into())),
        };
        let result = match polled {
            Poll::Ready(result) => result.and_then(|it| Login::new(it, now, runtime)),
            Poll::Pending if self.deadline <= now => Err(NoLogin::TooLate.into()),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(result.map_err(Arc::from))
    }
}

impl Login {
    fn new(
        credentials: Credentials,
        now: Instant,
        runtime: &dyn Runtime,
    ) -> Result<Self, CredentialsError> {
        let (mechanisms, secret, validity) = credentials.into_parts();
        let guarded = mechanisms.into_iter().map(guarded_mechanism);
        let mechanisms = guarded.collect::<Result<_, _>>()?;
        let life = match validity {
            Validity::Unlimited => None,
            Validity::For(life) => Some(life),
            Validity::Until(time) => {
                let life = time.duration_since(runtime.time_of_day());
                Some(life.unwrap_or_default())
            }
        };
        if life.is_some_and(|life| life.is_zero()) {
            return Err(NoLogin::Expired.into());
        }
        Ok(Self {
            mechanisms,
            secret,
            valid_until: life.map(|life| after(now, life)),
        })
    }
}
