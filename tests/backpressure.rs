//! A consumer without acknowledgements that is behind stops the reading of its connection.

use snowshoe::{Client, Queue};
use support::broker::url;
use support::waiting::run;

#[test]
fn a_consumer_that_is_dropped_while_it_is_behind_lets_its_connection_be_read_again() {
    run(async {
        let client = Client::connect(&url()).await.expect("a broker");
        let queue = client
            .declare(Queue::server_named())
            .await
            .expect("a queue")
            .name;
        let producer = client.producer(queue.clone()).expect("a name").build();
        for _ in 0..5_000 {
            _ = producer.publish(vec![0; 100]).await.expect("room");
        }
        producer.flushed().await;

        let consumer = client
            .consumer(queue)
            .expect("a name")
            .no_ack()
            .capacity(10);
        let mut consumer = consumer.start().await.expect("the queue");
        drop(consumer.next().await.expect("a message"));
        drop(consumer);
        // Its answer comes behind thousands of messages that nobody takes.
        client
            .declare(Queue::server_named())
            .await
            .expect("the connection is read");
        client.close().await;
    });
}
