//! Methods and messages by script: few names, so that they meet, and all the arguments that matter.

use bytes::Bytes;
use snowshoe::codec::method::{access, basic, channel, confirm, connection, exchange, queue, tx};
use snowshoe::codec::{
    FieldArray, FieldTable, FieldValue, Method, Properties, ReplyCode, ShortString, TableError,
};

use crate::script::Script;

pub(crate) fn name(script: &mut Script<'_>) -> ShortString {
    const NAMES: [&str; 7] = ["", "a", "b", "c", "amq.topic", "amq.fanout", "amq.gen-x"];
    ShortString::from_static(script.choose(&NAMES))
}

pub(crate) fn reply_code(script: &mut Script<'_>) -> ReplyCode {
    ReplyCode(script.choose(&[200, 320, 404, 405, 406, 501, 504, 530, 541, 0]))
}

/// Arguments of queues, exchanges, bindings and consumers alike: brokers pass over what is not
/// theirs.
pub(crate) fn arguments(script: &mut Script<'_>) -> FieldTable {
    let mut table = FieldTable::new();
    for _ in 0..script.below(4) {
        insert(script, &mut table).expect("short names and values can be encoded");
    }
    table
}

fn insert<'t>(
    script: &mut Script<'_>,
    table: &'t mut FieldTable,
) -> Result<&'t mut FieldTable, TableError> {
    let which = script.below(14);
    let small = i64::from(script.below(4));
    let other = name(script);
    let other = FieldValue::LongString(other.as_bytes());
    match which {
        0 => table.insert("x-max-length", small),
        1 => table.insert("x-max-length-bytes", small),
        2 => table.insert("x-message-ttl", small * 20),
        3 => table.insert("x-expires", small * 50),
        4 => table.insert("x-dead-letter-exchange", other),
        5 => table.insert("x-dead-letter-routing-key", other),
        6 => {
            const WAYS: [&str; 3] = ["reject-publish", "reject-publish-dlx", "drop-head"];
            table.insert("x-overflow", script.choose(&WAYS))
        }
        7 => table.insert("x-single-active-consumer", small > 0),
        8 => table.insert("x-max-priority", small),
        9 => table.insert("x-queue-type", script.choose(&["quorum", "classic"])),
        10 => table.insert("x-delivery-limit", small),
        11 => table.insert("x-match", script.choose(&["any", "all"])),
        12 => table.insert("x-priority", small),
        _ => table.insert("alternate-exchange", other),
    }
}

/// Properties, well-formed as a rule.
pub(crate) fn properties(script: &mut Script<'_>) -> Properties {
    let builder = Properties::builder();
    let built = match script.below(8) {
        0..4 => return Properties::EMPTY,
        4 => {
            let millis = script.below(50).to_string();
            builder.expiration(millis).persistent().build()
        }
        5 => builder.priority(script.byte()).build(),
        6 => {
            let keys = FieldArray::new().with("a");
            let keys = keys.expect("a short text can be encoded");
            let name = script.choose(&["CC", "BCC", "k"]);
            builder.header(name, &keys).build()
        }
        _ => {
            let len = script.below(20).into();
            return Properties::from_encoded(Bytes::copy_from_slice(script.bytes(len)));
        }
    };
    built.expect("small properties can be encoded")
}

/// What a client can say on an open channel, apart from messages.
pub(crate) fn request(script: &mut Script<'_>) -> Method {
    match script.below(6) {
        0 => declaration(script),
        1 => binding(script),
        2 => removal(script),
        3 => consuming(script),
        4 => settling(script),
        _ => mode(script),
    }
}

fn declaration(script: &mut Script<'_>) -> Method {
    let is_queue = script.below(3) > 0;
    let [passive, durable, exclusive, auto_delete] = script.flags();
    // A passive declaration that is not meant as one spoils most of what is to come.
    let passive = passive && script.flag();
    let nowait = script.below(8) == 7;
    if is_queue {
        let declare = queue::Declare {
            queue: name(script),
            passive,
            durable,
            exclusive,
            auto_delete,
            nowait,
            arguments: arguments(script),
            ..Default::default()
        };
        return declare.into();
    }
    const KINDS: [&str; 5] = ["direct", "fanout", "topic", "headers", "magic"];
    let declare = exchange::Declare {
        exchange: name(script),
        kind: ShortString::from_static(script.choose(&KINDS)),
        passive,
        durable,
        auto_delete,
        internal: exclusive,
        nowait,
        arguments: arguments(script),
        ..Default::default()
    };
    declare.into()
}

fn binding(script: &mut Script<'_>) -> Method {
    let which = script.below(6);
    let (one, other, routing_key) = (name(script), name(script), name(script));
    let (nowait, arguments) = (false, arguments(script));
    match which {
        0..3 => queue::Bind {
            queue: one,
            exchange: other,
            routing_key,
            nowait,
            arguments,
            ..Default::default()
        }
        .into(),
        3 => queue::Unbind {
            queue: one,
            exchange: other,
            routing_key,
            arguments,
            ..Default::default()
        }
        .into(),
        4 => exchange::Bind {
            destination: one,
            source: other,
            routing_key,
            nowait,
            arguments,
            ..Default::default()
        }
        .into(),
        _ => exchange::Unbind {
            destination: one,
            source: other,
            routing_key,
            nowait,
            arguments,
            ..Default::default()
        }
        .into(),
    }
}

fn removal(script: &mut Script<'_>) -> Method {
    let which = script.below(3);
    let name = name(script);
    let [if_unused, if_empty, nowait, _] = script.flags();
    match which {
        0 => queue::Delete {
            queue: name,
            if_unused,
            if_empty,
            nowait,
            ..Default::default()
        }
        .into(),
        1 => queue::Purge {
            queue: name,
            nowait,
            ..Default::default()
        }
        .into(),
        _ => exchange::Delete {
            exchange: name,
            if_unused,
            nowait,
            ..Default::default()
        }
        .into(),
    }
}

fn consuming(script: &mut Script<'_>) -> Method {
    match script.below(6) {
        0..3 => {
            let [no_ack, exclusive, no_local, nowait] = script.flags();
            basic::Consume {
                queue: name(script),
                consumer_tag: name(script),
                no_ack,
                exclusive: exclusive && no_local,
                no_local,
                nowait: nowait && exclusive,
                arguments: arguments(script),
                ..Default::default()
            }
            .into()
        }
        3 => basic::Cancel {
            consumer_tag: name(script),
            nowait: script.flag(),
        }
        .into(),
        4 => basic::Get {
            queue: name(script),
            no_ack: script.flag(),
            ..Default::default()
        }
        .into(),
        _ => {
            let global = script.flag();
            basic::Qos {
                prefetch_size: 0,
                prefetch_count: script.below(4).into(),
                global,
            }
            .into()
        }
    }
}

pub(crate) fn settling(script: &mut Script<'_>) -> Method {
    let which = script.below(5);
    let delivery_tag = script.number();
    let [multiple, requeue, ..] = script.flags();
    match which {
        0 | 1 => basic::Ack {
            delivery_tag,
            multiple,
        }
        .into(),
        2 => basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        }
        .into(),
        3 => basic::Reject {
            delivery_tag,
            requeue,
        }
        .into(),
        _ => basic::Recover { requeue: true }.into(),
    }
}

fn mode(script: &mut Script<'_>) -> Method {
    match script.below(10) {
        0..3 => confirm::Select {
            nowait: script.flag(),
        }
        .into(),
        3 => tx::Select.into(),
        4 => tx::Commit.into(),
        5 => tx::Rollback.into(),
        6 => channel::Flow {
            active: script.flag(),
        }
        .into(),
        7 => access::Request::default().into(),
        8 => channel::FlowOk {
            active: script.flag(),
        }
        .into(),
        _ => basic::RecoverAsync {
            requeue: script.flag(),
        }
        .into(),
    }
}

/// What a server answers that does as it is told.
pub(crate) fn usual_reply(method: &Method) -> Option<Method> {
    Some(match method {
        Method::ExchangeDeclare(_) => exchange::DeclareOk.into(),
        Method::ExchangeDelete(_) => exchange::DeleteOk.into(),
        Method::ExchangeBind(_) => exchange::BindOk.into(),
        Method::ExchangeUnbind(_) => exchange::UnbindOk.into(),
        Method::QueueDeclare(declare) => {
            let mut queue = declare.queue.clone();
            if queue.is_empty() {
                queue = ShortString::from_static("amq.gen-x");
            }
            queue::DeclareOk {
                queue,
                ..Default::default()
            }
            .into()
        }
        Method::QueueBind(_) => queue::BindOk.into(),
        Method::QueueUnbind(_) => queue::UnbindOk.into(),
        Method::QueuePurge(_) => queue::PurgeOk::default().into(),
        Method::QueueDelete(_) => queue::DeleteOk::default().into(),
        Method::BasicQos(_) => basic::QosOk.into(),
        Method::BasicConsume(consume) => basic::ConsumeOk {
            consumer_tag: consume.consumer_tag.clone(),
        }
        .into(),
        Method::BasicCancel(cancel) => basic::CancelOk {
            consumer_tag: cancel.consumer_tag.clone(),
        }
        .into(),
        Method::BasicGet(_) => basic::GetEmpty::default().into(),
        Method::BasicRecover(_) => basic::RecoverOk.into(),
        Method::ConfirmSelect(_) => confirm::SelectOk.into(),
        Method::TxSelect(_) => tx::SelectOk.into(),
        Method::TxCommit(_) => tx::CommitOk.into(),
        Method::TxRollback(_) => tx::RollbackOk.into(),
        Method::ChannelFlow(channel::Flow { active }) => channel::FlowOk { active: *active }.into(),
        Method::AccessRequest(_) => access::RequestOk::default().into(),
        _ => return None,
    })
}

/// What a server can say on an open channel, asked or not, apart from messages.
pub(crate) fn reply(script: &mut Script<'_>) -> Method {
    let which = script.below(24);
    let name = name(script);
    match which {
        0 => exchange::DeclareOk.into(),
        1 => exchange::DeleteOk.into(),
        2 => exchange::BindOk.into(),
        3 => exchange::UnbindOk.into(),
        4 => queue::DeclareOk {
            queue: name,
            ..Default::default()
        }
        .into(),
        5 => queue::BindOk.into(),
        6 => queue::UnbindOk.into(),
        7 => queue::PurgeOk::default().into(),
        8 => queue::DeleteOk::default().into(),
        9 => basic::QosOk.into(),
        10 => basic::ConsumeOk { consumer_tag: name }.into(),
        11 => basic::CancelOk { consumer_tag: name }.into(),
        12 => basic::GetEmpty::default().into(),
        13 => basic::RecoverOk.into(),
        14 => confirm::SelectOk.into(),
        15 => tx::SelectOk.into(),
        16 => tx::CommitOk.into(),
        17 => tx::RollbackOk.into(),
        18 => access::RequestOk::default().into(),
        19 => channel::Flow {
            active: script.flag(),
        }
        .into(),
        20 => channel::FlowOk { active: true }.into(),
        21 => basic::Cancel {
            consumer_tag: name,
            nowait: script.flag(),
        }
        .into(),
        22 => basic::Ack {
            delivery_tag: script.number(),
            multiple: script.flag(),
        }
        .into(),
        _ => basic::Nack {
            delivery_tag: script.number(),
            multiple: script.flag(),
            requeue: false,
        }
        .into(),
    }
}

/// What a peer can say about a channel or the connection itself, at the right time or the wrong one.
pub(crate) fn housekeeping(script: &mut Script<'_>) -> Method {
    match script.below(10) {
        0 => channel::Open::default().into(),
        1 => channel::OpenOk::default().into(),
        2 => channel::Close {
            reply_code: reply_code(script),
            ..Default::default()
        }
        .into(),
        3 => channel::CloseOk.into(),
        4 => connection::Close {
            reply_code: reply_code(script),
            ..Default::default()
        }
        .into(),
        5 => connection::CloseOk.into(),
        6 => connection::Blocked::default().into(),
        7 => connection::Unblocked.into(),
        8 => connection::Tune::default().into(),
        _ => connection::OpenOk::default().into(),
    }
}
