//! PLAIN with a password that is wiped.

use snowshoe_codec::sasl::{Mechanism, MechanismError};

use crate::password::Password;

/// PLAIN (RFC 4616), over a password that lives in wiped memory.
pub(crate) struct Plain {
    user: String,
    password: Password,
}

impl Plain {
    pub(crate) fn new(user: &str, password: &Password) -> Self {
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
