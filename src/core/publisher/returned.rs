//! What a publisher makes of messages that come back.

use snowshoe_codec::Returned;

use super::address::position_in;
use super::ledger::Ledger;
use super::returns::{Content, Likeness};
use super::{Publisher, all_as_sent};
use crate::outcome::Return;

impl<W> Publisher<W> {
    /// The broker returned a publish of this epoch and producer, without saying which.
    pub fn returned(&mut self, returned: &Returned) {
        self.note_return(returned);
        self.take_return(returned, true);
    }

    /// The broker returned a publish of this epoch, which may be another producer's on the same channel
    /// as well. It is [news](Self::note_return) for one of them.
    pub fn perhaps_returned(&mut self, returned: &Returned) {
        self.take_return(returned, false);
    }

    /// Tells of a return, whatever it is about.
    pub fn note_return(&mut self, returned: &Returned) {
        let (mut details, position) = self.details(returned);
        if let Some(position) = position.filter(|_| details.excess.is_some()) {
            let overrides = self.ledger.overrides.get(position);
            let rest = self.ledger.bin.rest();
            let as_sent = all_as_sent(&self.address, &mut self.merger, position, overrides, rest);
            let body = details.body.clone();
            details.complete(as_sent, body);
        }
        self.ledger.news.rare().returned.push(details);
    }

    /// How much a message that was returned is like those in flight, if it may be one of them.
    pub fn likeness(&mut self, returned: &Returned) -> Option<Likeness> {
        if self.address.exchange.as_short_str() != returned.content.exchange() {
            return None;
        }
        if self.named_by(returned).is_some() {
            return Some(Likeness::Named);
        }
        self.look_at_those_in_flight();
        self.ledger.returns.likeness(&self.details(returned).0)
    }

    fn take_return(&mut self, returned: &Returned, is_ours: bool) {
        let (mut details, _) = self.details(returned);
        match self.named_by(returned) {
            Some(position) => {
                let (properties, body) = (details.properties.clone(), details.body.clone());
                details.complete(properties, body);
                let Ledger { returns, bin, .. } = &mut self.ledger;
                returns.returned(position, details, bin.rest());
            }
            None => {
                self.look_at_those_in_flight();
                let Ledger { returns, bin, .. } = &mut self.ledger;
                returns.returned_unnamed(details, is_ours, bin.rest());
            }
        }
    }

    /// What came back. A body that is too long to come back is that of a message in flight, which is known
    /// by its digest; where that stands, too.
    fn details(&self, returned: &Returned) -> (Return, Option<u64>) {
        let (content, ring) = (&returned.content, &self.ledger.ring);
        let mut details = Return::new(returned);
        if details.excess.is_none() {
            return (details, None);
        }
        let has_key = |position| {
            let key = self
                .address
                .routing_key(self.ledger.overrides.get(position));
            key.as_short_str() == content.routing_key()
        };
        let in_flight = (ring.iter()).take_while(|(position, _)| *position < ring.written());
        let mut alike = in_flight
            .filter(|(position, entry)| content.has_body(&entry.body) && has_key(*position));
        let found = alike.next().map(|(position, entry)| {
            details.body = entry.body.clone();
            position
        });
        (details, found)
    }

    /// The position in a message that was returned, if it is that of one in flight with this body.
    fn named_by(&self, returned: &Returned) -> Option<u64> {
        let (content, ring) = (&returned.content, &self.ledger.ring);
        let producer = self.address.identifies?;
        let position = position_in(content.properties().ok()?, producer)?;
        let entry = ring.get(position).filter(|_| position < ring.written())?;
        content.has_body(&entry.body).then_some(position)
    }

    fn look_at_those_in_flight(&mut self) {
        let Ledger {
            ring,
            overrides,
            returns,
            bin,
            ..
        } = &mut self.ledger;
        let unseen = ring.iter_from(returns.seen_before());
        for (position, entry) in unseen.take_while(|(position, _)| *position < ring.written()) {
            let overrides = overrides.get(position);
            let rest = bin.rest();
            let as_sent = all_as_sent(&self.address, &mut self.merger, position, overrides, rest);
            let content = Content::new(self.address.routing_key(overrides), &entry.body);
            returns.see(position, content, as_sent);
        }
    }
}
