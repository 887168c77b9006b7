use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use snowshoe::AmqpUri;

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::wire::{
    ACK_FRAME, Arguments, FRAME_END, FRAME_HEADER, PUBLISH, method, u32_at, u64_at, write_ack,
    write_content,
};
use crate::work::BATCH;

/// What the machine allows: bytes that were encoded beforehand, through blocking writes and reads,
/// as many at once as is best, and nothing else.
pub(super) struct Limit {
    address: (String, u16),
}

impl Limit {
    /// A connection with a channel.
    fn open(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect((self.address.0.as_str(), self.address.1))?;
        stream.set_nodelay(true)?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        read_frame(&mut stream)?;
        let start_ok = Arguments::new()
            .long_string(b"")
            .short_string(b"PLAIN")
            .long_string(b"\0guest\0guest")
            .short_string(b"en_US");
        call(&mut stream, 0, method(10, 11), start_ok)?;
        let mut tune_ok = Vec::new();
        Arguments::new()
            .short(2047)
            .long(FRAME_MAX as u32)
            .short(0)
            .write(&mut tune_ok, 0, method(10, 31));
        stream.write_all(&tune_ok)?;
        let open = Arguments::new().short_string(b"/").short_string(b"");
        call(&mut stream, 0, method(10, 40), open.octet(0))?;
        let channel = Arguments::new().short_string(b"");
        call(&mut stream, CHANNEL, method(20, 10), channel)?;
        Ok(stream)
    }
}

impl Client for Limit {
    type Publisher = Writer;
    type Confirmed = Window;
    type Consumer = Reader;

    async fn connect(url: &str) -> Result<Self> {
        let uri: AmqpUri = url.parse()?;
        let endpoint = uri.endpoints.first().ok_or("the URL names no host")?;
        let address = (endpoint.host.clone(), endpoint.port);
        Ok(Self { address })
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Writer> {
        Ok(Writer::new(self.open()?, queue, &body, BLOCK))
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        let mut stream = self.open()?;
        let select = Arguments::new().octet(0);
        call(&mut stream, CHANNEL, method(85, 10), select)?;
        let mut writer = Writer::new(stream, queue, &body, BLOCK);
        // A quarter of the window at a time, so that the broker always has work.
        writer.at_once = writer.at_once.min(window.div_ceil(4));
        Ok(Window {
            writer,
            window: window as u64,
            published: 0,
            confirmed: 0,
            confirms: vec![0; 64 * ACK_FRAME],
            filled: 0,
        })
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Reader> {
        let mut stream = self.open()?;
        if let Some(prefetch) = prefetch {
            let qos = Arguments::new().long(0).short(prefetch).octet(0);
            call(&mut stream, CHANNEL, method(60, 10), qos)?;
        }
        let consume = Arguments::new()
            .short(0)
            .short_string(queue.as_bytes())
            .short_string(b"compare")
            .octet(if prefetch.is_none() { 2 } else { 0 })
            .long_string(b"");
        call(&mut stream, CHANNEL, method(60, 20), consume)?;
        Ok(Reader {
            stream,
            input: vec![0; BLOCK],
            left: 0,
            stride: 0,
            ready: 0,
            tag: 0,
            acks: Vec::new(),
        })
    }
}

/// Writes copies of one message from a block of them.
pub(super) struct Writer {
    stream: TcpStream,
    block: Vec<u8>,
    /// Length of a message.
    stride: usize,
    /// How many are written at once.
    at_once: usize,
    pending: usize,
}

impl Writer {
    fn new(stream: TcpStream, queue: &str, body: &[u8], block: usize) -> Self {
        let mut message = Vec::new();
        Arguments::new()
            .short(0)
            .short_string(b"")
            .short_string(queue.as_bytes())
            .octet(0)
            .write(&mut message, CHANNEL, PUBLISH);
        write_content(&mut message, CHANNEL, body, FRAME_MAX);
        let at_once = block.div_ceil(message.len());
        Self {
            stream,
            block: message.repeat(at_once),
            stride: message.len(),
            at_once,
            pending: 0,
        }
    }

    fn write(&mut self) -> Result<()> {
        let pending = self.pending * self.stride;
        self.stream.write_all(&self.block[..pending])?;
        self.pending = 0;
        Ok(())
    }
}

impl Publisher for Writer {
    async fn publish(&mut self) -> Result<()> {
        self.pending += 1;
        if self.pending < self.at_once {
            return Ok(());
        }
        self.write()
    }

    async fn flush(&mut self) -> Result<()> {
        self.write()
    }
}

pub(super) struct Window {
    writer: Writer,
    window: u64,
    published: u64,
    confirmed: u64,
    confirms: Vec<u8>,
    filled: usize,
}

impl Window {
    /// Reads confirms until at most so many are missing.
    fn wait(&mut self, missing: u64) -> Result<()> {
        while self.published - self.confirmed > missing {
            let read = self.writer.stream.read(&mut self.confirms[self.filled..])?;
            if read == 0 {
                return Err("the broker hung up".into());
            }
            self.filled += read;
            let whole = self.filled / ACK_FRAME * ACK_FRAME;
            if let Some(last) = self.confirms[..whole].chunks_exact(ACK_FRAME).next_back() {
                self.confirmed = u64_at(last, FRAME_HEADER + 4);
            }
            self.confirms.copy_within(whole..self.filled, 0);
            self.filled -= whole;
        }
        Ok(())
    }
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        self.published += 1;
        self.writer.publish().await?;
        if self.writer.pending == 0 {
            self.wait(self.window - self.writer.at_once as u64)?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.writer.write()?;
        self.wait(0)
    }

    async fn send(&mut self) -> Result<()> {
        self.published += 1;
        self.writer.pending = 1;
        self.flush().await
    }
}

/// Counts deliveries by their bytes, all of the same length.
pub(super) struct Reader {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes of a delivery of which the rest is still to come.
    left: usize,
    /// Length of a delivery, once it is known.
    stride: usize,
    /// Deliveries that were read and not taken.
    ready: usize,
    tag: u64,
    acks: Vec<u8>,
}

impl Reader {
    fn take(&mut self) -> Result<()> {
        while self.ready == 0 {
            let from = if self.stride == 0 { self.left } else { 0 };
            let read = self.stream.read(&mut self.input[from..])?;
            if read == 0 {
                return Err("the broker hung up".into());
            }
            self.left += read;
            if self.stride == 0 {
                self.stride = stride(&self.input[..self.left]).unwrap_or(0);
            }
            if let Some(ready) = self.left.checked_div(self.stride) {
                self.ready = ready;
                self.left %= self.stride;
            }
        }
        self.ready -= 1;
        Ok(())
    }
}

impl Consumer for Reader {
    async fn next(&mut self) -> Result<()> {
        self.take()
    }

    /// An acknowledgement for each message, written together for those that came together.
    async fn next_acked(&mut self) -> Result<()> {
        self.take()?;
        self.tag += 1;
        write_ack(&mut self.acks, CHANNEL, self.tag, false);
        if self.ready == 0 {
            self.flush().await?;
        }
        Ok(())
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        for _ in 0..BATCH {
            self.take()?;
        }
        self.tag += BATCH as u64;
        write_ack(&mut self.acks, CHANNEL, self.tag, true);
        if self.ready < BATCH {
            self.flush().await?;
        }
        Ok(BATCH)
    }

    async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.acks)?;
        self.acks.clear();
        Ok(())
    }
}

/// The length of the delivery at the front, once its header is there: three kinds of frames, the
/// body in as many as it needs.
fn stride(bytes: &[u8]) -> Option<usize> {
    let header = frame_length(bytes)?;
    let body = header + frame_length(bytes.get(header..)?)?;
    let size = bytes.get(header..body)?;
    let size = u64_at(size, FRAME_HEADER + 4) as usize;
    let frames = size.div_ceil(FRAME_MAX - FRAME_HEADER - 1);
    Some(body + size + frames * (FRAME_HEADER + 1))
}

fn frame_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..FRAME_HEADER)?;
    Some(FRAME_HEADER + u32_at(header, 3) as usize + 1)
}

/// Sends a method and reads its reply.
fn call(stream: &mut TcpStream, channel: u16, id: u32, arguments: Arguments) -> Result<()> {
    let mut out = Vec::new();
    arguments.write(&mut out, channel, id);
    stream.write_all(&out)?;
    read_frame(stream)
}

fn read_frame(stream: &mut TcpStream) -> Result<()> {
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header)?;
    let mut rest = vec![0; u32_at(&header, 3) as usize + 1];
    stream.read_exact(&mut rest)?;
    if rest.last() != Some(&FRAME_END) {
        return Err("not a frame".into());
    }
    Ok(())
}

const CHANNEL: u16 = 1;

const FRAME_MAX: usize = 131_072;

/// What is written or read at once: larger blocks are no faster here.
const BLOCK: usize = 256 << 10;
