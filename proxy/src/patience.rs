//! Owns the timer of waits that nearly always end in time. One for each would be
//! entered into the runtime's list and struck out again; this one stays in it and
//! is only looked at when it is due. Used by the server, the body's reader and
//! the upstream client.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// For waits one after the other. There is no timer before the first that waits.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Never due later than the wait under way ends, often earlier.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// What `work` comes to; None once `until` has come before it.
    pub(crate) async fn wait<T>(
        &mut self,
        until: Instant,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_over(until, context).map(|()| None),
        })
        .await
    }

    /// Ready once `until` has come.
    pub(crate) fn poll_over(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(context).is_ready() {
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::{Instant, sleep};

    use super::Patience;

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_end() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // Later, earlier, at once, and later again than the one before.
        for (until, expected) in [(3, 3), (10, 10), (7, 10), (12, 12), (11, 12), (20, 20)] {
            assert!(patience.wait(at(until), pending::<()>()).await.is_none());
            assert_eq!(start.elapsed().as_secs(), expected);
        }
        let work = sleep(Duration::from_secs(60));
        assert_eq!(patience.wait(at(90), work).await, Some(()));
        assert_eq!(start.elapsed().as_secs(), 80);
        assert!(patience.wait(at(81), pending::<()>()).await.is_none());
        assert_eq!(start.elapsed().as_secs(), 81);
    }
}
