use std::sync::Arc;

use crate::events::{Event, EventQueue, Events};
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
    list: Vec<Arc<EventQueue>>,
    /// No more events will come, and whoever subscribes is to know.
    closed: bool,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Events {
        let queue = Arc::new(EventQueue::default());
        let mut subscribers = self.lock();
        // Those who went away in a quiet time were not noticed yet.
        subscribers.list.retain(|queue| !queue.is_abandoned());
        if subscribers.closed {
            queue.end();
        } else {
            subscribers.list.push(Arc::clone(&queue));
        }
        drop(subscribers);
        self.listened_to.store(true, Ordering::Relaxed);
        Events::new(queue)
    }

    /// Tells whoever listens. The event is only made if anybody does.
    pub(crate) fn emit_with(&self, event: impl FnOnce() -> Event) {
        if self.listened_to.load(Ordering::Relaxed) {
            self.emit(&event());
        }
    }

    pub(crate) fn emit(&self, event: &Event) {
        // This wakes, so it is done without the lock.
        let subscribers = self.lock().list.clone();
        let mut some_are_gone = false;
        for queue in subscribers {
            some_are_gone |= !queue.push(event.clone());
        }
        if some_are_gone {
            let mut subscribers = self.lock();
            subscribers.list.retain(|queue| !queue.is_abandoned());
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
        list.iter().for_each(|queue| queue.end());
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        lock(&self.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use snowshoe_codec::{Properties, ReplyCode, ShortString};

    use super::*;
    use crate::events::{ConnectionRole, ProducerId};
    use crate::outcome::Return;

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

    /// A message that came back, which has so many bytes with its properties.
    fn returned(len: usize) -> Event {
        let properties = Properties::EMPTY;
        let body = vec![0; len - properties.as_bytes().len()].into();
        let returned = Return {
            code: ReplyCode::NO_ROUTE,
            text: ShortString::EMPTY,
            exchange: ShortString::EMPTY,
            routing_key: ShortString::EMPTY,
            properties,
            body,
            excess: None,
        };
        Event::Returned {
            producer: ProducerId::new(0, None),
            returned: Box::new(returned),
        }
    }

    // case G3
    #[test]
    fn returned_messages_that_nobody_reads_are_bounded_in_bytes() {
        let hub = Hub::default();
        let mut events = hub.subscribe();
        for _ in 0..1000 {
            hub.emit(&returned(64 << 10));
        }
        hub.emit(&unblocked());
        let missed = match events.try_next() {
            Some(Event::Lagged { missed }) => missed,
            other => panic!("{other:?}"),
        };
        let rest: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        assert_eq!((missed, rest.len()), (984, 16 + 1));
        assert!(matches!(rest.last(), Some(Event::Unblocked { .. })));

        // One that is larger than all may be is told, and nothing beside it.
        for len in [10, 5 << 20, 10] {
            hub.emit(&returned(len));
        }
        assert!(matches!(
            events.try_next(),
            Some(Event::Lagged { missed: 2 })
        ));
        let lens = std::iter::from_fn(|| events.try_next()).map(|event| match event {
            Event::Returned { returned, .. } => returned.body.len() + 2,
            other => panic!("{other:?}"),
        });
        assert_eq!(lens.collect::<Vec<_>>(), [10]);
        hub.emit(&returned(5 << 20));
        assert!(matches!(events.try_next(), Some(Event::Returned { .. })));
        // What was taken does not count any more.
        for _ in 0..16 {
            hub.emit(&returned(64 << 10));
        }
        assert!(matches!(events.try_next(), Some(Event::Returned { .. })));
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
