use std::sync::Arc;

use crate::events::{Event, Events};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, lock};

/// Where events go.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    /// Whether there are any, for the hot path to skip the lock.
    listened_to: AtomicBool,
}

#[derive(Debug, Default)]
struct Subscribers {
    list: Vec<Subscriber>,
    /// No more events will come, and whoever subscribes is to know.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Subscriber {
    sender: async_channel::Sender<Event>,
    lag: Arc<Mutex<u64>>,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Events {
        let (sender, receiver) = async_channel::bounded(1024);
        let lag = Arc::new(Mutex::new(0));
        let mut subscribers = self.lock();
        // Those who went away in a quiet time were not noticed yet, and each keeps its buffer.
        let mut gone = std::mem::take(&mut subscribers.list);
        let stay = gone.extract_if(.., |subscriber| !subscriber.sender.is_closed());
        subscribers.list = stay.collect();
        if !subscribers.closed {
            subscribers.list.push(Subscriber {
                sender,
                lag: Arc::clone(&lag),
            });
        }
        drop(subscribers);
        // Events may be dropped with them, so it is done without the lock.
        drop(gone);
        self.listened_to.store(true, Ordering::Relaxed);
        Events::new(receiver, lag)
    }

    /// Tells whoever listens. The event is only made if anybody does.
    pub(crate) fn emit_with(&self, event: impl FnOnce() -> Event) {
        if self.listened_to.load(Ordering::Relaxed) {
            self.emit(&event());
        }
    }

    pub(crate) fn emit(&self, event: &Event) {
        // Sending wakes, so it is done without the lock.
        let mut subscribers = self.lock().list.clone();
        if subscribers.is_empty() {
            return;
        }
        subscribers.retain(
            |Subscriber { sender, lag }| match sender.force_send(event.clone()) {
                Ok(None) => false,
                Ok(Some(_)) => {
                    *lock(lag) += 1;
                    false
                }
                Err(_) => true,
            },
        );
        // Those that are left have gone away.
        if !subscribers.is_empty() {
            let mut subscribers = self.lock();
            (subscribers.list).retain(|subscriber| !subscriber.sender.is_closed());
            self.listened_to
                .store(!subscribers.list.is_empty(), Ordering::Relaxed);
        }
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        let mut subscribers = self.lock();
        subscribers.closed = true;
        let list = std::mem::take(&mut subscribers.list);
        drop(subscribers);
        // This wakes, so it is done without the lock.
        drop(list);
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        lock(&self.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ConnectionRole;

    fn unblocked() -> Event {
        Event::Unblocked {
            role: ConnectionRole::Main,
        }
    }

    #[test]
    fn who_falls_behind_is_told_how_much_was_lost() {
        let hub = Hub::default();
        let mut events = hub.subscribe();
        for _ in 0..1030 {
            hub.emit(&unblocked());
        }
        assert!(matches!(
            events.try_next(),
            Some(Event::Lagged { missed: 6 })
        ));
        let rest = std::iter::from_fn(|| events.try_next()).count();
        assert_eq!(rest, 1024);
    }

    #[test]
    fn whoever_subscribes_after_the_end_is_told_so() {
        let hub = Hub::default();
        hub.close();
        let mut events = hub.subscribe();
        assert!(futures_lite::future::block_on(events.next()).is_none());
    }

    // case G3
    #[test]
    fn subscribers_that_went_away_in_a_quiet_time_are_forgotten_with_the_next() {
        let hub = Hub::default();
        let stays = hub.subscribe();
        for _ in 0..100 {
            drop(hub.subscribe());
        }
        assert_eq!(hub.lock().list.len(), 2);
        drop(stays);
    }

    #[test]
    fn subscribers_that_went_away_are_forgotten() {
        let hub = Hub::default();
        drop(hub.subscribe());
        hub.emit(&unblocked());
        assert!(hub.lock().list.is_empty());
    }
}
