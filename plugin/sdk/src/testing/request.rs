//! A builder of requests.
//!
//! Owns nothing but the shortest way to write one down.

use std::sync::Arc;

use super::{MemoryStorage, StaticSystemView};
use crate::{Auth, Map, Operation, Request, Secret, Storage, SystemView, Value};

/// A request under construction, over empty storage and an active node.
#[derive(Debug)]
pub struct RequestBuilder {
    request: Request,
}

impl RequestBuilder {
    /// A request for `path`.
    pub fn new(operation: Operation, path: &str) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let system = Arc::new(StaticSystemView::new());
        Self {
            request: Request::new(operation, path, storage, system),
        }
    }

    /// Uses this storage.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.request.storage = storage;
        self
    }

    /// Uses this server.
    #[must_use]
    pub fn system(mut self, system: Arc<dyn SystemView>) -> Self {
        self.request.system = system;
        self
    }

    /// Adds one value to the body.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.request.data.insert(name.to_owned(), value.into());
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn data(mut self, data: Map<String, Value>) -> Self {
        self.request.data = data;
        self
    }

    /// Renews or revokes this lease.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.request.secret = Some(secret);
        self
    }

    /// Renews this login.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.request.auth = Some(auth);
        self
    }

    /// Carries this header, which the mount lets through.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let values = self.request.headers.entry(name.to_owned()).or_default();
        values.push(value.to_owned());
        self
    }

    /// Comes from this address.
    #[must_use]
    pub fn remote_addr(mut self, address: &str) -> Self {
        let connection = self.request.connection.get_or_insert_default();
        address.clone_into(&mut connection.remote_addr);
        self
    }

    /// Comes from this identity.
    #[must_use]
    pub fn entity(mut self, entity_id: &str) -> Self {
        entity_id.clone_into(&mut self.request.entity_id);
        self
    }

    /// Comes through this mount.
    #[must_use]
    pub fn mount(mut self, point: &str, accessor: &str) -> Self {
        point.clone_into(&mut self.request.mount_point);
        accessor.clone_into(&mut self.request.mount_accessor);
        self
    }

    /// The request.
    #[must_use]
    pub fn build(self) -> Request {
        self.request
    }
}
