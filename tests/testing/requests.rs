//! Requests and their answers, in virtual time: through cuts, blocks and closes.

mod replies;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use snowshoe::testing::{BrokerOptions, Clock, Executor, Server, Spawner};
use snowshoe::{
    Client, Delivery, Disposition, Event, Message, Properties, Queue, Reconnect, Replied,
    RequestError, RequestErrorReason, Requester, Served, ShortString,
};

/// A server in virtual time, and what runs on it.
#[derive(Clone)]
struct World {
    clock: Clock,
    server: Rc<Server>,
    spawner: Spawner,
}

impl World {
    /// Runs a test with a queue `requests` on a server.
    fn run<F: Future<Output = ()> + 'static>(seed: u64, test: impl FnOnce(Self) -> F + 'static) {
        let clock = Clock::new();
        let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
        let mut executor = Executor::new(clock.clone(), seed);
        let world = Self {
            clock,
            server: Rc::new(server),
            spawner: executor.spawner(),
        };
        let done = executor.run(async move {
            let client = world.client();
            client.declare(Queue::new("requests")).await.unwrap();
            client.close().await;
            test(world).await;
        });
        done.expect("the test comes to its end");
    }

    fn client(&self) -> Client {
        // Cuts that follow each other fast would have it wait ever longer.
        let reconnect = Reconnect::default()
            .initial_delay(Duration::from_millis(5))
            .max_delay(Duration::from_millis(100));
        let (client, driver) = self.server.client().reconnect(reconnect).build();
        self.spawner.spawn(driver);
        client
    }

    /// What another task tells.
    async fn once<T>(&self, told: &RefCell<Option<T>>) -> T {
        loop {
            if let Some(told) = told.take() {
                return told;
            }
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }

    /// Serves requests on a client of its own: what is answered is the request, after this time.
    async fn serve(&self, takes: Duration) -> (Client, Rc<RefCell<Option<Served>>>) {
        let client = self.client();
        let mut consumer = client.consumer("requests").unwrap().start().await.unwrap();
        let served = Rc::new(RefCell::new(None));
        let (clock, told) = (self.clock.clone(), Rc::clone(&served));
        self.spawner.spawn(async move {
            let echo = |request: Delivery| {
                let clock = clock.clone();
                async move {
                    clock.sleep(takes).await;
                    request.body().to_vec()
                }
            };
            let served = consumer.serve(16, echo).await;
            told.replace(Some(served));
        });
        (client, served)
    }
}

/// A request that nobody serves, so that it stays in its queue.
async fn asked(world: &World, requester: &Requester) -> Rc<RefCell<Option<RequestError>>> {
    let before = world.server.queue("requests").unwrap().ready.len();
    let failed = Rc::new(RefCell::new(None));
    let (request, told) = (requester.request("requests", "?"), Rc::clone(&failed));
    world.spawner.spawn(async move {
        // Where somebody serves later, it is answered after all.
        if let Err(error) = request.await {
            told.replace(Some(error));
        }
    });
    let is_there = |server: &Server| server.queue("requests").unwrap().ready.len() > before;
    world.server.until(is_there).await;
    failed
}

#[test]
fn requests_through_200_cuts_get_their_own_answers_or_end_in_time() {
    // Fifty for each kind: confirmed or not, by direct reply-to or a queue.
    for seed in 0..4 {
        World::run(seed, move |world| through_cuts(world, seed));
    }
}

async fn through_cuts(world: World, seed: u64) {
    const CUTS: u32 = 50;
    const TIMEOUT: Duration = Duration::from_secs(60);
    world.server.set_delay(Duration::from_millis(3));
    let (_serving, _) = world.serve(Duration::from_millis(10)).await;
    let client = world.client();
    let requester = client.requester().confirmed(seed % 2 == 1).timeout(TIMEOUT);
    let requester = match seed < 2 {
        true => requester,
        false => requester.reply_queue(),
    };
    let requester = requester.start().await.unwrap();

    let stop = Rc::new(Cell::new(false));
    let (answered, lost, running) = (Rc::<Cell<u32>>::default(), Rc::<Cell<u32>>::default(), 8);
    let left = Rc::new(Cell::new(running));
    for asker in 0..running {
        let (requester, clock, stop) = (requester.clone(), world.clock.clone(), Rc::clone(&stop));
        let (answered, lost, left) = (Rc::clone(&answered), Rc::clone(&lost), Rc::clone(&left));
        world.spawner.spawn(async move {
            let mut number = 0;
            while !stop.get() {
                number += 1;
                let is_idempotent = asker % 2 == 0;
                let question = format!("{asker}: {number}");
                let began = clock.now();
                let request = requester.request("requests", question.as_str());
                let result = match is_idempotent {
                    true => request.idempotent().await,
                    false => request.await,
                };
                assert!(clock.now() - began <= TIMEOUT, "{question} waited too long");
                match result {
                    Ok(reply) => {
                        assert_eq!(reply.body(), question.as_bytes(), "it is another's answer");
                        answered.set(answered.get() + 1);
                    }
                    Err(error) => {
                        let is_cut = matches!(error.reason, RequestErrorReason::ConnectionLost(_));
                        assert!(is_cut && !is_idempotent, "{question}: {error}");
                        lost.set(lost.get() + 1);
                    }
                }
            }
            left.set(left.get() - 1);
        });
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..CUTS {
        let apart = Duration::from_millis(random.u64(0..400));
        world.clock.sleep(apart).await;
        world.server.reset_all();
    }
    stop.set(true);
    while left.get() > 0 {
        world.clock.sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(requester.under_way(), 0);
    let (answered, lost) = (answered.get(), lost.get());
    assert!(
        answered > 500 && lost > 10,
        "{answered} answered, {lost} lost"
    );
}

#[test]
fn a_request_ends_with_its_timeout_and_so_does_one_without_a_connection() {
    World::run(1, |world| async move {
        let client = world.client();
        let requester = client.requester().start().await.unwrap();
        for is_connected in [true, false] {
            if !is_connected {
                world.server.set_dials(snowshoe::testing::Dials::Refused);
                world.server.reset_all();
            }
            let began = world.clock.now();
            let request = requester
                .request("requests", "?")
                .timeout(Duration::from_secs(3));
            let error = request.await.expect_err("nobody serves");
            assert!(
                matches!(error.reason, RequestErrorReason::Timeout(_)),
                "{error}"
            );
            assert_eq!(error.possibly_done, is_connected);
            assert_eq!(world.clock.now() - began, Duration::from_secs(3));
        }
        // What nobody waits for any more is not handled.
        world.server.set_dials(snowshoe::testing::Dials::Succeed);
        assert!(world.server.queue("requests").unwrap().ready.is_empty());
    });
}

#[test]
fn a_request_that_is_given_up_is_not_under_way_and_its_answer_is_nobodys() {
    World::run(2, |world| async move {
        let (_serving, _) = world.serve(Duration::from_secs(1)).await;
        let client = world.client();
        let requester = client.requester().max_in_flight(1).start().await.unwrap();
        let given_up = async {
            world.clock.sleep(Duration::from_millis(500)).await;
            None
        };
        let asking = async { Some(requester.request("requests", "one").await) };
        assert!(futures_lite::future::or(asking, given_up).await.is_none());
        assert_eq!(requester.under_way(), 0);
        let reply = requester.request("requests", "two").await.unwrap();
        assert_eq!(reply.body(), b"two");
    });
}

#[test]
fn what_no_queue_takes_is_told_at_once_and_what_is_too_many_where_that_is_wanted() {
    World::run(3, |world| async move {
        let client = world.client();
        let requester = client.requester().max_in_flight(1).fail_when_full();
        let requester = requester.start().await.unwrap();
        let error = requester.request("nowhere", "?").await.unwrap_err();
        assert!(matches!(error.reason, RequestErrorReason::Unroutable(_)));
        let error = requester.request("", "?").await.unwrap_err();
        assert!(matches!(error.reason, RequestErrorReason::Name(_)));
        let failed = asked(&world, &requester).await;
        let error = requester.request("requests", "another").await.unwrap_err();
        assert!(matches!(error.reason, RequestErrorReason::Full) && !error.possibly_done);
        assert!(failed.borrow().is_none());

        // Over an exchange that is not there the broker closes the channel.
        let requester = client.requester().start().await.unwrap();
        let failed = asked(&world, &requester).await;
        let request = requester.request("requests", "?").exchange("nowhere");
        let error = request.idempotent().await.unwrap_err();
        assert!(
            matches!(&error.reason, RequestErrorReason::Rejected(close) if close.code.0 == 404)
        );
        assert!(!error.possibly_done);
        let other = world.once(&failed).await;
        assert!(matches!(other.reason, RequestErrorReason::ChannelLost(_)) && other.possibly_done);
        let (_serving, _) = world.serve(Duration::ZERO).await;
        assert_eq!(
            requester.request("requests", "!").await.unwrap().body(),
            b"!"
        );
    });
}

#[test]
fn a_block_holds_requests_up_and_no_acknowledgement() {
    World::run(4, |world| async move {
        let client = world.client();
        let requester = client.requester().start().await.unwrap();
        let mut events = client.events();
        let mut consumer = client.consumer("requests").unwrap().start().await.unwrap();
        world.server.block(ShortString::from_static("memory"));
        let first = requester.request("requests", "1");
        let first = Rc::new(RefCell::new(Some(first)));
        let answered = Rc::new(Cell::new(false));
        let (asking, told) = (Rc::clone(&first), Rc::clone(&answered));
        world.spawner.spawn(async move {
            let request = asking.borrow_mut().take().unwrap();
            assert_eq!(request.await.unwrap().body(), b"yes");
            told.set(true);
        });
        while !matches!(events.next().await.unwrap(), Event::Blocked { .. }) {}
        // Its own connection is, and nobody else's.
        let orders = client.declare(Queue::new("orders")).await.unwrap();
        assert_eq!(orders.message_count, 0);
        world.server.unblock();
        let request = consumer.next().await.unwrap();
        let replied = client.replier().reply(&request, "yes").await.unwrap();
        assert_eq!(replied, Replied::Sent);
        request.ack().unwrap();
        while !answered.get() {
            world.clock.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_close_waits_for_requests_that_are_under_way_and_tells_those_that_are_late() {
    World::run(5, |world| async move {
        let (serving, _) = world.serve(Duration::from_secs(1)).await;
        let client = world.client();
        let requester = client.requester().start().await.unwrap();
        let request = requester.request("requests", "one");
        let closing = async {
            world.clock.sleep(Duration::from_millis(100)).await;
            client.close().await;
        };
        let (reply, _) = futures_lite::future::zip(request.into_future(), closing).await;
        assert_eq!(reply.unwrap().body(), b"one");
        let error = requester.request("requests", "two").await.unwrap_err();
        assert!(matches!(error.reason, RequestErrorReason::Closed) && !error.possibly_done);
        serving.close().await;

        let client = world.client();
        let requester = client.requester().start().await.unwrap();
        let failed = asked(&world, &requester).await;
        client.close_within(Duration::from_secs(1)).await;
        let error = world.once(&failed).await;
        assert!(matches!(error.reason, RequestErrorReason::Closed) && error.possibly_done);
    });
}

#[test]
fn who_serves_answers_what_is_under_way_before_the_client_is_closed() {
    World::run(6, |world| async move {
        let (serving, served) = world.serve(Duration::from_secs(1)).await;
        let client = world.client();
        let requester = client.requester().start().await.unwrap();
        let request = requester.request("requests", "one");
        let closing = async {
            world.clock.sleep(Duration::from_millis(500)).await;
            serving.close().await;
        };
        let (reply, ()) = futures_lite::future::zip(request.into_future(), closing).await;
        assert_eq!(reply.unwrap().body(), b"one");
        let served = world.once(&served).await;
        assert_eq!((served.replied, served.handled.finished), (1, 1));
    });
}

#[test]
fn a_request_that_cannot_be_answered_is_handled_and_counted() {
    World::run(7, |world| async move {
        let client = world.client();
        let producer = client.producer("requests").unwrap().build();
        let with = |set: fn(snowshoe::PropertiesBuilder) -> snowshoe::PropertiesBuilder| {
            let properties = set(Properties::builder()).build().unwrap();
            Message::from("?").with_properties(properties)
        };
        let nobody = with(|it| it.reply_to("gone").correlation_id("1"));
        for message in [with(|it| it), nobody, with(|it| it.message_id("discard"))] {
            producer.send(message).await.unwrap();
        }
        let mut consumer = client.consumer("requests").unwrap().start().await.unwrap();
        let stop = consumer.stop_handle();
        let seen = Rc::new(Cell::new(0));
        let handler = |request: Delivery| {
            let (seen, stop) = (Rc::clone(&seen), stop.clone());
            async move {
                seen.set(seen.get() + 1);
                if seen.get() == 3 {
                    stop.stop();
                }
                let properties = request.properties().unwrap();
                match properties.message_id {
                    Some(_) => Err(Disposition::Discard),
                    None => Ok("yes"),
                }
                .map_or_else(snowshoe::Response::from, Into::into)
            }
        };
        let served = consumer.serve(1, handler).await;
        assert_eq!((served.not_asked, served.nobody_there), (1, 1));
        assert_eq!((served.replied, served.handled.finished), (0, 3));
        client.close().await;
        let requests = world.server.queue("requests").unwrap();
        assert!(requests.ready.is_empty() && requests.unacked == 0);
    });
}

#[test]
fn a_requester_goes_with_its_last_handle_and_a_driver_that_is_dropped_tells_all() {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 8);
    let (client, driver) = server.client().build();
    let driver = executor.spawn(driver);
    let setting_up = async move {
        client.declare(Queue::new("requests")).await.unwrap();
        let requester = client.requester().start().await.unwrap();
        assert_eq!(server.connections().len(), 2);
        drop(requester);
        server.until(|server| server.connections().len() == 1).await;
        let requester = client.requester().start().await.unwrap();
        (server, client, requester)
    };
    let (server, client, requester) = executor.run(setting_up).expect("it starts");
    let (failed, asking) = (
        Rc::new(RefCell::new(None)),
        requester.request("requests", "?"),
    );
    let told = Rc::clone(&failed);
    executor.spawn(async move {
        told.replace(Some(asking.await.expect_err("nobody serves")));
    });
    let waits = async move {
        let is_there = |server: &Server| !server.queue("requests").unwrap().ready.is_empty();
        server.until(is_there).await;
        server
    };
    let _server = executor.run(waits).expect("it is sent");
    assert!(executor.cancel(driver));
    let waiting = clock.clone();
    let waits = async move { waiting.sleep(Duration::from_secs(1)).await };
    executor.run(waits).expect("time passes");
    let error = failed.take().expect("it was told");
    assert!(matches!(error.reason, RequestErrorReason::Closed) && error.possibly_done);
    drop((client, requester));
}
