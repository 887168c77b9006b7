use snowshoe_codec::{Delivery, PublisherConfirm, Returned, ShortString};

/// What came over a [`Channel`](crate::Channel) without being asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// A message for a consumer that was started with basic.consume.
    Delivery(Delivery),
    /// A message that could not be routed.
    Returned(Returned),
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
