//! What a message says of itself, beside its producer.

use std::time::Duration;

use snowshoe::{Error, Message, PropertiesError, PublishErrorReason, UnconfirmedReason};
use support::broker::url;
use support::client::connect;
use support::queues::{unique, with_queue};
use support::waiting::{run, within};

#[test]
fn what_a_message_says_of_itself_is_received_beside_what_its_producer_says() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(&queue).unwrap().build();
        let message = Message::new("body")
            .content_type("text/plain")
            .header("attempt", 2)
            .message_id("4711")
            .expires(Duration::from_secs(3600));
        within("the confirm", producer.send(message)).await.unwrap();

        let consumer = client.consumer(&queue).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let delivery = within("a delivery", consumer.next()).await.unwrap();
        let properties = delivery.properties().unwrap();
        assert_eq!(
            properties.content_type.unwrap().as_str(),
            Some("text/plain")
        );
        assert_eq!(properties.message_id.unwrap().as_str(), Some("4711"));
        assert_eq!(properties.expiration.unwrap().as_str(), Some("3600000"));
        assert_eq!(properties.delivery_mode, Some(2), "as its producer says");
        let attempt = properties.headers.unwrap().get("attempt").unwrap().unwrap();
        assert_eq!(attempt.as_i64(), Some(2));
        delivery.ack().unwrap();
    });
}

#[test]
fn an_expiration_as_long_as_can_be_is_taken_by_the_broker() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(&queue).unwrap().build();
        let longest = Duration::from_millis(u32::MAX.into());
        for after in [longest, Duration::MAX, Duration::ZERO] {
            let message = Message::new("body").expires(after);
            within("the confirm", producer.send(message)).await.unwrap();
        }
    });
}

#[test]
fn a_message_that_cannot_be_sent_is_handed_back_with_the_reason() {
    run(async {
        let client = connect(&url()).await;
        let queue = unique("nowhere");
        let producer = client.producer(&queue).unwrap().build();
        let message = Message::new("body").reply_to("x".repeat(256)).priority(1);
        let error = producer.try_publish(message.clone()).unwrap_err();
        let PublishErrorReason::Unsendable(reason) = &error.reason else {
            panic!("{error}");
        };
        let PropertiesError::TooLong { property, .. } = **reason else {
            panic!("{error}");
        };
        assert_eq!((property, &error.message), ("reply-to", &message));
        assert_eq!(producer.buffered(), 0);

        let channel = within("the channel", client.channel()).await.unwrap();
        let error = channel.publish("", &queue, message).await.unwrap_err();
        assert!(matches!(error, Error::Properties(_)), "{error}");
    });
}

#[test]
fn whatever_publishing_fails_with_becomes_the_error_of_the_crate() {
    async fn send(producer: &snowshoe::Producer, message: Message) -> Result<(), Error> {
        producer.publish(message.clone()).await?.await?;
        producer.send(message).await?;
        Ok(())
    }
    run(async {
        let client = connect(&url()).await;
        let queue = unique("nowhere");
        let producer = client.producer(&queue).unwrap().build();
        let sent = within("its end", send(&producer, "to nobody".into())).await;
        let Err(Error::Unconfirmed(unconfirmed)) = sent else {
            panic!("{sent:?}");
        };
        let UnconfirmedReason::Returned(returned) = unconfirmed.reason else {
            panic!("{unconfirmed}");
        };
        assert_eq!(returned.body, "to nobody");

        let nan = Message::new("kept").header("nan", f32::NAN);
        let Err(Error::NotAccepted(error)) = send(&producer, nan).await else {
            panic!("it was sent");
        };
        assert_eq!(error.message.body(), "kept");
    });
}
