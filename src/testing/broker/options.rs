use std::time::Duration;

use snowshoe_codec::{ConnectionLimits, ServerOptions, ShortString, client_properties};

use super::manner::Manner;
use crate::testing::clock::UNIX_TIME;

/// What a [`Broker`](super::Broker) is like.
///
/// ```
/// use snowshoe::testing::{BrokerOptions, Manner};
///
/// let options = BrokerOptions { manner: Manner::LavinMq, ..BrokerOptions::default() };
/// assert_eq!(options.users, [("guest".to_owned(), "guest".to_owned())]);
/// ```
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Who may log in: names and passwords. `guest` with the password `guest` by default.
    pub users: Vec<(String, String)>,
    /// The virtual hosts that there are; `/` by default. Every user may use all of them.
    pub virtual_hosts: Vec<ShortString>,
    /// What is offered to clients, and the deadlines for their answers. Of the longest message counts
    /// the smaller, this or that of the [manner](Manner).
    pub limits: ConnectionLimits,
    /// Which broker it takes after where they differ: the newest RabbitMQ by default.
    pub manner: Manner,
    /// How long a delivery may be unacknowledged before its channel is closed, or what else the
    /// [manner](Manner) has for it; `None` is for ever.
    /// 30 minutes by default, as RabbitMQ.
    pub consumer_timeout: Option<Duration>,
    /// How many bytes may wait to be written to a connection. Over that it gets no more deliveries
    /// and what it sends is not read, until some were written. 1 MiB by default.
    pub outbound_limit: usize,
    /// What the names that the broker makes up grow from.
    pub seed: u64,
    /// The time of day when the broker starts, in seconds since 1970: it tells in `x-death` when a
    /// message was dead-lettered.
    pub unix_time: u64,
}

impl BrokerOptions {
    /// What clients are told.
    pub(super) fn server_options(&self) -> ServerOptions {
        let (product, version) = self.manner.product();
        let properties = client_properties()
            .with("product", product)
            .and_then(|table| table.with("version", version))
            .and_then(|table| table.with("platform", "snowshoe::testing"))
            .expect("short texts can be encoded");
        ServerOptions {
            properties,
            limits: ConnectionLimits {
                max_message_size: match self.limits.max_message_size {
                    0 => self.manner.max_message_size(),
                    bytes => bytes.min(self.manner.max_message_size()),
                },
                ..self.limits.clone()
            },
            ..ServerOptions::default()
        }
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            users: vec![("guest".to_owned(), "guest".to_owned())],
            virtual_hosts: vec![ShortString::from_static("/")],
            limits: ConnectionLimits {
                heartbeat: Duration::from_secs(60),
                ..ConnectionLimits::default()
            },
            manner: Manner::default(),
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            outbound_limit: 1 << 20,
            seed: 0,
            unix_time: UNIX_TIME,
        }
    }
}
