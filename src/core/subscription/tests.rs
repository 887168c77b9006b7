use std::time::Duration;

use snowshoe_codec::method::Arguments;
use snowshoe_codec::{PeerClose, ReplyCode};

use super::*;
use crate::core::testing::name;

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
        self.subscription.opened();
        self.replied();
        self.replied().expect("consume-ok")
    }

    fn replied(&mut self) -> Option<Step> {
        self.subscription.replied(self.now)
    }

    fn refused(&mut self) -> Verdict {
        let reason = ChannelCloseReason::Peer(PeerClose {
            code: ReplyCode::ACCESS_REFUSED,
            text: name("exclusive"),
            method: basic::Consume::ID,
        });
        self.subscription.channel_closed(self.now, &reason)
    }

    fn state(&self) -> State {
        self.subscription.state()
    }
}

fn method_name(step: Option<Step>) -> Option<&'static str> {
    match step {
        Some(Step::Send(method)) => Some(method.name()),
        _ => None,
    }
}

#[test]
fn the_prefetch_is_set_before_anything_can_be_delivered() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    let first = world.subscription.opened().unwrap();
    assert_eq!(first.name(), "basic.qos");
    assert_eq!(method_name(world.replied()), Some("basic.consume"));
    assert_eq!(
        world.replied(),
        Some(Step::Active {
            first: true,
            missed: false
        })
    );
    assert_eq!(world.state(), State::Active(ChannelId(1)));
}

#[test]
fn without_a_limit_or_without_acks_no_prefetch_is_set() {
    for (prefetch, no_ack) in [(0, false), (10, true)] {
        let mut world = World::with(prefetch, no_ack);
        world.subscription.opening(ChannelId(1));
        let first = world.subscription.opened().unwrap();
        assert_eq!(first.name(), "basic.consume");
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

// fault 51
#[test]
fn one_that_the_broker_was_slow_to_start_is_tried_again() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    let reason = ChannelCloseReason::CallTimeout(basic::Consume::ID);
    let verdict = world.subscription.channel_closed(world.now, &reason);
    assert!(matches!(verdict, Verdict::Retry(_)));
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
            missed: false
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
fn a_cancelled_one_keeps_its_channel_for_what_is_to_be_settled() {
    let mut world = World::active();
    let cancel = world.subscription.cancel().unwrap();
    assert_eq!(cancel.name(), "basic.cancel");
    assert_eq!(world.subscription.cancel(), None, "once is enough");
    assert_eq!(world.replied(), Some(Step::Cancelled));
    assert_eq!(world.subscription.channel(), Some(ChannelId(1)));
    assert_eq!(world.refused(), Verdict::Ended);
}

#[test]
fn one_that_is_cancelled_before_it_started_ends_without_a_word() {
    let mut world = World::new();
    world.subscription.opening(ChannelId(1));
    world.subscription.opened();
    assert_eq!(world.subscription.cancel(), None);
    assert!(world.subscription.is_ended());
    assert_eq!(world.replied(), None, "an answer on its way is too late");
}

// fault 48
#[test]
fn one_that_was_cancelled_does_not_come_back() {
    for replied in [false, true] {
        let mut world = World::active();
        world.subscription.cancel();
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
