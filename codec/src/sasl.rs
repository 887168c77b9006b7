//! SASL mechanisms: how a client proves who it is (AMQP 0-9-1 §2.2.4, RFC 4422).

use std::fmt;

use crate::table::{FieldTable, TableError};

/// A way to log in.
///
/// A client offers its mechanisms in order of preference; the first one that the server lists is
/// used, and none that it does not list. [`Plain`], [`AmqPlain`] and [`External`] are here; write
/// your own for anything else.
///
/// ```
/// use snowshoe_codec::sasl::{Mechanism, MechanismError};
///
/// /// RabbitMQ's demonstration mechanism: name first, password when asked for it.
/// struct CrDemo { user: String, password: String }
///
/// impl Mechanism for CrDemo {
///     fn name(&self) -> &str { "RABBIT-CR-DEMO" }
///     fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
///         Ok(self.user.clone().into_bytes())
///     }
///     fn respond(&mut self, _challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
///         Ok(format!("My password is {}", self.password).into_bytes())
///     }
/// }
/// ```
pub trait Mechanism: Send {
    /// The registered name, as the server lists it.
    fn name(&self) -> &str;

    /// What connection.start-ok carries.
    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError>;

    /// The answer to a challenge in connection.secure.
    ///
    /// The default refuses, as fits a mechanism of one step.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        let _ = challenge;
        Err(MechanismError::UnexpectedChallenge)
    }
}

impl fmt::Debug for dyn Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name alone: the rest is a secret.
        f.debug_tuple("Mechanism").field(&self.name()).finish()
    }
}

/// Why a mechanism could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MechanismError {
    /// The server sent a challenge to a mechanism of one step.
    #[error("the server sent a challenge that the mechanism does not expect")]
    UnexpectedChallenge,
    /// The user name or the password cannot be written as the mechanism wants it.
    #[error("the credentials cannot be encoded: {0}")]
    Credentials(#[from] TableError),
    /// Anything else; the text must not hold a secret.
    #[error("{0}")]
    Other(String),
}

/// PLAIN (RFC 4616): user name and password in clear text.
#[derive(Clone)]
pub struct Plain {
    user: String,
    password: String,
}

impl Plain {
    /// A login by name and password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }
}

impl Mechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        Ok(format!("\0{}\0{}", self.user, self.password).into_bytes())
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// AMQPLAIN: the same as a field table, from before SASL came to AMQP (RabbitMQ: access control).
#[derive(Clone)]
pub struct AmqPlain {
    user: String,
    password: String,
}

impl AmqPlain {
    /// A login by name and password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }
}

impl Mechanism for AmqPlain {
    fn name(&self) -> &str {
        "AMQPLAIN"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        let table = FieldTable::new()
            .with("LOGIN", &*self.user)?
            .with("PASSWORD", &*self.password)?;
        // The table's fields stand without their length: start-ok's own length delimits them.
        Ok(table.as_bytes().to_vec())
    }
}

impl fmt::Debug for AmqPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqPlain")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// EXTERNAL (RFC 4422 appendix A): the identity comes from elsewhere, from a client certificate
/// as a rule.
#[derive(Clone, Debug, Default)]
pub struct External {
    identity: String,
}

impl External {
    /// The identity that the transport already proves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to act as `identity`.
    pub fn acting_as(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
        }
    }
}

impl Mechanism for External {
    fn name(&self) -> &str {
        "EXTERNAL"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        Ok(self.identity.clone().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_separated_by_nul() {
        assert_eq!(
            Plain::new("guest", "secret").initial_response().unwrap(),
            b"\0guest\0secret"
        );
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let response = AmqPlain::new("u", "pw").initial_response().unwrap();
        assert_eq!(response, b"\x05LOGINS\0\0\0\x01u\x08PASSWORDS\0\0\0\x02pw");
    }

    #[test]
    fn debug_never_shows_a_password() {
        let text = format!(
            "{:?} {:?}",
            Plain::new("u", "pa55"),
            AmqPlain::new("u", "pa55")
        );
        assert!(!text.contains("pa55"));
    }
}
