//! Whose cryptography it is.

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// That of the features, by name. What the process has by default is not asked, and is not set: it is somebody
/// else's, and where several are compiled in, there is none.
pub(super) fn of_the_features() -> io::Result<Arc<CryptoProvider>> {
    #[cfg(feature = "tls-aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "tls", not(feature = "tls-aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "TLS has no cryptography: turn on the feature \"tls\" (ring) or \"tls-aws-lc-rs\", or give one to a \
         TlsConnector by its builder",
    ))
}

#[cfg(all(test, any(feature = "tls", feature = "tls-aws-lc-rs")))]
mod tests {
    use super::*;

    #[test]
    fn where_both_are_compiled_in_it_is_that_of_aws_lc_rs() {
        let provider = of_the_features().expect("there is one");
        let text = format!("{:?}", provider.key_provider);
        let expected = match cfg!(feature = "tls-aws-lc-rs") {
            true => "AwsLcRs",
            false => "Ring",
        };
        assert_eq!(text, expected);
    }
}
