//! Code of users that panics on the driver: a failed attempt, which is told and made again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, FutureExt as _};
use snowshoe::codec::sasl::{Mechanism, MechanismError, Plain};
use snowshoe::runtime::Runtime;
use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{
    Client, ClientBuilder, Connecting, Connector, Event, Queue, Reconnect, Target, Transport,
};

/// Where code of a user's panics, the first time that it comes there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Credentials,
    TextOfError,
    MechanismName,
    InitialResponse,
    Connect,
    Connecting,
    Read,
    Write,
    Flush,
    Abort,
    Drop,
}

const PLACES: [(Place, &str); 11] = [
    (
        Place::Credentials,
        "the provider of credentials has panicked",
    ),
    (Place::TextOfError, "no credentials"),
    (Place::MechanismName, "a login mechanism has panicked"),
    (Place::InitialResponse, "the mechanism PLAIN has panicked"),
    (Place::Connect, "the connector has panicked"),
    (
        Place::Connecting,
        "the future of the connector has panicked",
    ),
    (Place::Read, "the transport has panicked"),
    (Place::Write, "the transport has panicked"),
    (Place::Flush, "the transport has panicked"),
    (Place::Abort, ""),
    (Place::Drop, ""),
];

/// Code of a user's that panics once, at its place.
#[derive(Clone, Debug)]
struct Trap {
    place: Place,
    is_set: Arc<AtomicBool>,
}

impl Trap {
    fn set(place: Place) -> Self {
        Self {
            place,
            is_set: Arc::new(AtomicBool::new(true)),
        }
    }

    fn is_at(&self, place: Place) -> bool {
        self.place == place && self.is_set.swap(false, Ordering::Relaxed)
    }

    fn step_on(&self, place: Place) {
        if self.is_at(place) {
            panic!("a panic that a test wants: {place:?}");
        }
    }
}

/// An error with a text that panics.
#[derive(Debug)]
struct Unspeakable(Trap);

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.step_on(Place::TextOfError);
        f.write_str("the vault is closed")
    }
}

impl std::error::Error for Unspeakable {}

struct TrappedLogin(Trap, Plain);

impl Mechanism for TrappedLogin {
    fn name(&self) -> &str {
        self.0.step_on(Place::MechanismName);
        self.1.name()
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        self.0.step_on(Place::InitialResponse);
        self.1.initial_response()
    }
}

struct TrappedStream(Trap, Box<dyn Transport>);

impl Drop for TrappedStream {
    fn drop(&mut self) {
        self.0.step_on(Place::Drop);
    }
}

impl AsyncRead for TrappedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.step_on(Place::Read);
        Pin::new(&mut self.1).poll_read(cx, into)
    }
}

impl AsyncWrite for TrappedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.step_on(Place::Write);
        Pin::new(&mut self.1).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.step_on(Place::Flush);
        Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_close(cx)
    }
}

impl Transport for TrappedStream {
    fn prepare_abort(&mut self) {
        self.0.step_on(Place::Abort);
        self.1.prepare_abort();
    }
}

/// A client whose user's code panics at this place.
fn trapped(builder: ClientBuilder, server: &Server, place: Place) -> ClientBuilder {
    let trap = Trap::set(place);
    let (connecting, inner) = (trap.clone(), server.connector());
    let connector = move |target: &Target, runtime: &Arc<dyn Runtime>| -> Connecting {
        connecting.step_on(Place::Connect);
        let (trap, dialing) = (connecting.clone(), inner.connect(target, runtime));
        Box::pin(async move {
            trap.step_on(Place::Connecting);
            let stream = TrappedStream(trap, dialing.await?);
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    };
    let asked = AtomicBool::new(false);
    let credentials = move || {
        trap.step_on(Place::Credentials);
        if place == Place::TextOfError && !asked.swap(true, Ordering::Relaxed) {
            return Err(Unspeakable(trap.clone()).into());
        }
        let login = TrappedLogin(trap.clone(), Plain::new("guest", "guest"));
        Ok(vec![Box::new(login) as Box<dyn Mechanism>])
    };
    let patient = Reconnect::default().fail_fast(false);
    builder
        .reconnect(patient)
        .connector(connector)
        .credentials(credentials)
}

/// What a client says of its end, and of the way there: it connects, is cut off, comes back, works, and
/// closes.
async fn told(client: Client, server: &Server) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut events = client.events();
    client.ready().await?;
    server.reset_all();
    client.declare(Queue::new("q")).await?;
    client.producer("q")?.build().send("hello").await?;
    let left = client.close().await.undelivered.len();
    assert_eq!(left, 0);
    let ends = std::iter::from_fn(|| events.try_next()).filter_map(|event| match event {
        Event::Disconnected { cause, .. } => Some(cause.to_string()),
        _ => None,
    });
    Ok(ends.collect())
}

// case A5
#[test]
fn user_code_that_panics_is_a_failed_attempt_that_is_told_and_made_again() {
    for (place, text) in PLACES {
        let clock = Clock::new();
        let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
        let mut executor = Executor::new(clock.clone(), 1);
        let (client, driver) = trapped(server.client(), &server, place).build();
        executor.spawn(driver);
        let in_vain = async move {
            clock.sleep(Duration::from_secs(3600)).await;
            Err("it waits in vain".into())
        };
        let told = executor.run(async move { told(client, &server).or(in_vain).await });
        let told = told.unwrap_or_else(|| panic!("{place:?}: somebody waits for ever"));
        let told = told.unwrap_or_else(|error| panic!("{place:?}: {error}"));
        assert!(
            told.iter().any(|cause| cause.contains(text)),
            "{place:?}: {told:?}"
        );
    }
}
