//! Certificates and keys in memory and in files: what is taken, what is refused, and when it is read.

use std::sync::Arc;

use snowshoe::rustls::crypto::{CryptoProvider, ring};
use snowshoe::rustls::{ALL_VERSIONS, HandshakeKind};
use snowshoe::{AmqpUri, Client, TlsConnector, TlsConnectorBuilder};
use support::waiting::{run, within};

use super::terminator::{Authority, Files, ONLY_1_2, Terminator, Terms};
use super::{assert_says, terminator, use_it};

fn connects_by(connector: &TlsConnector, terminator: &Terminator) {
    let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
    let builder = builder.connector(connector.clone());
    let client = run(within("the connection", builder.connect()));
    run(use_it(client.expect("it connects")));
}

#[test]
fn certificates_and_a_key_are_taken_from_memory() {
    let authority = Authority::new();
    let (server, client) = (authority.certify("localhost"), authority.certify("hare"));
    // As editors on Windows leave it.
    let foreign = |pem: String| format!("\u{feff}a comment\r\n{}", pem.replace('\n', "\r\n"));
    for versions in [ALL_VERSIONS, &ONLY_1_2] {
        let terminator = terminator(&Terms {
            clients_of: Some(&authority),
            versions,
            ..Terms::of(&server)
        });
        for (ca, cert, key) in [
            (authority.pem(), client.pem(), client.key_pem()),
            (
                foreign(authority.pem()),
                foreign(client.pem()),
                foreign(client.key_pem()),
            ),
        ] {
            let connector = TlsConnector::builder()
                .authorities_pem(ca)
                .system_authorities()
                .identity_pem(cert, key);
            connects_by(&connector.build().expect("they can be used"), &terminator);
        }
    }
}

#[test]
fn a_session_is_resumed_as_long_as_the_files_say_the_same() {
    let (authority, other, files) = (Authority::new(), Authority::new(), Files::new());
    let server = authority.certify("localhost");
    let ca = files.write("ca.pem", &authority.pem());
    for versions in [ALL_VERSIONS, &ONLY_1_2] {
        files.write("ca.pem", &authority.pem());
        let terminator = terminator(&Terms {
            versions,
            ..Terms::of(&server)
        });
        let uri = format!("{}?cacertfile={ca}", terminator.url("localhost"));
        let client = run(within("the connection", Client::connect(&uri)));
        // That for publishing is the second.
        run(use_it(client.expect("it connects")));
        let first = [HandshakeKind::Full, HandshakeKind::Resumed];
        assert_eq!(terminator.handshakes(), first);

        let uri: AmqpUri = uri.parse().expect("a URI");
        let connector = TlsConnector::with_options(&uri.options.tls).expect("it can be used");
        for expected in [first, [HandshakeKind::Resumed; 2]] {
            connects_by(&connector, &terminator);
            assert_eq!(terminator.handshakes(), expected);
        }
        // Who is trusted by other files is to be looked at by them.
        files.write("ca.pem", &(authority.pem() + &other.pem()));
        connects_by(&connector, &terminator);
        assert_eq!(terminator.handshakes(), first);
    }
}

#[test]
fn what_cannot_be_used_is_named_with_what_is_wrong_with_it() {
    let (authority, files) = (Authority::new(), Files::new());
    let (one, other) = (authority.certify("one"), authority.certify("other"));
    let pem = authority.pem();
    let utf_16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(pem.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    let trusting = |bytes: &[u8]| TlsConnector::builder().authorities_pem(bytes);
    let showing = |certificate: String, key: &str| {
        let builder = TlsConnector::builder().authorities_pem(pem.as_str());
        builder.identity_pem(certificate, key)
    };
    type Case<'a> = (&'a str, TlsConnectorBuilder, &'a [&'a str]);
    let cases: [Case<'_>; 15] = [
        (
            "nothing",
            trusting(b""),
            &["authorities_pem: ", "BEGIN CERTIFICATE", "empty"],
        ),
        (
            "garbage",
            trusting(b"garbage"),
            &["authorities_pem: ", "BEGIN CERTIFICATE"],
        ),
        (
            "a key",
            trusting(one.key_pem().as_bytes()),
            &["no certificate", "what it holds is PRIVATE KEY"],
        ),
        (
            "DER",
            trusting(&one.certificate()),
            &["seems to be DER", "openssl"],
        ),
        ("UTF-16", trusting(&utf_16), &["UTF-16"]),
        ("half of it", trusting(&pem.as_bytes()[..200]), &["cut off"]),
        (
            "damaged",
            trusting(pem.replace('M', "!").as_bytes()),
            &["base64"],
        ),
        (
            "no certificate between the lines",
            trusting(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
            &["authorities_pem: certificate 1 in it"],
        ),
        (
            "a certificate for a key",
            showing(one.pem(), &one.pem()),
            &[
                "the key of identity_pem: ",
                "no private key",
                "what it holds is CERTIFICATE",
            ],
        ),
        (
            "a key for a certificate",
            showing(one.key_pem(), &one.key_pem()),
            &[
                "the certificate of identity_pem: ",
                "no certificate",
                "PRIVATE KEY",
            ],
        ),
        (
            "a key with a password",
            showing(one.pem(), legacy),
            &["password", "openssl"],
        ),
        (
            "a key of another",
            showing(one.pem(), &other.key_pem()),
            &[
                "the key of identity_pem",
                "not that of the first certificate",
            ],
        ),
        (
            "the authority's before the client's",
            showing(authority.pem() + &one.pem(), &one.key_pem()),
            &["first certificate", "those of authorities after it"],
        ),
        (
            "a certificate for a list",
            trusting(pem.as_bytes()).revocations_pem(pem.as_str()),
            &["revocations_pem: ", "no revocation list", "CERTIFICATE"],
        ),
        (
            "no file",
            trusting(pem.as_bytes()).revocations_file("/no/such/file.pem"),
            &["revocations_file /no/such/file.pem: "],
        ),
    ];
    for (what, builder, parts) in cases {
        match builder.build() {
            Ok(_) => panic!("{what} is not to be taken"),
            Err(error) => assert_says(&error.to_string(), parts),
        }
    }
    let no_ciphers = CryptoProvider {
        cipher_suites: Vec::new(),
        ..ring::default_provider()
    };
    let error = TlsConnector::builder()
        .provider(Arc::new(no_ciphers))
        .build();
    assert_says(
        &error.expect_err("no cipher").to_string(),
        &["cipher suites"],
    );
    // What has no end is not read to its end.
    let error = TlsConnector::builder()
        .authorities_file("/dev/zero")
        .build();
    assert_says(
        &error.expect_err("no file").to_string(),
        &["/dev/zero", "too long"],
    );
    // Nothing of a key is shown.
    let cert = files.write("cert.pem", &one.pem());
    let builder =
        TlsConnector::builder().identity_files(cert, files.write("key.pem", &one.key_pem()));
    assert!(!format!("{builder:?}").contains("PRIVATE"));
}

#[cfg(feature = "tls-platform-verifier")]
#[test]
fn the_platform_judges_where_it_is_asked_to_and_knows_no_authority_of_ones_own() {
    use super::terminator::Identity;

    let identity = Identity::self_signed("localhost");
    let terminator = terminator(&Terms::of(&identity));
    let by_the_platform = || TlsConnector::builder().platform_verifier();
    let error = by_the_platform().authorities_pem(identity.pem()).build();
    assert_says(
        &error.expect_err("two of them").to_string(),
        &["platform's verifier", "none"],
    );
    // Where the machine has no certificates there is nothing to judge by.
    if let Ok(connector) = by_the_platform().build() {
        let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
        let refused = run(within("an end", builder.connector(connector).connect()));
        assert_says(
            &refused.expect_err("nobody vouches").to_string(),
            &["issued by itself"],
        );
    }
}
