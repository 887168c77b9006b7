use snowshoe_codec::method::MethodId;
use snowshoe_codec::{Method, ReplyCode, ShortString};

use super::Broker;
use super::refusal::Refusal;

/// Something that the broker refuses, although nothing is wrong with it.
///
/// ```
/// use snowshoe::codec::method::{Arguments, queue};
/// use snowshoe::testing::{Broker, BrokerOptions, Fault};
/// use snowshoe::{ReplyCode, ShortString};
///
/// let mut broker = Broker::new(BrokerOptions::default());
/// // The next two declarations of this queue fail.
/// broker.inject(Fault {
///     method: queue::Declare::ID,
///     name: Some(ShortString::from_static("orders")),
///     code: ReplyCode::PRECONDITION_FAILED,
///     text: "Server low on disk space".to_owned(),
///     times: 2,
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The method that fails; any but basic.publish.
    pub method: MethodId,
    /// The queue or exchange that it is about; `None` for any.
    pub name: Option<ShortString>,
    /// The reply code: one that RabbitMQ uses for channels closes the channel, any other the
    /// connection.
    pub code: ReplyCode,
    /// What the client is told, behind the name of the code.
    pub text: String,
    /// How often it happens.
    pub times: usize,
}

impl Broker {
    /// What a method fails on, if something was injected for it.
    pub(super) fn take_fault(&mut self, method: &Method) -> Option<Refusal> {
        let name = subject(method);
        let index = self.faults.iter().position(|fault| {
            fault.times > 0
                && fault.method == method.id()
                && (fault.name.is_none() || fault.name.as_ref() == name)
        })?;
        let fault = &mut self.faults[index];
        fault.times -= 1;
        let refusal = Refusal::new(fault.code, &fault.text);
        if fault.times == 0 {
            self.faults.remove(index);
        }
        Some(refusal)
    }
}

/// The queue or exchange that a method is about.
fn subject(method: &Method) -> Option<&ShortString> {
    match method {
        Method::ExchangeDeclare(declare) => Some(&declare.exchange),
        Method::ExchangeDelete(delete) => Some(&delete.exchange),
        Method::ExchangeBind(bind) => Some(&bind.destination),
        Method::ExchangeUnbind(unbind) => Some(&unbind.destination),
        Method::QueueDeclare(declare) => Some(&declare.queue),
        Method::QueueBind(bind) => Some(&bind.queue),
        Method::QueueUnbind(unbind) => Some(&unbind.queue),
        Method::QueuePurge(purge) => Some(&purge.queue),
        Method::QueueDelete(delete) => Some(&delete.queue),
        Method::BasicConsume(consume) => Some(&consume.queue),
        Method::BasicGet(get) => Some(&get.queue),
        _ => None,
    }
}
