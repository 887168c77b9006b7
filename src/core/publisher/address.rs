//! Where a message goes, and as what.

use snowshoe_codec::{
    FieldTable, FieldTableRef, FieldValue, Properties, PropertiesRef, ShortString,
};

use super::Overrides;
use super::bin::Rest;
use crate::name::is_direct_reply;

/// Where a producer's messages go, and as what, unless a message says otherwise.
#[derive(Clone, Debug)]
pub struct Address {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub mandatory: bool,
    pub properties: Properties,
    /// By which number of the producer, and its position, each message is told from others when it is
    /// returned, if it is.
    pub identifies: Option<u64>,
}

/// The header that says which message a return is about.
pub const IDENTITY_HEADER: &str = "x-snowshoe-publish";

impl Address {
    pub(super) fn routing_key<'a>(&'a self, own: Option<&'a Overrides>) -> &'a ShortString {
        let own = own.and_then(|it| it.routing_key.as_ref());
        own.unwrap_or(&self.routing_key)
    }

    /// Whether a message comes back if no queue takes it. A direct reply, which goes to none, never does.
    pub(super) fn is_mandatory(&self, own: Option<&Overrides>) -> bool {
        self.mandatory && !is_direct_reply(&self.exchange, self.routing_key(own))
    }

    /// Whether several queues may get a message: those that an exchange is bound to, or those that its
    /// headers name (RabbitMQ: sender-selected distribution).
    pub(super) fn may_reach_several(&self, properties: &Properties) -> bool {
        let headers = properties.decode().ok().and_then(|it| it.headers);
        let has = |name| headers.is_some_and(|it| !matches!(it.get(name), Ok(None)));
        !self.exchange.is_empty() || has("CC") || has("BCC")
    }
}

/// Joins the properties of messages with those of their producer. Messages that share properties share
/// the work, too.
#[derive(Debug, Default)]
pub(super) struct Merger {
    /// Those of the last message that had any, and what became of them.
    last: Option<Box<(Properties, Properties)>>,
}

impl Merger {
    /// What a message goes out with: what it does not say is the producer's.
    pub(super) fn merge(
        &mut self,
        own: &Properties,
        producers: &Properties,
        gone: &mut Rest,
    ) -> Properties {
        if let Some((last, merged)) = self.last.as_deref()
            && is_same(last, own)
        {
            return merged.clone();
        }
        let merged = merge(own, producers);
        let last = Box::new((own.clone(), merged.clone()));
        gone.put(self.last.replace(last));
        merged
    }
}

/// Whether these are the same bytes, in the same place.
fn is_same(one: &Properties, other: &Properties) -> bool {
    std::ptr::eq(one.as_bytes(), other.as_bytes())
}

/// Field by field, and the headers by their names. What cannot be read, or must not be sent, is left as
/// it is, and is for the broker to judge.
pub fn merge(own: &Properties, producers: &Properties) -> Properties {
    let joined = match (own.decode(), producers.decode()) {
        (Ok(ours), Ok(theirs)) => join(ours, theirs),
        _ => None,
    };
    joined.unwrap_or_else(|| own.clone())
}

fn join(ours: PropertiesRef<'_>, theirs: PropertiesRef<'_>) -> Option<Properties> {
    let headers = match (ours.headers, theirs.headers) {
        (Some(ours), Some(theirs)) => {
            let mut headers = theirs.to_owned();
            for entry in ours {
                let (name, value) = entry.ok()?;
                headers.set(name.as_bytes(), value).ok()?;
            }
            Some(headers)
        }
        _ => None,
    };
    let either = ours.headers.or(theirs.headers);
    let merged = PropertiesRef {
        headers: headers
            .as_ref()
            .map_or(either, |it| Some(it.as_table_ref())),
        content_type: ours.content_type.or(theirs.content_type),
        content_encoding: ours.content_encoding.or(theirs.content_encoding),
        delivery_mode: ours.delivery_mode.or(theirs.delivery_mode),
        priority: ours.priority.or(theirs.priority),
        correlation_id: ours.correlation_id.or(theirs.correlation_id),
        reply_to: ours.reply_to.or(theirs.reply_to),
        expiration: ours.expiration.or(theirs.expiration),
        message_id: ours.message_id.or(theirs.message_id),
        timestamp: ours.timestamp.or(theirs.timestamp),
        kind: ours.kind.or(theirs.kind),
        user_id: ours.user_id.or(theirs.user_id),
        app_id: ours.app_id.or(theirs.app_id),
        cluster_id: ours.cluster_id.or(theirs.cluster_id),
    };
    merged.encode().ok()
}

/// The same properties, with what tells a message from all others of the client in them.
pub(super) fn with_identity(properties: &Properties, producer: u64, position: u64) -> Properties {
    let add = || {
        let decoded = properties.decode().ok()?;
        let mut headers = (decoded.headers).map_or_else(FieldTable::new, FieldTableRef::to_owned);
        let identity = format!("{producer}-{position}");
        headers.set(IDENTITY_HEADER, identity.as_str()).ok()?;
        let headers = Some(headers.as_table_ref());
        PropertiesRef { headers, ..decoded }.encode().ok()
    };
    add().unwrap_or_else(|| properties.clone())
}

/// The position that a message of this producer went out with.
pub(super) fn position_in(properties: PropertiesRef<'_>, producer: u64) -> Option<u64> {
    let Ok(Some(FieldValue::LongString(identity))) = properties.headers?.get(IDENTITY_HEADER)
    else {
        return None;
    };
    let (whose, position) = std::str::from_utf8(identity).ok()?.split_once('-')?;
    let position = position.parse().ok()?;
    (whose.parse() == Ok(producer)).then_some(position)
}
