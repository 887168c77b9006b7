//! The few frames that the null broker and the limit write by themselves.

/// Class and method of a method frame, as one number.
pub(crate) const fn method(class: u16, method: u16) -> u32 {
    (class as u32) << 16 | method as u32
}

pub(crate) const PUBLISH: u32 = method(60, 40);
pub(crate) const DELIVER: u32 = method(60, 60);
pub(crate) const ACK: u32 = method(60, 80);

/// What precedes the payload of a frame: type, channel, length.
pub(crate) const FRAME_HEADER: usize = 7;
pub(crate) const FRAME_END: u8 = 0xce;

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;

/// The length of a whole basic.ack frame.
pub(crate) const ACK_FRAME: usize = FRAME_HEADER + 4 + 8 + 1 + 1;

/// The arguments of a method, being written.
#[derive(Debug, Default)]
pub(crate) struct Arguments(Vec<u8>);

impl Arguments {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn octet(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn short(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn long(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn longlong(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn short_string(mut self, value: &[u8]) -> Self {
        self.0.push(value.len() as u8);
        self.0.extend(value);
        self
    }

    /// A long string, or a table whose fields are encoded already.
    pub(crate) fn long_string(mut self, value: &[u8]) -> Self {
        self.0.extend((value.len() as u32).to_be_bytes());
        self.0.extend(value);
        self
    }

    /// Writes them as a frame.
    pub(crate) fn write(self, out: &mut Vec<u8>, channel: u16, method: u32) {
        let mut payload = method.to_be_bytes().to_vec();
        payload.extend(self.0);
        write_frame(out, METHOD, channel, &payload);
    }
}

pub(crate) fn write_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(FRAME_END);
}

/// The header and body frames of a persistent message.
pub(crate) fn write_content(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: usize) {
    let header = Arguments::new()
        .short(60)
        .short(0)
        .longlong(body.len() as u64)
        // Only the delivery mode is there, and it is 2.
        .short(1 << 12)
        .octet(2);
    write_frame(out, HEADER, channel, &header.0);
    for part in body.chunks(frame_max - FRAME_HEADER - 1) {
        write_frame(out, BODY, channel, part);
    }
}

/// Writes a basic.ack.
pub(crate) fn write_ack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    let mut frame = [0; ACK_FRAME];
    frame[0] = METHOD;
    frame[1..3].copy_from_slice(&channel.to_be_bytes());
    frame[3..7].copy_from_slice(&13u32.to_be_bytes());
    frame[7..11].copy_from_slice(&ACK.to_be_bytes());
    frame[11..19].copy_from_slice(&tag.to_be_bytes());
    frame[19] = multiple.into();
    frame[20] = FRAME_END;
    out.extend(frame);
}

/// A number in network order at a place of a slice that holds it.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}
