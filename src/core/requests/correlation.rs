//! By which text an answer is told from all others.

use snowshoe_codec::ShortString;

use super::RequestId;

/// Makes the correlation ids of one requester, and reads them.
///
/// Each has the requester's own number, by chance, that of the request, and one more by chance: an answer to
/// a request of another client, of a former life of this program, or one that somebody made up, is none to
/// any of its own.
#[derive(Debug)]
pub(super) struct Correlation {
    requester: u64,
    random: fastrand::Rng,
}

/// What of a correlation id is the request's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

impl Correlation {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            requester: random.u64(..),
            random,
        }
    }

    pub(super) fn token(&mut self) -> Token {
        Token(self.random.u64(..))
    }

    pub(super) fn id(&self, request: RequestId, token: Token) -> ShortString {
        let id = format!("{:016x}-{:x}-{:016x}", self.requester, request.0, token.0);
        id.try_into()
            .expect("three numbers are shorter than 255 bytes")
    }

    /// The request and the token in a correlation id, if it is one of this requester's.
    pub(super) fn read(&self, id: &[u8]) -> Option<(RequestId, Token)> {
        let mut parts = std::str::from_utf8(id).ok()?.split('-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (requester, request, token) = (number()?, number()?, number()?);
        let is_its_own = requester == self.requester && parts.next().is_none();
        is_its_own.then_some((RequestId(request), Token(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_read_by_its_own_requester_alone() {
        let (mut one, other) = (Correlation::new(1), Correlation::new(2));
        let (request, token) = (RequestId(7), one.token());
        let id = one.id(request, token);
        assert_eq!(one.read(id.as_bytes()), Some((request, token)));
        assert_eq!(other.read(id.as_bytes()), None);
        for nonsense in ["", "7", "--", "a-b-c-d", "\u{e9}-1-1"] {
            assert_eq!(one.read(nonsense.as_bytes()), None, "{nonsense}");
        }
        let longer = format!("{id}-0");
        assert_eq!(one.read(longer.as_bytes()), None);
    }
}
