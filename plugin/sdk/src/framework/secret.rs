//! A type of leased answer, with what renews and revokes it.
//!
//! Owns the builder. Vault: dispatch is by `secret_type` in the lease's internal
//! data alone; the path does not matter. Both run on the active node only.

use std::{fmt, sync::Arc};

use super::handler::{Handler, HandlerResult, boxed};
use crate::Request;

/// A type of leased answer.
pub struct SecretType<S> {
    pub(crate) name: String,
    pub(crate) renew: Option<Handler<S>>,
    pub(crate) revoke: Option<Handler<S>>,
}

impl<S: Send + Sync + 'static> SecretType<S> {
    /// A type that can be neither renewed nor revoked.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            renew: None,
            revoke: None,
        }
    }

    /// Extends a lease. An answer without `secret` leaves the lease as it is.
    #[must_use]
    pub fn renew<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.renew = Some(boxed(handler));
        self
    }

    /// Ends a lease. It is called again after any failure, so "already gone"
    /// must be a success.
    #[must_use]
    pub fn revoke<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.revoke = Some(boxed(handler));
        self
    }
}

impl<S> fmt::Debug for SecretType<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
