//! An engine without its state's type.
//!
//! Owns the trait that lets the gRPC service, which is not generic, hold the
//! backend of any engine, and the factory that makes one for each mount.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Backend, BackendKind, Error, Request, Response, SetupConfig, SpecialPaths};

pub(crate) type Factory = dyn Fn(SetupConfig) -> Result<Arc<dyn Engine>, Error> + Send + Sync;

#[async_trait]
pub(crate) trait Engine: Send + Sync {
    async fn handle(&self, request: Request) -> Result<Option<Response>, Error>;
    async fn exists(&self, request: Request) -> Result<Option<bool>, Error>;
    async fn start(&self, request: Request) -> Result<(), Error>;
    async fn invalidated(&self, key: String);
    async fn stop(&self);
    fn kind(&self) -> BackendKind;
    fn special_paths(&self) -> &SpecialPaths;
}

#[async_trait]
impl<S: Send + Sync + 'static> Engine for Backend<S> {
    async fn handle(&self, request: Request) -> Result<Option<Response>, Error> {
        Self::handle(self, request).await
    }

    async fn exists(&self, request: Request) -> Result<Option<bool>, Error> {
        Self::exists(self, request).await
    }

    async fn start(&self, request: Request) -> Result<(), Error> {
        Self::start(self, request).await
    }

    async fn invalidated(&self, key: String) {
        Self::invalidated(self, key).await;
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }

    fn kind(&self) -> BackendKind {
        self.kind
    }

    fn special_paths(&self) -> &SpecialPaths {
        &self.special_paths
    }
}
