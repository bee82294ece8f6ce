//! A transaction on the server's storage. OpenBao only.
//!
//! Owns its id from begin to end. OpenBao: a call with an id that it does not
//! know (any more) acts outside of any transaction, without a word; so the id
//! goes nowhere else, and whoever ends the transaction gives it up.

use async_trait::async_trait;
use tonic::Code;
use vault_plugin_proto::pb;

use super::storage::{RemoteStorage, fault, refusal};
use crate::{Storage, StorageEntry, StorageError, Transaction, TransactionMode, tasks};

/// `None` where the server offers none. Vault ignores ids, so it is asked first.
pub(super) async fn begin(
    storage: &RemoteStorage,
    mode: TransactionMode,
) -> Result<Option<Box<dyn Transaction>>, StorageError> {
    let offered = match storage.client()?.is_transactional(pb::Empty {}).await {
        Ok(reply) => reply.into_inner().transactional,
        Err(status) if status.code() == Code::Unimplemented => false,
        Err(status) => return Err(fault(&status)),
    };
    if !offered {
        return Ok(None);
    }
    let mut client = storage.client()?;
    let begun = match mode {
        TransactionMode::ReadOnly => client.begin_read_only_tx(pb::Empty {}).await,
        TransactionMode::ReadWrite => client.begin_tx(pb::Empty {}).await,
    };
    let reply = begun.map_err(|status| fault(&status))?.into_inner();
    refusal(reply.err)?;
    if reply.txn.is_empty() {
        // Without an id every call would act outside of the transaction.
        return Err(StorageError::Refused(
            "the server began a transaction without an id".to_owned(),
        ));
    }
    Ok(Some(Box::new(RemoteTransaction {
        storage: storage.within(reply.txn.clone()),
        open: Some(reply.txn),
    })))
}

#[derive(Debug)]
struct RemoteTransaction {
    storage: RemoteStorage,
    /// The id, as long as nobody has ended the transaction.
    open: Option<String>,
}

#[async_trait]
impl Storage for RemoteTransaction {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.storage.list(prefix).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StorageError> {
        self.storage.list_page(prefix, after, limit).await
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        self.storage.get(key).await
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        self.storage.put(entry).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.storage.delete(key).await
    }
}

#[async_trait]
impl Transaction for RemoteTransaction {
    async fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        let Some(txn) = self.open.take() else {
            return Ok(());
        };
        let mut client = self.storage.client()?;
        let reply = client.commit(pb::EndTxArgs { txn }).await;
        refusal(reply.map_err(|status| fault(&status))?.into_inner().err)
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), StorageError> {
        match self.open.take() {
            Some(txn) => roll_back(&self.storage, txn).await,
            None => Ok(()),
        }
    }
}

async fn roll_back(storage: &RemoteStorage, txn: String) -> Result<(), StorageError> {
    let reply = storage.client()?.rollback(pb::EndTxArgs { txn }).await;
    refusal(reply.map_err(|status| fault(&status))?.into_inner().err)
}

/// The server keeps what nobody ends until the mount goes.
impl Drop for RemoteTransaction {
    fn drop(&mut self) {
        if let Some(txn) = self.open.take() {
            let storage = self.storage.clone();
            tasks::last_words(async move {
                roll_back(&storage, txn).await.ok();
            });
        }
    }
}

#[cfg(test)]
mod tests;
