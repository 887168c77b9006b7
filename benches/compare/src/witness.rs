use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

/// Somebody who knows what has reached the broker; in the tables of the null broker, itself.
///
/// A client that has handed over its last message is not done before the broker has it. The
/// question goes over a connection of its own: nine bytes, answered by one when it is so.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    port: u16,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// So many messages were published.
    Published(u64),
    /// So many deliveries were acknowledged.
    Acked(u64),
}

/// The length of a question.
pub(crate) const QUESTION: usize = 9;

impl Witness {
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// Waits, on a thread that may block, until the broker is there.
    pub async fn wait(self, milestone: Milestone) -> io::Result<()> {
        blocking::unblock(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(&milestone.question())?;
            stream.read_exact(&mut [0])
        })
        .await
    }
}

impl Milestone {
    pub(crate) fn question(self) -> [u8; QUESTION] {
        let (kind, count) = match self {
            Self::Published(count) => (b'P', count),
            Self::Acked(count) => (b'S', count),
        };
        let mut question = [kind; QUESTION];
        question[1..].copy_from_slice(&count.to_be_bytes());
        question
    }

    pub(crate) fn parse(question: [u8; QUESTION]) -> Option<Self> {
        let [kind, count @ ..] = question;
        let count = u64::from_be_bytes(count);
        match kind {
            b'P' => Some(Self::Published(count)),
            b'S' => Some(Self::Acked(count)),
            _ => None,
        }
    }
}
