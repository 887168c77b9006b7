use snowshoe_codec::method::{Arguments, MethodId, basic, connection};
use snowshoe_codec::{Method, Published, ReplyCode, ShortStr, ShortString};

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
/// let code = ReplyCode::PRECONDITION_FAILED;
/// broker.inject(Fault {
///     name: Some(ShortString::from_static("orders")),
///     times: 2,
///     ..Fault::new(queue::Declare::ID, code, "Server low on disk space")
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The method that fails.
    pub method: MethodId,
    /// The queue or exchange that it is about, the exchange of a publish; `None` for any.
    pub name: Option<ShortString>,
    /// The reply code: one that RabbitMQ uses for channels closes the channel, any other the
    /// connection.
    pub code: ReplyCode,
    /// What the client is told, after the name of the code.
    pub text: String,
    /// How often it happens.
    pub times: usize,
}

impl Fault {
    /// Refuses the next such method, whatever it is about.
    pub fn new(method: MethodId, code: ReplyCode, text: impl Into<String>) -> Self {
        Self {
            method,
            name: None,
            code,
            text: text.into(),
            times: 1,
        }
    }
}

impl Broker {
    /// What a method fails on, if something was injected for it.
    pub(super) fn take_fault(&mut self, method: &Method) -> Option<Refusal> {
        self.take_fault_of(method.id(), subject(method).map(ShortString::as_short_str))
    }

    /// What a publish fails on, if something was injected for it.
    pub(super) fn take_publish_fault(&mut self, published: &Published) -> Option<Refusal> {
        self.take_fault_of(basic::Publish::ID, Some(published.content.exchange()))
    }

    /// What the opening of a connection fails on, if something was injected for it.
    pub(super) fn take_open_fault(&mut self) -> Option<Refusal> {
        self.take_fault_of(connection::Open::ID, None)
    }

    fn take_fault_of(&mut self, method: MethodId, name: Option<ShortStr<'_>>) -> Option<Refusal> {
        let index = self.faults.iter().position(|fault| {
            let meant = fault.name.as_ref().map(ShortString::as_short_str);
            fault.times > 0 && fault.method == method && (meant.is_none() || meant == name)
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
