use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use snowshoe_codec::sasl::{AmqPlain, External, Mechanism, Plain};

/// What a client logs in with, and for how long that is good.
///
/// It is what providers of credentials give: [`ClientBuilder::credentials`](crate::ClientBuilder::credentials)
/// and, where they have to be fetched,
/// [`credentials_provider`](crate::ClientBuilder::credentials_provider).
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Credentials;
///
/// let token = Credentials::token("eyJhbGciOi…").valid_for(Duration::from_secs(300));
/// let certificate = Credentials::external();
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
pub struct Credentials {
    mechanisms: Vec<Box<dyn Mechanism>>,
    secret: Option<Bytes>,
    validity: Validity,
}

/// For how long credentials are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Unlimited,
    For(Duration),
    Until(SystemTime),
}

impl Credentials {
    /// Logs in by the first of these mechanisms that the broker knows. With a [`secret`](Self::secret)
    /// they can be renewed, too.
    pub fn new(mechanisms: Vec<Box<dyn Mechanism>>) -> Self {
        Self {
            mechanisms,
            secret: None,
            validity: Validity::Unlimited,
        }
    }

    /// PLAIN: a name and a password.
    pub fn plain(user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = password.into();
        let secret = Bytes::from(password.clone());
        Self::new(vec![Box::new(Plain::new(user, password))]).secret(secret)
    }

    /// AMQPLAIN: the same, in a table of AMQP.
    pub fn amqplain(user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = password.into();
        let secret = Bytes::from(password.clone());
        Self::new(vec![Box::new(AmqPlain::new(user, password))]).secret(secret)
    }

    /// EXTERNAL: who the client is has been shown already, by its TLS certificate as a rule.
    ///
    /// RabbitMQ offers it where its plugin `rabbitmq_auth_mechanism_ssl` is on and `EXTERNAL` among its
    /// `auth_mechanisms`. The user has to be there, and is called as the certificate's subject is, in full
    /// (`O=burrow,CN=hare`), or as a part of it, as `ssl_cert_login_from` says. In a URI it is
    /// `auth_mechanism=external`.
    pub fn external() -> Self {
        Self::new(vec![Box::new(External::new())])
    }

    /// A token of OAuth 2, which goes as the password of PLAIN. Brokers take the user from the token; the
    /// name beside it is `oauth2`, and is not looked at.
    ///
    /// It has to be in one frame, and how large that may be is the broker's to say: some 4,000 bytes with RabbitMQ
    /// up to 4.0, and 8,000 since 4.1, unless its `initial_frame_max` is raised. One that is cut off over
    /// that is told so, with its length ([`Hint::LoginTooLong`](crate::Hint::LoginTooLong)).
    pub fn token(token: impl Into<String>) -> Self {
        Self::plain("oauth2", token)
    }

    /// What open connections are told when these replace older ones (connection.update-secret). The
    /// password or token, unless it is set here.
    pub fn secret(mut self, secret: impl Into<Bytes>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// They are good for so long from now on, as `expires_in` of a token's answer says.
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.validity = Validity::For(time);
        self
    }

    /// They are good until this time of day, as `exp` in a token says.
    pub fn valid_until(mut self, time: SystemTime) -> Self {
        self.validity = Validity::Until(time);
        self
    }

    pub(crate) fn into_parts(self) -> (Vec<Box<dyn Mechanism>>, Option<Bytes>, Validity) {
        (self.mechanisms, self.secret, self.validity)
    }
}

impl From<Vec<Box<dyn Mechanism>>> for Credentials {
    fn from(mechanisms: Vec<Box<dyn Mechanism>>) -> Self {
        Self::new(mechanisms)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of a user's is called, and no secret is shown.
        f.debug_struct("Credentials")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Why a provider gives no credentials; its text must not hold a secret.
pub type CredentialsError = Box<dyn Error + Send + Sync>;
