//! Over which request the broker has closed the channel, or the connection.
//!
//! It says why, and not over which publish. Publishes are taken in order, and what follows the one that is
//! refused is not looked at, so where that is known, what came after it was not done.

use snowshoe_codec::method::{Arguments, basic};
use snowshoe_codec::{PeerClose, ReplyCode};

use super::{Output, RequestErrorReason, RequestId, Requests};

impl Requests {
    /// The broker closed the channel, as a rule over a request.
    pub(super) fn refused(&mut self, close: &PeerClose, lost: &RequestErrorReason) {
        if close.method != basic::Publish::ID {
            return self.lost(lost);
        }
        let accused = self.accused(close);
        // One that nobody waits for any more may be it as well.
        let are_known = self.untaken.keys().all(|it| self.sent.contains_key(it));
        let culprit = match accused.as_slice() {
            [(number, _)] if are_known => Some(*number),
            _ => None,
        };
        for (number, id) in self.begin_anew() {
            if culprit == Some(number) {
                self.rejected(id, close);
                continue;
            }
            let is_accused = culprit.is_none() && accused.contains(&(number, id));
            if let Some(pending) = self.requests.get_mut(&id) {
                pending.is_suspected |= is_accused;
            }
            let may_be_done = culprit.is_none_or(|culprit| number < culprit);
            self.lost_one(id, lost, may_be_done);
        }
    }

    /// The requests over which it may be, by the numbers of their publishes.
    fn accused(&self, close: &PeerClose) -> Vec<(u64, RequestId)> {
        let untaken = self.untaken.iter().map(|(number, id)| (*number, *id));
        let untaken: Vec<_> = untaken.collect();
        if close.code == ReplyCode::NOT_FOUND {
            let named = untaken.iter().copied();
            let named: Vec<_> = named.filter(|(_, id)| self.is_named(*id, close)).collect();
            if !named.is_empty() {
                return named;
            }
        }
        untaken
    }

    /// Whether the broker names the exchange of a request (RabbitMQ and LavinMQ: "no exchange 'name' in vhost
    /// '/'").
    fn is_named(&self, id: RequestId, close: &PeerClose) -> bool {
        let Some(pending) = self.requests.get(&id) else {
            return false;
        };
        let exchange = &pending.request.exchange;
        let named = [b"'", exchange.as_bytes(), b"'"].concat();
        let text = close.text.as_bytes();
        !exchange.is_empty() && text.windows(named.len()).any(|it| it == named)
    }

    fn rejected(&mut self, id: RequestId, close: &PeerClose) {
        if let Some(pending) = self.remove(id) {
            let reason = RequestErrorReason::Rejected(close.clone());
            self.settled(id, reason, pending.is_doubtful);
        }
    }

    /// Whether a request has to wait until it is known that the broker has taken all that was sent. That is
    /// so before one that is suspected, and after it.
    pub(super) fn waits_for_proof(&mut self, id: RequestId) -> bool {
        let pending = self.requests.get(&id);
        let is_suspected = pending.is_some_and(|pending| pending.is_suspected);
        if is_suspected && !self.untaken.is_empty() && !self.is_asked {
            self.ask_for_proof();
        }
        self.is_asked
    }

    /// Asks something that the broker answers once it has taken all that was sent, if it takes it.
    pub(super) fn ask_for_proof(&mut self) {
        self.is_asked = true;
        let nothing = basic::Qos::default();
        self.outputs.push_back(Output::Send(nothing.into()));
    }

    /// It has.
    pub(super) fn all_is_taken(&mut self) {
        self.is_asked = false;
        for id in std::mem::take(&mut self.untaken).into_values() {
            if let Some(pending) = self.requests.get_mut(&id) {
                pending.is_suspected = false;
            }
        }
    }
}
