//! Owns every spawned task of the process: the one place where `tokio::spawn`
//! is allowed. Work (connections, stream pumps, admin changes) is waited for
//! at shutdown; services (the ledger's writer) live until the process ends and
//! are drained by their owners. Called by whoever needs a task.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

/// A cheap handle; all clones count as one owner.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    running: Arc<watch::Sender<usize>>,
    stopping: Arc<watch::Sender<bool>>,
    cutting: Arc<watch::Sender<bool>>,
}

/// The task ended without an answer: it panicked.
#[derive(Debug, thiserror::Error)]
#[error("a task ended without an answer")]
pub(crate) struct TaskLost;

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::new(watch::Sender::new(0)),
            stopping: Arc::new(watch::Sender::new(false)),
            cutting: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Starts work that shutdown waits for, up to the drain deadline.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let counted = Counted::new(Arc::clone(&self.running));
        let mut cutting = self.cutting.subscribe();
        start(async move {
            let _counted = counted;
            let raised = cutting.clone();
            let cut = async {
                // Fails only when no owner is left to cut anything.
                if cutting.wait_for(|cut| *cut).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            unless(cut, || *raised.borrow(), work).await;
        });
    }

    /// Starts a service that outlives the drain, because draining needs it.
    pub(crate) fn spawn_service(&self, service: impl Future<Output = ()> + Send + 'static) {
        start(service);
    }

    /// Runs work to its end even when the caller goes away, and waits for it.
    /// A change to a key must not stop between its commit and the
    /// invalidation of the caches because a client closed its connection.
    /// It becomes a task only then: a task for each call costs more than the call.
    ///
    /// # Errors
    /// `TaskLost` when the work panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, TaskLost>> {
        Outliving {
            work: Some(Box::pin(work)),
            tasks: self,
        }
    }

    /// Tells everyone that the process is going down.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Drops all work that is still running: its guards settle what it held.
    pub(crate) fn cut(&self) {
        self.cutting.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves once `stop` was called.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }

    /// Waits until no work is left; false when the deadline came first.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        let mut running = self.running.subscribe();
        tokio::time::timeout(deadline, running.wait_for(|count| *count == 0))
            .await
            .is_ok()
    }

    pub(crate) fn running(&self) -> usize {
        *self.running.borrow()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one audited spawn: every task is counted or drained by its owner"
)]
fn start(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

/// Does the work of a task, up to a signal. That one is waited for at the start
/// and looked at once it is raised: a task has one waker all its life, so nothing
/// is gained by waiting anew each time that the work goes on.
async fn unless(
    signal: impl Future<Output = ()>,
    is_raised: impl Fn() -> bool,
    work: impl Future<Output = ()>,
) {
    let (mut signal, mut work) = (pin!(signal), pin!(work));
    let mut is_awaited = false;
    poll_fn(|context| {
        if !is_awaited || is_raised() {
            is_awaited = true;
            if signal.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        work.as_mut().poll(context)
    })
    .await;
}

/// Work that becomes a task when whoever waits for it is dropped.
struct Outliving<'a, T: Send + 'static> {
    /// None once it has ended.
    work: Option<Work<T>>,
    tasks: &'a Tasks,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> Future for Outliving<'_, T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken, so that work which panics is dropped and never becomes a task.
        let Some(mut work) = self.work.take() else {
            return Poll::Ready(Err(TaskLost));
        };
        // As in a task of its own: what is shared is guarded by locks that are not
        // poisoned or by channels.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => {
                self.work = Some(work);
                Poll::Pending
            }
            Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
            Err(_) => Poll::Ready(Err(TaskLost)),
        }
    }
}

impl<T: Send + 'static> Drop for Outliving<'_, T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else {
            return;
        };
        // What is cut, or dropped with the runtime, goes no further.
        if *self.tasks.cutting.borrow() || Handle::try_current().is_err() {
            return;
        }
        self.tasks.spawn(async move {
            work.await;
        });
    }
}

/// Counts one running task, also when it panics or is dropped.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(running: Arc<watch::Sender<usize>>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(running)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tasks;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_work_and_gives_up_at_the_deadline() {
        let tasks = Tasks::new();
        tasks.spawn(tokio::time::sleep(Duration::from_secs(3)));
        assert!(!tasks.drain(Duration::from_secs(1)).await);
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn what_is_cut_is_dropped_and_counted_out() {
        let tasks = Tasks::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks.cut();
        assert!(tasks.drain(Duration::from_secs(1)).await);
        assert!(dropped.await.is_err());
    }

    #[tokio::test]
    async fn work_goes_on_when_its_caller_is_dropped_and_is_waited_for() {
        let tasks = Tasks::new();
        let (told, mut hears) = tokio::sync::oneshot::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            told.send(())
        };
        let waiting = tokio::time::timeout(Duration::from_millis(1), tasks.run(work));
        assert!(waiting.await.is_err());
        assert!(hears.try_recv().is_err());
        assert_eq!(tasks.running(), 1);
        assert!(tasks.drain(Duration::from_secs(1)).await);
        assert!(hears.await.is_ok());
    }

    #[tokio::test]
    async fn work_that_was_cut_does_not_go_on() {
        let tasks = Tasks::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let mut run = Box::pin(tasks.run(work));
        let polled = tokio::time::timeout(Duration::from_millis(1), &mut run);
        assert!(polled.await.is_err());
        tasks.cut();
        drop(run);
        assert_eq!(tasks.running(), 0);
        assert!(dropped.await.is_err());
    }

    #[tokio::test]
    async fn a_panicking_task_is_counted_out_and_reported() {
        let tasks = Tasks::new();
        assert!(tasks.run(async { panic!("on purpose") }).await.is_err());
        assert!(tasks.drain(Duration::from_secs(1)).await);
        assert_eq!(tasks.running(), 0);
    }
}
