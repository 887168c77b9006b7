//! Providers of credentials that are good for a time only, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{
    Client, ClientBuilder, ConnectionErrorReason, ConnectionRole, Credentials, CredentialsError,
    Error, Event, Events, ShortString,
};

/// What becomes of the calls of a provider.
#[derive(Clone, Debug)]
enum Call {
    /// It gives credentials for so long, after so long.
    Gives(Duration, Duration),
    Fails,
    Panics,
    Hangs,
}

/// A provider that does what it is told, and notes when it was asked.
#[derive(Clone)]
struct Provider {
    clock: Clock,
    began: Instant,
    call: Arc<Mutex<Call>>,
    asked: Arc<Mutex<Vec<Duration>>>,
}

impl Provider {
    fn new(clock: &Clock, call: Call) -> Self {
        Self {
            clock: clock.clone(),
            began: clock.now(),
            call: Arc::new(Mutex::new(call)),
            asked: Arc::default(),
        }
    }

    fn will(&self, call: Call) {
        *self.call.lock().unwrap() = call;
    }

    /// When it was asked since this was called last, by the time since the beginning.
    fn asked(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn ask(&self) -> impl Future<Output = Result<Credentials, CredentialsError>> + Send + use<> {
        let asked_at = self.clock.now() - self.began;
        self.asked.lock().unwrap().push(asked_at);
        let (call, clock) = (self.call.lock().unwrap().clone(), self.clock.clone());
        async move {
            match call {
                Call::Gives(life, after) => {
                    clock.sleep(after).await;
                    Ok(Credentials::plain("guest", "guest").valid_for(life))
                }
                Call::Fails => Err("the identity provider is away".into()),
                Call::Panics => panic!("as it was told"),
                Call::Hangs => std::future::pending().await,
            }
        }
    }

    fn of(&self, server: &Server) -> ClientBuilder {
        let provider = self.clone();
        server.client().credentials_provider(move || provider.ask())
    }
}

const AT_ONCE: Duration = Duration::ZERO;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn play<F: Future<Output = ()> + 'static>(story: impl FnOnce(Story) -> F) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let story = story(Story {
        server,
        clock,
        spawner: executor.spawner(),
    });
    executor.run(story).expect("nobody waits for ever");
}

struct Story {
    server: Server,
    clock: Clock,
    spawner: snowshoe::testing::Spawner,
}

impl Story {
    async fn client(&self, builder: ClientBuilder) -> Result<Client, Error> {
        let (client, driver) = builder.seed(7).build();
        self.spawner.spawn(driver);
        client.ready().await?;
        Ok(client)
    }
}

fn updated(events: &mut Events) -> Vec<ConnectionRole> {
    let events = std::iter::from_fn(|| events.try_next());
    let updated = events.filter_map(|event| match event {
        Event::SecretUpdated { role } => Some(role),
        Event::Disconnected { cause, .. } => panic!("it was cut: {cause}"),
        _ => None,
    });
    updated.collect()
}

#[test]
fn credentials_are_renewed_in_time_on_all_connections_and_asked_for_at_each_attempt() {
    play(|story| async move {
        let provider = Provider::new(&story.clock, Call::Gives(seconds(300), AT_ONCE));
        let client = story.client(provider.of(&story.server)).await.unwrap();
        let producer = client.producer("q").unwrap().mandatory(false).build();
        producer.send("one").await.unwrap();
        let began = story.clock.now() - provider.began;
        assert_eq!(provider.asked().len(), 2);
        let mut events = client.events();
        let both = [ConnectionRole::Main, ConnectionRole::Publishing];
        // The renewal and the look at it do not come at the same moment.
        story.clock.sleep(seconds(1)).await;
        for life in 1..=3 {
            story.clock.sleep(seconds(240)).await;
            // It is asked once for both.
            let asked = provider.asked();
            assert_eq!(asked.len(), 1, "{asked:?}");
            let expected = life * seconds(240);
            assert!(
                asked[0] <= began + expected && asked[0] + seconds(1) > expected,
                "{asked:?}"
            );
            assert_eq!(updated(&mut events), both);
        }
        story.server.reset_all();
        story.clock.sleep(seconds(10)).await;
        assert_eq!(provider.asked().len(), 2);
        assert!(client.state().is_ready());
    });
}

#[test]
fn of_secrets_that_follow_each_other_fast_the_newest_comes_last() {
    play(|story| async move {
        let client = story.client(story.server.client()).await.unwrap();
        let mut events = client.events();
        for secret in ["one", "two", "three"] {
            client.update_secret(secret, ShortString::from_static("it expires"));
        }
        story.clock.sleep(seconds(1)).await;
        // The second had not gone out when it was replaced.
        assert_eq!(updated(&mut events), [ConnectionRole::Main; 2]);
    });
}

#[test]
fn credentials_that_are_renewed_during_a_block_are_taken_after_it() {
    play(|story| async move {
        let provider = Provider::new(&story.clock, Call::Gives(seconds(300), AT_ONCE));
        let client = story.client(provider.of(&story.server)).await.unwrap();
        let producer = client.producer("q").unwrap().mandatory(false).build();
        producer.send("one").await.unwrap();
        let mut events = client.events();
        story.server.block(ShortString::from_static("memory"));
        let held_up = producer.publish("two").await.unwrap();
        story.clock.sleep(seconds(400)).await;
        assert_eq!(updated(&mut events), [ConnectionRole::Main]);
        story.server.unblock();
        held_up.await.unwrap();
        story.clock.sleep(seconds(1)).await;
        assert_eq!(updated(&mut events), [ConnectionRole::Publishing]);
    });
}

#[test]
fn a_provider_that_fails_to_renew_is_asked_again_and_that_is_told() {
    for call in [Call::Fails, Call::Panics, Call::Hangs] {
        play(|story| async move {
            let provider = Provider::new(&story.clock, Call::Gives(seconds(300), AT_ONCE));
            let client = story.client(provider.of(&story.server)).await.unwrap();
            let mut events = client.events();
            let expected = match call {
                Call::Panics => "the provider of credentials has panicked",
                Call::Hangs => "the provider of credentials did not give any in time",
                _ => "the identity provider is away",
            };
            provider.will(call);
            provider.asked();
            let mut failed_at = Vec::new();
            while failed_at.len() < 4 {
                let event = events.next().await.unwrap();
                if let Event::RenewalFailed { cause, delay } = event {
                    assert_eq!(cause.to_string(), expected);
                    failed_at.push((story.clock.now(), delay));
                }
            }
            let asked = provider.asked();
            assert_eq!(asked.len(), 4, "{asked:?}");
            for (failed, asked) in failed_at.iter().zip(&asked[1..]) {
                assert_eq!(provider.began + *asked, failed.0 + failed.1);
            }
            provider.will(Call::Gives(seconds(300), seconds(2)));
            let mut updated = client.events();
            while !matches!(updated.next().await, Some(Event::SecretUpdated { .. })) {}
            assert!(client.state().is_ready());
            assert_eq!(
                client
                    .state()
                    .connection(ConnectionRole::Main)
                    .unwrap()
                    .opened,
                1
            );
        });
    }
}

#[test]
fn an_attempt_that_gets_no_credentials_fails_with_the_reason() {
    for (call, timeout, expected) in [
        (
            Call::Fails,
            30,
            "no credentials: the identity provider is away",
        ),
        (
            Call::Panics,
            30,
            "no credentials: the provider of credentials has panicked",
        ),
        (
            Call::Hangs,
            30,
            "no credentials: the provider of credentials did not give any in time",
        ),
        (
            Call::Hangs,
            3,
            "no credentials: the provider of credentials did not give any in time",
        ),
        (
            Call::Gives(AT_ONCE, AT_ONCE),
            30,
            "no credentials: the provider gave credentials whose time is over",
        ),
    ] {
        play(|story| async move {
            let hangs = matches!(call, Call::Hangs);
            let provider = Provider::new(&story.clock, call);
            let builder = provider.of(&story.server);
            let builder = builder.connection_timeout(seconds(timeout));
            let failed = story.client(builder).await;
            let Err(Error::Connection(cause)) = failed else {
                panic!("there are no credentials: {failed:?}");
            };
            assert!(matches!(
                cause.reason,
                ConnectionErrorReason::Credentials(_)
            ));
            assert!(cause.to_string().contains(expected), "{cause}");
            let patience = if hangs {
                seconds(timeout.min(8))
            } else {
                AT_ONCE
            };
            let took = story.clock.now() - provider.began;
            assert!(took >= patience && took < patience + seconds(1), "{took:?}");
        });
    }
}

#[test]
fn a_provider_that_takes_its_time_is_waited_for() {
    play(|story| async move {
        let provider = Provider::new(&story.clock, Call::Gives(seconds(300), seconds(5)));
        let client = story.client(provider.of(&story.server)).await.unwrap();
        assert!(client.state().is_ready());
        // Nothing stands still while it is asked for a renewal.
        let producer = client.producer("q").unwrap().mandatory(false).build();
        producer.send("one").await.unwrap();
        provider.will(Call::Hangs);
        story.clock.sleep(seconds(243)).await;
        producer.send("two").await.unwrap();
    });
}

#[test]
fn the_same_credentials_again_are_not_asked_for_without_a_pause() {
    play(|story| async move {
        let ends = story.clock.now() + seconds(20);
        let (clock, asked) = (story.clock.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let provider = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let life = ends.saturating_duration_since(clock.now());
            std::future::ready(Ok(Credentials::plain("guest", "guest").valid_for(life)))
        };
        let client = story
            .client(story.server.client().credentials_provider(provider))
            .await;
        let client = client.unwrap();
        story.clock.sleep(seconds(120)).await;
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked < 40, "it was asked {asked} times");
        assert!(client.state().is_alive());
    });
}

#[test]
fn the_mechanisms_there_are_can_be_chosen() {
    play(|story| async move {
        let amqplain = || Ok(Credentials::amqplain("guest", "guest"));
        let client = story
            .client(story.server.client().credentials(amqplain))
            .await;
        assert!(client.unwrap().state().is_ready());
        // A broker that does not offer it says what it offers.
        let external = || Ok(Credentials::external());
        let refused = story
            .client(story.server.client().credentials(external))
            .await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("none of which is configured"), "{text}");
    });
}
