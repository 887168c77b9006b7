//! Which publish a publisher confirm speaks of.
//!
//! On a channel in confirm mode the publishes are numbered from 1, by both sides, without the
//! number ever being sent along (RabbitMQ: publisher confirms). The numbers die with the channel.

use thiserror::Error;

use super::keyed_queue::KeyedQueue;

/// Maps the publish tags of one channel to ring positions, until they are resolved.
///
/// Acks and nacks resolve alike and are told apart by the caller. Neither comes in order: brokers
/// confirm per queue, and on LavinMQ a nack overtakes the acks before it, so that a later multiple
/// ack spans tags already nacked.
#[derive(Debug)]
pub struct Confirms {
    /// Positions by tag.
    outstanding: KeyedQueue<u64>,
    last_tag: u64,
}

/// The broker confirmed a publish that was never made: a violation of the protocol.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the broker confirmed publish {tag} of a channel that has sent {sent}")]
pub struct NeverPublished {
    pub tag: u64,
    pub sent: u64,
}

impl Confirms {
    pub const fn new() -> Self {
        Self {
            outstanding: KeyedQueue::new(),
            last_tag: 0,
        }
    }

    /// Starts a new channel in confirm mode: all is forgotten, the next tag is 1.
    pub fn begin_epoch(&mut self) {
        self.outstanding.clear();
        self.last_tag = 0;
    }

    /// Number of publishes the broker has said nothing about.
    #[cfg(test)]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The tag and position of every publish the broker has said nothing about, oldest first.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.outstanding
            .iter()
            .map(|(tag, &position)| (tag, position))
    }

    /// Gives the next tag to the message at `position`.
    ///
    /// To be called where the publish is encoded, before its bytes can leave: the number is the
    /// publish's place on the wire, and the broker may be quick to confirm it.
    pub fn written(&mut self, position: u64) -> u64 {
        self.last_tag += 1;
        self.outstanding.push(self.last_tag, position);
        self.last_tag
    }

    /// Resolves one publish, or with `multiple` every one up to `tag`, where 0 stands for all.
    ///
    /// `resolved` gets the positions, oldest first, each once per epoch. The result is their
    /// number: 0 says that nothing was open any more.
    pub fn resolve(
        &mut self,
        tag: u64,
        multiple: bool,
        mut resolved: impl FnMut(u64),
    ) -> Result<usize, NeverPublished> {
        if tag > self.last_tag || tag == 0 && !multiple {
            return Err(NeverPublished {
                tag,
                sent: self.last_tag,
            });
        }
        let before = self.outstanding.len();
        if multiple {
            let up_to = if tag == 0 { self.last_tag } else { tag };
            while let Some((_, position)) = self.outstanding.pop_first_if(|open, _| open <= up_to) {
                resolved(position);
            }
        } else if let Some(position) = self.outstanding.remove(tag) {
            resolved(position);
        }
        Ok(before - self.outstanding.len())
    }
}

#[cfg(test)]
mod tests;
