//! Renews credentials before their time is over, on all connections at once.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::config::Config;
use super::guard;
use super::link::Link;
use super::login::{Asking, Login};
use crate::core::renewal;
use crate::events::Event;
use crate::runtime::{Runtime, Timer};
use crate::shared::handle::Shared;

pub(super) struct Renewal {
    config: Arc<Config>,
    shared: Arc<Shared>,
    pauses: renewal::Renewal,
    asking: Option<Asking>,
    timer: Box<dyn Timer>,
    /// What the timer is set to.
    armed: Option<Instant>,
}

impl Renewal {
    pub(super) fn new(config: Arc<Config>, runtime: &dyn Runtime, shared: Arc<Shared>) -> Self {
        Self {
            pauses: renewal::Renewal::new(config.seed),
            config,
            shared,
            asking: None,
            timer: runtime.timer(),
            armed: None,
        }
    }

    /// Does what is due. Whether there was anything.
    pub(super) fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        runtime: &dyn Runtime,
        links: &mut [Link],
    ) -> bool {
        let at = match &mut self.asking {
            Some(asking) => match asking.poll(cx, now, runtime) {
                Poll::Ready(result) => {
                    self.asking = None;
                    match result {
                        Ok(login) => self.renew(now, &login, links),
                        Err(cause) => self.failed(now, cause),
                    }
                    return true;
                }
                Poll::Pending => asking.deadline(),
            },
            None => {
                let due = links.iter().filter_map(Link::renews_at).min();
                let Some(at) = due.map(|due| self.pauses.at(due)) else {
                    return false;
                };
                if at <= now {
                    self.asking = Some(Asking::begin(&self.config.credentials, now));
                    return true;
                }
                at
            }
        };
        if self.armed != Some(at) {
            self.armed = Some(at);
            self.timer.set_at(at);
        }
        let gone_off = self.timer.poll(cx).is_ready();
        if gone_off {
            self.armed = None;
        }
        gone_off
    }

    fn renew(&mut self, now: Instant, login: &Login, links: &mut [Link]) {
        let mut not_told = None;
        for link in links {
            not_told = link.renew(now, login).err().or(not_told);
        }
        match not_told {
            Some(error) => self.failed(now, Arc::new(error)),
            None => self.pauses.succeeded(now),
        }
    }

    fn failed(&mut self, now: Instant, cause: Arc<dyn std::error::Error + Send + Sync>) {
        let delay = self.pauses.failed(now);
        let (why, client) = (guard::text(&cause), self.config.name.as_deref());
        let client = client.map(|name| format!("{name}: ")).unwrap_or_default();
        log::warn!("{client}the credentials were not renewed: {why}; again in {delay:?}");
        self.shared
            .hub
            .emit_with(|| Event::RenewalFailed { cause, delay });
    }
}
