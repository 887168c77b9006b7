//! What blocks, on threads: few of them, whatever is asked for.
//!
//! A look-up of a name cannot be broken off, so one that is given up keeps its thread. Where the servers
//! of names do not answer, and connecting is tried again and again, there would be ever more of them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_lock::{Semaphore, SemaphoreGuardArc};
use snowshoe_codec::time::after;

use super::{Runtime, Timer};
use crate::sync::Once;
#[cfg(feature = "tls-no-provider")]
use crate::sync::answer::answer;
use crate::sync::{Mutex, lock};

/// How many threads of a process may be busy with what blocks.
const THREADS: usize = 16;

/// How long somebody waits for one of them. That of a look-up which is answered is free much sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// A host name and a port.
pub(super) type Name = (String, u16);

/// Does something that blocks, on a thread that ends with it.
///
/// # Errors
/// There are too many such threads already, or what it does fails.
#[cfg(feature = "tls-no-provider")]
pub(crate) async fn on_thread<T: Send + 'static>(
    runtime: &Arc<dyn Runtime>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let threads = Threads::of_files();
    let place = threads.place(Patience::of(runtime)).await?;
    let (answer, answered) = answer();
    start(move || {
        // Whoever asked may be gone by then.
        _ = answer.send(work());
        drop(place);
    })?;
    answered.await.ok_or_else(panicked)?
}

/// The threads of a process, and what they look up.
pub(super) struct Threads {
    places: Arc<Semaphore>,
    look_ups: Mutex<Vec<(Name, Arc<LookUp>)>>,
}

/// What comes of a look-up, for all who wait for it.
type LookUp = Once<Result<Vec<SocketAddr>, Arc<io::Error>>>;

impl Threads {
    pub(super) fn of_the_process() -> Arc<Self> {
        static THREADS_OF_ALL: LazyLock<Arc<Threads>> =
            LazyLock::new(|| Arc::new(Threads::new(THREADS)));
        Arc::clone(&THREADS_OF_ALL)
    }

    /// Those that read files. A disk that does not answer is not to take the look-ups' places.
    #[cfg(feature = "tls-no-provider")]
    fn of_files() -> Arc<Self> {
        static THREADS_OF_FILES: LazyLock<Arc<Threads>> =
            LazyLock::new(|| Arc::new(Threads::new(THREADS)));
        Arc::clone(&THREADS_OF_FILES)
    }

    fn new(number: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(number)),
            look_ups: Mutex::new(Vec::new()),
        }
    }

    /// The addresses of a name, by a function that blocks.
    pub(super) async fn resolve(
        self: Arc<Self>,
        name: Name,
        patience: Patience,
        by: impl FnOnce(&Name) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        let under_way = self.under_way(&name);
        let look_up = match under_way {
            Some(look_up) => look_up,
            None => {
                let place = self.place(patience).await?;
                self.look_up(name, place, by)?
            }
        };
        let answer = look_up.told().await;
        (answer.clone()).map_err(|error| io::Error::new(error.kind(), error))
    }

    fn under_way(&self, name: &Name) -> Option<Arc<LookUp>> {
        let look_ups = lock(&self.look_ups);
        let same = look_ups.iter().find(|(other, _)| other == name);
        same.map(|(_, look_up)| Arc::clone(look_up))
    }

    /// Begins to look up a name, unless somebody has begun meanwhile.
    fn look_up(
        self: &Arc<Self>,
        name: Name,
        place: SemaphoreGuardArc,
        by: impl FnOnce(&Name) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Arc<LookUp>> {
        let look_up = {
            let mut look_ups = lock(&self.look_ups);
            if let Some((_, same)) = look_ups.iter().find(|(other, _)| *other == name) {
                return Ok(Arc::clone(same));
            }
            let look_up = Arc::new(LookUp::new());
            look_ups.push((name.clone(), Arc::clone(&look_up)));
            look_up
        };
        let task = Task {
            threads: Arc::clone(self),
            name,
            look_up: Arc::clone(&look_up),
            _place: place,
        };
        // Where it cannot be started, its task is dropped, and with it the look-up.
        start(move || task.end(by(&task.name)))?;
        Ok(look_up)
    }

    /// A place for one more thread.
    async fn place(&self, mut patience: Patience) -> io::Result<SemaphoreGuardArc> {
        let mut place = pin!(self.places.acquire_arc());
        std::future::poll_fn(|cx| match place.as_mut().poll(cx) {
            Poll::Ready(place) => Poll::Ready(Ok(place)),
            Poll::Pending => patience.poll(cx).map(|()| Err(busy())),
        })
        .await
    }
}

/// How long somebody waits for a place, where there is none.
pub(super) struct Patience {
    timer: Box<dyn Timer>,
    /// When it ends, until the timer is set: as a rule it need not be.
    end: Option<Instant>,
}

impl Patience {
    pub(super) fn of<R: Runtime + ?Sized>(runtime: &R) -> Self {
        Self {
            timer: runtime.timer(),
            end: Some(after(runtime.now(), PATIENCE)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(end) = self.end.take() {
            self.timer.set_at(end);
        }
        self.timer.poll(cx)
    }
}

/// A look-up on its thread.
struct Task {
    threads: Arc<Threads>,
    name: Name,
    look_up: Arc<LookUp>,
    _place: SemaphoreGuardArc,
}

impl Task {
    fn end(&self, answer: io::Result<Vec<SocketAddr>>) {
        // Who comes now looks it up anew.
        lock(&self.threads.look_ups).retain(|(_, it)| !Arc::ptr_eq(it, &self.look_up));
        self.look_up.tell(answer.map_err(Arc::new));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.look_up.is_told() {
            self.end(Err(panicked()));
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("snowshoe-blocking".to_owned());
    thread.spawn(work).map(drop)
}

fn busy() -> io::Error {
    let text = format!(
        "{THREADS} threads look up names or read certificates, and none of them was done within \
         {PATIENCE:?}: do the servers of names answer, and the disks?"
    );
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

fn panicked() -> io::Error {
    io::Error::other("the thread that worked on it could not be started, or has panicked")
}

#[cfg(all(test, feature = "testing", not(snowshoe_loom)))]
mod tests;
