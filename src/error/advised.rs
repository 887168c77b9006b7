use std::error;
use std::fmt;
use std::io;

/// A failure of a transport that says itself what to do about it. Its source is the inner cause.
#[derive(Debug)]
pub(crate) struct Advised {
    error: io::Error,
    advice: String,
}

impl Advised {
    /// Adds advice to a failure, which stays of its kind.
    #[cfg_attr(
        not(feature = "tls-no-provider"),
        expect(dead_code, reason = "it is for TLS")
    )]
    pub(crate) fn add(error: io::Error, advice: String) -> io::Error {
        io::Error::new(error.kind(), Self { error, advice })
    }

    /// Whether there is such advice already.
    pub(super) fn is_in(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, advice } = self;
        write!(f, "{error}: {advice}")
    }
}

impl error::Error for Advised {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let inner = self.error.get_ref()?;
        Some(inner)
    }
}
