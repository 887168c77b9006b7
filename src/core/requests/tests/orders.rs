//! Every order in which things can happen to a request.

use super::*;
use crate::core::scaled;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    Answer,
    Return,
    Ack,
    Nack,
    Timeout,
    Cut,
    Refusal,
    Withdrawal,
    Close,
}

const ALL: [Happens; 9] = [
    Happens::Answer,
    Happens::Return,
    Happens::Ack,
    Happens::Nack,
    Happens::Timeout,
    Happens::Cut,
    Happens::Refusal,
    Happens::Withdrawal,
    Happens::Close,
];

/// What a request ends with, if these things happen to it in this order.
fn expected(order: &[Happens], idempotent: bool) -> Option<&'static str> {
    let mut is_confirmed = false;
    for happens in order {
        match happens {
            Happens::Answer => return Some("answered"),
            Happens::Return => return Some("unroutable"),
            Happens::Ack => is_confirmed = true,
            Happens::Nack if is_confirmed => {}
            Happens::Nack => return Some("nacked"),
            Happens::Timeout => return Some("timeout"),
            // A new channel: what was confirmed counts for the old one.
            Happens::Cut if idempotent => is_confirmed = false,
            Happens::Cut => return Some("lost"),
            Happens::Refusal if !is_confirmed => return Some("rejected"),
            Happens::Refusal if idempotent => is_confirmed = false,
            Happens::Refusal => return Some("channel lost"),
            Happens::Withdrawal => return None,
            Happens::Close => return Some("closed"),
        }
    }
    unreachable!("a timeout ends it")
}

fn word(result: &Result<String, RequestError>) -> &'static str {
    match result {
        Ok(_) => "answered",
        Err(error) => match error.reason {
            RequestErrorReason::Unroutable(_) => "unroutable",
            RequestErrorReason::Nacked => "nacked",
            RequestErrorReason::Timeout(_) => "timeout",
            RequestErrorReason::ConnectionLost(_) => "lost",
            RequestErrorReason::Rejected(_) => "rejected",
            RequestErrorReason::ChannelLost(_) => "channel lost",
            RequestErrorReason::Closed => "closed",
            _ => "something else",
        },
    }
}

/// Lets these things happen to one request beside another; what they ended with.
fn play(order: &[Happens], idempotent: bool, answer: &Content) -> Option<&'static str> {
    let mut world = World::online(Settings {
        confirms: true,
        ..settings()
    });
    world.ask(
        1,
        Request {
            idempotent,
            ..request("one")
        },
    );
    for happens in order {
        match happens {
            Happens::Answer => world.requests.answered(answer.clone()),
            Happens::Return => world.requests.returned(&Returned {
                code: ReplyCode::NO_ROUTE,
                content: answer.clone(),
            }),
            Happens::Ack => world.confirm(1, false, true),
            Happens::Nack => world.confirm(1, false, false),
            Happens::Timeout => world.pass(Duration::from_secs(10)),
            Happens::Cut => {
                world.cut();
                world.bring_online();
            }
            Happens::Refusal => {
                world.refuse(ReplyCode::PRECONDITION_FAILED, "no");
                world.bring_online();
            }
            Happens::Withdrawal => world.requests.withdraw(RequestId(1)),
            Happens::Close => world.requests.close(),
        }
        world.run();
    }
    assert!(world.requests.is_empty());
    assert!(world.requests.sent.is_empty() && world.requests.waiting.is_empty());
    assert_eq!(world.requests.poll_timeout(), None);
    assert!(world.settled.len() <= 1, "{order:?}: {:?}", world.settled);
    world.settled.first().map(|(_, result)| word(result))
}

/// Calls with every order of so many of these.
fn orders(count: usize, order: &mut Vec<Happens>, play: &mut impl FnMut(&[Happens])) {
    if order.len() == count {
        return play(order);
    }
    for happens in ALL {
        if !order.contains(&happens) {
            order.push(happens);
            orders(count, order, play);
            order.pop();
        }
    }
}

#[test]
fn a_request_ends_once_whatever_happens_in_whatever_order() {
    let mut world = World::online(settings());
    world.ask(1, request("one"));
    // The seed is the same, and so is the id.
    let answer = world.content(1, "1");
    let count = if cfg!(miri) { 2 } else { 4 };
    orders(count, &mut Vec::new(), &mut |order| {
        // Whatever else happens, its time is over at last.
        let order = [order, &[Happens::Timeout]].concat();
        for idempotent in [false, true] {
            let ended = play(&order, idempotent, &answer);
            let expected = expected(&order, idempotent);
            assert_eq!(ended, expected, "{order:?} {idempotent}");
        }
    });
}

#[test]
fn no_answer_is_given_to_another_and_none_waits_too_long_whatever_happens() {
    for seed in 0..scaled(200) as u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::online(Settings {
            confirms: random.bool(),
            max_in_flight: random.usize(1..8),
            seed,
            ..settings()
        });
        let mut deadlines = BTreeMap::new();
        // All that ever was published, of which any may be answered at any time.
        let mut ever: Vec<Publish> = Vec::new();
        for step in 0..60_u64 {
            match random.u32(0..10) {
                0..4 => {
                    let timeout = Duration::from_millis(random.u64(0..5000));
                    deadlines.insert(step, world.now + timeout);
                    let idempotent = random.bool();
                    world.ask(
                        step,
                        Request {
                            timeout,
                            idempotent,
                            ..request(&step.to_string())
                        },
                    );
                }
                4..7 if !ever.is_empty() => {
                    let publish = &ever[random.usize(..ever.len())];
                    let answer = answer_to(publish, &publish.id.0.to_string());
                    world.requests.answered(answer);
                    world.run();
                }
                7 => {
                    world.cut();
                    world.bring_online();
                }
                8 => {
                    let code = ReplyCode::PRECONDITION_FAILED;
                    world.refuse(code, "no");
                    world.bring_online();
                }
                _ => world.pass(Duration::from_millis(random.u64(0..2000))),
            }
            world.answer_calls();
            ever.extend(world.published.iter().cloned());
            for (id, result) in std::mem::take(&mut world.settled) {
                let deadline = deadlines.remove(&id).expect("it ends once");
                match result {
                    Ok(body) => assert_eq!(body, id.to_string(), "seed {seed}"),
                    Err(RequestError { reason, .. }) => {
                        let is_timeout = matches!(reason, RequestErrorReason::Timeout(_));
                        assert!(!is_timeout || world.now >= deadline, "seed {seed}");
                    }
                }
            }
            let late = deadlines.values().any(|at| *at < world.now);
            assert!(!late, "seed {seed}: one waits too long");
        }
    }
}
