//! What is promised in each mode, what it rests on, and what changes it.
//!
//! # Publishing with confirms
//!
//! `Producer<Confirm>`, the default, promises for every message that `publish` or `try_publish`
//! accepted:
//!
//! - It **resolves exactly once**: acknowledged, or with one of the reasons in
//!   [`UnconfirmedReason`](crate::UnconfirmedReason). None is left open, whatever happens to the
//!   connection, the driver or the client, and whether or not anybody awaits the
//!   [`Confirmation`](crate::Confirmation).
//! - **Acknowledged means that the broker has it.** A persistent message in a durable queue is on
//!   its disk then, and in a quorum queue on most of its nodes. What the broker returned is never
//!   acknowledged. What a queue does with it afterwards is [the queue's](#what-a-queue-gives-up).
//! - **Order** holds for each producer: messages arrive at their queue, for the first time, in the
//!   order in which they were accepted. What was not confirmed when a connection ended is sent
//!   again ahead of all that is newer.
//!
//! That is so while the process runs. Buffers are memory: what is in them when it ends is lost, also
//! where `main` returns; [`Client::close`](crate::Client::close) is what to wait for before that. It lets handlers come
//! to their end, takes no more messages then, waits until those in the buffers are settled, and at its timeout gives up
//! the rest: they are dropped, and in its [report](crate::CloseReport), as is what was left when the client gave up
//! or lost its driver before.
//!
//! A message whose confirm was lost with a connection or channel is sent again, so it can be in the queue
//! **twice**. There is no way for a client to know. It is the only way in which a duplicate comes
//! about here, and never one of a message that was acknowledged.
//!
//! How a message ends tells what is known of it. [`possibly_stored`](crate::Unconfirmed::possibly_stored)
//! tells whether the broker may have it all the same, and to publish it again can make a duplicate.
//!
//! | outcome | the broker has this copy | it possibly has the message, if | send it again? |
//! |---|---|---|---|
//! | `Ok(())` | yes | | no |
//! | [`Nacked`](crate::UnconfirmedReason::Nacked) | no: it refused responsibility | it was sent before, or may have gone to several queues, of which one refused | later, perhaps: a queue was full, or the broker was in trouble |
//! | [`Returned`](crate::UnconfirmedReason::Returned) | no: no queue took it | it was sent before, or [others like it](#messages-that-are-alike) were under way | once there is a queue; the message is attached |
//! | [`Rejected`](crate::UnconfirmedReason::Rejected) | no: it closed the channel over it | it was sent before, as it is where a culprit is searched for | not as it is |
//! | [`Unsendable`](crate::UnconfirmedReason::Unsendable) | no: it was not written | it was sent before, in larger frames | not as it is |
//! | [`Dropped`](crate::UnconfirmedReason::Dropped) | no: it was not written, or nobody knows | it was ever written | as you like, if a duplicate does no harm |
//!
//! A nack is as much as a broker says: that it is not responsible. A queue that broke down between
//! storing a message and confirming it nacks one that it may have after its restart. And a queue that is
//! full dead-letters the messages that it nacks, where it, or a policy that no client can see, says
//! `x-overflow: reject-publish-dlx`: they are not in the queue, but not gone either.
//!
//! ## A message that the broker refuses
//!
//! A broker closes the channel over a message to an exchange that is not there, or over one that is
//! too large, and does not say which of those under way it was. Half of them are then tried at a time,
//! in order, until the culprit has shown itself: it resolves as
//! [`Rejected`](crate::UnconfirmedReason::Rejected), and the others go on. Of *n* under way it is found after
//! about log₂ *n* round trips. Those that had reached the broker in one of these trials can be duplicates
//! then, **more than once** if they came just before the culprit.
//!
//! Over some messages a broker closes the whole connection, for instance over a header that it cannot
//! read, and often names nothing at all. Then those under way of all producers of the client are suspects,
//! and until the culprit is found, nothing else is published: half of the producers are tried at a time, and
//! then half of the messages of one. The same goes for producers that share a channel, which they do where
//! the broker allows less channels than there are [producers](crate::Producer). Without confirms nothing is
//! kept to be tried again: the end of the channel or the connection is told, and what was under way is lost
//! with it, which on a shared channel is also that of its neighbours.
//!
//! A queue that gives no confirms, as a quorum queue without a majority, keeps nobody waiting: where a trial is
//! not confirmed within 250 ms, the broker is asked for something else on that channel, and its answer clears
//! what it took before. Where that does not come within a second either, the producer is put off, and the search
//! goes on without it on another connection. A connection that ends without a word over the same message for the
//! third time is taken for one that was closed over a message, but nothing is rejected without the broker's word.
//!
//! ## A message to a quorum queue that has no leader
//!
//! While the nodes of a cluster elect a new leader for a quorum queue, RabbitMQ refuses the messages
//! of a channel that has not published to it before, such as that of a client which has just moved
//! on from a node that died: they resolve as [`Nacked`](crate::UnconfirmedReason::Nacked) within
//! milliseconds. Publish them again. Those that were under way to the dead node may be there.
//! RabbitMQ 3.10 goes on refusing on that channel until the dead node is back. A new producer, which
//! has a channel of its own while there are enough, is not refused once there is a leader.
//!
//! ## Messages that no queue takes
//!
//! A broker drops a message that no queue takes, and confirms it all the same, unless it is
//! *mandatory*. A producer to a queue is mandatory by default: the queue is meant to be there. One
//! to an exchange is not, since an exchange without queues can be what is wanted; say
//! [`mandatory(true)`](crate::ProducerBuilder::mandatory) where it is not.
//!
//! A direct reply, to `amq.rabbitmq.reply-to.…` on the default exchange, is never mandatory. It goes to a
//! channel and to no queue, and RabbitMQ before 4.2 returns it as well as delivering it (seen on 3.10.8 and
//! 4.0).
//!
//! ## Messages that are alike
//!
//! A broker returns a message without saying which publish it was. All that is promised is that the return
//! comes before the confirm (RabbitMQ: publisher confirms). It is matched by exchange, routing key,
//! properties and body to those that are under way. If only one is like it, or all that are were returned,
//! the outcomes are exact. Of several, some of which were returned, nobody can tell which: each that was
//! under way when a return came, and that the return may be about, resolves as
//! [`Returned`](crate::UnconfirmedReason::Returned) with `possibly_stored`, and as acknowledged none that
//! was not stored. Give mandatory messages an id each, as [below](#making-duplicates-harmless), or let the
//! producer number them ([`identify_returns`](crate::ProducerBuilder::identify_returns)).
//!
//! ## What a queue gives up
//!
//! An acknowledged message is the queue's, and it can be gone before anybody has worked on it: it expires
//! (`expiration`, [`message_ttl`](crate::Queue::message_ttl)), a queue with a length limit drops its oldest,
//! the queue is purged, deleted or expires, or its message came back too often:
//!
//! A quorum queue counts how often a message was delivered and came back, and gives it up, dropped or
//! dead-lettered, beyond its **delivery limit**: `x-delivery-limit`, which is 20 on RabbitMQ 4 where none is
//! given (3.10 has none then). [`delivery_count`](crate::Delivery::delivery_count) tells how far a message
//! is.
//!
//! | what happens to it | before RabbitMQ 4.3 | from 4.3 on |
//! |---|---|---|
//! | it [failed](crate::Delivery::retry) (basic.reject), as when a handler returns an error | counts | counts |
//! | it was [given back](crate::Delivery::release) (basic.nack) | counts | does not |
//! | its consumer is cancelled or dropped, or the client closed, before it was handed out | counts | does not |
//! | it goes back because its consumer [was behind](#a-consumer-that-does-not-keep-up) | counts | does not |
//! | it was unsettled for [too long](crate::Queue::consumer_timeout) | counts, as the channel ends | does not |
//! | its consumer's channel ends: the connection is cut, the process ends | counts, handed out or not | counts, handed out or not |
//!
//! So a connection that is cut 21 times loses messages that nobody has seen, with the limit of 20 (seen on
//! 4.0.5 and 4.3.6). Where no message may be given up, say so
//! ([`DeliveryLimit::Unlimited`](crate::DeliveryLimit::Unlimited)), or give the queue a dead-letter exchange;
//! a smaller prefetch makes fewer of them count.
//!
//! ## Messages in an exclusive queue
//!
//! An exclusive queue goes with the connection that declared it, and its messages go with it,
//! **confirmed or not**. While a connection is half-open, nobody knows that it is dead: the broker
//! goes on to put messages into its queue and confirms them, and deletes both once it notices. No
//! client can prevent that. Where you have declared exclusive queues, publishing waits for as long as
//! the main connection is known to be gone, but not for a queue that is
//! [`Delayed`](crate::Event::Delayed), for that would hold up all other messages. Use exclusive queues
//! for what can be asked for again, such as replies.
//!
//! # Publishing without confirms
//!
//! `Producer<FireAndForget>` keeps a message until its last byte was written, and then forgets it:
//! **at most once**. What the broker had not read when a connection ended is lost. A message that
//! was cut in the middle is sent again whole, since brokers store no halves. While there is no
//! connection, messages wait in the buffer, and the oldest give way to newer ones.
//!
//! # Consuming
//!
//! What you do not acknowledge, the broker delivers again: **at least once**, as long as the queue
//! [keeps it](#what-a-queue-gives-up). That is so when a handler fails, when the process ends, and when a
//! connection ends before the acknowledgement was through.
//!
//! - A [`Delivery`](crate::Delivery) belongs to the channel it came over. When that is gone, settling
//!   it answers `Ok` with [`Settled::Stale`](crate::Settled::Stale) and sends nothing: its number may be
//!   that of another message by now. It is no error and no reason to stop.
//! - [`Settled::Sent`](crate::Settled::Sent) from `ack` means that the acknowledgement is on its way, not
//!   that it has arrived. If the connection ends first, the message is delivered again.
//! - What had been received but not handed out when a channel ended is discarded, and delivered
//!   again, so that it is not worked on twice without need.
//! - A delivery that is dropped unsettled stays with the broker, and counts against the prefetch,
//!   until its consumer ends.
//!
//! - A consumer that is [stopped](crate::Consumer::stop_handle), alone or because its client is closed, begins
//!   with no more messages. Handlers that run come to their end and settle their messages; those that are not
//!   through in time are dropped, and their messages go back, as does what was only prefetched. What a handler
//!   finished before its channel ended is not delivered again, as far as the acknowledgement was through.
//!
//! - What a handler could not do is tried again. With a [`Retry`](crate::Retry) that waits at the broker, has an end, and
//!   is counted right whatever happens to connections and processes. Where a copy of the message waits in another queue,
//!   the message is acknowledged once the broker has confirmed the copy: if the connection ends in between, there are
//!   **two** of it from then on, each with its count. Without a policy it goes back to its queue, and may come again
//!   without end.
//!
//! - A consumer that is [paused](crate::Consumer::pause_handle) is cancelled at the broker as far as that harms nobody, and
//!   asked for again later on the same channel, or the next one.
//!
//! - A message that is longer than [is accepted](crate::ClientBuilder::max_message_size) is not handed
//!   out, because its body is not there. Unless
//!   [you decide otherwise](crate::ConsumerBuilder::on_oversized) it is refused: **dead-lettered, or
//!   dropped** where the queue has nowhere to dead-letter to.
//!   [`Event::Oversized`](crate::Event::Oversized) tells of it.
//!
//! A consumer can be back before the broker has noticed that its old connection is dead: half open,
//! or to another node of a cluster, which died. It then gets newer messages first, and after them
//! those that the broker had sent over the old connection, marked as redelivered. Where order
//! matters, make the queue a
//! [single active consumer](crate::Queue::single_active_consumer)'s: that is handed to the new
//! consumer only once the old one is given up.
//!
//! Where the client has declared that queue, and not as auto-delete, a consumer that is cancelled or dropped
//! hands it over **in order**: no more is handed out, and once what is at hand is settled, or dropped, its channel
//! is closed, without a cancel. Until then the next one waits. What had been prefetched goes back that way, and
//! that counts against a delivery limit. After a cancel, RabbitMQ would give the next one what follows first, and
//! then what came back (seen on 4.0.5 and 4.3.6, and with quorum queues on 3.10.8).
//!
//! A delivery that is unsettled for longer than the broker allows (30 minutes;
//! [`consumer_timeout`](crate::Queue::consumer_timeout)) is taken back by it. RabbitMQ 4.3 cancels the consumer of a
//! quorum queue over that ([`Event::ConsumerCancelled`](crate::Event::ConsumerCancelled)). Where the client has
//! declared it as one, the consumer is asked for again on the same channel: what is at hand can be settled as ever
//! (the broker takes no notice where it has taken something back), and what waits goes back, to come
//! again. In all other cases the channel ends, and with it all that was delivered.
//!
//! ## The first connection for publishing
//!
//! What was declared is declared again on each connection before anything is published on it, so that nothing is
//! published to what a broker has lost. There is one exception: the *first* connection for publishing of a
//! client with one host, where the main connection has declared all of it in the last 30 s, and all of it lasts
//! (durable, neither auto-delete nor with `x-expires`). There, messages with confirms go in the same flight as
//! the declarations. If somebody else deletes a queue in that very moment, what is published to it meets the
//! same fate as a moment later: it is unroutable.
//!
//! ## A broker that is known
//!
//! Where a connection of the client was open before, at the same address of the same host, the next one
//! [says its whole handshake at once](crate::ClientBuilder::pipelined_handshake), before the broker has said anything:
//! the login, and with it what is declared again. Consumers, and what is published, wait for the broker to open the
//! connection, with the exception above. If it does not, or turns out to be another than it was, no message or
//! declaration is blamed for it, and the attempt is begun again step by step. An error is told only if that fails,
//! too.
//!
//! ## Streams
//!
//! A stream keeps its messages whatever becomes of a delivery, and whoever reads it is to know how far it is.
//! A consumer knows that for as long as it lives: it [begins](crate::ConsumerBuilder::stream_offset) where you
//! say the first time, and **comes back where it was** each time after that, be it that its connection or its
//! channel has ended. It asks for the first message that is not settled, and leaves out those behind it that
//! are. So nothing is lost, and nothing is handed out twice but what was not settled when a channel ended. What
//! you settle after that, `Stale`, comes again.
//!
//! - Where nothing had come yet, it begins where it did at first. What is told from the present is told from
//!   *that* moment: [`Next`](crate::StreamOffset::Next), which is RabbitMQ's choice where you say nothing, and
//!   [`Interval`](crate::StreamOffset::Interval) lose nothing of what is published in an outage. There, `Next`
//!   begins 5 s early and by the chunk, so that some messages can come which were there before;
//!   [`Last`](crate::StreamOffset::Last) is asked for again, unless nothing came for more than 5 s, and then it
//!   is as `Next` is. RabbitMQ is told how long ago that moment was, so that its clock alone counts. LavinMQ
//!   takes no interval (its documentation), and is told the time of day: there, a clock of yours that is more
//!   than 5 s ahead of the broker's loses what was published in between.
//! - How far it is ends with the consumer. To go on in another, or after the process has ended, keep its
//!   [`stream_position`](crate::Consumer::stream_position), or the
//!   [offset](crate::Delivery::stream_offset) of what you are done with together with its effects; a closure
//!   is [asked](crate::ConsumerBuilder::stream_offset_from) for it each time, and what it says goes.
//! - A stream that is deleted and declared anew is another, and its offsets begin with 0 again: when the broker
//!   has cancelled the consumer, or says that there is no such queue, the next one is read from its first.
//!   Where that happens while there is no connection, nobody says so. RabbitMQ then waits until the new
//!   stream has the offset that is asked for, **and sends nothing of what comes before** (seen on 3.10 and
//!   4.3).
//! - What a stream has given up by its age or length does not come again, settled or not.
//! - What is refused ([`nack`](crate::Delivery::nack), [`reject`](crate::Delivery::reject), a handler that
//!   fails) is **passed over**, since a stream takes nothing back: RabbitMQ 3.10 closes the connection over a
//!   basic.nack or basic.reject (540), and 4.3 takes it for an acknowledgement. The broker is told that it is
//!   done with, so that more can come, and you are told
//!   [`Settled::PassedOver`](crate::Settled::PassedOver). It does not come again to this consumer. What has to
//!   be tried again is to be tried in the handler, or published to a queue for it.
//! - What was received but not handed out when a consumer goes is left alone.
//! - **That a queue is a stream** is known from a place to begin, an `x-stream-offset` argument or a closure
//!   that is asked for it, or from [declaring](crate::Queue::stream) it with this client, and from the header
//!   of its deliveries. The header alone is no proof, since whoever passes a message on to an ordinary queue
//!   may pass it on, too, and there passing over would lose a message. So where there is nothing else, a
//!   consumer comes back at the end of the stream, and the first refusal goes to the broker. Where that costs
//!   the connection, it is known after that, unless several consumers had refused something on that
//!   connection, of which nobody can tell which it was.
//! - RabbitMQ lets nobody read a stream without acknowledgements or without a prefetch (406).
//!
//! ## Without acknowledgements
//!
//! With [`no_ack`](crate::ConsumerBuilder::no_ack) the broker forgets a message when it has sent it:
//! **at most once**.
//!
//! ## A consumer that does not keep up
//!
//! It is dealt with in this order: first that nobody else waits for it, then that memory is bounded, then
//! that no message is lost.
//!
//! **Nobody waits.** Its connection is read whatever it does, also where that is
//! [its own](crate::ConsumerBuilder::dedicated_connection): a RabbitMQ that cannot write for 15 s closes a
//! connection, and heartbeats and answers would stand behind what is not read.
//!
//! **Memory.** What waits is bounded by the prefetch and by
//! [`capacity_bytes`](crate::ConsumerBuilder::capacity_bytes); where there is no prefetch, because it is 0
//! or because there are no acknowledgements, by [`capacity`](crate::ConsumerBuilder::capacity) in the place
//! of it. When half of the bytes are used, or more messages wait than may, the broker is asked for less:
//! another consumer, with acknowledgements and a prefetch of 1, takes the place of the one that was started,
//! on the same channel. So nothing becomes stale and nothing is delivered twice, what was delivered can be
//! settled, and an auto-delete queue, or one that expires, is not without a consumer. When most of it was
//! taken, the first one comes back; one with a prefetch comes back with as much of it as fits in, where
//! messages are large. The one in its place has a tag that begins with `paused-`, and a priority that is
//! lower by one; the one that comes back has a number behind its tag, such as `orders#2`.
//!
//! **Messages.** What was on its way has the other half of the bytes. What does not fit in is not kept:
//!
//! - with acknowledgements it goes back to the queue once there is room, and **nothing is lost**. It comes
//!   again marked as redelivered, and to a quorum queue that counts as a delivery, of which there may be a
//!   limit (below);
//! - without them it is **dropped**: it was given up by the broker when it was sent. That is counted by
//!   [`Consumer::dropped`](crate::Consumer::dropped) and told by
//!   [`Event::DeliveriesDropped`](crate::Event::DeliveriesDropped). It takes a network that holds more than
//!   half of the capacity at a time, or one of the cases below.
//!
//! | where | what is different, and why |
//! |---|---|
//! | an exclusive consumer of a queue that this client declared, and not as auto-delete | there cannot be two, so the one goes before the other comes. Somebody else may have the queue in between; then it is tried again until it is free |
//! | an exclusive consumer of another queue | it stays, as the queue could go with it. So what does not fit in comes again (and perhaps behind what is newer), or without acknowledgements is dropped |
//! | a consumer whose arguments all but fill a frame | the same: those of the one in its place are longer, and would not fit |
//! | direct replies (`amq.rabbitmq.reply-to`) | the same: replies to a consumer that is gone are lost, and there cannot be two |
//! | a queue that this client did not declare, or declared as auto-delete | the other comes before the one goes, since the queue could go with it. What goes back meanwhile can be overtaken by a newer message now and then. Where order matters, declare the queue with this client, too, or give the consumer a prefetch that its capacity holds |
//! | a single active consumer | it loses its place to the next one, if there is one. Give it a prefetch that its capacity holds |
//! | a quorum queue | what goes back counts as a delivery, and against a [delivery limit](#what-a-queue-gives-up): a consumer that is behind again and again can alone use that up, and then **a message is given up that nobody has seen** (seen with a limit of 1 on 3.10; from 4.3 on it does not count). Have a limit with room for that, a dead-letter exchange, or a prefetch that the capacity holds. RabbitMQ 3.10 puts back what was on its way to a consumer that is cancelled: it comes later, marked as redelivered. Without acknowledgements it does so when the channel is closed, so the other comes on another channel; where this client did not declare the queue, it cannot know, and they come when the consumer ends |
//! | a stream | it is bounded by its prefetch, which it needs, and a chunk of the stream, since RabbitMQ sends by the chunk; not in bytes: it takes nothing back, and another consumer would begin elsewhere |
//!
//! # Requests
//!
//! An answer is told by its correlation id, which no other request has or had, so one that comes late, twice
//! or to a former life of the program is none to any request that waits. Each request ends within its timeout.
//! What a [`RequestError`](crate::RequestError) says of whether it may have been done rests on this:
//!
//! | what happened | may it have been done |
//! |---|---|
//! | it was not sent | no |
//! | it was returned, or the broker closed the channel over it | no, unless an earlier copy of it was sent |
//! | it was nacked | yes: as a rule nobody has it, but a queue can dead-letter what it refuses, or have it after a breakdown, and where it went to several, another may have it |
//! | the channel was closed over one that was sent before it, and it is known which | no, unless an earlier copy was sent: the broker does not look at what follows |
//! | its time is over, or the connection was lost, after it was sent | yes |
//!
//! Only what is said to be [idempotent](crate::Request::idempotent) has copies. Where the broker closes a
//! channel over a request and does not say which, those of them that may be it are sent one by one, until it
//! is known.
//!
//! # Making duplicates harmless
//!
//! Give each message an id of your own ([`message_id`](crate::PropertiesBuilder::message_id)) when it
//! is made, not when it is sent. A consumer then
//!
//! - does what is harmless to do twice: sets a value instead of adding to it, or
//! - writes the id in the same transaction as the effect, and skips messages whose id is there, or
//! - leaves it to the broker, where it can: LavinMQ drops messages by a header's value, and there is
//!   a plugin for RabbitMQ.
//!
//! [`is_redelivered`](crate::Delivery::is_redelivered) tells only that the broker may have delivered
//! this copy before; a message that was published twice is two messages to the broker.
//!
//! # A broker in trouble
//!
//! **Blocked.** A RabbitMQ that is short of memory or disk stops reading the connections that publish,
//! and says so ([`Event::Blocked`](crate::Event::Blocked)). Messages wait in their buffers, and those
//! under way keep their place. Nothing reconnects, since that would only make duplicates.
//! Acknowledgements go on: they have another connection, as long as nothing is published on that by a
//! [`Channel`](crate::Channel) of your own; take a
//! [`publishing_channel`](crate::Client::publishing_channel) for it.
//!
//! **Low disk on LavinMQ** shows as a refused publish (406). It is no fault of the message: its channel
//! is opened again after a while, and the message sent again.
//!
//! **Gone.** Heartbeats notice a peer that is silent for two intervals (10 s each, or what the broker
//! asks for if that is less). Then, and when a connection fails in any other way, the next attempt
//! follows after 100 ms, doubled up to 30 s, to the next of the hosts in the URI.
//!
//! # What comes back
//!
//! Exchanges, queues and bindings that [`Client::declare`](crate::Client::declare) declared, as they
//! were declared, and nothing else; what was deleted through the client, or on a [`Channel`](crate::Channel)
//! of it, stays deleted. An auto-delete exchange is taken to go with the last binding that the client takes
//! from it: where others have bound it, declare it again. What the broker refuses to declare again is told
//! by [`Event::NotRecovered`](crate::Event::NotRecovered),
//! and does not hold up the rest. A queue of our own last connection can stay locked until the
//! broker has noticed its end; it is tried for as long as that can take.
//!
//! Then consumers, each for itself, and then producers. [`Channel`](crate::Channel)s that you drive
//! yourself do not come back.
//!
//! [`Event::Recovered`](crate::Event::Recovered) does not wait for a queue that is locked, or a
//! consumer that is refused for now, nor for one that the broker does not answer: once it has answered none
//! for a second, calls and publishing go on without those. What is missing was told before it by
//! [`Event::Delayed`](crate::Event::Delayed), and [`Event::Restored`](crate::Event::Restored) follows
//! for each.
//!
//! What costs the whole connection is not done again and again: a call fails at once, and so does a
//! consumer that is new. What was there before is given up when it has cost three connections in a
//! row: a declaration is left out of the recovery and tried once more at the next reconnect, a
//! consumer ends. Both are told by [`Event::NotRecovered`](crate::Event::NotRecovered).
//!
//! # What each setting changes
//!
//! | setting | more | less |
//! |---|---|---|
//! | [`capacity`](crate::ProducerBuilder::capacity), [`capacity_bytes`](crate::ProducerBuilder::capacity_bytes) | a longer outage is ridden through; more to send again, and more that can be a duplicate | less memory |
//! | [`policy`](crate::ProducerBuilder::policy) | `Block` loses nothing and waits | `Error` leaves it to you; `DropOldest` loses the oldest and says so |
//! | [`max_age`](crate::ProducerBuilder::max_age) | a longer outage is ridden through | what is of no use any more is not sent, and its place is free |
//! | [`prefetch`](crate::ConsumerBuilder::prefetch) | throughput | fewer messages delivered again after a cut |
//! | [`capacity_bytes`](crate::ConsumerBuilder::capacity_bytes) of a consumer | fewer messages that are delivered again, or dropped, because it was behind | less memory |
//! | [`max_message_size`](crate::ClientBuilder::max_message_size) | fewer messages are refused | less memory for one message |
//! | [`heartbeat`](crate::ClientBuilder::heartbeat) | fewer false alarms | a dead peer is noticed sooner |
//! | [`Reconnect::max_delay`](crate::Reconnect::max_delay) | gentler on a broker that comes up | back sooner |
//! | [`close_timeout`](crate::ClientBuilder::close_timeout) | more is settled before a close | a close is sooner through, and reports more as undelivered |
