//! Storage that fails on command.
//!
//! Owns a counter of calls over another storage. With it a test walks every
//! point at which an engine can be cut.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;

use crate::{Storage, StorageEntry, StorageError};

/// When and how storage fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call with this number fails (the first is 1), before it takes effect.
    At(usize),
    /// The call with this number and all later ones fail.
    From(usize),
    /// Every write fails as on a standby.
    ReadOnly,
}

/// Storage that fails on command.
#[derive(Debug)]
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    calls: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

impl FaultStorage {
    /// Storage over `inner` that works until told otherwise.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            calls: AtomicUsize::new(0),
            fault: Mutex::new(None),
        }
    }

    /// From now on fails so (or, with `None`, works); counts from zero again.
    pub fn set(&self, fault: Option<Fault>) {
        self.calls.store(0, Ordering::SeqCst);
        *self
            .fault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }

    /// The number of calls since the last [`FaultStorage::set`].
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn check(&self, writes: bool) -> Result<(), StorageError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = self
            .fault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        match fault {
            Some(Fault::ReadOnly) if writes => Err(StorageError::ReadOnly),
            Some(Fault::At(at)) if call == at => Err(injected()),
            Some(Fault::From(from)) if call >= from => Err(injected()),
            _ => Ok(()),
        }
    }
}

fn injected() -> StorageError {
    StorageError::Unavailable("injected fault".to_owned())
}

#[async_trait]
impl Storage for FaultStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.check(false)?;
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        self.check(false)?;
        self.inner.get(key).await
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        self.check(true)?;
        self.inner.put(entry).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.check(true)?;
        self.inner.delete(key).await
    }
}
