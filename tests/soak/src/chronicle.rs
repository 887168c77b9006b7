//! What a client said through its events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use async_io::block_on;
use snowshoe::{Event, Events};

#[derive(Clone, Debug)]
pub(crate) struct Chronicle {
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    latest: VecDeque<(Instant, String)>,
    recovered: u64,
}

impl Chronicle {
    /// Notes the events from now on.
    pub(crate) fn keep(mut events: Events) -> Self {
        let chronicle = Self {
            pages: Arc::default(),
        };
        let kept = chronicle.clone();
        thread::spawn(move || {
            while let Some(event) = block_on(events.next()) {
                kept.note(&event);
            }
        });
        chronicle
    }

    /// How often a connection came to be ready.
    pub(crate) fn recovered(&self) -> u64 {
        self.pages().recovered
    }

    /// The latest events, one a line, with how long ago they were.
    pub(crate) fn latest(&self) -> String {
        let line = |(at, event): &(Instant, String)| {
            format!("  {:8.3} s ago: {event}\n", at.elapsed().as_secs_f64())
        };
        self.pages().latest.iter().map(line).collect()
    }

    fn note(&self, event: &Event) {
        // There are too many of these for the others to be seen.
        if matches!(event, Event::Confirmed { .. }) {
            return;
        }
        let mut pages = self.pages();
        pages.recovered += u64::from(matches!(event, Event::Recovered { .. }));
        if pages.latest.len() == KEPT {
            pages.latest.pop_front();
        }
        pages
            .latest
            .push_back((Instant::now(), format!("{event:?}")));
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("nothing panics under this lock")
    }
}

const KEPT: usize = 40;
