use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::delivery::decoded;
use super::{Decode, DecodeError, TypedDelivery};
use crate::consumer::{Consumer, Handled};
use crate::delivery::{Delivery, Outcome};
use crate::panics::caught;

/// Receives a queue's messages as values of one type; see [`Consumer::typed_by`].
///
/// It is a [`Stream`] of deliveries that have a value or the reason why not, and whatever can be asked of a
/// [`Consumer`] can be asked of it, such as its [stop handle](Consumer::stop_handle).
pub struct TypedConsumer<T> {
    consumer: Consumer,
    codec: Arc<dyn Decode<T>>,
    on_undecodable: OnUndecodable,
}

/// Decides what becomes of messages that have no value.
type OnUndecodable = Box<dyn Fn(&DecodeError, &Delivery) -> Outcome + Send + Sync>;

impl<T> fmt::Debug for TypedConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedConsumer")
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// The same consumer, for values that serde reads from JSON.
    ///
    /// ```no_run
    /// # use serde::Deserialize;
    /// #[derive(Deserialize)]
    /// struct Order {
    ///     item: String,
    /// }
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let mut orders = client.consumer("orders")?.start().await?.typed::<Order>();
    /// while let Some(order) = orders.next().await {
    ///     match order.value() {
    ///         Ok(Order { item }) => println!("{item}"),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    ///     order.ack()?;
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "json")]
    pub fn typed<T>(self) -> TypedConsumer<T>
    where
        T: serde::de::DeserializeOwned,
    {
        self.typed_by(super::Json)
    }

    /// The same consumer, for values that this codec reads from messages.
    pub fn typed_by<T>(self, codec: impl Decode<T> + 'static) -> TypedConsumer<T> {
        TypedConsumer {
            consumer: self,
            codec: Arc::new(codec),
            on_undecodable: Box::new(|error, _| Outcome::dead_letter().because(said(error))),
        }
    }
}

impl<T> TypedConsumer<T> {
    /// Decides what becomes of a message that [`process`](Self::process) cannot decode, in the place of its
    /// handler.
    ///
    /// By default it is [dead-lettered](Outcome::dead_letter), with the error as the reason: put aside by the consumer's
    /// [`Retry`](crate::Retry), and without one rejected, which drops it where the queue has nowhere to dead-letter to; one
    /// of a stream is passed over. Back in the queue it would come again, and no better. [`Event::Undecodable`](crate::Event::Undecodable) tells of each in any case.
    ///
    /// ```no_run
    /// use snowshoe::Outcome;
    ///
    /// # async fn run(orders: snowshoe::typed::TypedConsumer<u64>) {
    /// let mut orders = orders.on_undecodable(|error, order| {
    ///     eprintln!("{error}: {:?}", order.body());
    ///     Outcome::reject()
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn on_undecodable<F, O>(mut self, decide: F) -> Self
    where
        F: Fn(&DecodeError, &Delivery) -> O + Send + Sync + 'static,
        O: Into<Outcome>,
    {
        self.on_undecodable = Box::new(move |error, delivery| decide(error, delivery).into());
        self
    }

    /// The next message; `None` once the consumer has ended. See [`Consumer::next`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TypedDelivery<T>> {
        let delivery = self.consumer.next().await?;
        Some(self.typed(delivery))
    }

    /// All messages that are there, at least one and at most `limit`; `None` once the consumer has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_batch(&mut self, limit: usize) -> Option<Vec<TypedDelivery<T>>> {
        let batch = self.consumer.next_batch(limit).await?;
        Some((batch.into_iter()).map(|it| self.typed(it)).collect())
    }

    /// A message that is there already.
    pub fn try_next(&mut self) -> Option<TypedDelivery<T>> {
        let delivery = self.consumer.try_next()?;
        Some(self.typed(delivery))
    }

    /// Runs `handler` on the value of every message, and on the delivery that it came with, as
    /// [`Consumer::process`] does: at most `limit` at a time, until the consumer ends or is stopped. What the
    /// handler returns settles the message.
    ///
    /// A message that cannot be decoded does not come to the handler;
    /// [`on_undecodable`](Self::on_undecodable) says what becomes of it. Among the
    /// [handled](Handled::finished) it counts as one.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handlers that are running, and leaves their messages
    /// unsettled.
    pub async fn process<H, F>(&mut self, limit: usize, mut handler: H) -> Handled
    where
        H: FnMut(T, Delivery) -> F,
        F: Future,
        F::Output: Into<Outcome>,
    {
        let Self {
            consumer,
            codec,
            on_undecodable,
        } = self;
        let tell = consumer.tells_undecodable();
        let either = |delivery: Delivery| {
            let handling = match decoded(&delivery, &**codec) {
                Ok(value) => Ok(handler(value, delivery)),
                Err(error) => {
                    // Before somebody's closure is asked, which may panic.
                    tell(said(&error));
                    Err(on_undecodable(&error, &delivery))
                }
            };
            async move {
                match handling {
                    Ok(handling) => handling.await.into(),
                    Err(outcome) => outcome,
                }
            }
        };
        consumer.process(limit, either).await
    }

    /// Asks the broker to send no more. See [`Consumer::cancel`].
    ///
    /// # Cancel safety
    /// The consumer is cancelled whether or not the future is dropped.
    pub async fn cancel(self) {
        self.consumer.cancel().await;
    }

    /// The consumer, for messages as they are.
    pub fn into_consumer(self) -> Consumer {
        self.consumer
    }

    fn typed(&self, delivery: Delivery) -> TypedDelivery<T> {
        TypedDelivery::new(delivery, &*self.codec)
    }
}

/// What an error says, whose text may come from code of the user's, and be of any length.
fn said(error: &DecodeError) -> String {
    let said = caught(|| error.to_string());
    let mut said = said.unwrap_or_else(|_| "the text of the error panicked".to_owned());
    if let Some(end) = (0..=REASON).rev().find(|end| said.is_char_boundary(*end)) {
        said.truncate(end);
    }
    said
}

/// How many bytes of a reason are told.
const REASON: usize = 1000;

impl<T> Deref for TypedConsumer<T> {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        &self.consumer
    }
}

impl<T> Stream for TypedConsumer<T> {
    type Item = TypedDelivery<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.consumer.poll_next_delivery(cx);
        next.map(|it| it.map(|delivery| self.typed(delivery)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_no_further_than_a_thousand_bytes() {
        let short = DecodeError::malformed("no");
        assert_eq!(said(&short), short.to_string());
        for filler in ["x", "ä", "€", "𝄞"] {
            let said = said(&DecodeError::malformed(filler.repeat(1000)));
            assert!((997..=1000).contains(&said.len()), "{}", said.len());
            assert!(said.ends_with(filler));
        }
    }
}
