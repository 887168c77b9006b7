//! Sits between a client and a broker, and shows what they say to each other.
//!
//! ```text
//! cargo run -p snowshoe-codec --example sniffer -- 127.0.0.1:5673 127.0.0.1:5672
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use snowshoe_codec::frame::{self, Frame, Limits, PROTOCOL_HEADER};
use snowshoe_codec::{FrameError, FrameKind, Method};

/// What the broker has tuned is not our concern, as long as a frame is not out of all bounds.
const LIMITS: Limits = Limits {
    frame_max: 16 << 20,
    header_frame_max: 16 << 20,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(here), Some(broker)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sniffer <address to listen at> <address of the broker>".into());
    };
    for client in TcpListener::bind(here)?.incoming() {
        let client = client?;
        let broker = TcpStream::connect(&broker)?;
        let (from_client, to_broker) = (client.try_clone()?, broker.try_clone()?);
        thread::spawn(move || relay("->", from_client, to_broker));
        thread::spawn(move || relay("<-", broker, client));
    }
    Ok(())
}

/// Passes bytes on as they come, and shows each frame once it is whole. What turns out to be no
/// frame is only passed on from there.
fn relay(arrow: &str, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut block = vec![0; 64 * 1024];
    let mut unseen = Vec::new();
    loop {
        let len = from.read(&mut block)?;
        if len == 0 {
            return to.shutdown(Shutdown::Write);
        }
        unseen.extend_from_slice(&block[..len]);
        let shown = show(arrow, &mut unseen);
        to.write_all(&block[..len])?;
        if let Err(error) = shown {
            println!("{arrow} {error}");
            return io::copy(&mut from, &mut to).map(|_| ());
        }
    }
}

/// Shows the whole frames at the front of `unseen`, and leaves the rest.
fn show(arrow: &str, unseen: &mut Vec<u8>) -> Result<(), FrameError> {
    let mut at = 0;
    if unseen.starts_with(&PROTOCOL_HEADER) {
        println!("{arrow} protocol header");
        at = PROTOCOL_HEADER.len();
    }
    while let Some(frame) = frame::find(&unseen[at..], &LIMITS)? {
        println!("{arrow} {:5} {}", frame.channel, describe(&frame));
        at += frame.encoded_len();
    }
    unseen.drain(..at);
    Ok(())
}

fn describe(frame: &Frame<'_>) -> String {
    match (frame.kind, Method::decode(frame.payload)) {
        // `Debug` of a method hides what a client logs in with.
        (FrameKind::Method, Ok(method)) => format!("{} {method:?}", method.name()),
        (FrameKind::Method, Err(error)) => error.to_string(),
        (kind, _) => format!("{kind}, {} bytes", frame.payload.len()),
    }
}
