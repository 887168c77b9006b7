//! A client on the far end of a cable that a test can cut and mend.

use futures_lite::FutureExt as _;
use snowshoe::{
    Client, ClientBuilder, ConnectionRole, Event, Events, Mode, Producer, ProducerBuilder,
};

use crate::broker::url;
use crate::client::builder;
use crate::events::recovered;
use crate::executor;
use crate::proxy::{End, Proxy};
use crate::waiting::within;

/// A client that is connected through a proxy of its own.
#[derive(Debug)]
pub struct Cable {
    /// What the client is connected through.
    pub proxy: Proxy,
    /// The client.
    pub client: Client,
    /// The client's events from when it was connected, but for those that were waited for.
    pub events: Events,
}

impl Cable {
    /// Connects a client to the broker that the tests share.
    pub async fn lay() -> Self {
        Self::lay_with(Proxy::start(&url()), |builder| builder).await
    }

    /// Connects a client through a proxy, and with settings, of the test's own.
    pub async fn lay_with(
        proxy: Proxy,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let client = within(
            "the connection",
            executor::connect(configure(builder(&proxy.url()))),
        )
        .await
        .expect("the broker is there");
        let events = client.events();
        Self {
            proxy,
            client,
            events,
        }
    }

    /// The client's first producer, once the connection for publishing is there. That is the
    /// proxy's second.
    pub async fn first_producer<M: Mode>(&mut self, builder: ProducerBuilder<M>) -> Producer<M> {
        let producer = builder.build();
        recovered(&mut self.events, ConnectionRole::Publishing).await;
        producer
    }

    /// Resets both connections, and lets no other through; until both are noticed to be gone.
    pub async fn cut(&mut self) {
        self.proxy.refuse();
        self.proxy.all().end(End::Reset);
        let lost = |event: &Event| match event {
            Event::Disconnected { role, .. } => Some(*role),
            _ => None,
        };
        self.both("losing the connections", lost).await;
    }

    /// Lets connections through again; until both are back.
    pub async fn mend(&mut self) {
        self.proxy.accept();
        self.both_recovered().await;
    }

    /// Waits until both connections have recovered.
    pub async fn both_recovered(&mut self) {
        let back = |event: &Event| match event {
            Event::Recovered { role } => Some(*role),
            _ => None,
        };
        self.both("both connections", back).await;
    }

    async fn both(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<ConnectionRole>) {
        let (mut main, mut publishing) = (false, false);
        let both = async {
            while !(main && publishing) {
                let event = self.events.next().await.expect("the client has not ended");
                match wanted(&event) {
                    Some(ConnectionRole::Main) => main = true,
                    Some(ConnectionRole::Publishing) => publishing = true,
                    _ => {}
                }
            }
        };
        within(what, both.boxed_local()).await;
    }
}
