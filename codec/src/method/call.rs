use super::{Arguments, Method, access, basic, channel, confirm, connection, exchange, queue, tx};

/// A method that the client sends and that one kind of reply answers.
///
/// `basic.get` is none, as it is answered by one of two.
pub trait Call: Arguments + Into<Method> {
    /// The method that answers.
    type Reply: Arguments + TryFrom<Method, Error = Method>;

    /// Whether this one asks not to be answered.
    fn nowait(&self) -> bool;
}

macro_rules! calls {
    ($($class:ident::$Name:ident -> $Reply:ident $(unless $nowait:ident)?;)*) => {
        $(impl Call for $class::$Name {
            type Reply = $class::$Reply;

            fn nowait(&self) -> bool {
                false $(|| self.$nowait)?
            }
        })*

        /// Each call, its reply, and whether it can do without.
        #[cfg(test)]
        pub(crate) const CALLS: &[(super::MethodId, super::MethodId, bool)] = &[$((
            $class::$Name::ID,
            $class::$Reply::ID,
            !<[&str]>::is_empty(&[$(stringify!($nowait))?]),
        ),)*];
    };
}

calls! {
    connection::Open -> OpenOk;
    connection::Close -> CloseOk;
    connection::UpdateSecret -> UpdateSecretOk;
    channel::Open -> OpenOk;
    channel::Flow -> FlowOk;
    channel::Close -> CloseOk;
    access::Request -> RequestOk;
    exchange::Declare -> DeclareOk unless nowait;
    exchange::Delete -> DeleteOk unless nowait;
    exchange::Bind -> BindOk unless nowait;
    exchange::Unbind -> UnbindOk unless nowait;
    queue::Declare -> DeclareOk unless nowait;
    queue::Bind -> BindOk unless nowait;
    queue::Purge -> PurgeOk unless nowait;
    queue::Delete -> DeleteOk unless nowait;
    queue::Unbind -> UnbindOk;
    basic::Qos -> QosOk;
    basic::Consume -> ConsumeOk unless nowait;
    basic::Cancel -> CancelOk unless nowait;
    basic::Recover -> RecoverOk;
    confirm::Select -> SelectOk unless nowait;
    tx::Select -> SelectOk;
    tx::Commit -> CommitOk;
    tx::Rollback -> RollbackOk;
}

impl Method {
    /// Whether this is a call that asks not to be answered.
    pub const fn is_nowait(&self) -> bool {
        match self {
            Self::ExchangeDeclare(exchange::Declare { nowait, .. })
            | Self::ExchangeDelete(exchange::Delete { nowait, .. })
            | Self::ExchangeBind(exchange::Bind { nowait, .. })
            | Self::ExchangeUnbind(exchange::Unbind { nowait, .. })
            | Self::QueueDeclare(queue::Declare { nowait, .. })
            | Self::QueueBind(queue::Bind { nowait, .. })
            | Self::QueuePurge(queue::Purge { nowait, .. })
            | Self::QueueDelete(queue::Delete { nowait, .. })
            | Self::BasicConsume(basic::Consume { nowait, .. })
            | Self::BasicCancel(basic::Cancel { nowait, .. })
            | Self::ConfirmSelect(confirm::Select { nowait }) => *nowait,
            _ => false,
        }
    }
}
