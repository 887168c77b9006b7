use std::fmt;
use std::sync::Arc;

use super::{Encode, EncodeError, TypedPublishError, TypedSendError};
use crate::message::Message;
use crate::producer::{Confirm, Mode, Producer};

/// Publishes values of one type; see [`Producer::typed_by`].
///
/// It shares the buffer of the producer that it was made of, which can be typed in several ways. Clones
/// publish to the same buffer.
pub struct TypedProducer<T: ?Sized, M = Confirm> {
    producer: Producer<M>,
    codec: Arc<dyn Encode<T>>,
}

impl<T: ?Sized, M> Clone for TypedProducer<T, M> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            codec: Arc::clone(&self.codec),
        }
    }
}

impl<T: ?Sized, M> fmt::Debug for TypedProducer<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer")
            .field("producer", &self.producer)
            .finish_non_exhaustive()
    }
}

impl<M: Mode> Producer<M> {
    /// The same producer, for values that serde writes as JSON.
    ///
    /// ```no_run
    /// # use serde::Serialize;
    /// #[derive(Serialize)]
    /// struct Order<'a> {
    ///     item: &'a str,
    /// }
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let orders = client.producer("orders")?.build().typed::<Order>();
    /// orders.send(&Order { item: "bicycle" }).await?; // application/json
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "json")]
    pub fn typed<T>(&self) -> TypedProducer<T, M>
    where
        T: serde::Serialize + ?Sized,
    {
        self.typed_by(super::Json)
    }

    /// The same producer, for values that this codec makes messages of.
    pub fn typed_by<T: ?Sized>(&self, codec: impl Encode<T> + 'static) -> TypedProducer<T, M> {
        TypedProducer {
            producer: self.clone(),
            codec: Arc::new(codec),
        }
    }
}

impl<T: ?Sized, M: Mode> TypedProducer<T, M> {
    /// The value as a message, to be given more than its codec gives it, and then to the
    /// [producer](Self::producer).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn run(orders: snowshoe::typed::TypedProducer<u64>) -> Result<(), snowshoe::Error> {
    /// let order = orders.message(&4711)?.priority(5).expires(Duration::from_secs(60));
    /// orders.producer().send(order).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The value cannot be encoded.
    pub fn message(&self, value: &T) -> Result<Message, EncodeError> {
        self.codec.encode(value)
    }

    /// The producer, for messages as they are. It has the same buffer.
    pub fn producer(&self) -> &Producer<M> {
        &self.producer
    }

    /// Accepts a value for publishing, as [`Producer::publish`] does a message. It is encoded before this
    /// returns, and the future does not hold it.
    ///
    /// # Errors
    /// The value cannot be encoded, or its message is not accepted; the message is in the error then.
    ///
    /// # Cancel safety
    /// Until it completes, nothing was accepted; once it has, dropping anything does not take the
    /// message back.
    pub fn publish(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<M::Receipt, TypedPublishError>> + Send + use<'_, T, M> {
        let message = self.message(value);
        let producer = &self.producer;
        async move { Ok(producer.publish(message?).await?) }
    }

    /// Accepts a value for publishing, unless it would have to wait.
    ///
    /// # Errors
    /// The value cannot be encoded, or its message is not accepted; the message is in the error then.
    pub fn try_publish(&self, value: &T) -> Result<M::Receipt, TypedPublishError> {
        Ok(self.producer.try_publish(self.message(value)?)?)
    }
}

impl<T: ?Sized> TypedProducer<T, Confirm> {
    /// Publishes a value and waits until the broker has it, as [`Producer::send`] does a message. It is
    /// encoded before this returns, and the future does not hold it.
    ///
    /// # Errors
    /// The value cannot be encoded, its message is not accepted, or it is not acknowledged.
    ///
    /// # Cancel safety
    /// A message that was accepted is published whether or not the future is dropped.
    pub fn send(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<(), TypedSendError>> + Send + use<'_, T> {
        let message = self.message(value);
        let producer = &self.producer;
        async move { Ok(producer.send(message?).await?) }
    }
}
