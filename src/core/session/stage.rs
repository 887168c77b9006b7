/// How far a recovery has come. Each stage begins when the one before it is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Offline,
    /// Exchanges and queues; after it, the names that the broker chose are known.
    Entities,
    /// Bindings, once everything is there that they bind.
    Bindings,
    Consumers,
    Producers,
    Ready,
}
