//! The one place that spawns.
//!
//! Owns two kinds of tasks: handlers, which run to their end even when the call
//! that started them is dropped, and which a stop waits for; and background
//! loops, which end with the process.

use std::sync::Arc;
use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::Error;

/// Runs what a destructor still has to say, unless the runtime has ended.
pub(crate) fn last_words(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// A handler panicked. The panic hook has logged where.
#[derive(Debug)]
pub(crate) struct Panicked;

impl From<Panicked> for Error {
    fn from(_: Panicked) -> Self {
        Self::internal("the plugin failed on this request: see its log")
    }
}

/// Runs an engine's code, so that its panic is an error and nothing more.
pub(crate) async fn guarded<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    Tasks::new().run(work).await?
}

#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    running: Arc<watch::Sender<usize>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Runs `work` to its end in a task of its own. Vault's deadline and a
    /// client that leaves drop the waiting, never the work.
    #[expect(clippy::disallowed_methods, reason = "this is the owner that drains")]
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Panicked> {
        let running = Running::enter(&self.running);
        let handle = tokio::spawn(async move {
            let _running = running;
            work.await
        });
        handle.await.map_err(|_| Panicked)
    }

    /// Runs a loop that nobody waits for.
    #[expect(clippy::disallowed_methods, reason = "loops that end with the process")]
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work);
    }

    /// Waits for the running handlers, at most `patience`. Says whether all ended.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        let mut running = self.running.subscribe();
        timeout(patience, running.wait_for(|running| *running == 0))
            .await
            .is_ok()
    }
}

struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn enter(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|running| *running += 1);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .send_modify(|running| *running = running.saturating_sub(1));
    }
}
