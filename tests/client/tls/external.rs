//! Logins by the client's certificate (EXTERNAL), at RabbitMQ's own TLS.

use std::net::TcpListener;

use rcgen::DnType;
use snowshoe::{Client, ConnectionErrorReason, Credentials, Error, TlsConnector};
use support::broker::Node;
use support::client::builder;
use support::executor;
use support::waiting::{run, within};

use super::terminator::{Authority, Files, Identity};
use super::{assert_says, use_it};

const PLUGIN: &str = "rabbitmq_auth_mechanism_ssl";

/// A node that takes the user from the certificate, which it demands.
struct Certifying {
    node: Node,
    port: u16,
    authority: Authority,
    _files: Files,
}

impl Certifying {
    fn start() -> Self {
        let (authority, files) = (Authority::new(), Files::for_nodes());
        let server = authority.certify("localhost");
        let ca = files.write("ca.pem", &authority.pem());
        let cert = files.write("cert.pem", &server.pem());
        let key = files.write("key.pem", &server.key_pem());
        // Nobody else had it a moment ago.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let node = Node::start_with_plugins(
            &[PLUGIN],
            &[
                &format!("{{ssl_listeners, [{{\"127.0.0.1\", {port}}}]}}"),
                &format!(
                    "{{ssl_options, [{{cacertfile, \"{ca}\"}}, {{certfile, \"{cert}\"}}, \
                     {{keyfile, \"{key}\"}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}}"
                ),
                "{auth_mechanisms, ['EXTERNAL', 'PLAIN']}",
                "{ssl_cert_login_from, common_name}",
            ],
        );
        for user in ["hare", "O=burrow,CN=hare"] {
            node.admin()
                .ctl(&["add_user", user, "no password of a client"]);
            let all = [".*"; 3];
            let permit = ["set_permissions", "-p", "/", user].into_iter().chain(all);
            node.admin().ctl(&permit.collect::<Vec<_>>());
        }
        Self {
            node,
            port,
            authority,
            _files: files,
        }
    }

    fn connect(&self, identity: Option<&Identity>, query: &str) -> Result<Client, Error> {
        let mut tls = TlsConnector::builder().authorities_pem(self.authority.pem());
        if let Some(identity) = identity {
            tls = tls.identity_pem(identity.pem(), identity.key_pem());
        }
        let tls = tls.build().expect("it can be used");
        let builder = builder(&format!("amqps://localhost:{}/%2f{query}", self.port));
        let builder = match query {
            "" => builder.credentials(|| Ok(Credentials::external())),
            _ => builder,
        };
        run(within("an end", executor::connect(builder.connector(tls))))
    }

    /// Whose the connections are that there are.
    fn users(&self) -> String {
        let users = "lists:usort([binary_to_list(U) || [{user, U}] <- rabbit_networking:connection_info_all([user])])";
        self.node.admin().eval(users)
    }

    fn refusal(&self, identity: Option<&Identity>) -> Error {
        (self.connect(identity, "")).expect_err("such a client is not let in")
    }
}

#[test]
fn rabbitmq_takes_the_user_from_the_certificate_and_its_refusals_are_told() {
    let certifying = Certifying::start();
    let authority = &certifying.authority;
    let hare = authority.certify_with("hare", |it| {
        it.distinguished_name
            .push(DnType::OrganizationName, "burrow");
    });
    for query in ["", "?auth_mechanism=external"] {
        let client = certifying
            .connect(Some(&hare), query)
            .expect("it is let in");
        assert_eq!(certifying.users(), r#"["hare"]"#);
        run(use_it(client));
    }

    // By all of the name, in the order in which errors show it.
    let set = "application:set_env(rabbit, ssl_cert_login_from, distinguished_name)";
    certifying.node.admin().eval(set);
    let client = certifying.connect(Some(&hare), "").expect("it is let in");
    assert_eq!(certifying.users(), r#"["O=burrow,CN=hare"]"#);
    run(client.close());

    // A certificate that is good, of somebody who is no user.
    let unknown = certifying.refusal(Some(&authority.certify("fox")));
    let Error::Connection(cause) = &unknown else {
        panic!("a refused login, not {unknown}");
    };
    assert!(
        matches!(cause.reason, ConnectionErrorReason::LoginRefused(_)),
        "{unknown}"
    );
    assert_says(&unknown.to_string(), &["EXTERNAL"]);

    let none = certifying.refusal(None).to_string();
    assert_says(&none, &["asks for a certificate of the client", "certfile"]);

    let stranger = Authority::named("a stranger").certify("hare");
    let foreign = certifying.refusal(Some(&stranger)).to_string();
    assert_says(
        &foreign,
        &["that of CN=hare, issued by CN=a stranger", "the broker"],
    );
}
