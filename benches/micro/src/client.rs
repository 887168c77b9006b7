//! A whole client, on a thread with its driver, towards a broker in a process of its own.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use snowshoe::runtime::Local;
use snowshoe::testing::{BrokerOptions, Server};
use snowshoe::{Client, Queue};

use crate::Runner;

/// Publishes, and waits for the confirm, before the next.
pub(crate) fn confirmed_singly(body: Bytes) -> Runner {
    let broker = Broker::start().expect("a broker");
    let mut local = Local::new().expect("descriptors");
    let builder = Client::builder(&broker.uri).expect("a URI");
    let builder = builder.runtime(local.runtime()).single_connection(true);
    let opened = local.block_on(async {
        let client = builder.connect().await?;
        client.declare(Queue::new(QUEUE).max_length(1)).await?;
        client
            .producer(QUEUE)
            .map(|producer| (client, producer.build()))
    });
    let (client, producer) = opened.expect("it waits").expect("a broker that is there");
    Box::new(move |messages| {
        let (_alive, _open) = (&broker, &client);
        let sent = local.block_on(async {
            for _ in 0..messages {
                producer.send(body.clone()).await?;
            }
            Ok::<(), snowshoe::SendMessageError>(())
        });
        sent.expect("it waits").expect("they are confirmed");
    })
}

const QUEUE: &str = "micro";

/// This executable as a broker, until it is dropped.
struct Broker {
    child: Child,
    uri: String,
}

impl Broker {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(BROKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("it has no output")?);
        let mut uri = String::new();
        output.read_line(&mut uri)?;
        Ok(Self {
            child,
            uri: uri.trim_end().to_owned(),
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What the process of a broker is told by its only argument.
pub const BROKER: &str = "broker";

/// Serves until whoever has started this process is gone.
///
/// # Errors
/// No port can be had.
pub fn be_broker() -> Result<(), Box<dyn Error>> {
    let server = Server::listen(BrokerOptions::default())?;
    writeln!(stdout(), "{}", server.uri())?;
    _ = stdin().read_to_end(&mut Vec::new());
    Ok(())
}
