//! A program that has no executor and knows nothing of `async`: the client has a thread of its own, and this one waits where it
//! has something to wait for.
//!
//!     cargo run --example blocking
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::thread;

use snowshoe::{Client, Queue, block_on};

const LETTERS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = block_on(Client::connect(&url))?;
    block_on(client.declare(Queue::new("letters")))?;

    // Each thread its own handle of the same producer; a publish waits only where the buffer is full.
    let producer = client.producer("letters")?.build();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let producer = producer.clone();
            thread::spawn(move || {
                for letter in 0..LETTERS / 2 {
                    block_on(producer.send(format!("letter {letter} of writer {writer}")))?;
                }
                Ok::<_, snowshoe::Error>(())
            })
        })
        .collect();

    let mut letters = block_on(client.consumer("letters")?.start())?;
    for _ in 0..LETTERS {
        let Some(letter) = block_on(letters.next()) else {
            break;
        };
        println!("{}", String::from_utf8_lossy(letter.body()));
        letter.ack()?;
    }
    for writer in writers {
        writer.join().map_err(|_| "a writer panicked")??;
    }
    let report = block_on(client.close());
    println!("{} letters left", report.undelivered.len());
    Ok(())
}
