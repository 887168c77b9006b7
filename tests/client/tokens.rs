//! Tokens of OAuth 2, at RabbitMQ's own plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_io::Timer;
use snowshoe::{Client, ConnectionErrorReason, ConnectionRole, Credentials, Error, Event, Queue};
use support::broker::{Admin, Node};
use support::client::builder;
use support::executor;
use support::waiting::{run, within};

const PLUGIN: &str = "rabbitmq_auth_backend_oauth2";

const KEY: &str = "#{<<\"kty\">> => <<\"oct\">>, <<\"k\">> => <<\"c25vd3Nob2U\">>, \
     <<\"alg\">> => <<\"HS256\">>, <<\"kid\">> => <<\"key\">>, <<\"use\">> => <<\"sig\">>}";

/// A node that lets in who has a token.
fn node() -> Node {
    let backends = "{auth_backends, [rabbit_auth_backend_oauth2, rabbit_auth_backend_internal]}";
    let node = Node::start_with_plugins(&[PLUGIN], &[backends]);
    node.admin().eval(&format!(
        "application:set_env({PLUGIN}, resource_server_id, <<\"rabbitmq\">>), \
         application:set_env({PLUGIN}, key_config, \
         [{{default_key, <<\"key\">>}}, {{signing_keys, #{{<<\"key\">> => {{map, {KEY}}}}}}}])"
    ));
    node
}

/// A token that is good for so many seconds.
fn token(admin: &Admin, life: i64) -> String {
    let token = admin.eval(&format!(
        "binary_to_list(element(2, jose_jws:compact(jose_jwt:sign({KEY}, \
         #{{<<\"alg\">> => <<\"HS256\">>, <<\"kid\">> => <<\"key\">>}}, \
         #{{<<\"aud\">> => [<<\"rabbitmq\">>], <<\"sub\">> => <<\"hare\">>, \
         <<\"exp\">> => os:system_time(seconds) + ({life}), \
         <<\"scope\">> => [<<\"rabbitmq.configure:*/*\">>, <<\"rabbitmq.write:*/*\">>, \
         <<\"rabbitmq.read:*/*\">>]}}))))"
    ));
    // As Erlang prints a text.
    let token = token.trim().trim_matches('"');
    assert_eq!(token.split('.').count(), 3, "{token}");
    token.to_owned()
}

#[test]
fn a_client_lives_through_several_tokens_on_all_its_connections() {
    const LIFE: u64 = 6;
    let node = Arc::new(node());
    run(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = {
            let (node, asked) = (Arc::clone(&node), Arc::clone(&asked));
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                let token = token(node.admin(), LIFE as i64);
                let token = Credentials::token(token).valid_for(Duration::from_secs(LIFE));
                std::future::ready(Ok(token))
            }
        };
        let builder = builder(&node.url()).credentials_provider(provider);
        let client = within("the connection", executor::connect(builder)).await;
        let client: Client = client.unwrap();
        client.declare(Queue::new("orders")).await.unwrap();
        let producer = client.producer("orders").unwrap().build();
        let dedicated = client.consumer("orders").unwrap().dedicated_connection();
        let mut consumer = dedicated.start().await.unwrap();
        let mut events = client.events();
        // Three lives of a token, through each of which there is work on every connection.
        for number in 0..3 * LIFE {
            within("the confirm", producer.send(number.to_string()))
                .await
                .unwrap();
            let delivery = within("the delivery", consumer.next()).await.unwrap();
            delivery.ack().unwrap();
            let queue = Queue::new(format!("queue {number}")).exclusive();
            within("the declaration", client.declare(queue))
                .await
                .unwrap();
            Timer::after(Duration::from_secs(1)).await;
        }
        let mut updated = Vec::new();
        while let Some(event) = events.try_next() {
            match event {
                Event::SecretUpdated { role } => updated.push(role),
                Event::Disconnected { cause, .. } => panic!("a connection was lost: {cause}"),
                Event::RenewalFailed { cause, .. } => panic!("no token: {cause}"),
                _ => {}
            }
        }
        for role in [
            ConnectionRole::Main,
            ConnectionRole::Publishing,
            ConnectionRole::Dedicated,
        ] {
            let times = updated.iter().filter(|it| **it == role).count();
            assert!(times >= 3, "{role}: {updated:?}");
            assert_eq!(client.state().connection(role).unwrap().opened, 1);
        }
        assert!(asked.load(Ordering::Relaxed) >= 6);
        client.close().await;
    });
}

#[test]
fn a_token_whose_time_is_over_is_refused_with_the_reason() {
    let node = node();
    run(async {
        let expired = token(node.admin(), -10);
        let builder = builder(&node.url());
        let builder = builder.credentials(move || Ok(Credentials::token(expired.clone())));
        let refused = within("the answer", executor::connect(builder)).await;
        let Err(Error::Connection(cause)) = refused else {
            panic!("the token is worth nothing: {refused:?}");
        };
        assert!(
            matches!(cause.reason, ConnectionErrorReason::LoginRefused(_)),
            "{cause}"
        );
    });
}
