//! Whole frames, for tests to judge.

use std::collections::VecDeque;

/// The protocol header that a client begins with; it is no frame and passes unseen.
const PROTOCOL: &[u8] = b"AMQP";
const PROTOCOL_LEN: usize = 8;
const HEADER_LEN: usize = 7;

/// A whole frame, with its header and its end octet. It passes as the bytes that the judge leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What will pass.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The type of the frame: 1 method, 2 content header, 3 body, 8 heartbeat.
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// The number of the channel.
    pub fn channel(&self) -> u16 {
        u16::from_be_bytes([self.bytes[1], self.bytes[2]])
    }

    /// What lies between the header and the end octet.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..self.bytes.len() - 1]
    }

    /// [`Frame::payload`], to be changed where it is.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - 1;
        &mut self.bytes[HEADER_LEN..end]
    }

    /// Puts another payload in, and its length in the header.
    pub fn set_payload(&mut self, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("a test's payload is small");
        let end = self.bytes[self.bytes.len() - 1];
        self.bytes.truncate(HEADER_LEN);
        self.bytes[3..].copy_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(payload);
        self.bytes.push(end);
    }

    /// Class and method id, if this is a method.
    pub fn method(&self) -> Option<(u16, u16)> {
        match (self.kind(), self.payload()) {
            (1, &[c0, c1, m0, m1, ..]) => {
                Some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
            }
            _ => None,
        }
    }
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, changed or not.
    Pass,
    /// It vanishes.
    Drop,
    /// It waits, with everything after it, until the direction is [resumed](super::Links::resume).
    Hold,
    /// The connection ends before it.
    End(super::End),
}

/// Sees the frames of all connections in one direction, with the connection's number.
pub(super) type Judge = Box<dyn FnMut(usize, &mut Frame) -> Verdict + Send>;

/// What lies whole at the front of a stream.
pub(super) enum Unit {
    Protocol(Vec<u8>),
    Frame(Frame),
}

/// Takes the first unit from the front of a stream if all of it is there.
pub(super) fn take(stream: &mut VecDeque<u8>) -> Option<Unit> {
    let protocol = stream
        .iter()
        .zip(PROTOCOL)
        .all(|(byte, expected)| byte == expected);
    let len = if protocol {
        PROTOCOL_LEN
    } else {
        let header: Vec<u8> = stream.iter().copied().take(HEADER_LEN).collect();
        let &[_, _, _, l0, l1, l2, l3] = header.as_slice() else {
            return None;
        };
        HEADER_LEN + usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()? + 1
    };
    if stream.len() < len {
        return None;
    }
    let bytes = stream.drain(..len).collect();
    Some(if protocol {
        Unit::Protocol(bytes)
    } else {
        Unit::Frame(Frame { bytes })
    })
}
