//! What happens to the connections and to the node.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use support::proxy::{End, Links, Proxy, To};

use crate::scene::{Scene, Victim};

/// A fault, and how long it is in force.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    kind: Kind,
    target: Target,
    victim: Victim,
    duration: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    End(End),
    /// The connection ends after so many bytes.
    Cut(To, u64, End),
    /// So does every attempt to come back.
    CutAgain(To, u64, End),
    /// Nothing passes, on any connection.
    Silence(To),
    /// Nothing passes on the connections that there are, and what they held comes late.
    HalfOpen(To),
    Drip(To, usize, Duration),
    StopReading(To),
    Refuse,
    Kill,
    StopApp,
    CloseAll,
    MemoryAlarm,
    Suspend,
}

/// Which of the open connections.
#[derive(Clone, Copy, Debug)]
enum Target {
    All,
    /// This one, modulo how many there are.
    One(usize),
}

impl Fault {
    /// The kinds that there are.
    pub(crate) const NAMES: [&str; 14] = [
        "reset",
        "close",
        "cut",
        "cut again",
        "silence",
        "half-open",
        "drip",
        "stop reading",
        "refuse",
        "kill",
        "stop_app",
        "close all",
        "memory alarm",
        "suspend",
    ];

    /// The next fault of a seed, to one node or to a cluster.
    pub(crate) fn choose(rng: &mut Rng, cluster: bool) -> Self {
        let target = if rng.bool() {
            Target::All
        } else {
            Target::One(rng.usize(..64))
        };
        Self {
            // A cluster is there for nodes that die.
            kind: if cluster && rng.u32(..5) == 0 {
                Kind::Kill
            } else {
                Kind::choose(rng)
            },
            target,
            victim: if cluster {
                Victim::choose(rng)
            } else {
                Victim::Only
            },
            duration: duration(rng),
        }
    }

    /// What to call it and those like it.
    pub(crate) fn name(&self) -> &'static str {
        match (self.kind, self.victim) {
            (Kind::Kill, Victim::Next) => "kill each in turn",
            (Kind::Kill, Victim::OfClient(_)) => "kill a client's node",
            (Kind::Kill, Victim::Leader(_)) => "kill a queue's leader",
            _ => self.kind(),
        }
    }

    /// One of the [names](Self::NAMES).
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::End(End::Reset) => "reset",
            Kind::End(End::Close) => "close",
            Kind::Cut(..) => "cut",
            Kind::CutAgain(..) => "cut again",
            Kind::Silence(_) => "silence",
            Kind::HalfOpen(_) => "half-open",
            Kind::Drip(..) => "drip",
            Kind::StopReading(_) => "stop reading",
            Kind::Refuse => "refuse",
            Kind::Kill => "kill",
            Kind::StopApp => "stop_app",
            Kind::CloseAll => "close all",
            Kind::MemoryAlarm => "memory alarm",
            Kind::Suspend => "suspend",
        }
    }

    /// Does it.
    pub(crate) fn begin(&self, scene: &mut Scene) {
        match self.kind {
            Kind::End(end) => self.each(scene, |links| links.end(end)),
            Kind::Cut(to, bytes, end) => {
                self.each(scene, |links| links.cut_after(to, bytes, end));
            }
            Kind::CutAgain(to, bytes, end) => {
                for proxy in scene.proxies() {
                    proxy.all().end(End::Reset);
                    proxy.all().cut_after(to, bytes, end);
                }
            }
            Kind::Silence(to) => scene.proxies().iter().for_each(|it| it.all().silence(to)),
            Kind::HalfOpen(to) => self.each(scene, |links| links.silence(to)),
            Kind::Drip(to, bytes, pause) => self.each(scene, |links| links.drip(to, bytes, pause)),
            Kind::StopReading(to) => self.each(scene, |links| links.stop_reading(to)),
            Kind::Refuse => {
                for proxy in scene.proxies() {
                    proxy.refuse();
                    proxy.all().end(End::Reset);
                }
            }
            Kind::Kill => scene.kill(self.victim),
            Kind::StopApp => scene.choose(self.victim).admin().stop_app(),
            Kind::CloseAll => {
                for node in scene.nodes() {
                    node.admin().close_all_connections("the soak says so");
                }
            }
            Kind::MemoryAlarm => scene.choose(self.victim).admin().set_memory_alarm(true),
            Kind::Suspend => scene.choose(self.victim).suspend(),
        }
    }

    /// Lets it be in force as long as it is to be.
    pub(crate) fn last(&self) {
        thread::sleep(self.duration);
    }

    /// Makes network and nodes whole again.
    pub(crate) fn end(&self, scene: &mut Scene) {
        match self.kind {
            Kind::End(_) | Kind::CloseAll => {}
            Kind::Cut(..)
            | Kind::CutAgain(..)
            | Kind::Silence(_)
            | Kind::HalfOpen(_)
            | Kind::Drip(..)
            | Kind::StopReading(_) => {
                for proxy in scene.proxies() {
                    proxy.all().resume(To::Both);
                }
            }
            Kind::Refuse => scene.proxies().iter().for_each(Proxy::accept),
            Kind::Kill => scene.start_again(),
            Kind::StopApp => {
                scene.chosen().admin().start_app();
                scene.wait_until_whole();
            }
            Kind::MemoryAlarm => scene.chosen().admin().set_memory_alarm(false),
            Kind::Suspend => scene.chosen().resume(),
        }
    }

    fn each(&self, scene: &Scene, does: impl Fn(Links<'_>)) {
        let open = scene.open_links();
        match self.target {
            Target::All => open.into_iter().for_each(does),
            Target::One(_) if open.is_empty() => {}
            Target::One(which) => does(open[which % open.len()]),
        }
    }
}

impl Kind {
    fn choose(rng: &mut Rng) -> Self {
        let to = [To::Server, To::Client, To::Both][rng.usize(..3)];
        let end = [End::Reset, End::Close][rng.usize(..2)];
        match rng.u32(..100) {
            0..12 => Self::End(End::Reset),
            12..20 => Self::End(End::Close),
            20..38 => Self::Cut(to, any_size(rng, 18), end),
            38..46 => Self::CutAgain(to, any_size(rng, 12), end),
            46..53 => Self::Silence(to),
            53..59 => Self::HalfOpen(to),
            59..66 => Self::Drip(
                to,
                rng.usize(1..2000),
                Duration::from_millis(rng.u64(1..20)),
            ),
            66..73 => Self::StopReading(to),
            73..80 => Self::Refuse,
            80..83 => Self::Kill,
            83..86 => Self::StopApp,
            86..91 => Self::CloseAll,
            91..96 => Self::MemoryAlarm,
            _ => Self::Suspend,
        }
    }
}

/// A number below 2 to the power of `bits`, small ones as often as large ones.
fn any_size(rng: &mut Rng, bits: u32) -> u64 {
    let bits = rng.u32(1..=bits);
    rng.u64(..1 << bits)
}

/// Mostly shorter than a heartbeat, sometimes long enough for a silent peer to be given up.
fn duration(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.u32(..4) {
        0 => rng.u64(2000..3500),
        _ => rng.u64(20..600),
    })
}
