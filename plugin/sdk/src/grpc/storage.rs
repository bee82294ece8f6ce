//! The client of the server's storage.
//!
//! Owns the mapping of its errors. Vault: errors come as text in the reply, and
//! "read-only" is known by its words alone.

use async_trait::async_trait;
use tonic::{Status, transport::Channel};
use vault_plugin_proto::pb::{self, storage_client::StorageClient};

use super::{
    MESSAGE_BYTES_MAX,
    link::{CLOSED, Link, is_unreachable},
};
use crate::{READ_ONLY_TEXT, Storage, StorageEntry, StorageError};

#[derive(Clone, Debug)]
pub(crate) struct RemoteStorage {
    link: Link,
}

impl RemoteStorage {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    fn client(&self) -> Result<StorageClient<Channel>, StorageError> {
        let channel = self
            .link
            .channel()
            .ok_or_else(|| StorageError::Unavailable(CLOSED.to_owned()))?;
        Ok(StorageClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

fn fault(status: &Status) -> StorageError {
    let text = status.message();
    if text.contains(READ_ONLY_TEXT) {
        StorageError::ReadOnly
    } else if is_unreachable(status) {
        StorageError::Unavailable(text.to_owned())
    } else {
        StorageError::Refused(text.to_owned())
    }
}

fn refusal(text: String) -> Result<(), StorageError> {
    match text {
        text if text.is_empty() => Ok(()),
        text if text.contains(READ_ONLY_TEXT) => Err(StorageError::ReadOnly),
        text => Err(StorageError::Refused(text)),
    }
}

#[async_trait]
impl Storage for RemoteStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let args = pb::StorageListArgs {
            prefix: prefix.to_owned(),
            txn: String::new(),
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
            txn: String::new(),
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
            txn: String::new(),
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
            txn: String::new(),
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
}

#[cfg(test)]
mod tests;
