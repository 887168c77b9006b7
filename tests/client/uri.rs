//! AMQP URIs are taken as the specification says, and refused with an error that keeps the password.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use snowshoe::{AmqpUri, Endpoint, ServerNameIndication, TlsOptions, UriError, UriOptions};

fn parse(uri: &str) -> Result<AmqpUri, UriError> {
    uri.parse()
}

fn options(query: &str) -> Result<UriOptions, UriError> {
    parse(&format!("amqp://host?{query}")).map(|uri| uri.options)
}

fn endpoints(uri: &str) -> Vec<String> {
    parse(uri)
        .unwrap()
        .endpoints
        .iter()
        .map(Endpoint::to_string)
        .collect()
}

#[test]
fn the_examples_of_the_specification_give_the_parts_it_lists() {
    let spec: Value = serde_json::from_str(include_str!("../vectors/amqp-uri-spec.json")).unwrap();
    let vectors = spec["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 13);
    for vector in vectors {
        let uri = vector["uri"].as_str().unwrap();
        let part = |name: &str, default: &str| vector[name].as_str().unwrap_or(default).to_owned();
        let parsed = parse(uri).unwrap();
        assert_eq!(parsed.user, part("username", "guest"), "{uri}");
        assert_eq!(parsed.password.expose(), part("password", "guest"), "{uri}");
        assert_eq!(parsed.vhost, part("vhost", "/"), "{uri}");
        let host = part("host", "localhost");
        let port = vector["port"].as_u64().unwrap_or(5672);
        assert_eq!(parsed.endpoints.len(), 1, "{uri}");
        assert_eq!(
            parsed.endpoints[0].to_string(),
            format!("{host}:{port}"),
            "{uri}"
        );
        assert!(!parsed.tls, "{uri}");
        assert_eq!(parsed.options, UriOptions::default(), "{uri}");
    }
}

#[test]
fn amqps_means_tls_and_its_port() {
    let uri = parse("AMQPS://host").unwrap();
    assert!(uri.tls);
    assert_eq!(uri.endpoints[0], Endpoint::new("host", 5671));
}

#[test]
fn several_hosts_have_a_port_of_their_own_or_the_default() {
    assert_eq!(
        endpoints(
            "amqp://user:pw@h1:5674,h2,[::1]:5673,[2001:DB8::0:2],10.0.0.1:/vhost?heartbeat=1"
        ),
        [
            "h1:5674",
            "h2:5672",
            "[::1]:5673",
            "[2001:db8::2]:5672",
            "10.0.0.1:5672"
        ]
    );
}

#[test]
fn an_ipv6_address_stands_without_brackets_in_its_endpoint() {
    assert_eq!(
        parse("amqp://[::1]:7").unwrap().endpoints[0],
        Endpoint::new("::1", 7)
    );
}

#[test]
fn an_ipv6_address_can_have_a_zone() {
    for (uri, host) in [
        ("amqp://[fe80::1%25eth0]:7", "fe80::1%eth0"),
        ("amqp://[FE80::0:1%253]:7", "fe80::1%3"),
        ("amqp://[fe80::1%25br%2D0]:7", "fe80::1%br-0"),
    ] {
        let endpoint = &parse(uri).unwrap().endpoints[0];
        assert_eq!(endpoint, &Endpoint::new(host, 7), "{uri}");
        assert_eq!(endpoint.to_string(), format!("[{host}]:7"));
    }
}

#[test]
fn a_host_that_is_none_is_refused() {
    for uri in [
        "a,,b",
        ",",
        "a,",
        ":1,b",
        "[::1",
        "[::1]x",
        "[1.2.3.4]",
        "[fe80::1%25]",
        "[fe80::1%eth0]",
        "[fe80::1%25eth%200]",
        "[fe80::1%25a%25b]",
        "[%25eth0]",
        "ho st",
        "h%00",
        "h%2Fx",
        "héé",
        "%20",
    ] {
        let error = parse(&format!("amqp://{uri}")).unwrap_err();
        assert!(
            matches!(error, UriError::Host | UriError::NotText { .. }),
            "{uri}: {error}"
        );
    }
}

#[test]
fn a_port_that_is_none_is_refused() {
    for uri in [
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host:1 ",
        "host:amqp",
        "::1",
        "[::1]:x",
    ] {
        assert_eq!(
            parse(&format!("amqp://{uri}")),
            Err(UriError::Port),
            "{uri}"
        );
    }
}

#[test]
fn a_scheme_that_is_none_is_refused() {
    for uri in [
        "",
        "host",
        "amqp:",
        "amqp:/host",
        "http://host",
        "user:pw@host:5672",
        " amqp://host",
    ] {
        assert_eq!(parse(uri), Err(UriError::Scheme), "{uri}");
    }
}

#[test]
fn a_password_keeps_the_colons_after_the_first() {
    let uri = parse("amqp://user:a:b:c@host").unwrap();
    assert_eq!(
        (uri.user.as_str(), uri.password.expose()),
        ("user", "a:b:c")
    );
}

#[test]
fn a_password_with_reserved_characters_is_refused_with_the_way_out() {
    for password in ["a@b", "a/b", "a?b", "a#b", "1/heartbeat", "1?heartbeat"] {
        let error = parse(&format!("amqp://user:{password}@host/vhost")).unwrap_err();
        assert_eq!(error, UriError::Reserved, "{password}");
        assert!(error.to_string().contains("percent-encoded"));
    }
}

#[test]
fn what_is_not_text_is_refused_with_the_part_it_stands_in() {
    assert_eq!(
        parse("amqp://a%ff:b@h"),
        Err(UriError::NotText { part: "user" })
    );
    assert_eq!(
        parse("amqp://a:b%00c@h"),
        Err(UriError::NotText { part: "password" })
    );
    assert_eq!(
        parse("amqp://a:b%@h"),
        Err(UriError::Escape { part: "password" })
    );
    assert_eq!(
        parse("amqp://a:b%4@h"),
        Err(UriError::Escape { part: "password" })
    );
    assert_eq!(
        parse("amqp://h/%g0"),
        Err(UriError::Escape {
            part: "virtual host"
        })
    );
    assert_eq!(
        parse("amqp://h/%+1"),
        Err(UriError::Escape {
            part: "virtual host"
        })
    );
}

#[test]
fn a_virtual_host_fits_in_a_short_string_and_holds_no_bare_slash() {
    assert_eq!(
        parse(&format!("amqp://h/{}", "v".repeat(255)))
            .unwrap()
            .vhost
            .len(),
        255
    );
    assert_eq!(
        parse(&format!("amqp://h/{}", "%76".repeat(256))),
        Err(UriError::VhostTooLong { len: 256 })
    );
    assert_eq!(parse("amqp://h/a/b"), Err(UriError::VhostSlash));
    assert_eq!(parse("amqp://h//"), Err(UriError::VhostSlash));
}

#[test]
fn query_parameters_have_the_units_of_rabbitmq() {
    let given = options(
        "heartbeat=10&connection_timeout=2500&channel_max=2047&frame_max=131072\
         &auth_mechanism=plain&auth_mechanism=RABBIT-CR-DEMO",
    );
    let given = given.unwrap();
    assert_eq!(given.heartbeat, Some(Duration::from_secs(10)));
    assert_eq!(given.connection_timeout, Some(Duration::from_millis(2500)));
    assert_eq!(
        (given.channel_max, given.frame_max),
        (Some(2047), Some(131_072))
    );
    assert_eq!(given.auth_mechanisms, ["PLAIN", "RABBIT-CR-DEMO"]);
    assert_eq!(
        options("heartbeat=0").unwrap().heartbeat,
        Some(Duration::ZERO)
    );
    let no_limit = options("connection_timeout=0").unwrap();
    assert_eq!(no_limit.connection_timeout, Some(Duration::ZERO));
    let mechanism = options("auth_mechanism=amqp_auth_mechanisms:external").unwrap();
    assert_eq!(mechanism.auth_mechanisms, ["EXTERNAL"]);
    assert_eq!(options("").unwrap(), UriOptions::default());
}

#[test]
fn a_query_parameter_with_a_value_it_cannot_have_is_refused_by_name() {
    for (query, refused) in [
        ("heartbeat", "heartbeat"),
        ("heartbeat=", "heartbeat"),
        ("heartbeat=-1", "heartbeat"),
        ("heartbeat=+1", "heartbeat"),
        ("heartbeat=1.5", "heartbeat"),
        ("heartbeat=65536", "heartbeat"),
        ("connection_timeout=1.5", "connection_timeout"),
        ("channel_max=65536", "channel_max"),
        ("frame_max=4294967296", "frame_max"),
        ("auth_mechanism=", "auth_mechanism"),
        ("auth_mechanism=PLAIN%20X", "auth_mechanism"),
        ("auth_mechanism=ABCDEFGHIJKLMNOPQRSTU", "auth_mechanism"),
    ] {
        let error = options(query).unwrap_err();
        assert!(
            matches!(error, UriError::InvalidParameter { name, .. } if name == refused),
            "{query}: {error}"
        );
    }
    assert_eq!(
        options("heartbeat=1&heartbeat=1"),
        Err(UriError::RepeatedParameter { name: "heartbeat" })
    );
}

/// What an amqps URI with this query asks for.
fn tls_options(query: &str) -> Result<TlsOptions, UriError> {
    Ok(parse(&format!("amqps://host?{query}"))?.options.tls)
}

// case H3
#[test]
fn the_parameters_of_rabbitmqs_client_about_tls_are_known() {
    let given = tls_options(
        "cacertfile=/path/to/ca.pem&certfile=C%3A%5Cclient%20cert.pem&keyfile=key.pem\
         &verify=verify_peer&server_name_indication=rabbit.example&fail_if_no_peer_cert=true\
         &depth=2&customize_hostname_check=https",
    );
    let given = given.unwrap();
    assert_eq!(given.cacertfile, Some("/path/to/ca.pem".into()));
    assert_eq!(given.certfile, Some("C:\\client cert.pem".into()));
    assert_eq!(given.keyfile, Some("key.pem".into()));
    for (value, expected) in [
        ("disable", ServerNameIndication::Disable),
        ("h", ServerNameIndication::Name("h".to_owned())),
        (
            "10.0.0.1",
            ServerNameIndication::Name("10.0.0.1".to_owned()),
        ),
        ("[::1]", ServerNameIndication::Name("::1".to_owned())),
        ("::1", ServerNameIndication::Name("::1".to_owned())),
    ] {
        let given = tls_options(&format!("server_name_indication={value}")).unwrap();
        assert_eq!(given.server_name_indication, Some(expected));
    }
}

// case H3
#[test]
fn what_cannot_be_done_about_tls_is_refused_with_what_to_do_instead() {
    for (query, parts) in [
        ("verify=verify_none", ["verify", "cacertfile"]),
        (
            "certfile=c&keyfile=k&password=secret",
            ["password", "openssl"],
        ),
        ("keyfile=k", ["keyfile", "certfile"]),
        ("verify=verify_some", ["verify", "verify_peer"]),
        (
            "server_name_indication=",
            ["server_name_indication", "disable"],
        ),
        (
            "server_name_indication=a%20b",
            ["server_name_indication", "disable"],
        ),
        ("cacertfile=", ["cacertfile", "path"]),
        (
            "cacertfile=a&cacertfile=b",
            ["cacertfile", "more than once"],
        ),
        (
            "verify=verify_peer&verify=verify_peer",
            ["verify", "more than once"],
        ),
        ("depth=x", ["depth", "number"]),
        (
            "fail_if_no_peer_cert=yes",
            ["fail_if_no_peer_cert", "true or false"],
        ),
        (
            "customize_hostname_check=own",
            ["customize_hostname_check", "https"],
        ),
    ] {
        let error = tls_options(query).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{query}: {error}");
        }
        assert!(!error.contains("secret"), "{error}");
    }
    // Whoever writes them believes that what follows is encrypted.
    for name in [
        "cacertfile",
        "certfile",
        "keyfile",
        "verify",
        "server_name_indication",
    ] {
        let error = options(&format!("{name}=verify_peer")).unwrap_err();
        assert_eq!(error, UriError::NotTls { name });
        assert!(error.to_string().contains("amqps"), "{error}");
    }
}

#[test]
fn an_unknown_query_parameter_is_named() {
    let error = options("heartbeat=1&hearbeat=1").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"hearbeat\" is not one of heartbeat"),
        "{error}"
    );
    let UriError::UnknownParameter { name } = options(&"%1b[".repeat(1000)).unwrap_err() else {
        panic!()
    };
    assert_eq!(name, "\u{1b}[".repeat(20));
}

#[test]
fn what_is_shown_of_a_uri_hides_the_password() {
    let uri = parse("amqp://user:secret@host").unwrap();
    assert!(!format!("{uri:?}").contains("secret"));
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Texts that look like URIs, to get past the first checks.
fn like_a_uri() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("amqp://".to_owned()),
        "[-a-z0-9:/?#@,%=&.\\[\\]]{0,8}",
        Just("[::1]".to_owned()),
        Just("heartbeat=".to_owned()),
        ".{0,4}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("amqp://{}", pieces.concat()))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![".*", like_a_uri()]) {
        let _ = parse(&text);
    }

    #[test]
    fn any_part_survives_percent_encoding(user in "[^\0]{0,20}", password in "[^\0]{0,20}", vhost in "[^\0]{0,20}") {
        let [u, p, v] = [&user, &password, &vhost].map(|part| percent_encoded(part));
        let uri = parse(&format!("amqp://{u}:{p}@host/{v}")).unwrap();
        prop_assert_eq!(uri.user, user);
        prop_assert_eq!(uri.password.expose(), password);
        prop_assert_eq!(uri.vhost, vhost);
    }

    #[test]
    fn nothing_shown_holds_a_piece_of_the_password(
        pieces in prop::collection::vec("[-:/?#@,%=&.\\[\\]0-9]{0,3}", 1..6),
        rest in "[a-z,:/?=&%]{0,20}",
    ) {
        // Each `SECRET` is a piece of the password that a character in between may cut off.
        let password = format!("SECRET{}", pieces.join("SECRET"));
        let shown = match parse(&format!("amqp://user:{password}@host{rest}")) {
            Ok(uri) => format!("{uri:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.to_ascii_uppercase().contains("SECRET"), "{}", shown);
    }
}
