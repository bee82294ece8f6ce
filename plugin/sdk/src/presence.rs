//! Whether the host is still there.
//!
//! Owns the count of the host's open connections. A host that was killed closes
//! them without a word; nothing else would end the process then. A parent-death
//! signal is no help: it fires when the parent's *thread* exits.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// How long the host may be gone before the process ends.
const GONE_AFTER: Duration = Duration::from_secs(5);
/// go-plugin: a host gives up on a start after a minute.
const FIRST_VISIT_WITHIN: Duration = Duration::from_secs(90);

#[derive(Clone, Debug)]
pub(crate) struct Presence {
    open: Arc<watch::Sender<usize>>,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Counts one connection until the answer is dropped.
    pub(crate) fn enter(&self) -> Visit {
        self.open.send_modify(|open| *open += 1);
        Visit {
            presence: self.clone(),
        }
    }

    /// Returns when the host never came, or has been gone for some seconds.
    pub(crate) async fn gone(&self) {
        let mut open = self.open.subscribe();
        if timeout(FIRST_VISIT_WITHIN, open.wait_for(|open| *open > 0))
            .await
            .is_err()
        {
            return;
        }
        loop {
            // The sender lives in `self`, so waiting cannot fail.
            open.wait_for(|open| *open == 0).await.ok();
            if timeout(GONE_AFTER, open.wait_for(|open| *open > 0))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Visit {
    presence: Presence,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.presence
            .open
            .send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_comes_back_in_time_is_not_gone() {
        let presence = Presence::new();
        let visit = presence.enter();
        let watching = presence.clone();
        let mut gone = Box::pin(async move { watching.gone().await });
        assert!(timeout(Duration::from_secs(3600), &mut gone).await.is_err());
        drop(visit);
        assert!(timeout(Duration::from_secs(4), &mut gone).await.is_err());
        let again = presence.enter();
        assert!(timeout(Duration::from_secs(3600), &mut gone).await.is_err());
        drop(again);
        assert!(timeout(Duration::from_secs(6), &mut gone).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_never_comes_is_gone() {
        let presence = Presence::new();
        assert!(
            timeout(Duration::from_secs(89), presence.gone())
                .await
                .is_err()
        );
        assert!(
            timeout(Duration::from_secs(91), presence.gone())
                .await
                .is_ok()
        );
    }
}
