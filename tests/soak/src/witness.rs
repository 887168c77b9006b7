//! Watches the wire: which message was written when, and which the broker has confirmed.
//!
//! So what the client says can be held against what really happened. Each copy of a message is told
//! apart by a number that is put into it on its way to the broker, and comes back with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use support::proxy::{Frame, Proxy, To, Verdict};

use crate::lane::Kills;
use crate::ledger::Ledger;
use crate::message;
use crate::work::Cuts;

/// By connection and channel, what is published there.
type Channels = HashMap<(usize, u16), Published>;

/// The publishes on one channel, whose n-th has the delivery tag n.
#[derive(Debug, Default)]
struct Published {
    count: u64,
    /// Lane and number of those that are not confirmed.
    unconfirmed: BTreeMap<u64, (usize, u64)>,
    /// The number of the last one.
    last: Option<u64>,
    /// The body of the last one has not begun yet.
    awaits_body: bool,
}

#[derive(Debug)]
struct Witness {
    ledgers: Arc<[Ledger]>,
    kills: Kills,
    /// How many connections there were.
    connections: Cuts,
    channels: Mutex<Channels>,
}

/// Watches all connections to come, counts them, and notes what it sees in the ledgers, one a lane. What belongs to no
/// lane is left alone.
pub(crate) fn watch(proxy: &Proxy, ledgers: Arc<[Ledger]>, kills: Kills, connections: Cuts) {
    let witness = Arc::new(Witness {
        ledgers,
        kills,
        connections,
        channels: Mutex::default(),
    });
    let same = Arc::clone(&witness);
    proxy.on_frame(To::Server, move |link, frame| {
        witness.sent(link, frame);
        Verdict::Pass
    });
    proxy.on_frame(To::Client, move |link, frame| {
        same.received(link, frame);
        Verdict::Pass
    });
}

impl Witness {
    fn sent(&self, link: usize, frame: &mut Frame) {
        let mut channels = self.channels();
        let key = (link, frame.channel());
        match (frame.kind(), frame.method()) {
            (_, Some(CONNECTION_START_OK)) => {
                self.connections.fetch_add(1, Ordering::SeqCst);
            }
            (_, Some(CHANNEL_OPEN)) => {
                channels.insert(key, Published::default());
                // What was on connections long gone is never confirmed.
                channels.retain(|(old, _), _| old + CONNECTIONS_KEPT > link);
            }
            (_, Some(BASIC_PUBLISH)) => {
                let published = channels.entry(key).or_default();
                published.count += 1;
                published.awaits_body = true;
            }
            (BODY, _) => {
                let published = channels.entry(key).or_default();
                if std::mem::take(&mut published.awaits_body) {
                    let (lane, number) = message::identity(frame.payload())
                        .expect("a message begins in its first frame");
                    let lane = usize::try_from(lane).expect("lanes are few");
                    let Some(ledger) = self.ledgers.get(lane) else {
                        return;
                    };
                    published
                        .unconfirmed
                        .insert(published.count, (lane, number));
                    let previous = published.last.replace(number);
                    let kills = self.kills.load(Ordering::SeqCst);
                    let copy = ledger.page().write(number, previous, kills);
                    message::stamp(frame.payload_mut(), copy);
                }
            }
            _ => {}
        }
    }

    fn received(&self, link: usize, frame: &Frame) {
        let (Some(method @ (BASIC_ACK | BASIC_NACK)), [_, _, _, _, tag @ .., bits]) =
            (frame.method(), frame.payload())
        else {
            return;
        };
        let tag = tag.try_into().expect("a delivery tag has 8 bytes");
        let tag = u64::from_be_bytes(tag);
        let mut channels = self.channels();
        let Some(published) = channels.get_mut(&(link, frame.channel())) else {
            return;
        };
        let multiple = bits & 1 != 0;
        let settled = if multiple {
            let rest = published.unconfirmed.split_off(&(tag + 1));
            std::mem::replace(&mut published.unconfirmed, rest)
        } else {
            published
                .unconfirmed
                .remove_entry(&tag)
                .into_iter()
                .collect()
        };
        for (lane, number) in settled.into_values() {
            self.ledgers[lane]
                .page()
                .answer(number, method == BASIC_ACK);
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels
            .lock()
            .expect("what panics under this lock ends the proxy")
    }
}

const BODY: u8 = 3;
const CONNECTION_START_OK: (u16, u16) = (10, 11);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
const BASIC_ACK: (u16, u16) = (60, 80);
const BASIC_NACK: (u16, u16) = (60, 120);

/// More than are open or attempted at a time.
const CONNECTIONS_KEPT: usize = 100;
