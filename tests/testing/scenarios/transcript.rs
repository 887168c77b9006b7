//! What a broker sent back, as text that can be compared.
//!
//! Made equal is only what RabbitMQ does not determine: the names that a server makes up, the time of
//! day in `x-death`, how confirms are grouped (they are listed one by one), and how what comes to
//! different consumers, or as answers, returns or confirms, is interleaved: each has its own lane.

use snowshoe::codec::ChannelId;
use std::collections::BTreeMap;
use std::fmt;

use snowshoe::codec::{ChannelCloseReason, CloseReason, Content, Event, Method};
use snowshoe::{FieldValue, PeerClose};

/// Where something was heard: connection, channel, and in which role it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) connection: usize,
    pub(crate) channel: usize,
    pub(crate) role: String,
}

/// A step in words, and what was heard after it.
type Heard = (String, BTreeMap<Lane, Vec<String>>);

/// What was heard after each step.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    steps: Vec<Heard>,
}

impl Transcript {
    pub(crate) fn step(&mut self, step: String, heard: BTreeMap<Lane, Vec<String>>) {
        self.steps.push((step, heard));
    }

    /// The first step after which it is not the same, with both sides.
    pub(crate) fn difference(&self, truth: &Self) -> Option<String> {
        let mut steps = self.steps.iter().zip(&truth.steps);
        let ((step, memory), (_, real)) = steps.find(|(memory, real)| memory.1 != real.1)?;
        let (memory, real) = (Lanes(memory), Lanes(real));
        Some(format!(
            "  after {step}\n  in memory:\n{memory}  RabbitMQ:\n{real}"
        ))
    }
}

struct Lanes<'a>(&'a BTreeMap<Lane, Vec<String>>);

impl fmt::Display for Lanes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (lane, lines) in self.0 {
            let Lane {
                connection,
                channel,
                role,
            } = lane;
            for line in lines {
                writeln!(f, "    {connection}/{channel} {role}: {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, heard) in &self.steps {
            write!(f, "  {step}\n{}", Lanes(heard))?;
        }
        Ok(())
    }
}

/// The channel that an event is about, its lane, and its text; confirms are told by the caller, who
/// knows what was confirmed before.
pub(crate) fn line(event: &Event) -> Option<(ChannelId, String, String)> {
    let (channel, role, text) = match event {
        Event::Reply { channel, method } => (*channel, "answer".to_owned(), answer(method)),
        Event::Got { channel, got } => {
            let text = format!(
                "get-ok tag {} redelivered {} left {} {}",
                got.delivery_tag,
                got.redelivered,
                got.message_count,
                content(&got.content)
            );
            (*channel, "answer".to_owned(), text)
        }
        Event::Delivery { channel, delivery } => {
            let text = format!(
                "tag {} redelivered {} {}",
                delivery.delivery_tag,
                delivery.redelivered,
                content(&delivery.content)
            );
            let tag = without_made_up(&delivery.consumer_tag().to_string());
            (*channel, format!("to {tag}"), text)
        }
        Event::Returned { channel, returned } => {
            let text = format!(
                "{} {} {}",
                returned.code,
                returned.text(),
                content(&returned.content)
            );
            (*channel, "return".to_owned(), text)
        }
        Event::Blocked { reason } => (
            ChannelId::CONNECTION,
            "blocked".to_owned(),
            reason.to_string(),
        ),
        Event::Unblocked => (
            ChannelId::CONNECTION,
            "blocked".to_owned(),
            "no longer".to_owned(),
        ),
        Event::ConsumerCancelled {
            channel,
            consumer_tag,
        } => (*channel, "cancel".to_owned(), consumer_tag.to_string()),
        Event::ChannelClosed { channel, reason } => {
            let text = match reason {
                ChannelCloseReason::Peer(close) => peer_close(close),
                other => other.to_string(),
            };
            (*channel, "answer".to_owned(), format!("closed: {text}"))
        }
        Event::Closed(reason) => {
            let text = match reason {
                CloseReason::Peer(close) => peer_close(close),
                other => other.to_string(),
            };
            (
                ChannelId::CONNECTION,
                "answer".to_owned(),
                format!("closed: {text}"),
            )
        }
        _ => return None,
    };
    Some((channel, role, without_made_up(&text)))
}

fn answer(method: &Method) -> String {
    format!("{method:?}")
}

fn peer_close(close: &PeerClose) -> String {
    let PeerClose { code, text, method } = close;
    format!(
        "{} {text:?} over {}.{}",
        code.0, method.class, method.method
    )
}

fn content(content: &Content) -> String {
    format!(
        "from {:?} by {:?} {} body {:?}",
        content.exchange(),
        content.routing_key(),
        properties(content),
        String::from_utf8_lossy(content.body()),
    )
}

fn properties(content: &Content) -> String {
    let Ok(mut properties) = content.properties() else {
        return format!("raw {:?}", content.raw_properties());
    };
    let headers = properties.headers.take();
    let headers = headers.map(|headers| value(FieldValue::Table(headers)));
    let all = format!("{properties:?}").replace("None", "");
    // What is not set is not worth reading.
    let set: Vec<_> = all
        .trim_start_matches("PropertiesRef { ")
        .trim_end_matches(" }")
        .split(", ")
        .filter(|property| !property.ends_with(": "))
        .collect();
    format!(
        "[{}] headers {}",
        set.join(", "),
        headers.unwrap_or_default()
    )
}

/// A value with its exact type, whatever is in it.
fn value(of: FieldValue<'_>) -> String {
    match of {
        FieldValue::Table(table) => {
            let entries: Vec<_> = table
                .iter()
                .map(|entry| match entry {
                    Ok((name, FieldValue::Timestamp(_))) if name == *"time" => {
                        "time=(now)".to_owned()
                    }
                    Ok((name, of)) => format!("{name}={}", value(of)),
                    Err(error) => error.to_string(),
                })
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
        FieldValue::Array(array) => {
            let values = array
                .iter()
                .map(|of| of.map_or_else(|error| error.to_string(), value));
            format!("[{}]", values.collect::<Vec<_>>().join(" "))
        }
        FieldValue::LongString(text) => format!("{:?}", String::from_utf8_lossy(text)),
        other => format!("{other:?}"),
    }
}

/// Names that a server makes up are the same in their first part only.
fn without_made_up(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."]
        .iter()
        .filter_map(|prefix| rest.find(prefix).map(|at| at + prefix.len()))
        .min()
    {
        out.push_str(&rest[..at]);
        out.push('*');
        let random = |c: char| c.is_ascii_alphanumeric() || "-_+/=.".contains(c);
        rest = rest[at..].trim_start_matches(random);
    }
    out + rest
}
