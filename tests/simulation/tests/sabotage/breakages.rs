//! What is broken on purpose.

/// One way to break the client.
pub(crate) struct Breakage {
    /// The fault or the case that comes of it, by its number.
    pub(crate) number: &'static str,
    pub(crate) what: &'static str,
    /// From the root of the repository.
    pub(crate) file: &'static str,
    /// The sound text, which stands in the file exactly once, and what it becomes.
    pub(crate) sound: &'static str,
    pub(crate) broken: &'static str,
    /// How many seeds there are to find it.
    pub(crate) seeds: u32,
}

// Where what is broken stands.
const ACKS: &str = "src/core/acks.rs";
const ATTRIBUTION: &str = "src/core/session/attribution.rs";
const BY_HAND: &str = "src/core/session/by_hand.rs";
const BY_USERS: &str = "src/driver/link/channels.rs";
const CALLS: &str = "src/core/session/calls.rs";
const CALL_QUEUE: &str = "src/core/call_queue.rs";
const CHANGES: &str = "src/core/topology/changes.rs";
const CHANNELS: &str = "src/core/session/channels.rs";
const CONSUMER: &str = "src/consumer.rs";
const COPIES: &str = "src/retry/copies.rs";
const CONFIRMS: &str = "src/core/confirms.rs";
const HANDSHAKE: &str = "codec/src/connection/handshake.rs";
const INBOX: &str = "src/shared/inbox.rs";
const LINK: &str = "src/driver/link.rs";
const OUTPUTS: &str = "src/driver/link/outputs.rs";
const PROGRESS: &str = "src/core/stream/progress.rs";
const PRODUCERS: &str = "src/driver/link/producers.rs";
const LEDGER: &str = "src/core/publisher/ledger.rs";
const PUBLISHER: &str = "src/core/publisher.rs";
const PUBLISHING: &str = "src/core/session/producers.rs";
const RECOVERY: &str = "src/core/session/recovery.rs";
const RETRYING: &str = "src/consumer/retrying.rs";
const SHARED_CHANNEL: &str = "src/core/session/shared_channel.rs";
const RETURNED: &str = "src/core/publisher/returned.rs";
const SLOTS: &str = "src/consumer/handlers/slots.rs";
const SUPERVISOR: &str = "src/core/supervisor.rs";
const SUBSCRIPTION: &str = "src/core/subscription.rs";
const WAIT_QUEUE: &str = "src/core/wait_queue.rs";

/// What only futures that are given up or left unpolled can find.
pub(crate) const FOR_THE_FUTURES: &[Breakage] = &[
    Breakage {
        number: "case D1",
        what: "a call that was given up is made all the same",
        file: LINK,
        sound: "let is_given_up = calls.get(&token).is_some_and(Answer::is_closed);",
        broken: "let is_given_up = calls.get(&token).is_some_and(Answer::is_closed) && false;",
        seeds: 300,
    },
    Breakage {
        number: "case D1",
        what: "a call by hand that was given up is made all the same",
        file: BY_USERS,
        sound: "if operation.is_given_up() {",
        broken: "if operation.is_given_up() && false {",
        seeds: 3_000,
    },
    Breakage {
        number: "case D1",
        what: "what deletes or purges is repeated after a reconnect",
        file: CALLS,
        sound: "let is_harmful = |call: &Call| !is_repeatable(&call.method, lost);",
        broken: "let is_harmful = |call: &Call| !is_repeatable(&call.method, lost) && false;",
        seeds: 1_000,
    },
    Breakage {
        number: "case B4",
        what: "room is kept for one who does not come",
        file: WAIT_QUEUE,
        sound: "is_called || self.called.count == 0 && is_first()",
        broken: "(is_called || self.called.count == 0) && is_first()",
        seeds: 300,
    },
    Breakage {
        number: "fault 22",
        what: "a consumer that is dropped before its first delivery stays",
        file: CONSUMER,
        sound: "fn drop(&mut self) {\n        self.stop();",
        broken: "fn drop(&mut self) {\n        if self.inbox.len() > 0 {\n            self.stop();\n        }",
        seeds: 300,
    },
];

/// What the simulation finds.
pub(crate) const FOR_THE_SIMULATION: &[Breakage] = &[
    Breakage {
        number: "fault 1",
        what: "a stale ack is let through under the next epoch",
        file: ACKS,
        sound: "if epoch != self.epoch {",
        broken: "if false {",
        seeds: 300,
    },
    Breakage {
        number: "fault 3",
        what: "a multiple ack spans deliveries that nobody has settled",
        file: ACKS,
        sound: "run.tag = tag;",
        broken: "run.tag = self.last_tag;",
        seeds: 300,
    },
    Breakage {
        number: "fault 5",
        what: "what waits in an inbox outlives its epoch",
        file: INBOX,
        sound: "if !self.no_ack {\n            state.deliveries.clear();",
        broken: "if false {\n            state.deliveries.clear();",
        seeds: 300,
    },
    Breakage {
        number: "fault 7",
        what: "confirm numbers are not reset at a reconnect",
        file: CONFIRMS,
        sound: "self.outstanding.clear();\n        self.last_tag = 0;",
        broken: "self.outstanding.clear();",
        seeds: 300,
    },
    Breakage {
        number: "fault 8",
        what: "a multiple confirm settles one too few",
        file: CONFIRMS,
        sound: "open <= up_to",
        broken: "open < up_to",
        seeds: 300,
    },
    Breakage {
        number: "fault 8",
        what: "a multiple confirm settles one too many",
        file: CONFIRMS,
        sound: "open <= up_to",
        broken: "open <= up_to + 1",
        seeds: 1_000,
    },
    Breakage {
        number: "fault 10",
        what: "of several publishes the culprit is never searched for",
        file: PUBLISHER,
        sound: "(InFlight::Confirms(_), [Some(_), Some(_)]) => {",
        broken: "(InFlight::Confirms(_), [Some(_), Some(_)]) if false => {",
        seeds: 300,
    },
    Breakage {
        number: "fault 13",
        what: "what was in flight is not written again",
        file: PUBLISHER,
        sound: "        self.ledger.ring.rewind_to(from);\n",
        broken: "",
        seeds: 300,
    },
    Breakage {
        number: "fault 13",
        what: "after a reconnect the two oldest messages have changed places",
        file: PUBLISHER,
        sound: "        self.ledger.ring.rewind_to(from);\n",
        broken: "        self.ledger.ring.rewind_to(from);
        if let Some((oldest, entry)) = self.ledger.ring.next_unwritten() {
            let body = entry.body.clone();
            if let Some(next) = self.ledger.ring.get_mut(oldest + 1) {
                let body = std::mem::replace(&mut next.body, body);
                if let Some(entry) = self.ledger.ring.get_mut(oldest) {
                    entry.body = body;
                }
            }
        }\n",
        seeds: 300,
    },
    Breakage {
        number: "fault 14",
        what: "a nack is taken as an ack",
        file: PUBLISHER,
        sound: "self.ledger.refuse(position, may_be_elsewhere);",
        broken: "self.ledger.settle(position, Ok(()));\n_ = may_be_elsewhere;",
        seeds: 300,
    },
    Breakage {
        number: "fault 17",
        what: "whoever waits for room is not woken",
        file: WAIT_QUEUE,
        sound: "woken.extend(place.waiter.take());",
        broken: "place.waiter = None;",
        seeds: 300,
    },
    Breakage {
        number: "fault 20",
        what: "a return is forgotten by the time its ack comes",
        file: RETURNED,
        sound: "returns.returned_unnamed(details, is_ours, bin.rest());",
        broken: "_ = (returns, details, is_ours, bin.rest());",
        seeds: 300,
    },
    Breakage {
        number: "fault 20",
        what: "a return is dropped at a reconnect, and its message sent again",
        file: PUBLISHER,
        sound: "        for position in self.ledger.returns.certain() {
            self.ledger.settle(position, Ok(()));
        }
",
        broken: "",
        seeds: 1_000,
    },
    Breakage {
        number: "fault 20",
        what: "a return is dropped at a reconnect, and its message confirmed",
        file: PUBLISHER,
        sound: "        for position in self.ledger.returns.certain() {
",
        broken: "        let certain = self.ledger.returns.certain();
        self.ledger.returns.clear(self.ledger.bin.rest());
        for position in certain {
",
        seeds: 1_000,
    },
    Breakage {
        number: "fault 21",
        what: "publishes do not wait until there is room to write",
        file: PRODUCERS,
        sound: "OUTBOUND_LIMIT.saturating_sub(waiting)",
        broken: "(64 * OUTBOUND_LIMIT).saturating_sub(waiting)",
        seeds: 1_000,
    },
    Breakage {
        number: "fault 22",
        what: "a message that makes room for a newer one is dropped without a word",
        file: LEDGER,
        sound: "self.tell(position, entry.watch, Err(outcome));",
        broken: "_ = (position, outcome);",
        seeds: 300,
    },
    Breakage {
        number: "fault 22",
        what: "what is given up at a close is not handed back",
        file: PRODUCERS,
        sound: "shared.leave(producer.outbox.abandon(reason));",
        broken: "_ = (producer.outbox.abandon(reason), shared);",
        seeds: 300,
    },
    Breakage {
        number: "fault 22",
        what: "a publish after the close is accepted",
        file: PUBLISHER,
        sound: "if self.ledger.closed {",
        broken: "if false {",
        seeds: 300,
    },
    Breakage {
        number: "fault 27",
        what: "that publishers are blocked outlives the connection",
        file: OUTPUTS,
        sound: "self.blocked = false;\n        if matches!(self.io, Io::Dialing(..) | Io::LoggingIn(..)) {",
        broken: "if matches!(self.io, Io::Dialing(..) | Io::LoggingIn(..)) {",
        seeds: 300,
    },
    Breakage {
        number: "fault 29",
        what: "a peer that has fallen silent goes unnoticed",
        file: HANDSHAKE,
        sound: "self.deadlines.heartbeat_receive = Some(after(now, 2 * interval));",
        broken: "",
        seeds: 300,
    },
    Breakage {
        number: "fault 47",
        what: "the client's own queue is not declared again after a reconnect",
        file: RECOVERY,
        sound: "if !matches!(step, Step::Binding(_)) && self.is_ours(&step, topology) {",
        broken: "if !matches!(step, Step::Binding(_) | Step::Queue(_)) {",
        seeds: 300,
    },
    Breakage {
        number: "case D2",
        what: "what is being deleted is declared by another connection",
        file: CHANGES,
        sound: "if is_concerned(step, |it| self.changes.deleting.contains_key(it)) {",
        broken: "if false {",
        seeds: 1_000,
    },
    Breakage {
        number: "case D2",
        what: "a deletion does not wait for who is declaring the same",
        file: CHANGES,
        sound: "!declaring.any(|step| is_concerned(step, |it| deletion.doomed.contains(it)))",
        broken: "!declaring.any(|step| is_concerned(step, |it| deletion.doomed.contains(it)) && false)",
        seeds: 3_000,
    },
    Breakage {
        number: "case D3",
        what: "what users delete on channels of their own is not forgotten",
        file: BY_HAND,
        sound: "            topology.forget_what_is_deleted(&method);
            self.deletions_ended.push(deletion);
",
        broken: "            _ = (&method, &topology);
            self.deletions_ended.push(deletion);
",
        seeds: 300,
    },
    Breakage {
        number: "fault 52",
        what: "a consumer that the broker cancelled is not subscribed again",
        file: SUBSCRIPTION,
        sound: "self.ended_at(now, true)",
        broken: "self.ended_at(now, false)",
        seeds: 300,
    },
    Breakage {
        number: "fault 52",
        what: "that the broker has cancelled a consumer is ignored",
        file: CHANNELS,
        sound: "        let verdict = subscription.cancelled_by_broker(now);
",
        broken: "        if true {
            return;
        }
        let verdict = subscription.cancelled_by_broker(now);
",
        seeds: 300,
    },
    Breakage {
        number: "fault 54",
        what: "a consumer does not come back after a reconnect",
        file: SUBSCRIPTION,
        sound: "            _ => State::Waiting,\n",
        broken: "            _ => State::Ended,\n",
        seeds: 300,
    },
    Breakage {
        number: "fault 57",
        what: "a consumer comes back without its prefetch",
        file: SUBSCRIPTION,
        sound: "self.prefetch().filter(|prefetch| *prefetch > 0)",
        broken: "self.prefetch().filter(|prefetch| *prefetch > 0 && !self.established)",
        seeds: 300,
    },
    Breakage {
        number: "streams",
        what: "a reader of a stream comes back after the last that it received",
        file: PROGRESS,
        sound: "let unsettled = open.into_iter().chain(self.again.first().copied()).min();",
        broken: "let unsettled = open.into_iter().chain(self.again.first().copied()).min().filter(|_| false);",
        seeds: 1_000,
    },
    Breakage {
        number: "streams",
        what: "what was settled beyond the position comes again",
        file: PROGRESS,
        sound: "let is_wanted = self.again.remove(&offset) || is_new;",
        broken: "let is_wanted = self.again.remove(&offset) || is_new || true;",
        seeds: 1_000,
    },
    Breakage {
        number: "streams",
        what: "a reader that had received nothing comes back to what is published then",
        file: PROGRESS,
        sound: "None | Some(StreamOffset::Next) => since_begun,",
        broken: "None | Some(StreamOffset::Next) => self.begin,",
        seeds: 3_000,
    },
    Breakage {
        number: "case B1",
        what: "a producer for which no channel is free shares none",
        file: PUBLISHING,
        sound: "Err(NoChannel::NoneFree) if self.share_channel(now, producer) => {}",
        broken: "Err(NoChannel::NoneFree) if false => _ = self.share_channel(now, producer),",
        seeds: 300,
    },
    Breakage {
        number: "case B1",
        what: "a confirm on a shared channel is taken for the first of a run",
        file: SHARED_CHANNEL,
        sound: "tell(run, run.own + (tag - first));",
        broken: "tell(run, run.own);",
        seeds: 3_000,
    },
    Breakage {
        number: "case C2",
        what: "nothing is suspected where the broker names nothing",
        file: ATTRIBUTION,
        sound: "return is_over_something(close) && self.attribute_to_all(now, close);",
        broken: "return false;",
        seeds: 300,
    },
    Breakage {
        number: "case C3",
        what: "half of what is in flight is blamed for all of it",
        file: PUBLISHER,
        sound: "[Some(culprit), None]) =>",
        broken: "[Some(culprit), _]) =>",
        seeds: 1_000,
    },
    Breakage {
        number: "flights",
        what: "a handshake in one flight that fails is told of",
        file: SUPERVISOR,
        sound: "State::Handshaking { .. } if std::mem::take(&mut self.is_repeatable) => {",
        broken: "State::Handshaking { .. } if std::mem::take(&mut self.is_repeatable) && false => {",
        seeds: 1_000,
    },
    Breakage {
        number: "flights",
        what: "what was behind a refused declaration is taken to be declared",
        file: CALL_QUEUE,
        sound: "        let refused = self.refused();
        self.channel_lost();
",
        broken: "        let refused = self.refused();
        self.queue.drain(..self.sent);
        self.channel_lost();
",
        seeds: 1_000,
    },
    Breakage {
        number: "retries",
        what: "a message is acknowledged before its copy is confirmed",
        file: RETRYING,
        sound: "        while claim.stands() {
            let producer = if is_dead {",
        broken: "        claim.clone().settle(Disposition::Ack);
        loop {
            let producer = if is_dead {",
        seeds: 1_000,
    },
    Breakage {
        number: "retries",
        what: "a copy that no queue took is taken as with the broker",
        file: RETRYING,
        sound: "UnconfirmedReason::Returned(_)
        | UnconfirmedReason::Rejected(_)",
        broken: "UnconfirmedReason::Returned(_) => After::Settle(Disposition::Ack),
        UnconfirmedReason::Rejected(_)",
        seeds: 1_000,
    },
    Breakage {
        number: "retries",
        what: "what was released counts as failed",
        file: RETRYING,
        sound: "What::Release => return Verdict::Settle(Disposition::Release),",
        broken: "What::Release => return Verdict::Settle(Disposition::Retry),",
        seeds: 3_000,
    },
    Breakage {
        number: "retries",
        what: "a copy does not tell how many attempts have failed",
        file: COPIES,
        sound: "headers.set(ATTEMPTS, i64::from(self.attempts))?;",
        broken: "headers.set(ATTEMPTS, i64::from(self.attempts.min(1)))?;",
        seeds: 300,
    },
    Breakage {
        number: "retries",
        what: "what a handler was cut off from is acknowledged",
        file: SLOTS,
        sound: "            if let Some(claim) = claim {
                claim.settle(Disposition::Release);",
        broken: "            if let Some(claim) = claim {
                claim.settle(Disposition::Ack);",
        seeds: 300,
    },
];
