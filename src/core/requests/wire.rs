//! A request as it goes out.

use std::time::Duration;

use bytes::Bytes;
use snowshoe_codec::{Properties, PropertiesError, PropertiesRef, ShortStr, ShortString};

use super::{Request, RequestId};
use crate::name::is_direct_reply;

/// A request to be published.
#[derive(Clone, Debug)]
pub struct Publish {
    pub id: RequestId,
    pub exchange: ShortString,
    pub routing_key: ShortString,
    /// Whether it comes back if no queue takes it.
    pub mandatory: bool,
    pub properties: Properties,
    pub body: Bytes,
}

impl Publish {
    /// # Errors
    /// The properties cannot be read, or joined with those by which it is answered.
    pub(super) fn new(
        id: RequestId,
        request: &Request,
        reply_to: &ShortString,
        correlation_id: &ShortString,
        expires: Option<Duration>,
    ) -> Result<Self, PropertiesError> {
        request.message.check()?;
        let own = request.message.properties();
        let own = own.map_or(Ok(PropertiesRef::default()), Properties::decode)?;
        let expiration = expires.and_then(expiration).unwrap_or_default();
        let expiration = ShortStr::new(expiration.as_bytes()).ok();
        let properties = PropertiesRef {
            reply_to: Some(reply_to.as_short_str()),
            correlation_id: Some(correlation_id.as_short_str()),
            expiration: (own.expiration).or(expiration.filter(|it| !it.as_bytes().is_empty())),
            ..own
        };
        Ok(Self {
            id,
            exchange: request.exchange.clone(),
            routing_key: request.routing_key.clone(),
            mandatory: !is_direct_reply(&request.exchange, &request.routing_key),
            properties: properties.encode()?,
            body: request.message.body().clone(),
        })
    }
}

/// A time in whole milliseconds, not less than it is; `None` where it is longer than a broker takes.
fn expiration(left: Duration) -> Option<String> {
    let millis = left.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(millis).ok().map(|millis| millis.to_string())
}
