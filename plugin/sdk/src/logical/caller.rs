//! Whether anyone still waits for an answer.
//!
//! Owns the flag that a request and the call that carries it share. A handler
//! runs to its end when its caller has gone, so that nothing is cut half-way;
//! what it makes for that caller then has to be undone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The caller of one request.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<AtomicBool>);

impl Caller {
    /// Whether the caller has hung up or its deadline has passed. An answer
    /// that is a lease reaches nobody then; the framework revokes it.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Marks the caller as gone when dropped before [`Waiting::answered`].
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting(Some(self.clone()))
    }
}

/// Lives as long as the call that waits.
pub(crate) struct Waiting(Option<Caller>);

impl Waiting {
    pub(crate) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(Caller(gone)) = self.0.take() {
            gone.store(true, Ordering::Release);
        }
    }
}
