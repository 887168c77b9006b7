use snowshoe_codec::method::exchange;
use snowshoe_codec::{FieldTable, ReplyCode, ShortString};

use super::Request;
use crate::testing::broker::duplicates::Duplicates;
use crate::testing::broker::equivalence::{check_argument, check_field, plain};
use crate::testing::broker::exchange::{
    Binding, DELAYED, Destination, Exchange, ExchangeKind, type_name as type_of_exchange,
};
use crate::testing::broker::manner::Manner;
use crate::testing::broker::queue::type_name;
use crate::testing::broker::refusal::{Refusal, named};

impl Request<'_> {
    pub(super) fn declare_exchange(
        &mut self,
        declare: exchange::Declare,
    ) -> Result<exchange::DeclareOk, Refusal> {
        let name = declare.exchange.clone();
        if name.is_empty() {
            return Err(Refusal::default_exchange());
        }
        if declare.passive {
            self.host.exchange(&name)?;
            return Ok(exchange::DeclareOk);
        }
        // LavinMQ has them built in (its documentation).
        let delays = declare.kind.as_bytes() == DELAYED.as_bytes() && self.manner.is_lavin();
        let kind = match delays {
            true => kind_of_delayed(&declare.arguments)?,
            false => declare.kind.clone(),
        };
        let kind = ExchangeKind::of_name(&kind).ok_or_else(|| {
            let text = format!("unknown exchange type '{kind}'");
            match self.manner.is_rabbit_4() {
                true => Refusal::precondition(text),
                false => Refusal::new(ReplyCode::COMMAND_INVALID, text),
            }
        })?;
        if let Ok(existing) = self.host.exchange(&name) {
            let what = named("exchange", &self.host.name, &name);
            let received = type_of_exchange(kind, delays);
            check_equivalence(&what, existing, &declare, received, self.manner)?;
        } else {
            if name.as_bytes().starts_with(b"amq.") {
                return Err(reserved("exchange", &name));
            }
            let exchange = Exchange {
                kind,
                delays,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                duplicates: Duplicates::of(&declare.arguments, self.manner),
                arguments: declare.arguments,
                bindings: Vec::new(),
            };
            self.host.add_exchange(name, exchange);
        }
        Ok(exchange::DeclareOk)
    }

    pub(super) fn delete_exchange(
        &mut self,
        delete: &exchange::Delete,
    ) -> Result<exchange::DeleteOk, Refusal> {
        let name = &delete.exchange;
        if name.is_empty() {
            return Err(Refusal::default_exchange());
        }
        let what = named("exchange", &self.host.name, name);
        if name.as_bytes().starts_with(b"amq.") {
            return Err(Refusal::access(format_args!(
                "deletion of system {what} not allowed"
            )));
        }
        let used = |exchange: &Exchange| !exchange.bindings.is_empty();
        if delete.if_unused && self.host.exchange(name).is_ok_and(used) {
            return Err(Refusal::precondition(format_args!("{what} in use")));
        }
        self.host.remove_exchange(name);
        Ok(exchange::DeleteOk)
    }

    pub(super) fn bind_exchange(
        &mut self,
        bind: exchange::Bind,
    ) -> Result<exchange::BindOk, Refusal> {
        self.check_binding(&bind.source, Some(&bind.destination), true)?;
        let binding = Binding {
            destination: Destination::Exchange(bind.destination),
            routing_key: bind.routing_key,
            arguments: bind.arguments,
        };
        self.bind(&bind.source, binding)?;
        Ok(exchange::BindOk)
    }

    pub(super) fn unbind_exchange(
        &mut self,
        unbind: exchange::Unbind,
    ) -> Result<exchange::UnbindOk, Refusal> {
        self.check_binding(&unbind.source, Some(&unbind.destination), false)?;
        let binding = Binding {
            destination: Destination::Exchange(unbind.destination),
            routing_key: unbind.routing_key,
            arguments: unbind.arguments,
        };
        self.host.unbind(&unbind.source, &binding);
        Ok(exchange::UnbindOk)
    }

    /// Binds something that is there to an exchange that is there.
    pub(super) fn bind(&mut self, source: &ShortString, binding: Binding) -> Result<(), Refusal> {
        if self.host.exchange(source)?.kind == ExchangeKind::Headers {
            check_match(&binding.arguments)?;
        }
        self.host.bind(source, binding);
        Ok(())
    }

    /// Whether a binding may be made or undone between these exchanges. What does not exist has
    /// no bindings to be undone.
    pub(super) fn check_binding(
        &self,
        source: &ShortString,
        destination: Option<&ShortString>,
        make: bool,
    ) -> Result<(), Refusal> {
        let exchanges = [Some(source), destination];
        let mut exchanges = exchanges.into_iter().flatten();
        if exchanges.clone().any(ShortString::is_empty) {
            return Err(Refusal::default_exchange());
        }
        if make {
            exchanges.try_for_each(|name| self.host.exchange(name).map(|_| ()))?;
        }
        Ok(())
    }
}

pub(super) fn reserved(kind: &str, name: &ShortString) -> Refusal {
    Refusal::access(format_args!(
        "{kind} name '{name}' contains reserved prefix 'amq.*'"
    ))
}

/// How an exchange routes that delays.
fn kind_of_delayed(arguments: &FieldTable) -> Result<ShortString, Refusal> {
    let kind = arguments.get("x-delayed-type").ok().flatten();
    let kind = kind.and_then(|it| ShortString::try_from(it.as_str()?.to_owned()).ok());
    kind.ok_or_else(|| Refusal::precondition("missing argument 'x-delayed-type'"))
}

fn check_equivalence(
    what: &str,
    existing: &Exchange,
    declare: &exchange::Declare,
    kind: &str,
    manner: Manner,
) -> Result<(), Refusal> {
    check_field(what, "type", kind, existing.type_name())?;
    check_field(what, "durable", declare.durable, existing.durable)?;
    check_field(
        what,
        "auto_delete",
        declare.auto_delete,
        existing.auto_delete,
    )?;
    check_field(what, "internal", declare.internal, existing.internal)?;
    check_argument(
        what,
        "alternate-exchange",
        &declare.arguments,
        &existing.arguments,
        manner,
    )
}

/// Whether a binding to a headers exchange says in a known way what is to match.
fn check_match(arguments: &FieldTable) -> Result<(), Refusal> {
    use snowshoe_codec::FieldValue::LongString;
    match arguments.get("x-match").ok().flatten() {
        None | Some(LongString(b"all" | b"any" | b"all-with-x" | b"any-with-x")) => Ok(()),
        Some(LongString(other)) => Err(Refusal::precondition(format_args!(
            "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
            String::from_utf8_lossy(other)
        ))),
        Some(other) => Err(Refusal::precondition(format_args!(
            "Invalid x-match field type {} (value {}); expected longstr",
            type_name(other),
            plain(other)
        ))),
    }
}
