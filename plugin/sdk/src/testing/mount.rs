//! A mount without a server.
//!
//! Owns an engine over storage in memory, and asks it what a server would: a
//! write after its existence check, a renewal and a revocation with the lease's
//! own internal data, the tick of every minute.

use std::sync::Arc;

use super::{MemoryStorage, RequestBuilder, StaticSystemView};
use crate::{Backend, Error, Map, Operation, Request, Response, Storage, SystemView, Value};

/// An engine mounted in memory.
///
/// ```
/// # use vault_plugin_sdk::{Backend, BackendKind, Operation, Path, Response, testing::Mount};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let backend = Backend::new(BackendKind::Secrets, ())
/// #     .path(Path::new("ping").operation(Operation::Read, |_, _| async { Ok(Some(Response::default())) }));
/// let mount = Mount::new(backend);
/// let answer = mount.read("ping").await.unwrap();
/// assert!(answer.is_some());
/// # });
/// ```
#[derive(Debug)]
pub struct Mount<S> {
    /// The engine.
    pub backend: Backend<S>,
    storage: Arc<dyn Storage>,
    system: Arc<dyn SystemView>,
}

impl<S: Send + Sync + 'static> Mount<S> {
    /// Over empty storage, on an active node with the defaults of a fresh server.
    pub fn new(backend: Backend<S>) -> Self {
        Self {
            backend,
            storage: Arc::new(MemoryStorage::new()),
            system: Arc::new(StaticSystemView::new()),
        }
    }

    /// Over this storage.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// On this server.
    #[must_use]
    pub fn system(mut self, system: Arc<dyn SystemView>) -> Self {
        self.system = system;
        self
    }

    /// A request to this mount, for what the calls below do not say.
    pub fn request(&self, operation: Operation, path: &str) -> RequestBuilder {
        RequestBuilder::new(operation, path)
            .storage(Arc::clone(&self.storage))
            .system(Arc::clone(&self.system))
    }

    /// Answers a request.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn handle(&self, request: Request) -> Result<Option<Response>, Error> {
        self.backend.handle(request).await
    }

    /// `vault read`.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn read(&self, path: &str) -> Result<Option<Response>, Error> {
        self.handle(self.request(Operation::Read, path).build())
            .await
    }

    /// `vault write`: a create where the existence check says that nothing is
    /// there yet, else an update. `body` is an object; anything else counts as
    /// an empty one.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn write(&self, path: &str, body: Value) -> Result<Option<Response>, Error> {
        let body = match body {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        let mut request = self.request(Operation::Update, path).data(body).build();
        if self.backend.exists(request.clone()).await? == Some(false) {
            request.operation = Operation::Create;
        }
        self.handle(request).await
    }

    /// `vault list`.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let path = format!("{}/", path.trim_end_matches('/'));
        let answer = self
            .handle(self.request(Operation::List, &path).build())
            .await?;
        let keys = answer
            .and_then(|answer| answer.data?.remove("keys"))
            .unwrap_or_default();
        let keys = keys.as_array().cloned().unwrap_or_default();
        Ok(keys
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// `vault delete`.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn delete(&self, path: &str) -> Result<Option<Response>, Error> {
        self.handle(self.request(Operation::Delete, path).build())
            .await
    }

    /// `vault lease renew` of the lease, or `vault token renew` of the login,
    /// that `issued` holds.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn renew(&self, issued: &Response) -> Result<Option<Response>, Error> {
        self.lifecycle(Operation::Renew, issued).await
    }

    /// `vault lease revoke` of the lease that `issued` holds.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn revoke(&self, issued: &Response) -> Result<Option<Response>, Error> {
        self.lifecycle(Operation::Revoke, issued).await
    }

    /// The tick of every minute, as when the mount goes: write-ahead entries of
    /// any age are rolled back.
    ///
    /// # Errors
    /// As the engine answers.
    pub async fn roll_back(&self) -> Result<Option<Response>, Error> {
        let tick = self
            .request(Operation::Rollback, "")
            .value("immediate", true);
        self.handle(tick.build()).await
    }

    async fn lifecycle(
        &self,
        operation: Operation,
        issued: &Response,
    ) -> Result<Option<Response>, Error> {
        let mut request = self.request(operation, "").build();
        request.secret.clone_from(&issued.secret);
        request.auth.clone_from(&issued.auth);
        self.handle(request).await
    }
}
