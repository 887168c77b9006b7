//! What clients say, and what they leave behind.

use std::time::Instant;

use snowshoe_codec::method::{Arguments, MethodId, basic, connection};
use snowshoe_codec::{
    ChannelId, CloseReason, Event, Excess, FieldTableRef, Method, ReplyCode, Secret, ShortString,
    Violation,
};

use super::channel::{By, Channel, Settle};
use super::manner::Manner;
use super::queue::Subscriber;
use super::refusal::Refusal;
use super::request::Request;
use super::{Broker, ConnectionId, NO_METHOD};

impl Broker {
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.clients.keys().copied().collect()
    }

    pub(super) fn hear(&mut self, now: Instant, id: ConnectionId) {
        while let Some(event) = self
            .clients
            .get_mut(&id)
            .and_then(|client| client.connection.poll_event())
        {
            self.react(now, id, event);
        }
    }

    fn react(&mut self, now: Instant, id: ConnectionId, event: Event) {
        match event {
            Event::Login {
                mechanism,
                response,
            } => self.log_in(now, id, &mechanism, &response),
            Event::OpenRequested { virtual_host } => self.open(now, id, virtual_host),
            Event::ChannelOpen { channel } => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.channels.insert(channel, Channel::default());
                }
            }
            Event::ChannelClosed { channel, .. } => self.bury_channel(now, id, channel),
            Event::Closed(reason) => {
                let is_exceeded = matches!(
                    reason,
                    CloseReason::Violation(Violation::TuneExceeded { .. })
                );
                // RabbitMQ resets, and LavinMQ says why (3.10.8, 2.9.1).
                if is_exceeded
                    && self.options.manner != Manner::LavinMq
                    && let Some(client) = self.clients.get_mut(&id)
                {
                    client.connection.transport_ended();
                }
                self.bury_client(now, id);
            }
            Event::Request {
                channel: ChannelId(0),
                ..
            } => {
                if let Some(client) = self.clients.get_mut(&id) {
                    let _ = client.connection.send_notice(connection::UpdateSecretOk);
                }
            }
            Event::Request { channel, method } => {
                let method_id = method.id();
                if let Err(refusal) = self.request(now, id, channel, *method) {
                    self.refuse(now, id, channel, &refusal, method_id);
                }
            }
            Event::Published { channel, published } => {
                let refused = self.low_disk();
                let refused = refused.or_else(|| self.take_publish_fault(&published));
                let publish = |mut request: Request<'_>| match refused {
                    Some(refusal) => Err(refusal),
                    None => request.publish(&published),
                };
                if let Some(Err(refusal)) = self.with_request(now, id, channel, publish) {
                    self.refuse(now, id, channel, &refusal, basic::Publish::ID);
                }
            }
            Event::Oversized { channel, oversized } => {
                let refusal = match oversized.excess {
                    // As RabbitMQ says it (`rabbit_channel:check_msg_size`).
                    Excess::Body { size, limit } => Refusal::precondition(format_args!(
                        "message size {size} is larger than configured max size {limit}"
                    )),
                    excess => Refusal::new(ReplyCode::FRAME_ERROR, excess),
                };
                self.refuse(now, id, channel, &refusal, basic::Publish::ID);
            }
            _ => {}
        }
    }

    /// What LavinMQ says to publishes and declarations while it is short of disk, instead of reading
    /// publishers no more.
    fn low_disk(&self) -> Option<Refusal> {
        let is_short = self.blocked.is_some() && self.options.manner.is_lavin();
        is_short.then(|| Refusal::precondition("Server low on disk space"))
    }

    fn log_in(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mechanism: &ShortString,
        response: &Secret,
    ) {
        let login = login(mechanism, response).filter(|login| self.options.users.contains(login));
        match (login, self.clients.get_mut(&id)) {
            (Some((user, _)), Some(client)) => {
                client.user = user;
                client.connection.accept_login();
            }
            (None, Some(client)) if !client.is_capable_of("authentication_failure_close") => {
                client.connection.transport_ended();
            }
            _ => {
                let refusal = Refusal::access(format_args!(
                    "Login was refused using authentication mechanism {mechanism}. For details see \
                     the broker logfile."
                ));
                self.refuse(now, id, ChannelId(0), &refusal, NO_METHOD);
            }
        }
    }

    fn open(&mut self, now: Instant, id: ConnectionId, virtual_host: ShortString) {
        let least = self.options.manner.min_frame_max();
        let least = least.min(self.options.limits.frame_max);
        if let Some(client) = self.clients.get_mut(&id)
            && client.connection.tuning().frame_max < least
        {
            // RabbitMQ says nothing before it is open, for some time, and then hangs up (4.3.6).
            client.cut_at = now.checked_add(Manner::SILENCE);
            return;
        }
        if let Some(refusal) = self.take_open_fault() {
            self.refuse(now, id, ChannelId(0), &refusal, connection::Open::ID);
        } else if self.hosts.contains_key(&virtual_host) {
            if let Some(client) = self.clients.get_mut(&id) {
                client.virtual_host = virtual_host;
                client.connection.accept_open();
            }
        } else {
            let text = format!("vhost {virtual_host} not found");
            let refusal = Refusal::new(ReplyCode::NOT_ALLOWED, text);
            self.refuse(now, id, ChannelId(0), &refusal, connection::Open::ID);
        }
    }

    fn request(
        &mut self,
        now: Instant,
        id: ConnectionId,
        channel: ChannelId,
        method: Method,
    ) -> Result<(), Refusal> {
        let declares = matches!(method, Method::QueueDeclare(_) | Method::ExchangeDeclare(_));
        let short = self.low_disk().filter(|_| declares);
        if let Some(refusal) = short.or_else(|| self.take_fault(&method)) {
            return Err(refusal);
        }
        let quiet = method.is_nowait();
        let perform = |mut request: Request<'_>| request.perform(method);
        let answer = self.with_request(now, id, channel, perform);
        if let Some(answer) = answer.transpose()?.flatten().filter(|_| !quiet)
            && let Some(client) = self.clients.get_mut(&id)
        {
            client.send(now, channel, answer);
        }
        Ok(())
    }

    /// Does something on a channel, if it is open.
    fn with_request<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        channel: ChannelId,
        act: impl FnOnce(Request<'_>) -> T,
    ) -> Option<T> {
        let unix_time = self.unix_time(now);
        let client = self.clients.get_mut(&id)?;
        let is_open = client.connection.channel(channel)?.is_open();
        let host = self.hosts.get_mut(&client.virtual_host)?;
        let request = Request {
            now,
            from: id,
            channel,
            client,
            host,
            manner: self.options.manner,
            unix_time,
            names: &mut self.names,
        };
        is_open.then(|| act(request))
    }

    /// Whether a client's next channel would be one more than its user may have, after which its connection
    /// is closed.
    ///
    /// RabbitMQ does so where a user has a limit (`max-channels`), and names no method (seen on 3.10.8).
    pub(super) fn refuse_channel(&mut self, now: Instant, id: ConnectionId) -> bool {
        let user = self.clients.get(&id).map(|client| client.user.clone());
        let theirs = self
            .clients
            .values()
            .filter(|client| Some(&client.user) == user.as_ref());
        let open: usize = theirs.map(|client| client.channels.len()).sum();
        let Some(most) = self.max_channels.filter(|most| open >= *most) else {
            return false;
        };
        let user = user.unwrap_or_default();
        let refusal = Refusal::new(
            ReplyCode::NOT_ALLOWED,
            format_args!(
                "number of channels opened for user '{user}' has reached the maximum allowed user \
                 limit of ({most})"
            ),
        );
        self.refuse(now, id, ChannelId(0), &refusal, NO_METHOD);
        true
    }

    /// Closes the channel or the connection over what is refused.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        id: ConnectionId,
        channel: ChannelId,
        refusal: &Refusal,
        method: MethodId,
    ) {
        if !self.options.manner.is_lavin() {
            self.flush_confirms();
        }
        let method = match refusal.names_method() {
            true => method,
            false => NO_METHOD,
        };
        if refusal.is_soft() && channel != ChannelId(0) {
            if let Some(mut channel) = self
                .clients
                .get_mut(&id)
                .and_then(|client| client.connection.channel(channel))
            {
                let _ = channel.close_over(now, refusal.code, refusal.text(), method);
            }
            self.bury_channel(now, id, channel);
        } else {
            if let Some(client) = self.clients.get_mut(&id) {
                let connection = &mut client.connection;
                connection.close_over(now, refusal.code, refusal.text(), method);
            }
            self.bury_client(now, id);
        }
    }

    /// Clears away what a channel leaves behind: its consumers end, and what it did not acknowledge
    /// goes back.
    fn bury_channel(&mut self, now: Instant, id: ConnectionId, number: ChannelId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let (Some(mut channel), Some(host)) = (
            client.channels.remove(&number),
            self.hosts.get_mut(&client.virtual_host),
        ) else {
            return;
        };
        host.settle(now, Settle::Abandon, channel.take_everything());
        if let Some((address, _)) = &channel.replies {
            host.replies.remove(address);
        }
        for consumer in channel.consumers.values() {
            host.unsubscribe(now, consumer.queue, |other| {
                other.connection == id && other.channel == number
            });
            host.stir(consumer.queue);
        }
    }

    /// Gives back what a consumer has that took too long, or what was fetched, and tells it. Whether there
    /// is one to be told.
    pub(super) fn end_overdue(
        &mut self,
        now: Instant,
        id: ConnectionId,
        number: ChannelId,
        tag: Option<&ShortString>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        let (Some(channel), Some(host)) = (
            client.channels.get_mut(&number),
            self.hosts.get_mut(&client.virtual_host),
        ) else {
            return false;
        };
        // It counts as what a client gives back by basic.nack (seen on 4.3.6).
        host.settle(now, Settle::Requeue(By::Nack), channel.give_up(tag));
        let Some((tag, consumer)) = tag.and_then(|tag| channel.consumers.get_key_value(tag)) else {
            return false;
        };
        // It is told that it is no more, and yet there: its tag is taken, and it gets more once it has
        // settled what it had (seen on 4.3.6).
        let is_meant = |other: &Subscriber| {
            other.connection == id && other.channel == number && other.tag == *tag
        };
        if let Some(queue) = host.queue_mut(consumer.queue) {
            queue.hand_over(is_meant);
        }
        let tag = tag.clone();
        client.tell_cancelled(now, number, tag);
        true
    }

    /// Clears away what a connection leaves behind: its channels, and its exclusive queues.
    pub(super) fn bury_client(&mut self, now: Instant, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut client.is_gone, true) {
            return;
        }
        client.is_blocked = false;
        let virtual_host = client.virtual_host.clone();
        let channels: Vec<_> = client.channels.keys().copied().collect();
        for channel in channels {
            self.bury_channel(now, id, channel);
        }
        if let Some(host) = self.hosts.get_mut(&virtual_host) {
            let own = host.queues().filter(|(_, queue)| queue.owner == Some(id));
            for queue in own.map(|(queue, _)| queue).collect::<Vec<_>>() {
                host.remove_queue(queue);
            }
        }
    }

    pub(super) fn flush_confirms(&mut self) {
        for client in self.clients.values_mut() {
            client.flush_confirms(self.options.manner);
        }
    }
}

/// The name and the password that a client logs in with.
fn login(mechanism: &ShortString, response: &Secret) -> Option<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match mechanism.as_bytes() {
        b"PLAIN" => {
            let mut parts = response.as_bytes().split(|byte| *byte == 0);
            let (_identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
            Some((text(user)?, text(password)?))
        }
        b"AMQPLAIN" => {
            let table = FieldTableRef::new(response.as_bytes());
            let get = |name: &str| text(table.get(name).ok()??.as_bytes()?);
            Some((get("LOGIN")?, get("PASSWORD")?))
        }
        _ => None,
    }
}
