//! Every certificate that is wrong, of the broker and of the client: the error says which, whose, and what to do.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SerialNumber, date_time_ymd,
};
use snowshoe::rustls::{ALL_VERSIONS, SupportedProtocolVersion, version::TLS13};
use snowshoe::{Client, Error, TlsConnector};
use support::waiting::{run, within};

use super::terminator::{Authority, Files, Identity, ONLY_1_2, Terms};
use super::{assert_says, refusal, terminator};

static ONLY_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];

fn for_usage(of: ExtendedKeyUsagePurpose) -> impl FnOnce(&mut CertificateParams) {
    |it| it.extended_key_usages = vec![of]
}

// case H5
#[test]
fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    let (authority, files) = (Authority::new(), Files::new());
    let stranger = Authority::named("a stranger");
    let namesake = Authority::new();
    let between = authority.below("one between", IsCa::Ca(BasicConstraints::Unconstrained));
    let impostor = authority.below("an impostor", IsCa::NoCa);
    let of = |who: &Authority| who.certify("localhost");
    let expired =
        authority.certify_with("localhost", |it| it.not_after = date_time_ymd(2020, 1, 1));
    let early = authority.certify_with("localhost", |it| it.not_before = date_time_ymd(2999, 1, 1));
    let of_client =
        authority.certify_with("localhost", for_usage(ExtendedKeyUsagePurpose::ClientAuth));
    let of_mail = authority.certify_with(
        "localhost",
        for_usage(ExtendedKeyUsagePurpose::EmailProtection),
    );
    let ca = files.write("ca.pem", &authority.pem());
    for (_, identity, sends_along, parts) in [
        (
            "signed by itself",
            Identity::self_signed("localhost"),
            None,
            &["issued by itself", "it has signed itself", "cacertfile"][..],
        ),
        (
            "of an authority that is not known",
            of(&stranger),
            None,
            &[
                "issued by CN=a stranger",
                "nobody that is trusted (which is CN=an authority for tests)",
                "cacertfile",
            ],
        ),
        (
            "of another with the authority's name",
            of(&namesake),
            None,
            &["issued by CN=an authority for tests", "may have a new key"],
        ),
        (
            "without the one that is between it and the authority",
            of(&between),
            None,
            &["issued by CN=one between", "send them along"],
        ),
        (
            "of one that is no authority",
            of(&impostor),
            Some(&impostor),
            &["issued by CN=an impostor", "issued by one"],
        ),
        (
            "of an authority itself",
            authority.as_identity(),
            None,
            &["CN=an authority for tests", "not that of an authority"],
        ),
        (
            "for another host",
            authority.certify("elsewhere.example"),
            None,
            &[
                "elsewhere.example",
                "another host",
                "server_name_indication",
            ],
        ),
        (
            "expired",
            expired,
            None,
            &["has expired on 2020-01-01 00:00:00 UTC", "clock"],
        ),
        (
            "not valid yet",
            early,
            None,
            &["not valid yet but from 2999-01-01 00:00:00 UTC", "clock"],
        ),
        (
            "for clients",
            of_client,
            None,
            &["that of a client", "serverAuth"],
        ),
        (
            "for mail",
            of_mail,
            None,
            &["not that of a server", "serverAuth"],
        ),
    ] {
        for versions in [&ONLY_1_2[..], &ONLY_1_3] {
            let terminator = terminator(&Terms {
                sends_along,
                versions,
                ..Terms::of(&identity)
            });
            let error = refusal(&format!("{}?cacertfile={ca}", terminator.url("localhost")));
            assert_says(
                &error,
                &["localhost:", "the broker's certificate is that of CN="],
            );
            assert_says(&error, parts);
        }
    }
}

// case H5
#[test]
fn what_is_wrong_with_the_certificate_of_the_client_is_said() {
    let (authority, files) = (Authority::new(), Files::new());
    let (stranger, server) = (
        Authority::named("a stranger"),
        authority.certify("localhost"),
    );
    let expired = authority.certify_with("hare", |it| it.not_after = date_time_ymd(2020, 1, 1));
    let of_server = authority.certify_with("hare", for_usage(ExtendedKeyUsagePurpose::ServerAuth));
    let ca = files.write("ca.pem", &authority.pem());
    for (number, (_, own, parts)) in [
        (
            "there is none",
            None,
            &["asks for a certificate of the client", "certfile"][..],
        ),
        (
            "of somebody else's",
            Some(stranger.certify("hare")),
            &["that of CN=", "issued by CN=a stranger", "broker"],
        ),
        (
            "expired",
            Some(expired),
            &["that of CN=", "to 2020-01-01 00:00:00 UTC"],
        ),
        (
            "that of a server",
            Some(of_server),
            &["that of CN=", "for clients"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let own = own.map(|it| {
            let cert = files.write(&format!("{number}.pem"), &it.pem());
            let key = files.write(&format!("{number}-key.pem"), &it.key_pem());
            format!("&certfile={cert}&keyfile={key}")
        });
        let own = own.unwrap_or_default();
        for versions in [&ONLY_1_2[..], &ONLY_1_3] {
            let terminator = terminator(&Terms {
                clients_of: Some(&authority),
                versions,
                ..Terms::of(&server)
            });
            let uri = format!("{}?cacertfile={ca}{own}", terminator.url("localhost"));
            let error = refusal(&uri);
            assert_says(&error, parts);
            assert!(!error.contains("5671"), "the port is right: {error}");
        }
    }
}

// case H5
#[test]
fn a_certificate_that_was_revoked_is_refused_where_there_is_a_list() {
    let authority = Authority::new();
    let between = authority.below("one between", IsCa::Ca(BasicConstraints::Unconstrained));
    let with_number = |authority: &Authority, number: u64| {
        let number = SerialNumber::from(number);
        authority.certify_with("localhost", |it| it.serial_number = Some(number))
    };
    let list = authority.revocations(&[7]);
    for (identity, sends_along, parts) in [
        (with_number(&authority, 7), None, Some(&["was revoked"][..])),
        (with_number(&authority, 8), None, None),
        // Of this authority there is no list.
        (
            with_number(&between, 7),
            Some(&between),
            Some(&["no revocation list", "issued by CN=one between"]),
        ),
    ] {
        let terminator = terminator(&Terms {
            sends_along,
            ..Terms::of(&identity)
        });
        let connector = TlsConnector::builder()
            .authorities_pem(authority.pem())
            .revocations_pem(list.as_str());
        let connector = connector.build().expect("they can be used");
        let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
        let connected = run(within("an end", builder.connector(connector).connect()));
        match (connected, parts) {
            (Ok(client), None) => run(async { drop(client.close().await) }),
            (Err(error @ Error::Connection(_)), Some(parts)) => {
                assert_says(&error.to_string(), parts);
            }
            (connected, parts) => panic!("{parts:?}: {connected:?}"),
        }
    }
}

/// What answers every connection by these bytes; its URI.
fn answers(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // A client may be gone by then.
            _ = stream.write_all(bytes);
            kept.push(stream);
        }
    });
    format!("amqps://localhost:{port}")
}

// case H5
#[test]
fn who_does_not_speak_this_tls_is_told_from_a_wrong_certificate() {
    for (bytes, parts) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &["does not speak TLS", "5671"][..],
        ),
        (b"AMQP\0\0\x09\x01", &["does not speak TLS", "5671"]),
        // Alerts: protocol_version by TLS 1.1, handshake_failure, and unrecognized_name.
        (
            b"\x15\x03\x02\0\x02\x02\x46",
            &["no version", "TLS 1.2 is the least"],
        ),
        (b"\x15\x03\x03\0\x02\x02\x28", &["no version or cipher"]),
        (
            b"\x15\x03\x03\0\x02\x02\x70",
            &["no host of this name", "server_name_indication"],
        ),
    ] {
        assert_says(&refusal(&answers(bytes)), parts);
    }
    // The other way round: a client without TLS, where there is nothing but TLS.
    let authority = Authority::new();
    let identity = authority.certify("localhost");
    for versions in [ALL_VERSIONS, &ONLY_1_2] {
        let terminator = terminator(&Terms {
            versions,
            ..Terms::of(&identity)
        });
        let uri = terminator.url("localhost").replace("amqps:", "amqp:");
        assert_says(&refusal(&uri), &["TLS", "amqps"]);
    }
}
