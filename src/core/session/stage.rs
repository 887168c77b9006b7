/// How far a recovery has come. Each stage begins when the one before it is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// There is no connection, or its handshake has not come to connection.open.
    Offline,
    /// Exchanges and queues; after it, the names that the broker chose are known.
    Entities,
    /// Bindings that could not follow what they bind in the same flight, and the end of the handshake.
    Bindings,
    Consumers,
    Producers,
    Ready,
}
