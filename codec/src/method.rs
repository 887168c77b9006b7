//! Every method of AMQP 0-9-1 as brokers speak it, in both directions: a module for each class, a struct
//! for each method.
//!
//! ```
//! use snowshoe_codec::method::{Method, queue};
//!
//! let purge = queue::Purge { queue: "orders".try_into()?, ..Default::default() };
//! let mut payload = Vec::new();
//! Method::from(purge.clone()).encode(&mut payload);
//!
//! assert_eq!(Method::decode(&payload)?, Method::QueuePurge(purge));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

mod argument;
mod call;
mod id;

use bytes::BufMut;
use nom::{Parser, number::complete::be_u16};
use thiserror::Error;

#[cfg(test)]
pub(crate) use self::call::CALLS;
pub use self::{
    call::Call,
    id::{MethodId, SentBy},
};
use crate::parse::take;

/// A method, as a struct of its arguments.
pub trait Arguments: Sized {
    /// The ids of class and method, which stand in front of the arguments.
    const ID: MethodId;
    /// The name, such as `queue.declare-ok`.
    const NAME: &'static str;
    /// Who sends the method.
    const SENT_BY: SentBy;
    /// The methods that answer this one.
    const REPLIES: &'static [MethodId];

    /// Reads the arguments from all of `input`. Strings and tables are copied out of it.
    fn decode_arguments(input: &[u8]) -> Result<Self, MethodError>;

    /// Appends the arguments alone.
    ///
    /// # Panics
    ///
    /// Panics over a long string of more than 4 GiB.
    fn encode_arguments(&self, out: &mut Vec<u8>);

    /// Appends the payload of a method frame: the ids and the arguments.
    ///
    /// # Panics
    ///
    /// Panics over a long string of more than 4 GiB.
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(Self::ID.class);
        out.put_u16(Self::ID.method);
        self.encode_arguments(out);
    }
}

/// Defines [`Method`] from the structs it can hold.
macro_rules! any_method {
    ($($Variant:ident($class:ident::$Name:ident),)*) => {
        /// Any method.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Method {
            $(
                #[doc = concat!("See [`", stringify!($class), "::", stringify!($Name), "`].")]
                $Variant($class::$Name),
            )*
        }

        impl Method {
            /// Reads the payload of a method frame. Strings and tables are copied out of it.
            pub fn decode(payload: &[u8]) -> Result<Self, MethodError> {
                let (id, arguments) = MethodId::split_from(payload)?;
                match id {
                    $($class::$Name::ID => Arguments::decode_arguments(arguments).map(Self::$Variant),)*
                    unknown => Err(MethodError::Unknown(unknown)),
                }
            }

            /// Appends the payload of a method frame: the ids and the arguments.
            ///
            /// # Panics
            ///
            /// Panics over a long string of more than 4 GiB.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$Variant(arguments) => arguments.encode(out),)*
                }
            }

            /// The ids of class and method.
            pub const fn id(&self) -> MethodId {
                match self {
                    $(Self::$Variant(_) => $class::$Name::ID,)*
                }
            }

            /// The name, such as `queue.declare-ok`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$Variant(_) => $class::$Name::NAME,)*
                }
            }
        }

        #[cfg(test)]
        impl Method {
            /// Each method once, with default arguments.
            pub(crate) fn defaults() -> Vec<Self> {
                vec![$(Self::$Variant(Default::default()),)*]
            }
        }

        #[cfg(test)]
        impl crate::tests::vectors::ListArguments for Method {
            fn list(&self) -> serde_json::Value {
                match self {
                    $(Self::$Variant(arguments) => arguments.list(),)*
                }
            }
        }

        impl MethodId {
            /// All methods that there are, in the order of their ids.
            pub const ALL: &'static [Self] = &[$($class::$Name::ID,)*];

            /// The name, such as `queue.declare-ok`, if there is such a method.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $($class::$Name::ID => Some($class::$Name::NAME),)*
                    _ => None,
                }
            }

            /// Who sends the method, if there is such a method.
            pub const fn sent_by(self) -> Option<SentBy> {
                match self {
                    $($class::$Name::ID => Some($class::$Name::SENT_BY),)*
                    _ => None,
                }
            }

            /// The methods that answer this one: none, if it is not answered.
            pub const fn replies(self) -> &'static [Self] {
                match self {
                    $($class::$Name::ID => $class::$Name::REPLIES,)*
                    _ => &[],
                }
            }
        }

        $(
            impl From<$class::$Name> for Method {
                fn from(arguments: $class::$Name) -> Self {
                    Self::$Variant(arguments)
                }
            }

            /// Gives back a method that is another.
            impl TryFrom<Method> for $class::$Name {
                type Error = Method;

                fn try_from(method: Method) -> Result<Self, Method> {
                    match method {
                        Method::$Variant(arguments) => Ok(arguments),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

any_method! {
    ConnectionStart(connection::Start),
    ConnectionStartOk(connection::StartOk),
    ConnectionSecure(connection::Secure),
    ConnectionSecureOk(connection::SecureOk),
    ConnectionTune(connection::Tune),
    ConnectionTuneOk(connection::TuneOk),
    ConnectionOpen(connection::Open),
    ConnectionOpenOk(connection::OpenOk),
    ConnectionClose(connection::Close),
    ConnectionCloseOk(connection::CloseOk),
    ConnectionBlocked(connection::Blocked),
    ConnectionUnblocked(connection::Unblocked),
    ConnectionUpdateSecret(connection::UpdateSecret),
    ConnectionUpdateSecretOk(connection::UpdateSecretOk),
    ChannelOpen(channel::Open),
    ChannelOpenOk(channel::OpenOk),
    ChannelFlow(channel::Flow),
    ChannelFlowOk(channel::FlowOk),
    ChannelClose(channel::Close),
    ChannelCloseOk(channel::CloseOk),
    AccessRequest(access::Request),
    AccessRequestOk(access::RequestOk),
    ExchangeDeclare(exchange::Declare),
    ExchangeDeclareOk(exchange::DeclareOk),
    ExchangeDelete(exchange::Delete),
    ExchangeDeleteOk(exchange::DeleteOk),
    ExchangeBind(exchange::Bind),
    ExchangeBindOk(exchange::BindOk),
    ExchangeUnbind(exchange::Unbind),
    ExchangeUnbindOk(exchange::UnbindOk),
    QueueDeclare(queue::Declare),
    QueueDeclareOk(queue::DeclareOk),
    QueueBind(queue::Bind),
    QueueBindOk(queue::BindOk),
    QueuePurge(queue::Purge),
    QueuePurgeOk(queue::PurgeOk),
    QueueDelete(queue::Delete),
    QueueDeleteOk(queue::DeleteOk),
    QueueUnbind(queue::Unbind),
    QueueUnbindOk(queue::UnbindOk),
    BasicQos(basic::Qos),
    BasicQosOk(basic::QosOk),
    BasicConsume(basic::Consume),
    BasicConsumeOk(basic::ConsumeOk),
    BasicCancel(basic::Cancel),
    BasicCancelOk(basic::CancelOk),
    BasicPublish(basic::Publish),
    BasicReturn(basic::Return),
    BasicDeliver(basic::Deliver),
    BasicGet(basic::Get),
    BasicGetOk(basic::GetOk),
    BasicGetEmpty(basic::GetEmpty),
    BasicAck(basic::Ack),
    BasicReject(basic::Reject),
    BasicRecoverAsync(basic::RecoverAsync),
    BasicRecover(basic::Recover),
    BasicRecoverOk(basic::RecoverOk),
    BasicNack(basic::Nack),
    ConfirmSelect(confirm::Select),
    ConfirmSelectOk(confirm::SelectOk),
    TxSelect(tx::Select),
    TxSelectOk(tx::SelectOk),
    TxCommit(tx::Commit),
    TxCommitOk(tx::CommitOk),
    TxRollback(tx::Rollback),
    TxRollbackOk(tx::RollbackOk),
}

impl MethodId {
    /// Reads the ids in front of the arguments in the payload of a method frame.
    ///
    /// ```
    /// use snowshoe_codec::method::{Arguments, MethodId, basic};
    ///
    /// let (id, arguments) = MethodId::split_from(&[0, 60, 0, 11])?;
    /// assert_eq!(id, basic::QosOk::ID);
    /// assert!(arguments.is_empty());
    /// # Ok::<(), snowshoe_codec::MethodError>(())
    /// ```
    pub fn split_from(mut payload: &[u8]) -> Result<(Self, &[u8]), MethodError> {
        let ids = (be_u16, be_u16).map(|(class, method)| Self { class, method });
        let id = take(&mut payload, ids).ok_or(MethodError::MissingId)?;
        Ok((id, payload))
    }

    /// Whether a content header and a body follow the method.
    pub const fn has_content(self) -> bool {
        matches!(
            self,
            basic::Publish::ID | basic::Return::ID | basic::Deliver::ID | basic::GetOk::ID
        )
    }
}

/// The payload of a method frame is no method that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// The payload ends within the class and method ids.
    #[error("a method frame without class and method ids")]
    MissingId,
    /// No method has these ids.
    #[error("unknown method: class {}, method {}", .0.class, .0.method)]
    Unknown(MethodId),
    /// The payload ends before the last argument.
    #[error("the arguments of {0} are cut off")]
    Truncated(MethodId),
    /// The payload goes on after the last argument.
    #[error("{count} bytes after the arguments of {method}")]
    TrailingBytes {
        /// The method.
        method: MethodId,
        /// How many bytes too many.
        count: usize,
    },
}
