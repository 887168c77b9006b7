use snowshoe_codec::{Delivery, Oversized, PublisherConfirm, Returned, ShortString};

/// What came over a [`Channel`](crate::Channel) without being asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// A message for a consumer that was started with basic.consume.
    Delivery(Delivery),
    /// A message that could not be routed.
    Returned(Returned),
    /// A message for a consumer, or a returned one, that is longer than
    /// [is accepted](crate::ClientBuilder::max_message_size), without its body. A delivery is to be
    /// settled like any other; refused, as a rule.
    Oversized(Box<Oversized>),
    /// The broker confirmed or refused what was published.
    Confirm(PublisherConfirm),
    /// The broker ended a consumer.
    ConsumerCancelled {
        /// Which.
        consumer_tag: ShortString,
    },
    /// The broker asked to pause or to go on publishing.
    Flow {
        /// Whether to publish.
        active: bool,
    },
}

impl ChannelEvent {
    /// What it takes while it waits.
    pub(crate) fn cost(&self) -> usize {
        let content = match self {
            Self::Delivery(delivery) => delivery.content.buffer_len(),
            Self::Returned(returned) => returned.content.buffer_len(),
            Self::Oversized(oversized) => oversized.message.content().buffer_len(),
            Self::Confirm(_) | Self::ConsumerCancelled { .. } | Self::Flow { .. } => 0,
        };
        size_of::<Self>().saturating_add(content)
    }
}
