//! Goal: the remote storage keeps the contract of the one in memory. The server
//! side is real gRPC on a unix socket over storage in memory.

pub(crate) mod host;

use std::sync::Arc;

use super::*;
use crate::testing::MemoryStorage;
use host::Host;

async fn remote(dir: &tempfile::TempDir) -> (RemoteStorage, Link) {
    Host::vault().serve(dir).await
}

/// The part of the contract that is about keys.
async fn key_contract(storage: &dyn Storage) {
    assert_eq!(
        storage.get("a/b").await.unwrap(),
        None,
        "a missing key is no error"
    );
    for key in ["a/b", "a/c/d", "a/c/e", "z"] {
        storage
            .put(StorageEntry::new(key, key.as_bytes().to_vec()))
            .await
            .unwrap();
    }
    assert_eq!(storage.get("a/b").await.unwrap().unwrap().value, b"a/b");
    assert_eq!(storage.list("a/").await.unwrap(), ["b", "c/"]);
    assert_eq!(storage.list("").await.unwrap(), ["a/", "z"]);
    assert!(storage.list("none/").await.unwrap().is_empty());
    storage.delete("z").await.unwrap();
    storage.delete("z").await.unwrap();
    assert_eq!(storage.get("z").await.unwrap(), None);
}

/// The part of the contract that is about values.
async fn value_contract(storage: &dyn Storage) {
    storage
        .put(StorageEntry::new("empty", Vec::new()))
        .await
        .unwrap();
    assert!(
        storage
            .get("empty")
            .await
            .unwrap()
            .unwrap()
            .value
            .is_empty()
    );
    let sealed = StorageEntry {
        seal_wrap: true,
        ..StorageEntry::new("s", vec![1])
    };
    storage.put(sealed.clone()).await.unwrap();
    assert_eq!(storage.get("s").await.unwrap(), Some(sealed));
    let large = StorageEntry::new("large", vec![7; 6 * 1024 * 1024]);
    storage.put(large.clone()).await.unwrap();
    assert_eq!(storage.get("large").await.unwrap(), Some(large));
}

#[tokio::test]
async fn both_storages_keep_one_contract() {
    let dir = tempfile::tempdir().unwrap();
    let storages: [&dyn Storage; 2] = [&MemoryStorage::new(), &remote(&dir).await.0];
    for storage in storages {
        key_contract(storage).await;
        value_contract(storage).await;
    }
}

#[tokio::test]
async fn read_only_is_known_by_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, _) = remote(&dir).await;
    let put = storage.put(StorageEntry::new("locked/a", Vec::new())).await;
    assert_eq!(put, Err(StorageError::ReadOnly));
    assert_eq!(
        storage.delete("locked/a").await,
        Err(StorageError::ReadOnly)
    );
    let error = crate::Error::from(StorageError::ReadOnly);
    assert!(matches!(error, crate::Error::ReadOnly));
}

#[tokio::test]
async fn closing_the_link_closes_it_for_everyone() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, link) = remote(&dir).await;
    let kept: Arc<dyn Storage> = Arc::new(storage);
    assert!(kept.get("a").await.is_ok());
    link.close();
    assert!(matches!(
        kept.get("a").await,
        Err(StorageError::Unavailable(_))
    ));
}

/// What pages promise, wherever they come from.
async fn page_contract(storage: &dyn Storage) {
    for key in ["p/a", "p/b/x", "p/b/y", "p/c", "q"] {
        let entry = StorageEntry::new(key, Vec::new());
        storage.put(entry).await.unwrap();
    }
    for (after, limit, expected) in [
        ("", 0, &["a", "b/", "c"][..]),
        ("", 2, &["a", "b/"]),
        ("a", 2, &["b/", "c"]),
        ("b/", 0, &["c"]),
        ("aa", 1, &["b/"]),
        ("c", 9, &[]),
    ] {
        let page = storage.list_page("p/", after, limit).await.unwrap();
        assert_eq!(page, expected, "after {after:?}, at most {limit}");
    }
}

#[tokio::test]
async fn pages_are_the_same_from_every_storage() {
    page_contract(&MemoryStorage::new()).await;
    for host in [Host::vault(), Host::openbao()] {
        let dir = tempfile::tempdir().unwrap();
        page_contract(&host.serve(&dir).await.0).await;
    }
}

#[tokio::test]
async fn a_server_without_pages_is_asked_for_one_once() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::vault();
    let (storage, _) = host.serve(&dir).await;
    for _ in 0..3 {
        storage.list_page("p/", "", 1).await.unwrap();
    }
    let calls = host.calls();
    let asked = calls.iter().filter(|(name, _)| *name == "list_page");
    assert_eq!(asked.count(), 1);
}
