use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use snowshoe::{Client, Queue};

use crate::witness::{Milestone, QUESTION};
use crate::work::{IDLE_QUEUE, Order};

/// A real broker, with a queue for the measurements.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    client: Client,
    url: String,
    witness: u16,
}

impl RabbitMq {
    /// Connects to the broker that `AMQP_URL` names.
    pub(crate) fn connect() -> Result<Self, Box<dyn Error>> {
        let url = std::env::var("AMQP_URL").map_err(|_| "AMQP_URL names no broker")?;
        let client = block_on(Client::connect(&url))?;
        block_on(client.delete_queue(QUEUE).into_future())?;
        block_on(client.declare(Queue::new(QUEUE)))?;
        block_on(client.declare(Queue::new(IDLE_QUEUE)))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let witness = listener.local_addr()?.port();
        let asked = client.clone();
        thread::spawn(move || {
            for question in listener.incoming().flatten() {
                // A client process that is gone asks no more.
                _ = answer(question, &asked);
            }
        });
        Ok(Self {
            client,
            url,
            witness,
        })
    }

    /// Makes the queue what an order needs, and the order one for this broker.
    pub(crate) fn prepare(&self, order: &mut Order) -> Result<(), Box<dyn Error>> {
        order.url.clone_from(&self.url);
        QUEUE.clone_into(&mut order.queue);
        order.witness = self.witness;
        block_on(async {
            self.client.purge_queue(QUEUE).await?;
            if !order.row.work.consumes() {
                return Ok(());
            }
            let producer = self.client.producer(QUEUE)?.build();
            let body = bytes::Bytes::from(vec![b'x'; order.row.size]);
            // The messages are there before the consumer is, and amqp-client 0.1 loses those that
            // come right after consume-ok: here it stands still, and is reported so.
            for _ in 0..order.warm_up + order.messages {
                // How each ends is told by the queue's length in the end.
                drop(producer.publish(body.clone()).await?);
            }
            producer.flushed().await;
            Ok(())
        })
    }
}

fn answer(mut asker: TcpStream, client: &Client) -> Result<(), Box<dyn Error>> {
    let mut question = [0; QUESTION];
    asker.read_exact(&mut question)?;
    // Which acknowledgements have arrived, a broker does not tell.
    if let Some(Milestone::Published(count)) = Milestone::parse(question) {
        while u64::from(length(client)?) < count {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(asker.write_all(&[1])?)
}

fn length(client: &Client) -> Result<u32, Box<dyn Error>> {
    let queue = block_on(client.declare(Queue::new(QUEUE).passive()))?;
    Ok(queue.message_count)
}

const QUEUE: &str = "compare";
