use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use crate::runtime::Runtime;
use crate::shared::board::Look;
use crate::shared::handle::Shared;
use crate::state::ClientState;

/// What a client's states are taken with: its name, and its clock.
pub(super) struct Observer {
    name: Option<Arc<str>>,
    clock: Arc<dyn Runtime>,
}

impl Observer {
    pub(super) fn new(name: Option<Arc<str>>, clock: Arc<dyn Runtime>) -> Self {
        Self { name, clock }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn state(&self, shared: &Shared) -> ClientState {
        let look = shared.board.look();
        // Asked after that: nothing that is posted is of the future.
        self.state_of(look, self.clock.now())
    }

    fn state_of(&self, look: Look, taken_at: Instant) -> ClientState {
        ClientState {
            name: self.name.clone(),
            taken_at,
            life: look.life,
            connections: look.connections,
        }
    }
}

/// Tells how a client is doing whenever that changes; see [`Client::watch_state`](crate::Client::watch_state).
///
/// It tells the newest state only, however many there were since, and does not keep the client going.
///
/// ```
/// # use futures_lite::future::block_on;
/// # use snowshoe::testing::{BrokerOptions, Server};
/// # block_on(async {
/// # let server = Server::listen(BrokerOptions::default())?;
/// # let client = snowshoe::Client::connect(&server.uri()).await?;
/// let mut watch = client.watch_state();
/// server.reset_all();
/// while let Some(state) = watch.changed().await {
///     println!("{state}"); // not ready; main connection: waiting, attempt 1 in 0.1 s; …
///     if state.is_ready() {
///         client.close().await;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct StateWatch {
    shared: Arc<Shared>,
    observer: Arc<Observer>,
    /// By what the board knows it.
    number: u64,
    /// The revision that was told last.
    seen: u64,
}

impl fmt::Debug for StateWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWatch").finish_non_exhaustive()
    }
}

impl StateWatch {
    pub(super) fn new(shared: &Arc<Shared>, observer: &Arc<Observer>) -> Self {
        Self {
            shared: Arc::clone(shared),
            observer: Arc::clone(observer),
            number: shared.board.watcher(),
            seen: shared.board.look().revision,
        }
    }

    /// The state, once it is another than this was told last, or than it was when this was made. That the
    /// client has ended is told once, and then `None`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next one tells the newest state.
    pub async fn changed(&mut self) -> Option<ClientState> {
        let (board, number, seen) = (&self.shared.board, self.number, self.seen);
        let look = poll_fn(|cx| board.poll_change(cx, number, seen)).await?;
        self.seen = look.revision;
        Some(self.observer.state_of(look, self.observer.clock.now()))
    }

    /// The first state that meets a condition, the present one included; `None` if the client has ended
    /// without it.
    ///
    /// A state that did not last until this was polled may be passed over.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) {
    /// let mut watch = client.watch_state();
    /// if watch.wait_for(|state| state.is_ready()).await.is_none() {
    ///     println!("it is closed, or has given up");
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&ClientState) -> bool,
    ) -> Option<ClientState> {
        let look = self.shared.board.look();
        self.seen = look.revision;
        let mut state = self.observer.state_of(look, self.observer.clock.now());
        while !condition(&state) {
            state = self.changed().await?;
        }
        Some(state)
    }
}

impl Drop for StateWatch {
    fn drop(&mut self) {
        self.shared.board.forget(self.number);
    }
}
