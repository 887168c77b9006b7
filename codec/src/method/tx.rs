//! Class `tx`: transactions over the messages and acknowledgements of a channel.

use super::argument::methods;

methods! {
    class 90;

    /// Makes the channel transactional.
    Select = 10 "tx.select" from Client -> [SelectOk] {}

    /// Confirms that the channel is transactional.
    SelectOk = 11 "tx.select-ok" from Server -> [] {}

    /// Commits the transaction, and begins the next.
    Commit = 20 "tx.commit" from Client -> [CommitOk] {}

    /// Confirms that the transaction is committed.
    CommitOk = 21 "tx.commit-ok" from Server -> [] {}

    /// Drops the transaction, and begins the next.
    Rollback = 30 "tx.rollback" from Client -> [RollbackOk] {}

    /// Confirms that the transaction is dropped.
    RollbackOk = 31 "tx.rollback-ok" from Server -> [] {}
}
