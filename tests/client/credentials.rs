//! Logging in: at once or not at all the first time, and with patience, and whatever the password is
//! by then, ever after.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use snowshoe::codec::sasl::{Mechanism, Plain};
use snowshoe::{
    Client, ConnectionError, ConnectionErrorReason, ConnectionRole, Error, Event, Events,
};
use support::broker::{Admin, Node, admin, url};
use support::client::{self, builder};
use support::events::{next_event, recovered};
use support::proxy::{End, Proxy, To, Verdict};
use support::waiting::{run, within};

const USER: &str = "hare";

/// Adds a user, with this password, whom no earlier run has left behind.
fn add_user(admin: &Admin, password: &str) {
    admin.eval(&format!(
        "catch rabbit_auth_backend_internal:delete_user(<<{USER:?}>>, <<\"test\">>), \
         rabbit_auth_backend_internal:add_user(<<{USER:?}>>, <<{password:?}>>, <<\"test\">>), \
         rabbit_auth_backend_internal:set_permissions(<<{USER:?}>>, <<\"/\">>, <<\".*\">>, \
         <<\".*\">>, <<\".*\">>, <<\"test\">>)"
    ));
}

fn change_password(admin: &Admin, password: &str) {
    admin.eval(&format!(
        "rabbit_auth_backend_internal:change_password(<<{USER:?}>>, <<{password:?}>>, <<\"test\">>)"
    ));
}

/// A password that changes.
#[derive(Clone, Default)]
struct Secret(Arc<Mutex<String>>);

impl Secret {
    fn set(&self, password: &str) {
        password.clone_into(&mut self.0.lock().unwrap());
    }

    async fn connect(&self, url: &str) -> Client {
        let secret = self.clone();
        let client = builder(url).credentials(move || {
            let password = secret.0.lock().unwrap().clone();
            Ok(vec![
                Box::new(Plain::new(USER, password)) as Box<dyn Mechanism>
            ])
        });
        within("the connection", client.connect()).await.unwrap()
    }
}

/// Waits until the login, or what comes after it, was refused so often, and gives the delays.
async fn refusals(
    events: &mut Events,
    count: usize,
    is_refusal: impl Fn(&ConnectionError) -> bool,
) -> Vec<Duration> {
    let mut delays = Vec::new();
    while delays.len() < count {
        let refused =
            |event: &Event| matches!(event, Event::Disconnected { cause, .. } if is_refusal(cause));
        next_event(events, "a refusal", refused).await;
        let again = |event: &Event| matches!(event, Event::Reconnecting { .. });
        let Event::Reconnecting { delay, .. } = next_event(events, "a retry", again).await else {
            unreachable!()
        };
        delays.push(delay);
    }
    delays
}

fn is_login(cause: &ConnectionError) -> bool {
    matches!(cause.reason, ConnectionErrorReason::LoginRefused(_))
}

fn is_virtual_host(cause: &ConnectionError) -> bool {
    matches!(cause.reason, ConnectionErrorReason::VirtualHostRefused(_))
}

// fault 28
#[test]
fn a_password_that_changed_during_an_outage_is_asked_for() {
    let mut node = Node::start();
    add_user(node.admin(), "first");
    run(async {
        let secret = Secret::default();
        secret.set("first");
        let client = secret.connect(&node.url()).await;
        let mut events = client.events();
        change_password(node.admin(), "second");
        secret.set("second");
        node.kill();
        node.start_again();
        recovered(&mut events, ConnectionRole::Main).await;
        // The old one is good for nothing.
        secret.set("first");
        node.admin().close_all_connections("try again");
        refusals(&mut events, 1, is_login).await;
        secret.set("second");
        recovered(&mut events, ConnectionRole::Main).await;
    });
}

// fault 35
#[test]
fn a_login_that_is_refused_at_a_reconnect_is_tried_ever_more_slowly_until_it_is_accepted() {
    let admin = admin();
    add_user(&admin, "right");
    run(async {
        let secret = Secret::default();
        secret.set("right");
        let proxy = Proxy::start(&url());
        let client = secret.connect(&proxy.url()).await;
        let mut events = client.events();
        change_password(&admin, "another");
        proxy.all().end(End::Reset);
        let delays = refusals(&mut events, 5, is_login).await;
        // 20 ms doubled up to 200 ms, and half of each left to chance.
        let least = [20, 40, 80, 100, 100].map(Duration::from_millis);
        for (delay, least) in delays.iter().zip(least) {
            assert!(*delay >= least, "{delays:?}");
        }
        change_password(&admin, "right");
        recovered(&mut events, ConnectionRole::Main).await;
    });
}

// fault 35
#[test]
fn a_virtual_host_that_is_missing_at_a_reconnect_is_waited_for() {
    let admin = admin();
    let delete = || admin.eval("catch rabbit_vhost:delete(<<\"burrow\">>, <<\"test\">>)");
    let add = || admin.eval("rabbit_vhost:add(<<\"burrow\">>, <<\"test\">>)");
    let permit = || {
        admin.eval(
            "rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"burrow\">>, \
             <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)",
        )
    };
    run(async {
        // From an earlier run, if at all.
        delete();
        let url = url().replace("/%2f", "/burrow");
        let early = within("the answer", builder(&url).connect()).await;
        let Err(Error::Connection(cause)) = early else {
            panic!("there is no such virtual host: {early:?}");
        };
        assert!(is_virtual_host(&cause), "{cause}");

        add();
        permit();
        let client = client::connect(&url).await;
        let mut events = client.events();
        // Its connections go with it.
        delete();
        refusals(&mut events, 3, is_virtual_host).await;
        add();
        permit();
        recovered(&mut events, ConnectionRole::Main).await;
    });
}

// fault 35
#[test]
fn a_first_connect_that_is_refused_fails_at_once_with_the_reason() {
    run(async {
        let wrong = url().replace("guest:guest", "guest:wrong");
        let refused = within("the answer", builder(&wrong).connect()).await;
        let Err(Error::Connection(cause)) = refused else {
            panic!("the password is wrong: {refused:?}");
        };
        assert!(is_login(&cause), "{cause}");
    });
}

// fault 35
#[test]
fn a_first_connect_that_is_cut_off_at_the_login_fails_at_once() {
    run(async {
        let proxy = Proxy::start(&url());
        // What brokers do that were not told that the client understands a refusal.
        proxy.on_frame(To::Client, |_, frame| match frame.method() {
            Some(CONNECTION_TUNE) => Verdict::End(End::Reset),
            _ => Verdict::Pass,
        });
        let began = Instant::now();
        let refused = within("the answer", builder(&proxy.url()).connect()).await;
        assert!(matches!(refused, Err(Error::Connection(_))), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(proxy.stats().links.len(), 1, "it was not tried again");
    });
}

const CONNECTION_TUNE: (u16, u16) = (10, 30);
