//! By which text an answer is told from all others.

use std::fmt;

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
}

/// Where the numbers come from that nobody else is to know before they are sent. Who answers a request sees its
/// id, and everybody sees what consumers are called: neither may tell anything of another number.
pub struct Chance {
    numbers: Box<dyn Fn(u64) -> u64 + Send + Sync>,
    next: u64,
}

/// What comes next is not for logs.
impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance(…)")
    }
}

impl Chance {
    /// What `numbers` makes of 0, 1 and so on, which nobody is to be able to tell from each other.
    pub fn new(numbers: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        Self {
            numbers: Box::new(numbers),
            next: 0,
        }
    }

    /// The same ones every time, for tests.
    pub fn fixed(seed: u64) -> Self {
        Self::new(move |number| {
            let mut random = fastrand::Rng::with_seed(seed);
            random.u64(..) ^ fastrand::Rng::with_seed(number).u64(..)
        })
    }

    pub fn number(&mut self) -> u64 {
        let number = (self.numbers)(self.next);
        self.next = self.next.wrapping_add(1);
        number
    }
}

/// What of a correlation id is the request's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

impl Token {
    pub(super) fn new(chance: &mut Chance) -> Self {
        Self(chance.number())
    }
}

impl Correlation {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let requester = chance.number();
        Self { requester }
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

    fn correlation(seed: u64) -> (Correlation, Chance) {
        let mut chance = Chance::fixed(seed);
        (Correlation::new(&mut chance), chance)
    }

    #[test]
    fn a_correlation_id_is_read_by_its_own_requester_alone() {
        let ((one, mut chance), (other, _)) = (correlation(1), correlation(2));
        let (request, token) = (RequestId(7), Token::new(&mut chance));
        let id = one.id(request, token);
        assert_eq!(one.read(id.as_bytes()), Some((request, token)));
        assert_eq!(other.read(id.as_bytes()), None);
        for nonsense in ["", "7", "--", "a-b-c-d", "\u{e9}-1-1"] {
            assert_eq!(one.read(nonsense.as_bytes()), None, "{nonsense}");
        }
        let longer = format!("{id}-0");
        assert_eq!(one.read(longer.as_bytes()), None);
    }

    #[test]
    fn ids_are_the_same_every_time_where_their_seed_was_given() {
        let ids = |seed| {
            let (one, mut chance) = correlation(seed);
            let mut id = |request| {
                let token = Token::new(&mut chance);
                one.id(RequestId(request), token)
            };
            [id(1), id(1)]
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7)[0], ids(8)[0]);
        assert_ne!(ids(7)[0], ids(7)[1]);
    }
}
