//! Replies that cannot be sent, for now or ever.

use snowshoe::{Outcome, Response, SendMessageError, UnconfirmedReason};

use super::*;

/// A server whose queue `replies` has room for one, and a client that serves requests: it repeats them, but for
/// `unsendable`.
struct Story {
    world: World,
    asks: Client,
    serves: Client,
    served: Rc<RefCell<Option<Served>>>,
    events: snowshoe::Events,
}

impl Story {
    async fn begin(world: World) -> Self {
        let asks = world.client();
        let replies = Queue::new("replies")
            .max_length(1)
            .argument("x-overflow", "reject-publish");
        asks.declare(replies).await.unwrap();
        let serves = world.client();
        let events = serves.events();
        let mut consumer = serves.consumer("requests").unwrap().start().await.unwrap();
        let served = Rc::new(RefCell::new(None));
        let told = Rc::clone(&served);
        world.spawner.spawn(async move {
            let repeat = |request: Delivery| async move {
                match request.body() {
                    b"refuse" => Response::from(Outcome::reject()),
                    b"unsendable" => Message::from("!").message_id("x".repeat(256)).into(),
                    body => body.to_vec().into(),
                }
            };
            let served = consumer.serve(16, repeat).await;
            told.replace(Some(served));
        });
        Self {
            world,
            asks,
            serves,
            served,
            events,
        }
    }

    async fn ask(&self, body: &'static str, expiration: Option<&str>) {
        let properties = Properties::builder().reply_to("replies");
        let properties = match expiration {
            Some(expiration) => properties.expiration(expiration),
            None => properties,
        };
        let request = Message::from(body).with_properties(properties.build().unwrap());
        let producer = self.asks.producer("requests").unwrap().build();
        producer.send(request).await.unwrap();
    }

    fn requests(&self) -> usize {
        let requests = self.world.server.queue("requests").unwrap();
        requests.ready.len() + requests.unacked
    }

    fn replies(&self) -> Vec<String> {
        let replies = self.world.server.queue("replies").unwrap().ready;
        let body = replies.iter().map(|it| String::from_utf8_lossy(&it.body));
        body.map(Into::into).collect()
    }

    async fn sleep(&self, seconds: u64) {
        self.world.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Why replies could not be sent since that was last asked.
    fn failures(&mut self) -> Vec<SendMessageError> {
        let events = std::iter::from_fn(|| self.events.try_next());
        let failures = events.filter_map(|event| match event {
            Event::ReplyFailed { consumer, error } => {
                assert_eq!(consumer.queue, *"requests");
                Some(error)
            }
            _ => None,
        });
        failures.collect()
    }
}

fn is_nacked(error: &SendMessageError) -> bool {
    matches!(error, SendMessageError::Unconfirmed(it) if it.reason == UnconfirmedReason::Nacked)
}

#[test]
fn a_reply_that_is_refused_is_sent_again_while_somebody_may_wait_for_it() {
    World::run(7, |world| async move {
        let mut story = Story::begin(world).await;
        story.ask("one", None).await;
        story.sleep(1).await;
        assert_eq!((story.requests(), story.replies()), (0, vec!["one".into()]));

        // There is no room for another, and then there is.
        story.ask("two", None).await;
        story.sleep(5).await;
        assert_eq!(story.requests(), 1);
        story.asks.purge_queue("replies").await.unwrap();
        story.sleep(6).await;
        assert_eq!((story.requests(), story.replies()), (0, vec!["two".into()]));
        assert!(story.failures().is_empty());

        story.ask("three", None).await;
        story.sleep(9).await;
        assert_eq!((story.requests(), story.failures().len()), (1, 0));
        story.sleep(2).await;
        assert_eq!(story.requests(), 0);
        let failures = story.failures();
        assert!(
            matches!(&failures[..], [it] if is_nacked(it)),
            "{failures:?}"
        );

        story.ask("four", Some("2000")).await;
        story.sleep(1).await;
        assert_eq!(story.requests(), 1);
        story.sleep(2).await;
        assert_eq!((story.requests(), story.failures().len()), (0, 1));

        // The request is somebody else's once the client is closed.
        story.ask("five", None).await;
        story.sleep(1).await;
        story.serves.close().await;
        assert_eq!(story.requests(), 1);
        let served = story.world.once(&story.served).await;
        assert_eq!((served.replied, served.failed), (2, 3));
    });
}

#[test]
fn a_reply_that_can_never_be_sent_is_told_and_its_request_done() {
    World::run(8, |world| async move {
        let mut story = Story::begin(world).await;
        story.ask("unsendable", None).await;
        story.sleep(1).await;
        assert_eq!(story.requests(), 0);
        let failures = story.failures();
        let [SendMessageError::NotAccepted(error)] = &failures[..] else {
            panic!("{failures:?}");
        };
        assert_eq!(error.message.body()[..], *b"!");
        story.ask("refuse", None).await;
        story.sleep(1).await;
        assert!(story.requests() == 0 && story.failures().is_empty());
    });
}
