use std::time::{Duration, SystemTime};

use snowshoe_codec::{
    FieldTable, FieldTableRef, Properties, PropertiesError, PropertiesRef, ShortString, TableError,
};

use super::entities::{EXCHANGE, WAIT, wait_header};
use super::{Delays, Way};
use crate::error::PublishErrorReason;
use crate::message::{Message, millis};

/// When a message is to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    After(Duration),
    At(SystemTime),
}

/// What messages of a producer are told for the way of its [`Delays`].
#[derive(Debug)]
pub(crate) struct Waiting {
    way: Way,
    /// Where they go in the end.
    exchange: ShortString,
    /// Whether its producer has all messages expire.
    expires: bool,
}

/// By which exchanges that delay go, in milliseconds.
const DELAY: &str = "x-delay";
/// By which queues that delay go, in milliseconds since 1970.
const DELIVERY_TIME: &str = "x-opt-delivery-time";

/// The longest delay of which an exchange takes the milliseconds.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);

impl Waiting {
    /// For messages to this exchange, which have these properties where they have none of their own.
    pub(crate) fn new(delays: &Delays, exchange: ShortString, properties: &Properties) -> Self {
        Self {
            way: delays.way.clone(),
            exchange,
            expires: expires(properties),
        }
    }

    /// Whether it can be told at once of a message that no queue takes.
    pub(crate) fn can_be_mandatory(&self) -> bool {
        self.way != Way::Exchange
    }

    /// The properties with which a message goes out that arrives then.
    ///
    /// # Errors
    /// It cannot wait so long, or not as it is.
    pub(crate) fn properties(
        &self,
        message: &Message,
        due: Due,
        time_of_day: impl FnOnce() -> SystemTime,
    ) -> Result<Properties, PublishErrorReason> {
        match &self.way {
            Way::Queues { levels, .. } => {
                let longest = levels.longest();
                let waits = levels.of(due.delay(time_of_day));
                let waits = waits.ok_or(PublishErrorReason::DelayTooLong { longest })?;
                if self.expires || message.properties.as_ref().is_some_and(expires) {
                    return Err(PublishErrorReason::DelayExpires);
                }
                edit(message, |headers| {
                    for name in told_before(headers.as_table_ref())? {
                        headers.remove(name)?;
                    }
                    headers.set(EXCHANGE, &self.exchange)?;
                    for millis in waits {
                        headers.set(wait_header(millis), true)?;
                    }
                    Ok(())
                })
            }
            Way::Exchange => {
                let delay = millis(due.delay(time_of_day));
                let delay = delay.ok_or(PublishErrorReason::DelayTooLong { longest: LONGEST })?;
                edit(message, |headers| {
                    headers.set(DELAY, i64::from(delay))?;
                    Ok(())
                })
            }
            Way::Queue => {
                let time = due.since_1970(time_of_day);
                let time = time.as_nanos().div_ceil(1_000_000);
                edit(message, |headers| {
                    headers.set(DELIVERY_TIME, i64::try_from(time).unwrap_or(i64::MAX))?;
                    Ok(())
                })
            }
        }
    }
}

impl Due {
    /// In how long it is; none where it is over.
    fn delay(self, time_of_day: impl FnOnce() -> SystemTime) -> Duration {
        match self {
            Self::After(delay) => delay,
            Self::At(time) => time.duration_since(time_of_day()).unwrap_or_default(),
        }
    }

    fn since_1970(self, time_of_day: impl FnOnce() -> SystemTime) -> Duration {
        let since = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
        };
        match self {
            Self::After(delay) => since(time_of_day()).saturating_add(delay),
            Self::At(time) => since(time),
        }
    }
}

fn expires(properties: &Properties) -> bool {
    let properties = properties.decode();
    properties.is_ok_and(|it| it.expiration.is_some())
}

/// The headers of a message that has waited before, which would lead it the same way again, or into what the broker
/// holds for a circle.
fn told_before(headers: FieldTableRef<'_>) -> Result<Vec<ShortString>, TableError> {
    let mut names = Vec::new();
    for entry in headers {
        let (name, _) = entry?;
        let bytes = name.as_bytes();
        if bytes == b"x-death" || bytes.starts_with(WAIT.as_bytes()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The properties of a message with other headers.
fn edit(
    message: &Message,
    change: impl FnOnce(&mut FieldTable) -> Result<(), TableError>,
) -> Result<Properties, PublishErrorReason> {
    let edit = || {
        let properties = match &message.properties {
            Some(properties) => properties.decode()?,
            None => PropertiesRef::default(),
        };
        let mut headers = properties
            .headers
            .map_or_else(FieldTable::new, FieldTableRef::to_owned);
        change(&mut headers).map_err(PropertiesError::Headers)?;
        let headers = Some(headers.as_table_ref());
        let properties = PropertiesRef {
            headers,
            ..properties
        };
        properties.encode()
    };
    edit().map_err(|error| PublishErrorReason::Unsendable(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn waiting(delays: &Delays) -> Waiting {
        let properties = Properties::builder().persistent().build().unwrap();
        Waiting::new(delays, ShortString::from_static("events"), &properties)
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn headers(delays: &Delays, message: &Message, due: Due) -> Vec<(String, String)> {
        let properties = waiting(delays).properties(message, due, now).unwrap();
        let headers = properties.decode().unwrap().headers.unwrap();
        let entries = headers.iter().map(|entry| {
            let (name, value) = entry.unwrap();
            let value = match (value.as_i64(), value.as_bool()) {
                (Some(number), _) => number.to_string(),
                (None, Some(flag)) => flag.to_string(),
                _ => value.as_str().unwrap().to_owned(),
            };
            (name.as_str().unwrap().to_owned(), value)
        });
        entries.collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
    }

    fn after(seconds: u64) -> Due {
        Due::After(Duration::from_secs(seconds))
    }

    fn a_minute() -> Delays {
        Delays::queues("later", Duration::from_secs(60))
    }

    #[test]
    fn a_message_is_told_where_it_waits_and_keeps_what_it_says() {
        let message = Message::new("body").header("color", "red").priority(3);
        let expected = pairs([
            ("color", "red"),
            ("snowshoe-exchange", "events"),
            ("snowshoe-wait-1000ms", "true"),
            ("snowshoe-wait-4000ms", "true"),
        ]);
        assert_eq!(headers(&a_minute(), &message, after(5)), expected);
        let five_seconds_on = Due::At(now() + Duration::from_secs(5));
        assert_eq!(headers(&a_minute(), &message, five_seconds_on), expected);
        let properties = waiting(&a_minute()).properties(&message, after(5), now);
        assert_eq!(properties.unwrap().decode().unwrap().priority, Some(3));
    }

    #[test]
    fn one_that_has_waited_before_waits_as_it_is_told_now() {
        let message = Message::new("body")
            .header("snowshoe-wait-8000ms", true)
            .header("snowshoe-exchange", "others")
            .header("x-death", "of another life");
        let expected = pairs([
            ("snowshoe-exchange", "events"),
            ("snowshoe-wait-2000ms", "true"),
        ]);
        assert_eq!(headers(&a_minute(), &message, after(2)), expected);
        let stale = Message::new("body").header(DELAY, -17);
        let expected = pairs([(DELAY, "2000")]);
        assert_eq!(headers(&Delays::by_exchange(), &stale, after(2)), expected);
    }

    #[test]
    fn what_is_due_does_not_wait() {
        let message = Message::new("body");
        let past = Due::At(now() - Duration::from_secs(5));
        let expected = pairs([("snowshoe-exchange", "events")]);
        for due in [past, after(0)] {
            assert_eq!(headers(&a_minute(), &message, due), expected);
            let native = headers(&Delays::by_exchange(), &message, due);
            assert_eq!(native, pairs([(DELAY, "0")]));
        }
    }

    #[test]
    fn queues_that_delay_are_told_the_time() {
        let message = Message::new("body");
        let expected = pairs([(DELIVERY_TIME, "1000005000")]);
        let at = Due::At(now() + Duration::from_secs(5));
        for due in [after(5), at] {
            assert_eq!(headers(&Delays::by_queue(), &message, due), expected);
        }
        let never = Due::After(Duration::MAX);
        let native = headers(&Delays::by_queue(), &message, never);
        assert_eq!(native, pairs([(DELIVERY_TIME, &i64::MAX.to_string())]));
    }

    #[test]
    fn what_cannot_wait_is_refused() {
        let refused = |delays: &Delays, message: &Message, due| {
            let properties = waiting(delays).properties(message, due, now);
            properties.unwrap_err()
        };
        let longest = Duration::from_secs(60);
        let message = Message::new("body");
        assert_eq!(
            refused(&a_minute(), &message, after(61)),
            PublishErrorReason::DelayTooLong { longest }
        );
        let far = Due::After(LONGEST + Duration::from_nanos(1));
        assert_eq!(
            refused(&Delays::by_exchange(), &message, far),
            PublishErrorReason::DelayTooLong { longest: LONGEST }
        );
        let expires = Message::new("body").expires(Duration::from_secs(1));
        let reason = refused(&a_minute(), &expires, after(5));
        assert_eq!(reason, PublishErrorReason::DelayExpires);

        let properties = Properties::builder().expiration("1000").build().unwrap();
        let exchange = ShortString::from_static("events");
        let all_expire = Waiting::new(&a_minute(), exchange, &properties);
        let reason = all_expire.properties(&message, after(5), now);
        assert_eq!(reason.unwrap_err(), PublishErrorReason::DelayExpires);
    }
}
