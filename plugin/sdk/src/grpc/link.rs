//! One mount's connection to the server.
//!
//! Owns the channel, so that closing it at clean-up closes it for everyone who
//! holds the mount's storage. Vault: unmounting waits until it is closed.

use std::sync::{Arc, PoisonError, RwLock};

use tonic::{Code, Status, transport::Channel};

#[derive(Clone, Debug)]
pub(crate) struct Link {
    channel: Arc<RwLock<Option<Channel>>>,
}

impl Link {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            channel: Arc::new(RwLock::new(Some(channel))),
        }
    }

    /// A clone for one call, or `None` once closed. Never keep it.
    pub(super) fn channel(&self) -> Option<Channel> {
        self.channel
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn close(&self) {
        self.channel
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

pub(super) const CLOSED: &str = "the mount is closed";

/// Whether the call never got an answer from the server itself.
pub(super) fn is_unreachable(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
    )
}
