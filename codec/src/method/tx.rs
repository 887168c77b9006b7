//! Class `tx`: transactions over the messages and acknowledgements of a channel.

use super::argument::methods;

methods! {
    class 90;

    /// makes the channel transactional.
    Select = 10 "tx.select" from Client -> [SelectOk] {}

    /// confirms that the channel is transactional.
    SelectOk = 11 "tx.select-ok" from Server -> [] {}

    /// commits the transaction, and begins the next.
    Commit = 20 "tx.commit" from Client -> [CommitOk] {}

    /// confirms that the transaction is committed.
    CommitOk = 21 "tx.commit-ok" from Server -> [] {}

    /// drops the transaction, and begins the next.
    Rollback = 30 "tx.rollback" from Client -> [RollbackOk] {}

    /// confirms that the transaction is dropped.
    RollbackOk = 31 "tx.rollback-ok" from Server -> [] {}
}
