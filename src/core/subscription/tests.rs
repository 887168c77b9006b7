use std::time::Duration;

use snowshoe_codec::FieldTable;
use snowshoe_codec::method::Arguments;

use super::*;
use crate::core::testing::name;

fn exchanged_to(flow: Flow) -> Step {
    Step::Exchanged {
        flow,
        missed: false,
    }
}

struct World {
    subscription: Subscription,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(10, false)
    }

    fn with(prefetch: u16, no_ack: bool) -> Self {
        let spec = ConsumerSpec {
            queue: name("q"),
            tag: name("tag"),
            prefetch,
            no_ack,
            exclusive: false,
            no_local: false,
            arguments: FieldTable::new(),
        };
        Self {
            subscription: Subscription::new(spec, Backoff::default(), 7),
            now: Instant::now(),
        }
    }

    /// One that receives, on channel 1.
    fn active() -> Self {
        let mut world = Self::new();
        world.activate(ChannelId(1));
        world
    }

    fn activate(&mut self, channel: ChannelId) -> Step {
        assert!(self.subscription.wants_channel(self.now));
        self.subscription.opening(channel);
        assert!(!self.subscription.ask().is_empty());
        self.subscription.opened();
        if let State::Limiting(_) = self.state() {
            self.replied();
        }
        self.replied().expect("consume-ok")
    }

    /// The broker answers what was asked last.
    fn replied(&mut self) -> Option<Step> {
        let reply = match self.state() {
            State::Limiting(_) => basic::QosOk::ID,
            State::Cancelling(_) => basic::CancelOk::ID,
            _ => basic::ConsumeOk::ID,
        };
        self.answered(reply)
    }

    fn answered(&mut self, reply: MethodId) -> Option<Step> {
        self.subscription.replied(self.now, reply)
    }

    /// Asks for a flow; gives what the broker is told.
    fn asks_for(&mut self, flow: Flow, manner: Manner) -> Vec<String> {
        let methods = self.subscription.set_flow(flow, manner);
        methods.iter().map(gist).collect()
    }

    /// One that has just become narrow, on channel 1.
    fn narrow(prefetch: u16, no_ack: bool) -> Self {
        let mut world = Self::with(prefetch, no_ack);
        world.activate(ChannelId(1));
        world.asks_for(Flow::Narrow, Manner::Overlapping);
        assert_eq!(world.exchanged(), Some(exchanged_to(Flow::Narrow)));
        world
    }

    /// The broker answers all that belongs to an exchange; what follows the last.
    fn exchanged(&mut self) -> Option<Step> {
        let State::Exchanging(_, awaited) = self.state() else {
            panic!("{:?}", self.state());
        };
        let replies = [basic::QosOk::ID, basic::ConsumeOk::ID, basic::CancelOk::ID];
        let replies = &replies[replies.len() - usize::from(awaited)..];
        let [first @ .., last] = replies else {
            panic!("something is awaited");
        };
        for reply in first {
            assert_eq!(self.answered(*reply), None);
        }
        self.answered(*last)
    }

    fn refused(&mut self) -> Verdict {
        self.subscription.channel_closed(self.now)
    }

    fn state(&self) -> State {
        self.subscription.state()
    }
}

/// What a method is called, and what matters of it here.
fn gist(method: &Method) -> String {
    match method {
        Method::BasicQos(qos) => format!("qos {}", qos.prefetch_count),
        Method::BasicConsume(consume) => {
            let acks = if consume.no_ack { " without acks" } else { "" };
            format!("consume {}{acks}", consume.consumer_tag)
        }
        Method::BasicCancel(cancel) => format!("cancel {}", cancel.consumer_tag),
        other => other.name().to_owned(),
    }
}

#[test]
fn the_prefetch_is_set_before_anything_can_be_delivered() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    let asked = world.subscription.ask();
    assert_eq!(
        asked.iter().map(gist).collect::<Vec<_>>(),
        ["qos 10", "consume tag"]
    );
    assert_eq!(world.subscription.ask(), [], "it is asked once");
    let awaits = |world: &World| {
        let asked = [basic::Qos::ID, basic::Consume::ID];
        asked.map(|it| world.subscription.awaits(it))
    };
    assert_eq!(awaits(&world), [true, true], "both are under way");
    world.subscription.opened();
    assert_eq!(awaits(&world), [true, true]);
    assert_eq!(world.subscription.under_way(), Some(basic::Qos::ID));
    assert_eq!(world.replied(), None);
    assert_eq!(world.subscription.under_way(), Some(basic::Consume::ID));
    assert_eq!(awaits(&world), [false, true]);
    assert_eq!(
        world.replied(),
        Some(Step::Active {
            first: true,
            missed: false,
            flow: Flow::Wide { prefetch: 10 },
        })
    );
    assert_eq!(world.state(), State::Active(ChannelId(1)));
}

#[test]
fn without_a_limit_or_without_acks_no_prefetch_is_set() {
    for (prefetch, no_ack) in [(0, false), (10, true)] {
        let mut world = World::with(prefetch, no_ack);
        world.subscription.opening(ChannelId(1));
        let asked = world.subscription.ask();
        assert_eq!(
            asked.iter().map(Method::name).collect::<Vec<_>>(),
            ["basic.consume"]
        );
        world.subscription.opened();
        assert_eq!(world.subscription.under_way(), Some(basic::Consume::ID));
    }
}

// fault 45
#[test]
fn one_that_never_worked_fails_and_one_that_did_is_tried_again() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    assert_eq!(world.refused(), Verdict::Fail);
    assert_eq!(world.state(), State::Ended);

    let mut world = World::active();
    assert!(matches!(world.refused(), Verdict::Retry(_)));
}

// fault 54
#[test]
fn tries_go_on_with_growing_delays() {
    let mut world = World::active();
    let mut delays = Vec::new();
    for channel in 2..20 {
        let Verdict::Retry(until) = world.refused() else {
            panic!("it is not given up");
        };
        assert!(!world.subscription.wants_channel(world.now));
        delays.push(until - world.now);
        world.now = until;
        assert!(world.subscription.wants_channel(until));
        world.subscription.opening(ChannelId(channel));
    }
    assert!(delays[0] <= Duration::from_millis(100));
    assert!(delays[17] >= Duration::from_secs(15) && delays[17] <= Duration::from_secs(30));
}

// fault 45
#[test]
fn success_that_does_not_last_does_not_shorten_the_delays() {
    let mut world = World::active();
    let mut last = Duration::ZERO;
    for channel in 2..8 {
        let Verdict::Retry(until) = world.refused() else {
            panic!("it is not given up");
        };
        last = until - world.now;
        world.now = until;
        world.activate(ChannelId(channel));
    }
    assert!(last >= Duration::from_secs(1));
    world.now += Duration::from_secs(60);
    let Verdict::Retry(until) = world.refused() else {
        panic!("it is not given up");
    };
    assert!(until - world.now <= Duration::from_millis(100));
}

#[test]
fn a_lost_connection_is_no_reason_to_wait() {
    let mut world = World::active();
    world.refused();
    world.subscription.connection_lost();
    assert!(world.subscription.wants_channel(world.now));
    assert_eq!(
        world.activate(ChannelId(1)),
        Step::Active {
            first: false,
            missed: false,
            flow: Flow::Wide { prefetch: 10 },
        }
    );
}

// fault 52
#[test]
fn one_that_the_broker_cancels_is_tried_again() {
    let mut world = World::active();
    let verdict = world.subscription.cancelled_by_broker(world.now);
    assert!(matches!(verdict, Verdict::Retry(_)));
    assert_eq!(world.subscription.channel(), None);
}

#[test]
fn one_that_the_broker_cancels_over_a_delivery_is_asked_for_again_on_its_channel() {
    let mut world = World::active();
    let (cancel, at) = world.subscription.pause(world.now).expect("it is there");
    assert_eq!(gist(&cancel), "cancel tag");
    assert!(at > world.now);
    world.subscription.miss();
    assert!(world.subscription.is_wanted() && world.subscription.receives());
    assert_eq!(world.subscription.channel(), Some(ChannelId(1)));
    assert_eq!(world.subscription.retry_at(), Some(at));
    assert_eq!(
        world.subscription.resume(world.now),
        None,
        "it is not time yet"
    );
    assert_eq!(world.subscription.pause(world.now), None, "once is enough");
    world.now = at;
    let consume = world.subscription.resume(at).expect("it is time");
    assert_eq!(gist(&consume), "consume tag#2");
    // The answer to the cancel comes before that to the next consumer.
    assert_eq!(world.replied(), None);
    let resumed = Step::Exchanged {
        flow: Flow::Wide { prefetch: 10 },
        missed: true,
    };
    assert_eq!(world.replied(), Some(resumed));
    assert!(!world.subscription.is_paused());
}

#[test]
fn one_that_is_paused_can_be_cancelled_and_lose_its_channel_and_its_connection() {
    for leaving in [Leaving::Cancelled, Leaving::WithItsChannel] {
        let mut world = World::active();
        world.subscription.pause(world.now);
        assert_eq!(
            world.subscription.cancel(leaving),
            None,
            "it has no consumer"
        );
        assert!(world.subscription.is_draining());
    }
    let mut world = World::active();
    world.subscription.pause(world.now);
    assert!(matches!(world.refused(), Verdict::Retry(_)));
    let mut world = World::active();
    world.subscription.pause(world.now);
    world.subscription.connection_lost();
    assert!(world.subscription.wants_channel(world.now));
}

#[test]
fn a_cancelled_one_keeps_its_channel_for_what_is_to_be_settled() {
    let mut world = World::active();
    let cancel = world.subscription.cancel(Leaving::Cancelled).unwrap();
    assert_eq!(cancel.name(), "basic.cancel");
    assert_eq!(
        world.subscription.cancel(Leaving::Cancelled),
        None,
        "once is enough"
    );
    assert_eq!(world.replied(), Some(Step::Cancelled));
    assert_eq!(world.subscription.channel(), Some(ChannelId(1)));
    assert_eq!(world.refused(), Verdict::Ended);
}

#[test]
fn one_that_goes_with_its_channel_asks_nothing_of_the_broker() {
    let mut world = World::active();
    assert_eq!(world.subscription.cancel(Leaving::WithItsChannel), None);
    assert!(world.subscription.is_draining() && world.subscription.receives());
    assert!(!world.subscription.is_wanted());
    assert_eq!(world.subscription.channel(), Some(ChannelId(1)));
    assert_eq!(world.refused(), Verdict::Ended);
}

#[test]
fn one_that_is_cancelled_before_it_started_ends_without_a_word() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    world.subscription.opened();
    assert_eq!(world.subscription.cancel(Leaving::Cancelled), None);
    assert!(world.subscription.is_ended());
    assert_eq!(world.replied(), None, "an answer on its way is too late");
}

// fault 48
#[test]
fn one_that_was_cancelled_does_not_come_back() {
    for replied in [false, true] {
        let mut world = World::active();
        world.subscription.cancel(Leaving::Cancelled);
        if replied {
            world.replied();
        }
        world.subscription.connection_lost();
        assert!(world.subscription.is_ended());
        assert!(!world.subscription.wants_channel(world.now));
    }
}

// fault 46
#[test]
fn it_follows_its_queue_to_a_new_name_and_no_other() {
    let mut world = World::active();
    let rename = |world: &mut World, old, new| {
        world.subscription.queue_renamed(&name(old), &name(new));
        world.subscription.spec().queue.clone()
    };
    assert_eq!(rename(&mut world, "other", "new"), name("q"));
    assert_eq!(rename(&mut world, "q", "new"), name("new"));
}

// case B2
#[test]
fn a_narrow_consumer_takes_the_place_of_the_wide_one_which_is_there_until_then() {
    let mut world = World::with(0, false);
    world.activate(ChannelId(1));
    let said = world.asks_for(Flow::Narrow, Manner::Overlapping);
    assert_eq!(said, ["qos 1", "consume paused-tag", "cancel tag"]);
    assert_eq!(world.state(), State::Exchanging(ChannelId(1), 3));
    assert!(world.subscription.receives());
    assert_eq!(world.exchanged(), Some(exchanged_to(Flow::Narrow)));
    // A limit that was set holds for all consumers that come after it.
    let wide = Flow::Wide { prefetch: 0 };
    let said = world.asks_for(wide, Manner::Overlapping);
    assert_eq!(said, ["qos 0", "consume tag#2", "cancel paused-tag"]);
    assert_eq!(world.exchanged(), Some(exchanged_to(wide)));
    assert_eq!(world.state(), State::Active(ChannelId(1)));
}

// case B2
#[test]
fn without_acks_the_narrow_consumer_has_them_and_gets_nothing_before_the_wide_one_is_gone() {
    let mut world = World::with(0, true);
    world.activate(ChannelId(1));
    let (flow, manner) = (Flow::Narrow, Manner::Overlapping);
    let methods = world.subscription.set_flow(flow, manner);
    let Method::BasicConsume(narrow) = &methods[1] else {
        panic!("{methods:?}");
    };
    assert!(!narrow.no_ack);
    let priority = narrow.arguments.get("x-priority").unwrap().unwrap();
    assert_eq!(priority.as_i64(), Some(-1));
    world.exchanged();
    let wide = Flow::Wide { prefetch: 0 };
    let said = world.asks_for(wide, Manner::Overlapping);
    assert_eq!(said, ["consume tag#2 without acks", "cancel paused-tag"]);
}

/// The tags of the consumers that come one after the other on a channel.
fn tags(subscription: &mut Subscription, exchanges: usize) -> Vec<ShortString> {
    let mut tags = vec![subscription.spec().tag.clone()];
    for exchange in 0..exchanges {
        let flow = match exchange % 2 {
            0 => Flow::Narrow,
            _ => Flow::Wide { prefetch: 1 },
        };
        let methods = subscription.set_flow(flow, Manner::Overlapping);
        let [_, Method::BasicConsume(next), Method::BasicCancel(last)] = &methods[..] else {
            panic!("{methods:?}");
        };
        assert_eq!(Some(&last.consumer_tag), tags.last());
        tags.push(next.consumer_tag.clone());
        for reply in [basic::QosOk::ID, basic::ConsumeOk::ID, basic::CancelOk::ID] {
            subscription.replied(Instant::now(), reply);
        }
    }
    tags
}

#[test]
fn no_consumer_has_the_tag_of_one_that_was_on_the_channel_before() {
    let mut world = World::active();
    let expected = ["tag", "paused-tag", "tag#2", "paused-tag#2", "tag#3"];
    assert_eq!(tags(&mut world.subscription, 4), expected.map(name));
    // The broker knows nothing of them on another one.
    world.subscription.connection_lost();
    world.activate(ChannelId(1));
    assert_eq!(
        tags(&mut world.subscription, 1),
        expected[..2].iter().map(|it| name(it)).collect::<Vec<_>>()
    );
}

#[test]
fn a_long_tag_is_cut_short_in_whole_characters_and_those_that_take_its_place_differ_all_the_same() {
    let spec = ConsumerSpec {
        tag: name(&"ä".repeat(127)),
        prefetch: 10,
        ..ConsumerSpec::default()
    };
    let mut world = World::active();
    world.subscription = Subscription::new(spec, Backoff::default(), 7);
    world.activate(ChannelId(1));
    let tags = tags(&mut world.subscription, 30);
    for (nth, tag) in tags.iter().enumerate() {
        assert!(str::from_utf8(tag.as_bytes()).is_ok(), "{tag:?}");
        assert!(!tags[..nth].contains(tag), "{tag:?}");
        assert_eq!(tag.as_bytes().starts_with(b"paused-"), nth % 2 == 1);
    }
}

// case B2
#[test]
fn where_there_is_no_harm_in_it_the_one_has_gone_before_the_other_comes() {
    let mut world = World::with(0, false);
    world.activate(ChannelId(1));
    let said = world.asks_for(Flow::Narrow, Manner::CancelFirst);
    assert_eq!(said, ["qos 1", "cancel tag"]);
    assert_eq!(world.answered(basic::QosOk::ID), None);
    assert_eq!(world.answered(basic::CancelOk::ID), Some(Step::Vacant));
    let consume = world.subscription.occupy().expect("there is none now");
    assert_eq!(gist(&consume), "consume paused-tag");
    assert_eq!(world.subscription.occupy(), None);
    let exchanged = world.answered(basic::ConsumeOk::ID);
    assert_eq!(exchanged, Some(exchanged_to(Flow::Narrow)));
}

// case G2
#[test]
fn a_wide_consumer_can_come_back_with_a_lower_prefetch() {
    let mut world = World::narrow(10, false);
    let said = world.asks_for(Flow::Wide { prefetch: 3 }, Manner::Overlapping);
    assert_eq!(said[0], "qos 3");
}

#[test]
fn what_is_asked_for_while_it_is_not_there_holds_when_it_comes() {
    let mut world = World::with(0, true);
    assert!(world.asks_for(Flow::Narrow, Manner::Overlapping).is_empty());
    assert_eq!(
        world.activate(ChannelId(1)),
        Step::Active {
            first: true,
            missed: false,
            flow: Flow::Narrow
        }
    );
}

#[test]
fn what_is_there_already_is_not_asked_for() {
    let mut world = World::active();
    let wide = Flow::Wide { prefetch: 10 };
    assert!(world.asks_for(wide, Manner::Overlapping).is_empty());
}

// case B2
#[test]
fn one_without_acks_comes_back_narrow_for_what_waits_is_still_there() {
    for (no_ack, comes_back) in [(true, Flow::Narrow), (false, Flow::Wide { prefetch: 0 })] {
        for is_in_the_middle in [false, true] {
            let mut world = World::narrow(0, no_ack);
            if is_in_the_middle {
                world = World::with(0, no_ack);
                world.activate(ChannelId(1));
                world.asks_for(Flow::Narrow, Manner::Overlapping);
            }
            world.subscription.connection_lost();
            let Step::Active { flow, .. } = world.activate(ChannelId(1)) else {
                panic!("it is there");
            };
            assert_eq!(flow, comes_back);
        }
    }
}

// case B2
#[test]
fn a_cancel_in_the_middle_of_an_exchange_is_said_at_its_end_and_once() {
    let mut world = World::narrow(0, false);
    world.asks_for(Flow::Wide { prefetch: 0 }, Manner::Overlapping);
    assert_eq!(world.subscription.cancel(Leaving::Cancelled), None);
    assert!(!world.subscription.is_wanted());
    assert_eq!(
        world.subscription.cancel(Leaving::Cancelled),
        None,
        "once is enough"
    );
    assert!(matches!(world.exchanged(), Some(Step::Exchanged { .. })));
    let cancel = world.subscription.leave().expect("it can be said now");
    assert_eq!(gist(&cancel), "cancel tag#2");
    assert_eq!(world.subscription.leave(), None);
    assert_eq!(world.replied(), Some(Step::Cancelled));
}

#[test]
fn a_narrow_consumer_is_cancelled_under_its_own_name() {
    let mut world = World::narrow(0, false);
    let cancel = world
        .subscription
        .cancel(Leaving::Cancelled)
        .expect("the broker is asked");
    assert_eq!(gist(&cancel), "cancel paused-tag");
}

// fault 48
#[test]
fn one_that_was_cancelled_in_the_middle_of_an_exchange_does_not_come_back() {
    for is_connection in [false, true] {
        let mut world = World::active();
        world.asks_for(Flow::Narrow, Manner::Overlapping);
        world.subscription.cancel(Leaving::Cancelled);
        if is_connection {
            world.subscription.connection_lost();
        } else {
            assert_eq!(world.refused(), Verdict::Ended);
        }
        assert!(world.subscription.is_ended());
    }
}

#[test]
fn one_whose_exchange_is_refused_is_tried_again() {
    let mut world = World::active();
    world.asks_for(Flow::Narrow, Manner::Overlapping);
    assert_eq!(world.subscription.under_way(), Some(basic::Consume::ID));
    assert!(matches!(world.refused(), Verdict::Retry(_)));
    let mut world = World::active();
    world.asks_for(Flow::Narrow, Manner::Overlapping);
    let verdict = world.subscription.cancelled_by_broker(world.now);
    assert!(matches!(verdict, Verdict::Retry(_)));
}

// case B2
#[test]
fn a_sign_that_the_broker_has_heard_is_not_taken_for_another_answer() {
    let mut world = World::active();
    let call = world.subscription.prove().expect("it is there");
    assert_eq!(gist(&call), "qos 1");
    assert_eq!(world.subscription.prove(), None, "once is enough");
    world.subscription.cancel(Leaving::Cancelled);
    assert_eq!(world.answered(basic::QosOk::ID), Some(Step::Proven));
    assert_eq!(world.answered(basic::CancelOk::ID), Some(Step::Cancelled));
}

#[test]
fn who_comes_next_is_known_before_it_is_asked_for() {
    let mut world = World::narrow(10, false);
    world.asks_for(Flow::Wide { prefetch: 10 }, Manner::Overlapping);
    world.exchanged();
    let next = world.subscription.next_consumers();
    let gists = next.each_ref().map(gist);
    assert_eq!(gists, ["consume paused-tag#2", "consume tag#3"]);
    let asked = world
        .subscription
        .set_flow(Flow::Narrow, Manner::Overlapping);
    assert_eq!(asked[1], next[0]);
}

#[test]
fn the_tag_of_the_narrow_consumer_differs_from_any_that_a_user_chooses() {
    let long = "paused-".repeat(40);
    for tag in ["", "tag", "paused-tag", &long[..255], &"x".repeat(255)] {
        let spec = ConsumerSpec {
            tag: name(tag),
            ..ConsumerSpec::default()
        };
        let narrow = spec.tag_of(Flow::Narrow, 1);
        assert!(narrow.as_bytes().starts_with(spec.narrow_prefix()));
        assert!(!spec.tag.as_bytes().starts_with(spec.narrow_prefix()));
    }
}

// case B2
#[test]
fn where_the_channel_holds_on_to_what_was_not_sent_the_other_comes_on_another() {
    for is_cancelled in [false, true] {
        let mut world = World::with(0, true);
        world.activate(ChannelId(1));
        let said = world.asks_for(Flow::Narrow, Manner::OnAnother);
        assert_eq!(said, ["cancel tag"]);
        if is_cancelled {
            world.subscription.cancel(Leaving::Cancelled);
            let step = world.answered(basic::CancelOk::ID);
            assert_eq!(step, Some(Step::Cancelled));
            assert_eq!(world.state(), State::Draining(ChannelId(1)));
            continue;
        }
        let step = world.answered(basic::CancelOk::ID);
        assert_eq!(step, Some(Step::Moving));
        let active = world.activate(ChannelId(2));
        assert!(matches!(
            active,
            Step::Active {
                flow: Flow::Narrow,
                ..
            }
        ));
    }
}

/// However far it has come when it is held.
#[test]
fn one_that_is_held_wants_no_channel_and_no_time_and_comes_back_when_it_is_let() {
    let begin: [fn(&mut World); 6] = [
        |_| {},
        |world| world.subscription.connection_lost(),
        |world| {
            world.refused();
        },
        |world| {
            let cancelled = world.subscription.cancelled_by_broker(world.now);
            assert!(matches!(cancelled, Verdict::Retry(_)));
        },
        |world| {
            world.asks_for(Flow::Narrow, Manner::Overlapping);
        },
        |world| {
            world.subscription.pause(world.now);
        },
    ];
    for (nth, begin) in begin.into_iter().enumerate() {
        let mut world = World::active();
        begin(&mut world);
        _ = world.subscription.hold(Leaving::Cancelled);
        assert!(world.subscription.is_held());
        if let State::Exchanging(..) = world.state() {
            let exchanged = world.exchanged();
            assert!(matches!(exchanged, Some(Step::Exchanged { .. })));
            let cancel = world.subscription.hold_on().expect("its turn has come");
            assert_eq!(gist(&cancel), "cancel paused-tag");
        }
        assert!(!world.subscription.wants_channel(world.now + DAY), "{nth}");
        assert_eq!(world.subscription.retry_at(), None, "{nth}");
        world.subscription.let_go_on(world.now);
        if let State::Held(_) = world.state() {
            assert_eq!(world.answered(basic::CancelOk::ID), Some(Step::Held));
        }
        let later = world.now + DAY;
        world.now = later;
        match world.state() {
            State::Paused(..) => {
                let consume = world.subscription.resume(later).expect("it is time");
                assert!(gist(&consume).starts_with("consume "), "{nth}");
                assert!(matches!(world.state(), State::Exchanging(..)), "{nth}");
            }
            _ => {
                world.activate(ChannelId(2));
                assert_eq!(world.subscription.hold_on(), None, "{nth}");
            }
        }
    }
}

#[test]
fn what_one_that_is_held_had_goes_back_once_the_broker_has_answered() {
    let mut world = World::active();
    let cancel = world
        .subscription
        .hold(Leaving::Cancelled)
        .expect("it is there");
    assert_eq!(gist(&cancel), "cancel tag");
    assert_eq!(world.answered(basic::CancelOk::ID), Some(Step::Held));
    assert_eq!(world.state(), State::Held(ChannelId(1)));
    assert!(!world.subscription.vacates());
    // Let go on before that, it is not asked for again before that.
    let mut world = World::active();
    _ = world.subscription.hold(Leaving::Cancelled);
    world.subscription.let_go_on(world.now);
    assert_eq!(world.subscription.resume(world.now), None);
    assert_eq!(world.answered(basic::CancelOk::ID), Some(Step::Held));
    let consume = world.subscription.resume(world.now).expect("it is time");
    assert_eq!(gist(&consume), "consume tag#2");
    assert_eq!(
        world.replied(),
        Some(exchanged_to(Flow::Wide { prefetch: 10 }))
    );
}

#[test]
fn one_whose_order_comes_first_is_held_by_the_end_of_its_channel() {
    let mut world = World::active();
    assert_eq!(world.subscription.hold(Leaving::WithItsChannel), None);
    assert!(world.subscription.vacates());
    assert_eq!(world.state(), State::Waiting);
    assert!(!world.subscription.wants_channel(world.now));
    world.subscription.let_go_on(world.now);
    world.activate(ChannelId(2));
    // Let go on before its channel is closed, it has never gone.
    assert_eq!(world.subscription.hold(Leaving::WithItsChannel), None);
    let flow = Flow::Wide { prefetch: 10 };
    assert_eq!(world.subscription.let_go_on(world.now), Some(flow));
    assert_eq!(world.state(), State::Active(ChannelId(2)));
    assert!(!world.subscription.vacates());
}

const DAY: Duration = Duration::from_secs(86_400);
