use crate::method::{Arguments, MethodId, basic};
use crate::reply::ReplyCode;
use crate::side::Side;

/// The methods that a message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentMethod {
    Publish,
    Return,
    Deliver,
    GetOk,
}

impl ContentMethod {
    pub(crate) fn from_id(id: MethodId) -> Option<Self> {
        match id {
            basic::Publish::ID => Some(Self::Publish),
            basic::Return::ID => Some(Self::Return),
            basic::Deliver::ID => Some(Self::Deliver),
            basic::GetOk::ID => Some(Self::GetOk),
            _ => None,
        }
    }

    /// Which end of a connection gets it.
    pub(crate) fn receiver(self) -> Side {
        match self {
            Self::Publish => Side::Server,
            Self::Return | Self::Deliver | Self::GetOk => Side::Client,
        }
    }
}

/// The arguments of a method that a message follows: what is short is read, and the names stay
/// where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement {
    pub(super) purpose: Purpose,
    /// Where the exchange's name begins, from the front of the arguments.
    pub(super) exchange: u16,
    /// Where the routing key begins.
    pub(super) routing_key: u16,
}

/// What the message is for, by its method.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Publish {
        mandatory: bool,
        immediate: bool,
    },
    Return {
        code: ReplyCode,
    },
    Deliver {
        delivery_tag: u64,
        redelivered: bool,
    },
    GetOk {
        delivery_tag: u64,
        redelivered: bool,
        message_count: u32,
    },
}

impl Announcement {
    pub(super) fn is_return(&self) -> bool {
        matches!(self.purpose, Purpose::Return { .. })
    }

    /// Reads the payload of the method's frame; `None` where it is malformed.
    pub(crate) fn parse(method: ContentMethod, payload: &[u8]) -> Option<Self> {
        let mut arguments = Reader::new(arguments_of(payload));
        let (purpose, (exchange, routing_key)) = match method {
            ContentMethod::Publish => {
                let _ticket: [u8; 2] = arguments.octets()?;
                let names = arguments.names()?;
                let [bits] = arguments.octets()?;
                let purpose = Purpose::Publish {
                    mandatory: bits & 1 != 0,
                    immediate: bits & 2 != 0,
                };
                (purpose, names)
            }
            ContentMethod::Return => {
                let code = ReplyCode(u16::from_be_bytes(arguments.octets()?));
                let _text = arguments.name()?;
                (Purpose::Return { code }, arguments.names()?)
            }
            ContentMethod::Deliver => {
                let _consumer_tag = arguments.name()?;
                let (delivery_tag, redelivered) = arguments.tag_and_bit()?;
                let purpose = Purpose::Deliver {
                    delivery_tag,
                    redelivered,
                };
                (purpose, arguments.names()?)
            }
            ContentMethod::GetOk => {
                let (delivery_tag, redelivered) = arguments.tag_and_bit()?;
                let names = arguments.names()?;
                let purpose = Purpose::GetOk {
                    delivery_tag,
                    redelivered,
                    message_count: u32::from_be_bytes(arguments.octets()?),
                };
                (purpose, names)
            }
        };
        arguments.rest.is_empty().then_some(Self {
            purpose,
            exchange,
            routing_key,
        })
    }
}

/// Reads arguments one after the other, and knows where it is.
///
/// By hand, since every message passes here: nom's steps are calls into another crate, and with them
/// a delivery took a quarter more instructions from its bytes to its event.
struct Reader<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(arguments: &'a [u8]) -> Self {
        Self {
            len: arguments.len(),
            rest: arguments,
        }
    }

    fn octets<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (octets, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*octets)
    }

    fn tag_and_bit(&mut self) -> Option<(u64, bool)> {
        let tag = u64::from_be_bytes(self.octets()?);
        let [bits] = self.octets()?;
        Some((tag, bits & 1 != 0))
    }

    /// Where a name begins; what is read next is after it then.
    fn name(&mut self) -> Option<u16> {
        let at = u16::try_from(self.len - self.rest.len()).ok()?;
        let (len, rest) = self.rest.split_first()?;
        self.rest = rest.get(usize::from(*len)..)?;
        Some(at)
    }

    /// Where the names of exchange and routing key begin, which stand together in every method.
    fn names(&mut self) -> Option<(u16, u16)> {
        Some((self.name()?, self.name()?))
    }
}

/// What stands after the method's ids, which the caller has read.
pub(super) fn arguments_of(payload: &[u8]) -> &[u8] {
    payload.get(METHOD_ID_LEN..).unwrap_or_default()
}

/// Class id and method id.
pub(super) const METHOD_ID_LEN: usize = 4;
