//! What an inbox answers.

use crate::core::{Epoch, acks};
use crate::error::SettleError;
use crate::outcome::Settled;

/// What came of putting deliveries into an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// The consumer is gone. That they go back is to be told to the broker.
    pub(crate) given_back: bool,
    /// Some were settled before, on another channel, and are at once again.
    pub(crate) has_settled: bool,
    /// The broker is to be [asked](Inbox::take_wish) for something.
    pub(crate) has_wish: bool,
    /// So many were lost.
    pub(crate) dropped: u64,
}

/// What came of looking into an inbox.
pub(crate) struct Taken {
    /// What the deliveries that were taken belong to.
    pub(crate) epoch: Epoch,
    /// Whether no more will come.
    pub(crate) ended: bool,
}

pub(super) fn settled(
    result: Result<(), acks::SettleError>,
    is_passed_over: bool,
) -> Result<Settled, SettleError> {
    match result {
        Ok(()) if is_passed_over => Ok(Settled::PassedOver),
        Ok(()) => Ok(Settled::Sent),
        Err(acks::SettleError::Stale) => Ok(Settled::Stale),
        Err(acks::SettleError::AlreadySettled | acks::SettleError::Unknown) => {
            Err(SettleError::AlreadySettled)
        }
    }
}
