//! What the broker has said, and the client hears late.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use snowshoe::codec::ChannelId;
use snowshoe::codec::frame::{self, FrameKind, Limits};

/// Frames that wait. Those of a channel keep their order, and wait for no other channel but that of the
/// connection itself: so a confirm can be late on a connection that is quick, which no network does.
#[derive(Debug, Default)]
pub(crate) struct Late {
    channels: BTreeMap<ChannelId, VecDeque<(Instant, Bytes)>>,
}

const LIMITS: Limits = Limits {
    frame_max: u32::MAX,
    header_frame_max: u32::MAX,
};

impl Late {
    /// Whether the connection itself has something to say.
    pub(crate) fn concerns_connection(&self) -> bool {
        self.channels.contains_key(&ChannelId::CONNECTION)
    }

    /// Puts in what the broker says: some of the frames wait for up to `most` after the one before
    /// them. A heartbeat passes, and shows that the connection is alive.
    pub(crate) fn hold(
        &mut self,
        now: Instant,
        most: Duration,
        random: &mut Rng,
        mut said: Bytes,
        output: &mut BytesMut,
    ) {
        while !said.is_empty() {
            let frame = frame::find(&said, &LIMITS)
                .ok()
                .flatten()
                .expect("the broker encodes whole frames");
            let (kind, channel, len) = (frame.kind, frame.channel, frame.encoded_len());
            let bytes = said.split_to(len);
            if kind == FrameKind::Heartbeat {
                output.extend_from_slice(&bytes);
                continue;
            }
            // A broker has opened the connection before there is any channel.
            let of_connection = self.last_due(ChannelId::CONNECTION);
            let before = self.last_due(channel).max(of_connection).unwrap_or(now);
            let frames = self.channels.entry(channel).or_default();
            let wait = match random.u32(..4) {
                0 => most.mul_f64(random.f64()),
                _ => Duration::ZERO,
            };
            frames.push_back((before + wait, bytes));
        }
    }

    /// When the last of what is held on a channel is to be let go.
    fn last_due(&self, channel: ChannelId) -> Option<Instant> {
        let (due, _) = self.channels.get(&channel)?.back()?;
        Some(*due)
    }

    /// Lets go what has been held long enough.
    pub(crate) fn release(&mut self, now: Instant, output: &mut BytesMut) {
        self.channels.retain(|_, frames| {
            while let Some((_, bytes)) = frames.front().filter(|(due, _)| *due <= now) {
                output.extend_from_slice(bytes);
                frames.pop_front();
            }
            !frames.is_empty()
        });
    }

    /// Lets everything go.
    pub(crate) fn release_all(&mut self, output: &mut BytesMut) {
        for (_, bytes) in mem::take(&mut self.channels).into_values().flatten() {
            output.extend_from_slice(&bytes);
        }
    }

    /// When the next frame is to be let go.
    pub(crate) fn next(&self) -> Option<Instant> {
        let fronts = self.channels.values().filter_map(VecDeque::front);
        fronts.map(|(due, _)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body frame with one byte.
    fn frame(channel: u8, byte: u8) -> [u8; 9] {
        [3, 0, channel, 0, 0, 0, 1, byte, 0xCE]
    }

    #[test]
    fn frames_overtake_those_of_other_channels_and_no_others() {
        let (mut late, mut random) = (Late::default(), Rng::with_seed(1));
        let (now, most) = (Instant::now(), Duration::from_secs(10));
        let said: Vec<u8> = (0..40).flat_map(|n| frame(n % 2 + 1, n)).collect();
        let mut heard = BytesMut::new();
        late.hold(now, most, &mut random, said.into(), &mut heard);
        for _ in 0..20 {
            if let Some(due) = late.next() {
                late.release(due, &mut heard);
            }
        }
        late.release_all(&mut heard);
        assert_eq!(late.next(), None);
        let bytes: Vec<u8> = heard.chunks(9).map(|frame| frame[7]).collect();
        assert_eq!(bytes.len(), 40);
        assert!(!bytes.is_sorted());
        for channel in 0..2 {
            assert!(bytes.iter().filter(|it| *it % 2 == channel).is_sorted());
        }
    }

    #[test]
    fn no_channel_overtakes_the_opening_of_the_connection() {
        let most = Duration::from_secs(10);
        for seed in 0..100 {
            let (mut late, mut random) = (Late::default(), Rng::with_seed(seed));
            let said = [frame(0, 0), frame(1, 1), frame(2, 2)].concat();
            let mut heard = BytesMut::new();
            late.hold(Instant::now(), most, &mut random, said.into(), &mut heard);
            while let Some(due) = late.next() {
                late.release(due, &mut heard);
            }
            assert_eq!(heard[7], 0, "seed {seed}");
        }
    }

    #[test]
    fn a_heartbeat_passes_what_is_held() {
        let (mut late, mut random) = (Late::default(), Rng::with_seed(1));
        let (heartbeat, mut heard) = ([8, 0, 0, 0, 0, 0, 0, 0xCE], BytesMut::new());
        let said = [&frame(1, 0)[..], &heartbeat[..]].concat();
        late.hold(
            Instant::now(),
            Duration::from_secs(10),
            &mut random,
            said.into(),
            &mut heard,
        );
        assert_eq!(heard, heartbeat[..]);
    }
}
