//! Messages that are not delivered: when they are given up, and who hears of them.

use std::time::Duration;

use super::{Mode, ProducerBuilder};
use crate::outcome::Undelivered;
use crate::shared::hook::OnUndelivered;

impl<M: Mode> ProducerBuilder<M> {
    /// How long a message may wait to be written: one that has waited for longer is given up, as
    /// [`DropReason::Expired`](crate::DropReason::Expired). By default messages wait for as long as it takes, or
    /// until the [policy](Self::policy) has others take their place.
    ///
    /// Messages wait during outages, while the broker [blocks](crate::Event::Blocked) publishers, and while what
    /// they go to is declared. One that is on its way is not given up: what becomes of it is the broker's to tell.
    /// If its connection ends before that, it waits again, with the age that it has, and is given up instead of
    /// being written once more where that is too much. The broker may have it then, which
    /// [`possibly_stored`](crate::Unconfirmed::possibly_stored) tells.
    ///
    /// The age is counted from the turn of the driver in which it sees the message, which is at once where the driver is
    /// free to run. The message is given up at that age, or at most a sixty-fourth of it later. An age that is shorter
    /// than a turn, such as zero, leaves it to chance what is written.
    ///
    /// How long a queue keeps a message is another thing: [`Message::expires`](crate::Message::expires).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use snowshoe::{DropReason, UnconfirmedReason};
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let prices = client.producer("prices")?.max_age(Duration::from_secs(10)).build();
    /// let confirmation = prices.publish("EUR 1.17").await?;
    /// match confirmation.await {
    ///     Err(it) if it.reason == UnconfirmedReason::Dropped(DropReason::Expired) => {
    ///         println!("too old by now; sent all the same, perhaps: {}", it.possibly_stored);
    ///     }
    ///     outcome => outcome?,
    /// }
    /// # Ok(()) }
    /// ```
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Hears of each message that was accepted and is not delivered, with the message itself: what was
    /// [given up](crate::UnconfirmedReason::Dropped) for whatever reason, and what the broker refused or returned.
    /// So nothing is lost without a word where nobody waits for a [`Confirmation`](crate::Confirmation), or there is
    /// none.
    ///
    /// Without confirms a message is the producer's until its last byte was written. What becomes of it after that
    /// is not told here: it may be lost with the connection, and what the broker says of it is an
    /// [event](crate::Event). With and without, a message of which a [`CloseReport`](crate::CloseReport) tells is told
    /// here, too, and one that was [withdrawn](crate::Confirmation::withdraw) is not.
    ///
    /// It is called once for each message, in the order in which they end, where that is found out: by the driver,
    /// as a rule, or on the thread that publishes the message that takes another's place, or that drops the driver;
    /// by several of them at once, perhaps. So it must not block: all of the client's connections would wait. Let it
    /// send the message to a task of yours, or write it down for one. No lock is held, so it may publish with another
    /// producer; with the same one it should not, for that can take the place of the next, without end. It must not
    /// own the producer either, or a clone of it, which would never end.
    ///
    /// A panic in it is caught: the message is lost with it, and the others are told.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let (lost, to_be_saved) = std::sync::mpsc::channel();
    /// let metrics = client
    ///     .producer("metrics")?
    ///     .fire_and_forget()
    ///     .on_undelivered(move |it| _ = lost.send(it))
    ///     .build();
    /// metrics.publish("load 0.7").await?;
    ///
    /// std::thread::spawn(move || {
    ///     for it in to_be_saved {
    ///         println!("{:?}: {}", it.message.body(), it.outcome);
    ///     }
    /// });
    /// # Ok(()) }
    /// ```
    pub fn on_undelivered<F>(mut self, tell: F) -> Self
    where
        F: Fn(Undelivered) + Send + Sync + 'static,
    {
        self.on_undelivered = Some(OnUndelivered::new(tell));
        self
    }
}
