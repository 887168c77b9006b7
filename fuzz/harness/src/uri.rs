//! Texts that may be URIs.

use snowshoe::{AmqpUri, Password};

/// A URI that is understood can be written again and is understood the same. No password shows up
/// in what is said of it, understood or not.
pub fn uris(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = text.parse::<AmqpUri>() {
        assert_eq!(written(&uri).parse().as_ref(), Ok(&uri));
        let mut other = uri.clone();
        other.password = Password::from("another");
        assert_eq!(format!("{uri:?}"), format!("{other:?}"));
    }
    for place in [
        "amqp://anna:SECRETtextSECRET@host/orders",
        "amqp://anna:SECRETtext@host",
    ] {
        let uri = place.replace("text", &text);
        if let Err(error) = uri.parse::<AmqpUri>() {
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
        }
    }
}

/// A URI with every part written out.
fn written(uri: &AmqpUri) -> String {
    let scheme = if uri.tls { "amqps" } else { "amqp" };
    let (user, password) = (escaped(&uri.user), escaped(uri.password.expose()));
    let hosts: Vec<_> = uri.endpoints.iter().map(ToString::to_string).collect();
    let (hosts, vhost) = (hosts.join(","), escaped(&uri.vhost));
    let options = &uri.options;
    let numbers = [
        ("heartbeat", options.heartbeat.map(|it| it.as_secs())),
        (
            "connection_timeout",
            (options.connection_timeout).and_then(|it| u64::try_from(it.as_millis()).ok()),
        ),
        ("channel_max", options.channel_max.map(u64::from)),
        ("frame_max", options.frame_max.map(u64::from)),
    ];
    let numbers = numbers.into_iter();
    let numbers = numbers.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let mechanisms = (options.auth_mechanisms.iter()).map(|it| format!("auth_mechanism={it}"));
    let query: Vec<_> = numbers.chain(mechanisms).collect();
    let query = query.join("&");
    format!("{scheme}://{user}:{password}@{hosts}/{vhost}?{query}")
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
