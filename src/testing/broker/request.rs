//! What a client asks for, and how it is done or refused.

mod consuming;
mod exchanges;
mod publishing;
mod queues;
mod settling;

use std::time::Instant;

use snowshoe_codec::method::{access, basic, channel, confirm, tx};
use snowshoe_codec::{ChannelId, Method, ReplyCode, ShortString};

use super::ConnectionId;
use super::channel::{Channel, Mode, Transaction};
use super::client::Client;
use super::manner::Manner;
use super::refusal::Refusal;
use super::vhost::VirtualHost;

/// One method on its way: who sent it, and what it is about.
pub(super) struct Request<'a> {
    pub(super) now: Instant,
    pub(super) from: ConnectionId,
    pub(super) channel: ChannelId,
    pub(super) client: &'a mut Client,
    pub(super) host: &'a mut VirtualHost,
    pub(super) manner: Manner,
    /// The time of day, in seconds since 1970.
    pub(super) unix_time: u64,
    /// What names are made up of.
    pub(super) names: &'a mut fastrand::Rng,
}

impl Request<'_> {
    /// Does what the method says; the answer, if there is one.
    pub(super) fn perform(&mut self, method: Method) -> Result<Option<Method>, Refusal> {
        let answer = match method {
            Method::ExchangeDeclare(declare) => self.declare_exchange(declare)?.into(),
            Method::ExchangeDelete(delete) => self.delete_exchange(&delete)?.into(),
            Method::ExchangeBind(bind) => self.bind_exchange(bind)?.into(),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(unbind)?.into(),
            Method::QueueDeclare(declare) => self.declare_queue(declare)?.into(),
            Method::QueueBind(bind) => self.bind_queue(bind)?.into(),
            Method::QueueUnbind(unbind) => self.unbind_queue(unbind)?.into(),
            Method::QueuePurge(purge) => self.purge(&purge)?.into(),
            Method::QueueDelete(delete) => self.delete_queue(&delete)?.into(),
            Method::BasicQos(qos) => self.qos(&qos)?.into(),
            Method::BasicConsume(consume) => self.consume(consume)?.into(),
            Method::BasicCancel(cancel) => self.cancel(cancel).into(),
            Method::BasicGet(get) => return self.get(&get),
            Method::BasicAck(_) | Method::BasicNack(_) | Method::BasicReject(_) => {
                self.settle(&method)?;
                return Ok(None);
            }
            Method::BasicRecover(basic::Recover { requeue }) => {
                self.recover(requeue)?;
                basic::RecoverOk.into()
            }
            Method::BasicRecoverAsync(basic::RecoverAsync { requeue }) => {
                self.recover(requeue)?;
                return Ok(None);
            }
            Method::ConfirmSelect(_) => self.select_confirms()?.into(),
            Method::TxSelect(_) => self.select_transactions()?.into(),
            Method::TxCommit(_) => self.commit()?.into(),
            Method::TxRollback(_) => self.roll_back()?.into(),
            Method::ChannelFlow(channel::Flow { active: true }) => {
                channel::FlowOk { active: true }.into()
            }
            Method::ChannelFlow(_) => return Err(Refusal::not_implemented("active=false")),
            Method::AccessRequest(_) => access::RequestOk { ticket: 1 }.into(),
            // The answers to what a server never asks.
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    fn channel(&mut self) -> &mut Channel {
        self.client.channels.entry(self.channel).or_default()
    }

    /// The queue that a method is about: an empty name is that which the channel declared last.
    fn queue_name(&mut self, name: &ShortString) -> Result<ShortString, Refusal> {
        if !name.is_empty() {
            return Ok(name.clone());
        }
        let last = self.channel().last_queue.clone();
        if last.is_empty() {
            return Err(Refusal::new(
                ReplyCode::NOT_FOUND,
                "no previously declared queue",
            ));
        }
        Ok(last)
    }

    /// A name that nothing has yet, as RabbitMQ makes them.
    fn made_up(&mut self, prefix: &str) -> ShortString {
        let mut name = format!("{prefix}-");
        for _ in 0..22 {
            name.push(self.names.alphanumeric());
        }
        ShortString::try_from(name).unwrap_or_default()
    }

    fn select_confirms(&mut self) -> Result<confirm::SelectOk, Refusal> {
        let mode = &mut self.channel().mode;
        match mode {
            Mode::Plain => *mode = Mode::Confirm(Default::default()),
            Mode::Confirm(_) => {}
            Mode::Transaction(_) => {
                let text = "cannot switch from tx to confirm mode";
                return Err(Refusal::precondition(text));
            }
        }
        Ok(confirm::SelectOk)
    }

    fn select_transactions(&mut self) -> Result<tx::SelectOk, Refusal> {
        let mode = &mut self.channel().mode;
        match mode {
            Mode::Plain => *mode = Mode::Transaction(Transaction::default()),
            Mode::Transaction(_) => {}
            Mode::Confirm(_) => {
                let text = "cannot switch from confirm to tx mode";
                return Err(Refusal::precondition(text));
            }
        }
        Ok(tx::SelectOk)
    }

    fn commit(&mut self) -> Result<tx::CommitOk, Refusal> {
        let transaction = self.transaction()?;
        for publish in transaction.publishes {
            self.publish_now(publish);
        }
        for (settle, taken) in transaction.settled {
            self.apply(settle, taken);
        }
        Ok(tx::CommitOk)
    }

    fn roll_back(&mut self) -> Result<tx::RollbackOk, Refusal> {
        for (_, taken) in self.transaction()?.settled {
            self.channel().restore(taken);
        }
        Ok(tx::RollbackOk)
    }

    /// Takes what was done since the last commit.
    fn transaction(&mut self) -> Result<Transaction, Refusal> {
        match &mut self.channel().mode {
            Mode::Transaction(transaction) => Ok(std::mem::take(transaction)),
            _ => Err(Refusal::precondition("channel is not transactional")),
        }
    }
}
