use std::fmt;

use bytes::Bytes;
use snowshoe_codec as codec;
use snowshoe_codec::{PropertiesError, PropertiesRef};

/// The answer to a request.
#[derive(Clone)]
pub struct Reply {
    content: codec::Content,
}

impl Reply {
    pub(super) fn new(content: codec::Content) -> Self {
        Self { content }
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.content.body()
    }

    /// The body as shared bytes, without a copy; what they keep is what those of a
    /// [delivery](crate::Delivery::body_bytes) do.
    pub fn body_bytes(&self) -> Bytes {
        self.content.body_bytes()
    }

    /// The properties.
    ///
    /// # Errors
    /// Brokers pass on whatever a publisher wrote, malformed properties, too.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        self.content.properties()
    }

    /// The message as the codec has it.
    pub fn content(&self) -> &codec::Content {
        &self.content
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Reply")
            .field("body_len", &self.body().len())
            .finish_non_exhaustive()
    }
}
