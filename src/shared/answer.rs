/// Where an answer of the driver goes. Dropped without one, it tells that what was asked has gone.
pub(crate) type Answer<T> = async_channel::Sender<T>;
