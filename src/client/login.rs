//! The ways to log in that a URI can ask for.

use snowshoe_codec::sasl::{AmqPlain, External, Mechanism, MechanismError};

use crate::error::Error;
use crate::uri::Password;

/// A way to log in that a URI can ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum AuthMechanism {
    Plain,
    AmqPlain,
    External,
}

impl AuthMechanism {
    pub(super) fn named(name: &str) -> Result<Self, Error> {
        match name {
            "PLAIN" => Ok(Self::Plain),
            "AMQPLAIN" => Ok(Self::AmqPlain),
            "EXTERNAL" => Ok(Self::External),
            _ => Err(Error::UnknownMechanism(name.to_owned())),
        }
    }
}

/// The ways to log in that a URI allows, best first; PLAIN where it names none.
pub(super) fn log_in_by(
    mechanisms: &[AuthMechanism],
    user: &str,
    password: &Password,
) -> Vec<Box<dyn Mechanism>> {
    let make = |mechanism: &AuthMechanism| -> Box<dyn Mechanism> {
        match mechanism {
            AuthMechanism::Plain => Box::new(Plain::new(user, password)),
            AuthMechanism::AmqPlain => Box::new(AmqPlain::new(user, password.expose())),
            AuthMechanism::External => Box::new(External::new()),
        }
    };
    match mechanisms {
        [] => vec![make(&AuthMechanism::Plain)],
        named => named.iter().map(make).collect(),
    }
}

/// PLAIN (RFC 4616), over a password that lives in wiped memory.
struct Plain {
    user: String,
    password: Password,
}

impl Plain {
    fn new(user: &str, password: &Password) -> Self {
        Self {
            user: user.to_owned(),
            password: password.clone(),
        }
    }
}

impl Mechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        Ok(format!("\0{}\0{}", self.user, self.password.expose()).into_bytes())
    }
}
