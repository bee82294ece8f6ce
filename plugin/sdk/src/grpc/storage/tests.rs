//! Goal: the remote storage keeps the contract of the one in memory. The server
//! side is real gRPC on a unix socket over storage in memory.

use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response,
    transport::{Endpoint, Server, Uri},
};
use vault_plugin_proto::pb::storage_server::{Storage as Service, StorageServer};

use super::*;
use crate::{tasks::Tasks, testing::MemoryStorage};

/// Plays the server; keys under `locked/` are read-only, as text says it.
struct Host(MemoryStorage);

fn refused(key: &str) -> String {
    let refuse = key.starts_with("locked/");
    if refuse {
        format!("1 error occurred: {READ_ONLY_TEXT}")
    } else {
        String::new()
    }
}

#[tonic::async_trait]
impl Service for Host {
    async fn list(
        &self,
        request: Request<pb::StorageListArgs>,
    ) -> Result<Response<pb::StorageListReply>, Status> {
        let keys = self.0.list(&request.into_inner().prefix).await.unwrap();
        Ok(Response::new(pb::StorageListReply {
            keys,
            err: String::new(),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::StorageGetArgs>,
    ) -> Result<Response<pb::StorageGetReply>, Status> {
        let entry = self.0.get(&request.into_inner().key).await.unwrap();
        let entry = entry.map(|entry| pb::StorageEntry {
            key: entry.key,
            value: entry.value,
            seal_wrap: entry.seal_wrap,
        });
        Ok(Response::new(pb::StorageGetReply {
            entry,
            err: String::new(),
        }))
    }

    async fn put(
        &self,
        request: Request<pb::StoragePutArgs>,
    ) -> Result<Response<pb::StoragePutReply>, Status> {
        let entry = request.into_inner().entry.unwrap();
        let err = refused(&entry.key);
        if err.is_empty() {
            let (key, value, seal_wrap) = (entry.key, entry.value, entry.seal_wrap);
            self.0
                .put(StorageEntry {
                    key,
                    value,
                    seal_wrap,
                })
                .await
                .unwrap();
        }
        Ok(Response::new(pb::StoragePutReply { err }))
    }

    async fn delete(
        &self,
        request: Request<pb::StorageDeleteArgs>,
    ) -> Result<Response<pb::StorageDeleteReply>, Status> {
        let key = request.into_inner().key;
        let err = refused(&key);
        self.0.delete(&key).await.unwrap();
        Ok(Response::new(pb::StorageDeleteReply { err }))
    }

    async fn list_page(
        &self,
        _: Request<pb::StorageListPageArgs>,
    ) -> Result<Response<pb::StorageListReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn is_transactional(
        &self,
        _: Request<pb::Empty>,
    ) -> Result<Response<pb::IsTransactionalReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn begin_read_only_tx(
        &self,
        _: Request<pb::Empty>,
    ) -> Result<Response<pb::BeginTxReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn begin_tx(&self, _: Request<pb::Empty>) -> Result<Response<pb::BeginTxReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn commit(&self, _: Request<pb::EndTxArgs>) -> Result<Response<pb::EndTxReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn rollback(
        &self,
        _: Request<pb::EndTxArgs>,
    ) -> Result<Response<pb::EndTxReply>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

async fn remote(dir: &tempfile::TempDir) -> (RemoteStorage, Link) {
    let path = dir.path().join("host");
    let listener = UnixListener::bind(&path).unwrap();
    let service =
        StorageServer::new(Host(MemoryStorage::new())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder().add_service(service);
    Tasks::new().background(async move {
        server
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    });
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move {
            UnixStream::connect(path)
                .await
                .map(hyper_util::rt::TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let link = Link::new(endpoint.connect_with_connector(connector).await.unwrap());
    (RemoteStorage::new(link.clone()), link)
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
