//! Passwords that do not show up where they should not.

use std::fmt;

use zeroize::Zeroizing;

/// A password. It is not shown by `Debug`, has no `Display`, and its memory is wiped when it is
/// dropped.
///
/// ```
/// let password = snowshoe::Password::from("correct horse");
/// assert_eq!(format!("{password:?}"), "Password(..)");
/// assert_eq!(password.expose(), "correct horse");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The password itself, to log in with.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(Zeroizing::new(password))
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        password.to_owned().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
