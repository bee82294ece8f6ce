//! Goal: a transaction is all or nothing, and its id is never used once it has
//! ended, because the server would then write past it without a word.

use std::time::Duration;

use super::*;
use crate::grpc::storage::tests::host::Host;

fn entry(key: &str) -> StorageEntry {
    StorageEntry::new(key, b"v".to_vec())
}

async fn writing(storage: &RemoteStorage) -> Box<dyn Transaction> {
    let begun = storage.begin(TransactionMode::ReadWrite).await.unwrap();
    begun.expect("OpenBao offers transactions")
}

async fn served(host: &Host) -> (RemoteStorage, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (host.serve(&dir).await.0, dir)
}

#[tokio::test]
async fn a_commit_makes_all_of_it_seen_at_once() {
    let host = Host::openbao();
    let (storage, _dir) = served(&host).await;
    let transaction = writing(&storage).await;
    transaction.put(entry("a")).await.unwrap();
    transaction.put(entry("b")).await.unwrap();
    transaction.delete("a").await.unwrap();
    assert_eq!(transaction.list("").await.unwrap(), ["b"]);
    assert_eq!(transaction.list_page("", "a", 1).await.unwrap(), ["b"]);
    assert!(transaction.get("b").await.unwrap().is_some());
    assert!(!host.has("b").await, "not before the commit");
    transaction.commit().await.unwrap();
    assert!(host.has("b").await && !host.has("a").await);
    assert_eq!(host.open(), 0);
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let host = Host::openbao();
    let (storage, _dir) = served(&host).await;
    let transaction = writing(&storage).await;
    transaction.put(entry("a")).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(!host.has("a").await);
    assert_eq!(host.open(), 0);
}

#[tokio::test]
async fn what_nobody_ends_is_rolled_back() {
    let host = Host::openbao();
    let (storage, _dir) = served(&host).await;
    let transaction = writing(&storage).await;
    transaction.put(entry("a")).await.unwrap();
    drop(transaction);
    let ended = async {
        while host.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, ended).await.unwrap();
    assert!(!host.has("a").await);
}

#[tokio::test]
async fn an_id_ends_with_its_transaction() {
    let host = Host::openbao();
    let (storage, _dir) = served(&host).await;
    let transaction = writing(&storage).await;
    transaction.put(entry("a")).await.unwrap();
    transaction.commit().await.unwrap();
    storage.put(entry("b")).await.unwrap();
    let calls = host.calls();
    let end = calls.iter().position(|(name, _)| *name == "commit");
    let (before, after) = calls.split_at(end.unwrap() + 1);
    assert!(before.iter().any(|(_, txn)| !txn.is_empty()));
    assert!(after.iter().all(|(_, txn)| txn.is_empty()), "{after:?}");
}

#[tokio::test]
async fn a_conflict_and_a_write_where_none_is_allowed_are_known() {
    let host = Host::openbao();
    let (storage, _dir) = served(&host).await;
    let transaction = writing(&storage).await;
    transaction.put(entry("conflict/a")).await.unwrap();
    assert_eq!(transaction.commit().await, Err(StorageError::Conflict));
    let begun = storage.begin(TransactionMode::ReadOnly).await.unwrap();
    let reading = begun.unwrap();
    let refused = reading.put(entry("a")).await.unwrap_err();
    assert!(matches!(refused, StorageError::Refused(_)), "{refused}");
    host.write("later").await;
    assert!(reading.get("later").await.unwrap().is_none());
    reading.rollback().await.unwrap();
}

#[tokio::test]
async fn a_server_without_transactions_says_so_and_sees_no_id() {
    let host = Host::vault();
    let (storage, _dir) = served(&host).await;
    let begun = storage.begin(TransactionMode::ReadWrite).await.unwrap();
    assert!(begun.is_none());
    storage.put(entry("a")).await.unwrap();
    let calls = host.calls();
    assert!(calls.iter().all(|(_, txn)| txn.is_empty()));
    assert!(calls.iter().all(|(name, _)| *name != "begin_tx"));
}
