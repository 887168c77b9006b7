//! Messages that are taken back.

use super::Confirmation;
use crate::message::Message;

impl Confirmation {
    /// Takes the message back, as long as nothing of it was written: it is not published then, and its room in
    /// the buffer is free. Nobody else is told of it.
    ///
    /// # Errors
    /// This confirmation as it was, to be awaited: the message is on its way, the broker may have it since it was on
    /// its way before an outage, or it has come to its end.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let orders = client.producer("orders")?.build();
    /// let confirmation = orders.publish("one bicycle").await?;
    /// // The customer has changed their mind.
    /// match confirmation.withdraw() {
    ///     Ok(message) => println!("{} bytes were not sent", message.size()),
    ///     Err(confirmation) => confirmation.await?,
    /// }
    /// # Ok(()) }
    /// ```
    pub fn withdraw(mut self) -> Result<Message, Self> {
        let outbox = self.outbox.as_ref();
        match outbox.and_then(|outbox| outbox.withdraw(self.position)) {
            Some(message) => {
                self.outbox = None;
                Ok(message)
            }
            None => Err(self),
        }
    }
}
