//! The client of the server's storage.
//!
//! Owns the mapping of its errors. Vault: errors come as text in the reply, and
//! "read-only" is known by its words alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tonic::{Code, Status, transport::Channel};
use vault_plugin_proto::pb::{self, storage_client::StorageClient};

use super::{
    MESSAGE_BYTES_MAX,
    link::{CLOSED, Link, is_unreachable},
    transaction,
};
use crate::{
    READ_ONLY_TEXT, Storage, StorageEntry, StorageError, Transaction, TransactionMode,
    logical::storage::page,
};

/// OpenBao: two transactions met.
const CONFLICT_TEXT: &str = "transaction commit failed";

#[derive(Clone, Debug)]
pub(crate) struct RemoteStorage {
    link: Link,
    /// The transaction that all calls belong to; empty outside of one.
    txn: String,
    /// The server has been found to have no pages.
    pageless: Arc<AtomicBool>,
}

impl RemoteStorage {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            txn: String::new(),
            pageless: Arc::default(),
        }
    }

    /// The same storage, seen from within a transaction.
    pub(super) fn within(&self, txn: String) -> Self {
        Self {
            txn,
            ..self.clone()
        }
    }

    pub(super) fn client(&self) -> Result<StorageClient<Channel>, StorageError> {
        let channel = self
            .link
            .channel()
            .ok_or_else(|| StorageError::Unavailable(CLOSED.to_owned()))?;
        Ok(StorageClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

pub(super) fn fault(status: &Status) -> StorageError {
    let text = status.message();
    if text.contains(READ_ONLY_TEXT) {
        StorageError::ReadOnly
    } else if is_unreachable(status) {
        StorageError::Unavailable(text.to_owned())
    } else {
        StorageError::Refused(text.to_owned())
    }
}

pub(super) fn refusal(text: String) -> Result<(), StorageError> {
    match text {
        text if text.is_empty() => Ok(()),
        text if text.contains(READ_ONLY_TEXT) => Err(StorageError::ReadOnly),
        text if text.contains(CONFLICT_TEXT) => Err(StorageError::Conflict),
        text => Err(StorageError::Refused(text)),
    }
}

#[async_trait]
impl Storage for RemoteStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let args = pb::StorageListArgs {
            prefix: prefix.to_owned(),
            txn: self.txn.clone(),
        };
        let reply = self
            .client()?
            .list(args)
            .await
            .map_err(|status| fault(&status))?
            .into_inner();
        refusal(reply.err)?;
        Ok(reply.keys)
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        let args = pb::StorageGetArgs {
            key: key.to_owned(),
            txn: self.txn.clone(),
        };
        let reply = self
            .client()?
            .get(args)
            .await
            .map_err(|status| fault(&status))?
            .into_inner();
        refusal(reply.err)?;
        Ok(reply.entry.map(|entry| StorageEntry {
            key: entry.key,
            value: entry.value,
            seal_wrap: entry.seal_wrap,
        }))
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        let entry = pb::StorageEntry {
            key: entry.key,
            value: entry.value,
            seal_wrap: entry.seal_wrap,
        };
        let args = pb::StoragePutArgs {
            entry: Some(entry),
            txn: self.txn.clone(),
        };
        refusal(
            self.client()?
                .put(args)
                .await
                .map_err(|status| fault(&status))?
                .into_inner()
                .err,
        )
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let args = pb::StorageDeleteArgs {
            key: key.to_owned(),
            txn: self.txn.clone(),
        };
        refusal(
            self.client()?
                .delete(args)
                .await
                .map_err(|status| fault(&status))?
                .into_inner()
                .err,
        )
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StorageError> {
        if self.pageless.load(Ordering::Relaxed) {
            return Ok(page(self.list(prefix).await?, after, limit));
        }
        let args = pb::StorageListPageArgs {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            txn: self.txn.clone(),
        };
        match self.client()?.list_page(args).await {
            Ok(reply) => {
                let reply = reply.into_inner();
                refusal(reply.err)?;
                Ok(reply.keys)
            }
            Err(status) if status.code() == Code::Unimplemented => {
                self.pageless.store(true, Ordering::Relaxed);
                Ok(page(self.list(prefix).await?, after, limit))
            }
            Err(status) => Err(fault(&status)),
        }
    }

    async fn begin(
        &self,
        mode: TransactionMode,
    ) -> Result<Option<Box<dyn Transaction>>, StorageError> {
        transaction::begin(self, mode).await
    }
}

#[cfg(test)]
pub(super) mod tests;
