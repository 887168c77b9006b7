//! What the broker is told when credentials are replaced.

use snowshoe_codec::method::connection;

use super::*;

impl World {
    fn update_secret(&mut self, secret: &'static str) -> Result<(), Error> {
        let (session, secret) = (&mut self.session, Bytes::from(secret));
        let updated = session.update_secret(self.now, secret, name("it expires"));
        self.run();
        updated
    }

    /// The secrets that the broker was told since it was last asked.
    fn secrets(&mut self) -> Vec<String> {
        let told = self.requests().into_iter().map(|method| match method {
            Method::ConnectionUpdateSecret(update) => {
                String::from_utf8_lossy(update.new_secret.as_bytes()).into_owned()
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    /// The broker has taken one; how often that was told.
    fn take_secret(&mut self) -> usize {
        let broker = self.broker.connection();
        broker.send_notice(connection::UpdateSecretOk).unwrap();
        self.run();
        self.count(|output| matches!(output, Output::SecretUpdated))
    }

    /// A secret that fits into no frame.
    fn too_large() -> &'static str {
        "x".repeat(200_000).leak()
    }
}

#[test]
fn the_newest_secret_is_told_once_the_one_before_is_taken() {
    let mut world = World::ready();
    world.requests();
    for secret in ["first", "second", "third"] {
        world.update_secret(secret).unwrap();
    }
    assert_eq!(world.secrets(), ["first"]);
    assert_eq!(world.take_secret(), 1);
    assert_eq!(world.secrets(), ["third"]);
    assert_eq!(world.take_secret(), 1);
    assert_eq!(world.secrets(), [""; 0]);
    world.update_secret("fourth").unwrap();
    assert_eq!(world.secrets(), ["fourth"]);
}

#[test]
fn a_secret_that_waits_is_not_told_on_another_connection() {
    let mut world = World::ready();
    world.update_secret("first").unwrap();
    world.update_secret("second").unwrap();
    world.cut();
    world.pass_until_ready();
    world.requests();
    world.update_secret("third").unwrap();
    assert_eq!(world.secrets(), ["third"]);
    assert_eq!(world.take_secret(), 1);
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_secret_that_fits_into_no_frame_is_told_whether_or_not_it_had_to_wait() {
    let mut world = World::ready();
    world.requests();
    let is_too_large = |error: &Error| matches!(error, Error::Send(_));
    let error = world.update_secret(World::too_large()).unwrap_err();
    assert!(is_too_large(&error), "{error}");
    world.update_secret("first").unwrap();
    world.update_secret(World::too_large()).unwrap();
    let broker = world.broker.connection();
    broker.send_notice(connection::UpdateSecretOk).unwrap();
    world.run();
    let not_updated = |it: &Output| matches!(it, Output::SecretNotUpdated(e) if is_too_large(e));
    assert_eq!(world.count(not_updated), 1);
    assert_eq!(world.secrets(), ["first"]);
}
