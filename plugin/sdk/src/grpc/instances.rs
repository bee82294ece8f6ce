//! The mounts that this process serves.
//!
//! Owns the table from `multiplex_id` to one mount's engine, connection and
//! running handlers. Nothing is shared between two entries.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tonic::{Status, metadata::MetadataMap};
use tracing::warn;

use super::{engine::Engine, link::Link, storage::RemoteStorage, system::RemoteSystem};
use crate::{Storage, SystemView, tasks::Tasks};

/// Vault: unmounting waits for the mount's connection to close.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Instance {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) system: Arc<dyn SystemView>,
    pub(super) tasks: Tasks,
    link: Link,
}

impl Instance {
    pub(super) fn new(engine: Arc<dyn Engine>, link: Link) -> Self {
        Self {
            engine,
            storage: Arc::new(RemoteStorage::new(link.clone())),
            system: Arc::new(RemoteSystem::new(link.clone())),
            tasks: Tasks::new(),
            link,
        }
    }

    /// A system view that remembers nothing.
    pub(super) fn fresh_system(&self) -> Arc<dyn SystemView> {
        Arc::new(RemoteSystem::new(self.link.clone()))
    }

    /// Lets running handlers end, runs the engine's own hook, then hangs up,
    /// also on those that hold the storage for longer.
    pub(super) async fn close(&self) {
        if !self.tasks.drain(DRAIN_TIMEOUT).await {
            warn!("a handler outlived its mount and lost its storage");
        }
        let engine = self.engine.clone();
        // A panic in the hook is in the log; the server waits for the hanging up.
        self.tasks
            .run(async move { engine.stop().await })
            .await
            .ok();
        self.link.close();
    }
}

#[derive(Clone, Default)]
pub(crate) struct Instances {
    table: Arc<RwLock<HashMap<String, Arc<Instance>>>>,
}

impl Instances {
    pub(super) fn find(&self, metadata: &MetadataMap) -> Result<Arc<Instance>, Status> {
        let id = multiplex_id(metadata)?;
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .get(id)
            .cloned()
            .ok_or_else(|| Status::internal("no backend instance found"))
    }

    /// Adds an instance and gives back the one it replaces.
    pub(super) fn insert(&self, id: String, instance: Instance) -> Option<Arc<Instance>> {
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::new(instance))
    }

    pub(super) fn remove(&self, metadata: &MetadataMap) -> Result<Option<Arc<Instance>>, Status> {
        let id = multiplex_id(metadata)?;
        Ok(self
            .table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id))
    }

    /// Waits for all running handlers, at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        let instances: Vec<_> = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.values().cloned().collect()
        };
        let all = async {
            for instance in &instances {
                instance.tasks.drain(patience).await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            warn!("handlers are cut off by the end of the process");
        }
    }
}

/// Vault: exactly one value, and not an empty one.
pub(super) fn multiplex_id(metadata: &MetadataMap) -> Result<&str, Status> {
    let mut values = metadata.get_all("multiplex_id").iter();
    match (values.next().map(|id| id.to_str()), values.next()) {
        (Some(Ok(id)), None) if !id.is_empty() => Ok(id),
        _ => Err(Status::invalid_argument(
            "the call needs exactly one multiplex_id",
        )),
    }
}
