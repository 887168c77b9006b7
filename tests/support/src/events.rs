//! Waiting for what a client tells of itself.

use snowshoe::{ConnectionRole, Event, Events};

use crate::waiting::within;

/// The next event that is wanted; those before it are skipped.
pub async fn next_event(events: &mut Events, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    find_event(events, what, |event| wanted(&event).then_some(event)).await
}

/// The first thing that is looked for among the next events.
pub async fn find_event<T>(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(Event) -> Option<T>,
) -> T {
    let find = async {
        loop {
            let event = events.next().await.expect("the client has not ended");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    within(what, find).await
}

/// Waits until a connection is back, with everything on it.
pub async fn recovered(events: &mut Events, wanted: ConnectionRole) {
    let is_it = |event: &Event| matches!(event, Event::Recovered { role } if *role == wanted);
    next_event(events, &format!("the recovery of {wanted}"), is_it).await;
}

/// Waits until a connection is noticed to be gone.
pub async fn disconnected(events: &mut Events, wanted: ConnectionRole) {
    let is_it =
        |event: &Event| matches!(event, Event::Disconnected { role, .. } if *role == wanted);
    next_event(events, &format!("the loss of {wanted}"), is_it).await;
}
