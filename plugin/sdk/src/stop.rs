//! The one signal that ends the process.
//!
//! Owns a flag that is raised once: by the host's Shutdown, by SIGTERM, or by
//! the host's absence. Streams that would stay open for ever end with it.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Debug)]
pub(crate) struct Stop {
    raised: Arc<watch::Sender<bool>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            raised: Arc::new(watch::Sender::new(false)),
        }
    }

    pub(crate) fn raise(&self) {
        self.raised.send_replace(true);
    }

    pub(crate) async fn raised(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        self.raised
            .subscribe()
            .wait_for(|raised| *raised)
            .await
            .ok();
    }
}
