//! Messages that are published once more, to wait or as dead letters.

use snowshoe_codec::{
    Content, FieldTable, PropertiesError, PropertiesRef, ShortString, TableError,
};

use super::entities::DELAY;
use crate::message::Message;

/// How many attempts at a message have failed.
const ATTEMPTS: &str = "snowshoe-attempts";
/// How many milliseconds it has still to wait when it comes.
const MORE: &str = "snowshoe-more";
const REASON: &str = "snowshoe-reason";
const QUEUE: &str = "snowshoe-queue";
const EXCHANGE: &str = "snowshoe-exchange";
const ROUTING_KEY: &str = "snowshoe-routing-key";
const USER_ID: &str = "snowshoe-user-id";

/// What quorum queues have counted is not true of a copy.
const COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// How many bytes of a reason are kept.
const LONGEST_REASON: usize = 1_000;

/// What the headers of a message say of earlier attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many have failed.
    pub(crate) failed: u32,
    /// How many milliseconds it has to wait before the next.
    pub(crate) more: u64,
}

impl Standing {
    pub(crate) fn of(content: &Content) -> Self {
        let headers = content.properties().ok().and_then(|it| it.headers);
        let number = |name| {
            let value = headers?.get(name).ok()??.as_i64()?;
            u64::try_from(value).ok()
        };
        // A dead letter that somebody has put into a queue again has all its attempts before it.
        let is_dead = headers.is_some_and(|it| matches!(it.get(QUEUE), Ok(Some(_))));
        if is_dead {
            return Self::default();
        }
        let failed = number(ATTEMPTS).unwrap_or(0);
        Self {
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
            more: number(MORE).unwrap_or(0),
        }
    }
}

/// A message at which an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed<'a> {
    pub(crate) content: &'a Content,
    /// The queue that it came from.
    pub(crate) queue: &'a ShortString,
    /// How many attempts have failed, this one included.
    pub(crate) attempts: u32,
    pub(crate) reason: Option<&'a str>,
}

impl Failed<'_> {
    /// A copy that waits so many milliseconds, and then so many more, with the routing key of the message.
    ///
    /// # Errors
    /// The properties of the message cannot be read.
    pub(crate) fn waiting(self, millis: u32, more: u64) -> Result<Message, PropertiesError> {
        let copy = self.copy(|headers| {
            headers.remove(QUEUE)?;
            headers.remove(ROUTING_KEY)?;
            headers.set(DELAY, i64::from(millis))?;
            if more > 0 {
                headers.set(MORE, i64::try_from(more).unwrap_or(i64::MAX))?;
            } else {
                headers.remove(MORE)?;
            }
            Ok(())
        })?;
        Ok(copy.with_known_routing_key(self.content.routing_key().to_owned()))
    }

    /// A copy for those who look after dead letters, which goes by this routing key, or by that of the message.
    ///
    /// # Errors
    /// The properties of the message cannot be read.
    pub(crate) fn dead(
        self,
        routing_key: Option<&ShortString>,
    ) -> Result<Message, PropertiesError> {
        let own = || self.content.routing_key().to_owned();
        let is_of_its_own = routing_key.is_none();
        let routing_key = routing_key.cloned().unwrap_or_else(own);
        let copy = self.copy(|headers| {
            if !is_of_its_own {
                // It would go to these queues once more; brokers take them away as well.
                headers.remove("CC")?;
                headers.remove("BCC")?;
            }
            headers.remove(DELAY)?;
            headers.remove(MORE)?;
            headers.set(QUEUE, self.queue)?;
            headers.set(ROUTING_KEY, self.content.routing_key())?;
            Ok(())
        })?;
        Ok(copy.with_known_routing_key(routing_key))
    }

    fn copy(
        self,
        change: impl FnOnce(&mut FieldTable) -> Result<(), TableError>,
    ) -> Result<Message, PropertiesError> {
        let properties = self.content.properties()?;
        let mut headers = match properties.headers {
            Some(headers) => headers.to_owned(),
            None => FieldTable::new(),
        };
        self.tell(&mut headers, &properties)
            .and_then(|()| change(&mut headers))
            .map_err(PropertiesError::Headers)?;
        let properties = PropertiesRef {
            headers: Some(headers.as_table_ref()),
            // Dead-lettering takes it away, too; with it, the copy might not wait for as long as it is to.
            expiration: None,
            // Nobody but that user may say so.
            user_id: None,
            ..properties
        };
        Ok(Message::new(self.content.body_bytes()).with_properties(properties.encode()?))
    }

    /// Tells of the attempts, and what the copy itself does not.
    fn tell(
        self,
        headers: &mut FieldTable,
        properties: &PropertiesRef<'_>,
    ) -> Result<(), TableError> {
        for name in COUNTS {
            headers.remove(name)?;
        }
        headers.set(ATTEMPTS, i64::from(self.attempts))?;
        if let Some(reason) = self.reason {
            headers.set(REASON, beginning(reason))?;
        }
        // Of a copy these are its own.
        if headers.get(EXCHANGE)?.is_none() {
            headers.set(EXCHANGE, self.content.exchange())?;
        }
        if let Some(user) = properties.user_id {
            headers.set(USER_ID, user)?;
        }
        Ok(())
    }
}

/// As much of a reason as is kept.
fn beginning(reason: &str) -> &str {
    let mut end = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
