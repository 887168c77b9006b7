mod extremes;
mod orders;
mod refusals;

use snowshoe_codec::method::{Arguments, basic, confirm, queue};
use snowshoe_codec::{Properties, ReplyCode};

use super::*;
use crate::core::testing::{consumed_with, name};
use crate::error::ConnectionErrorReason;

/// A requester's state machine, and what the driver and the broker do with it.
struct World {
    now: Instant,
    requests: Requests,
    /// What was published on the present channel, in order.
    published: Vec<Publish>,
    /// What was sent on it beside that.
    sent: Vec<Method>,
    settled: Vec<(u64, Result<String, RequestError>)>,
    /// What else came out, in words.
    said: Vec<String>,
    opens: usize,
}

fn settings() -> Settings {
    Settings {
        replies: ReplyTo::Direct,
        confirms: false,
        max_in_flight: 100,
        expires: false,
        tag: "tag".to_owned(),
        backoff: Backoff {
            jitter: 0.0,
            ..Backoff::default()
        },
        seed: 7,
        chance: Chance::fixed(7),
    }
}

fn request(body: &str) -> Request {
    Request {
        exchange: ShortString::EMPTY,
        routing_key: name("q"),
        message: Message::from(body),
        timeout: Duration::from_secs(10),
        idempotent: false,
    }
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            now: Instant::now(),
            requests: Requests::new(settings),
            published: Vec::new(),
            sent: Vec::new(),
            settled: Vec::new(),
            said: Vec::new(),
            opens: 0,
        }
    }

    fn online(settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.bring_online();
        world
    }

    /// There is a connection: the broker does as it is asked.
    fn bring_online(&mut self) {
        self.run();
        assert_eq!(std::mem::take(&mut self.opens), 1, "{:?}", self.said);
        self.requests.usable();
        self.run();
        self.answer_calls();
    }

    fn answer_calls(&mut self) {
        while !self.sent.is_empty() {
            for method in std::mem::take(&mut self.sent) {
                let reply: Method = match method {
                    Method::ConfirmSelect(_) => confirm::SelectOk.into(),
                    Method::QueueDeclare(_) => queue::DeclareOk {
                        queue: name("amq.gen-1"),
                        ..Default::default()
                    }
                    .into(),
                    Method::BasicConsume(consume) => basic::ConsumeOk {
                        consumer_tag: consume.consumer_tag,
                    }
                    .into(),
                    Method::BasicQos(_) => basic::QosOk.into(),
                    other => panic!("{other:?}"),
                };
                self.requests.replied(self.now, &reply);
            }
            self.run();
        }
    }

    /// What the driver does, but for answering calls.
    fn run(&mut self) {
        loop {
            while let Some(output) = self.requests.poll_output() {
                match output {
                    Output::Open => {
                        self.opens += 1;
                        self.published.clear();
                        self.sent.clear();
                    }
                    Output::Send(method) => self.sent.push(method),
                    Output::Settled(id, result) => {
                        let result =
                            result.map(|it| String::from_utf8_lossy(it.body()).into_owned());
                        self.settled.push((id.0, result));
                    }
                    other => self.said.push(format!("{other:?}")),
                }
            }
            let Some(publish) = self.requests.next_publish(self.now) else {
                if self.requests.has_output() {
                    continue;
                }
                return;
            };
            self.requests.sent(publish.id);
            self.published.push(publish);
        }
    }

    fn ask(&mut self, id: u64, request: Request) {
        self.requests.push(self.now, RequestId(id), request);
        self.run();
    }

    fn bodies(&self) -> Vec<String> {
        let body = |it: &Publish| String::from_utf8_lossy(&it.body).into_owned();
        self.published.iter().map(body).collect()
    }

    /// What was published last for a request, as it comes back.
    fn content(&self, id: u64, body: &str) -> Content {
        let publish = self.published.iter().rfind(|it| it.id.0 == id);
        answer_to(publish.expect("it was published"), body)
    }

    fn answer(&mut self, id: u64, body: &str) {
        let content = self.content(id, body);
        self.requests.answered(content);
        self.run();
    }

    fn return_it(&mut self, id: u64) {
        let content = self.content(id, "");
        let code = ReplyCode::NO_ROUTE;
        self.requests.returned(&Returned { code, content });
        self.run();
    }

    fn confirm(&mut self, delivery_tag: u64, multiple: bool, ack: bool) {
        self.requests.confirmed(PublisherConfirm {
            delivery_tag,
            multiple,
            ack,
        });
        self.run();
    }

    fn cut(&mut self) {
        self.requests.disconnected(self.now, &cut(), None);
        self.run();
    }

    fn refuse(&mut self, code: ReplyCode, text: &str) {
        let close = close_over_publish(code, text);
        self.requests.closed(self.now, Error::Refused(close));
        self.run();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.requests.handle_timeout(self.now);
        self.run();
    }

    /// The only one that has settled, by its reason and whether it may have been done.
    fn failed(&mut self, id: u64) -> (RequestErrorReason, bool) {
        let index = self.settled.iter().position(|(it, _)| *it == id);
        let (_, result) = self.settled.remove(index.expect("it has settled"));
        let error = result.expect_err("it has failed");
        (error.reason, error.possibly_done)
    }

    fn succeeded(&mut self) -> Vec<(u64, String)> {
        let settled = std::mem::take(&mut self.settled);
        let settled = settled.into_iter();
        (settled.map(|(id, result)| (id, result.expect("it was answered")))).collect()
    }
}

fn answer_to(publish: &Publish, body: &str) -> Content {
    let properties = publish.properties.decode().expect("it can be read");
    let id = properties.correlation_id.expect("it has one");
    with_id(id.as_bytes(), body)
}

fn with_id(id: &[u8], body: &str) -> Content {
    let properties = Properties::builder().correlation_id(id).build();
    let properties = properties.expect("it can be encoded");
    let mut deliveries = consumed_with("c", &properties, &[(1, body.as_bytes())]);
    deliveries.remove(0).content
}

fn cut() -> ConnectionError {
    ConnectionError::new(ConnectionErrorReason::WriteStalled, None)
}

fn close_over_publish(code: ReplyCode, text: &str) -> PeerClose {
    PeerClose {
        code,
        text: name(text),
        method: basic::Publish::ID,
    }
}

#[test]
fn a_request_goes_out_with_an_address_and_an_id_and_its_answer_comes_back() {
    let mut world = World::online(settings());
    assert_eq!(world.said, ["Started"]);
    world.ask(1, request("one"));
    world.ask(2, request("two"));
    assert_eq!(world.bodies(), ["one", "two"]);
    let publish = &world.published[0];
    let properties = publish.properties.decode().unwrap();
    assert_eq!(properties.reply_to.unwrap(), *"amq.rabbitmq.reply-to");
    assert!(publish.mandatory);
    assert_eq!(properties.expiration, None);
    world.answer(2, "2");
    world.answer(1, "1");
    assert_eq!(
        world.succeeded(),
        [(2, "2".to_owned()), (1, "1".to_owned())]
    );
    assert!(world.requests.is_empty());
    assert_eq!(world.requests.poll_timeout(), None);
}

#[test]
fn with_a_queue_of_its_own_answers_go_there() {
    let mut world = World::new(Settings {
        replies: ReplyTo::Queue,
        confirms: true,
        ..settings()
    });
    world.ask(1, request("one"));
    world.bring_online();
    let properties = world.published[0].properties.decode().unwrap();
    assert_eq!(properties.reply_to.unwrap(), *"amq.gen-1");
    world.answer(1, "1");
    assert_eq!(world.succeeded(), [(1, "1".to_owned())]);
}

#[test]
fn nothing_goes_out_before_answers_can_come() {
    let mut world = World::new(Settings {
        confirms: true,
        ..settings()
    });
    world.ask(1, request("one"));
    world.requests.usable();
    world.run();
    let confirms: Method = confirm::SelectOk.into();
    world.requests.replied(world.now, &confirms);
    world.run();
    assert!(world.bodies().is_empty());
    world.answer_calls();
    assert_eq!(world.bodies(), ["one"]);
}

#[test]
fn an_answer_that_is_none_to_any_that_waits_is_dropped() {
    let mut world = World::online(settings());
    world.ask(1, request("one"));
    world.ask(2, request("two"));
    let first = world.content(1, "1");
    world.requests.answered(first.clone());
    // Twice, and made up of what is known of others.
    world.requests.answered(first);
    let id = world.published[1].properties.decode().unwrap();
    let id = id.correlation_id.unwrap().to_string();
    let mut parts: Vec<_> = id.split('-').map(str::to_owned).collect();
    parts[2] = "0".repeat(16);
    world
        .requests
        .answered(with_id(parts.join("-").as_bytes(), "forged"));
    world.requests.answered(with_id(b"2", "not even that"));
    world.run();
    assert_eq!(world.succeeded(), [(1, "1".to_owned())]);
    assert_eq!(world.requests.unmatched(), 3);
}

#[test]
fn a_request_waits_no_longer_than_its_timeout_wherever_it_is() {
    let mut world = World::new(Settings {
        max_in_flight: 1,
        ..settings()
    });
    world.ask(1, request("never sent"));
    world.pass(Duration::from_secs(9));
    assert!(world.settled.is_empty());
    world.pass(Duration::from_secs(1));
    let (reason, possibly_done) = world.failed(1);
    assert!(matches!(reason, RequestErrorReason::Timeout(it) if it == Duration::from_secs(10)));
    assert!(!possibly_done);

    world.bring_online();
    world.ask(2, request("sent"));
    world.ask(3, request("waits for its turn"));
    assert_eq!(
        world.requests.poll_timeout(),
        Some(world.now + Duration::from_secs(10))
    );
    world.pass(Duration::from_secs(10));
    assert!(world.failed(2).1);
    assert!(!world.failed(3).1);
    assert!(world.requests.is_empty());
}

#[test]
fn as_many_are_in_flight_as_may_be_and_a_place_is_free_again_however_one_ends() {
    let mut world = World::online(Settings {
        max_in_flight: 2,
        ..settings()
    });
    for id in 1..=6 {
        world.ask(id, request(&id.to_string()));
    }
    assert_eq!(world.bodies(), ["1", "2"]);
    world.answer(1, "");
    assert_eq!(world.bodies(), ["1", "2", "3"]);
    world.requests.withdraw(RequestId(2));
    world.run();
    world.requests.withdraw(RequestId(5));
    world.return_it(3);
    assert_eq!(world.bodies(), ["1", "2", "3", "4", "6"]);
    world.pass(Duration::from_secs(10));
    assert!(world.requests.is_empty());
    assert_eq!(world.settled.len(), 4);
}

#[test]
fn a_request_may_be_dropped_by_the_broker_once_nobody_waits_for_it() {
    let mut world = World::online(Settings {
        expires: true,
        max_in_flight: 1,
        ..settings()
    });
    let expiration = |world: &World| {
        let properties = &world.published.last().unwrap().properties;
        let properties = properties.decode().unwrap();
        properties.expiration.map(|it| it.to_string())
    };
    world.ask(1, request("one"));
    assert_eq!(expiration(&world).as_deref(), Some("10000"));
    world.ask(2, request("two"));
    world.pass(Duration::from_micros(2_500_500));
    world.answer(1, "");
    assert_eq!(expiration(&world).as_deref(), Some("7500"));
    world.answer(2, "");
    let own = Properties::builder().expiration("5").build().unwrap();
    world.ask(
        3,
        Request {
            message: Message::from("three").with_properties(own),
            ..request("")
        },
    );
    assert_eq!(expiration(&world).as_deref(), Some("5"));
    world.answer(3, "");
    world.ask(
        4,
        Request {
            timeout: Duration::MAX,
            ..request("four")
        },
    );
    assert_eq!(expiration(&world), None);
}

#[test]
fn after_a_cut_only_what_is_idempotent_is_sent_again_in_order_and_under_its_id() {
    let mut world = World::online(settings());
    for id in 1..=4 {
        let idempotent = id != 2;
        world.ask(
            id,
            Request {
                idempotent,
                ..request(&id.to_string())
            },
        );
    }
    world.answer(3, "3");
    assert_eq!(world.succeeded().len(), 1);
    let before = world.content(1, "late");
    world.cut();
    let (reason, possibly_done) = world.failed(2);
    assert!(matches!(reason, RequestErrorReason::ConnectionLost(_)) && possibly_done);
    world.ask(5, request("5"));
    world.bring_online();
    assert_eq!(world.bodies(), ["1", "4", "5"]);
    // It is an answer to the same request, whichever time it is to.
    world.requests.answered(before);
    world.answer(4, "4");
    world.answer(5, "5");
    let answers = [(1, "late"), (4, "4"), (5, "5")];
    assert_eq!(
        world.succeeded(),
        answers.map(|(id, it)| (id, it.to_owned()))
    );
}

#[test]
fn what_was_sent_again_may_have_been_done_the_first_time() {
    let idempotent = || Request {
        idempotent: true,
        ..request("one")
    };
    let mut world = World::online(settings());
    world.ask(1, idempotent());
    world.ask(2, idempotent());
    world.ask(3, idempotent());
    world.cut();
    world.pass(Duration::from_secs(1));
    world.requests.withdraw(RequestId(3));
    world.bring_online();
    world.return_it(1);
    let (reason, possibly_done) = world.failed(1);
    assert!(matches!(reason, RequestErrorReason::Unroutable(_)) && possibly_done);
    world.cut();
    world.pass(Duration::from_secs(9));
    assert!(world.failed(2).1);
}

#[test]
fn a_nack_is_about_those_alone_that_have_no_confirm() {
    let mut world = World::online(Settings {
        confirms: true,
        ..settings()
    });
    for id in 1..=4 {
        world.ask(id, request(&id.to_string()));
    }
    world.confirm(1, false, true);
    world.confirm(3, true, false);
    for id in [2, 3] {
        // A queue may dead-letter what it refuses.
        let (reason, possibly_done) = world.failed(id);
        assert!(matches!(reason, RequestErrorReason::Nacked) && possibly_done);
    }
    assert!(world.settled.is_empty());
    world.confirm(0, true, false);
    world.failed(4);
    world.answer(1, "1");
    assert_eq!(world.succeeded().len(), 1);
}

#[test]
fn a_requester_that_the_broker_refuses_at_first_has_failed_and_later_is_tried_again() {
    let mut world = World::new(settings());
    world.run();
    world.requests.usable();
    world.run();
    world.refuse(ReplyCode::ACCESS_REFUSED, "no");
    assert!(world.said[0].starts_with("Failed"), "{:?}", world.said);

    let mut world = World::online(settings());
    world.ask(1, request("one"));
    world.cut();
    world.ask(2, request("two"));
    world.run();
    assert_eq!(std::mem::take(&mut world.opens), 1);
    world.requests.usable();
    world.refuse(ReplyCode::ACCESS_REFUSED, "no");
    assert!(world.said[1].starts_with("Delayed"), "{:?}", world.said);
    assert_eq!(world.opens, 0);
    world.pass(Duration::from_millis(100));
    world.bring_online();
    assert_eq!(world.bodies(), ["two"]);
}

/// The driver takes in all that was read before it does what is to be done about it.
#[test]
fn what_was_to_be_said_on_a_channel_is_not_said_once_it_is_gone() {
    for replies in [ReplyTo::Direct, ReplyTo::Queue] {
        let settings = Settings {
            replies,
            ..settings()
        };
        let mut world = World::new(settings);
        world.run();
        world.requests.usable();
        world.requests.disconnected(world.now, &cut(), None);
        let outputs: Vec<_> = std::iter::from_fn(|| world.requests.poll_output()).collect();
        assert!(matches!(outputs[..], [Output::Open]), "{outputs:?}");
        world.bring_online();
        assert_eq!(world.said, ["Started"]);

        // A channel alone, and with it what is asked for a proof.
        world.ask(1, request("one"));
        world.requests.ask_for_proof();
        let error = Error::Timeout(basic::Qos::ID);
        world.requests.closed(world.now, error);
        let outputs: Vec<_> = std::iter::from_fn(|| world.requests.poll_output()).collect();
        let [Output::Settled(RequestId(1), Err(_)), Output::Open] = outputs[..] else {
            panic!("{outputs:?}");
        };
        world.opens = 1;
        world.published.clear();
        world.bring_online();
        world.ask(2, request("two"));
        assert_eq!(world.bodies(), ["two"]);
    }
}

#[test]
fn where_the_consumer_of_answers_is_cancelled_there_is_another() {
    let mut world = World::online(settings());
    world.ask(1, request("one"));
    world.requests.cancelled(world.now);
    world.run();
    assert_eq!(world.said[1], "Close");
    assert!(world.failed(1).1);
    world.bring_online();
    world.ask(2, request("two"));
    assert_eq!(world.bodies(), ["two"]);
}

#[test]
fn a_close_tells_all() {
    let mut world = World::online(Settings {
        max_in_flight: 1,
        ..settings()
    });
    world.ask(1, request("one"));
    world.ask(2, request("two"));
    world.requests.close();
    world.run();
    let (reason, possibly_done) = world.failed(1);
    assert!(matches!(reason, RequestErrorReason::Closed) && possibly_done);
    assert!(!world.failed(2).1);
    assert!(world.requests.is_empty());
}

#[test]
fn properties_that_cannot_be_read_are_told() {
    let mut world = World::online(settings());
    let nonsense = Properties::from_encoded(bytes::Bytes::from_static(b"\xff"));
    world.ask(
        1,
        Request {
            message: Message::from("one").with_properties(nonsense),
            ..request("")
        },
    );
    world.ask(2, request("two"));
    let (reason, possibly_done) = world.failed(1);
    assert!(matches!(reason, RequestErrorReason::Properties(_)) && !possibly_done);
    // And what could not be set on the message itself.
    let message = Message::from("three").message_id("x".repeat(256));
    world.ask(
        3,
        Request {
            message,
            ..request("")
        },
    );
    let (reason, possibly_done) = world.failed(3);
    assert!(matches!(reason, RequestErrorReason::Properties(_)) && !possibly_done);
    assert_eq!(world.bodies(), ["two"]);
}
