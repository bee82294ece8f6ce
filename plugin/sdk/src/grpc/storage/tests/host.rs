//! Plays the server's storage: plain like Vault's, or with pages and
//! transactions like OpenBao's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::super::*;
use crate::testing::MemoryStorage;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server, Uri},
};
use vault_plugin_proto::pb::storage_server::{Storage as Service, StorageServer};

use crate::{grpc::link::Link, tasks::Tasks};

/// Keys under `locked/` are read-only, as text says it.
#[derive(Clone, Default)]
pub(crate) struct Host(Arc<State>);

#[derive(Default)]
struct State {
    storage: MemoryStorage,
    openbao: bool,
    transactions: Mutex<HashMap<String, Open>>,
    /// Every call, in order: its name and its transaction.
    calls: Mutex<Vec<(&'static str, String)>>,
}

/// A transaction sees what was there when it began, and its own writes.
struct Open {
    seen: Arc<MemoryStorage>,
    writes: Vec<Result<StorageEntry, String>>,
    read_only: bool,
}

fn refused(key: &str) -> String {
    if key.starts_with("locked/") {
        format!("1 error occurred: {READ_ONLY_TEXT}")
    } else {
        String::new()
    }
}

async fn copy(from: &MemoryStorage) -> MemoryStorage {
    let to = MemoryStorage::new();
    for key in from.keys() {
        to.put(from.get(&key).await.unwrap().unwrap())
            .await
            .unwrap();
    }
    to
}

impl Host {
    pub(crate) fn vault() -> Self {
        Self::default()
    }

    pub(crate) fn openbao() -> Self {
        Self(Arc::new(State {
            openbao: true,
            ..State::default()
        }))
    }

    pub(crate) fn calls(&self) -> Vec<(&'static str, String)> {
        self.0.calls.lock().unwrap().clone()
    }

    pub(crate) fn open(&self) -> usize {
        self.0.transactions.lock().unwrap().len()
    }

    pub(crate) async fn has(&self, key: &str) -> bool {
        self.0.storage.get(key).await.unwrap().is_some()
    }

    pub(crate) async fn write(&self, key: &str) {
        let entry = StorageEntry::new(key, Vec::new());
        self.0.storage.put(entry).await.unwrap();
    }

    fn called(&self, name: &'static str, txn: &str) {
        let call = (name, txn.to_owned());
        self.0.calls.lock().unwrap().push(call);
    }

    /// OpenBao: an id that is not known means no transaction, without a word.
    fn seen(&self, txn: &str) -> Option<Arc<MemoryStorage>> {
        let open = self.0.transactions.lock().unwrap();
        open.get(txn).map(|open| open.seen.clone())
    }

    fn only_openbao(&self, name: &'static str) -> Result<(), Status> {
        self.called(name, "");
        if self.0.openbao {
            Ok(())
        } else {
            Err(Status::unimplemented("unknown method"))
        }
    }

    async fn listed(&self, prefix: &str, txn: &str) -> Vec<String> {
        let listed = match self.seen(txn) {
            Some(seen) => seen.list(prefix).await,
            None => self.0.storage.list(prefix).await,
        };
        listed.unwrap()
    }

    /// Writes into the transaction, or past it.
    async fn written(&self, change: Result<StorageEntry, String>, txn: &str) -> String {
        let target = self.seen(txn);
        if let Some(open) = self.0.transactions.lock().unwrap().get_mut(txn) {
            if open.read_only {
                return "transaction is read-only".to_owned();
            }
            open.writes.push(change.clone());
        }
        let target = target.as_deref().unwrap_or(&self.0.storage);
        match change {
            Ok(entry) => target.put(entry).await.unwrap(),
            Err(key) => target.delete(&key).await.unwrap(),
        }
        String::new()
    }

    async fn begun(&self, read_only: bool) -> pb::BeginTxReply {
        let seen = Arc::new(copy(&self.0.storage).await);
        let open = Open {
            seen,
            writes: Vec::new(),
            read_only,
        };
        let txn = uuid::Uuid::new_v4().to_string();
        self.0
            .transactions
            .lock()
            .unwrap()
            .insert(txn.clone(), open);
        pb::BeginTxReply {
            txn,
            err: String::new(),
        }
    }

    pub(crate) async fn serve(&self, dir: &tempfile::TempDir) -> (RemoteStorage, Link) {
        let path = dir.path().join("host");
        let listener = UnixListener::bind(&path).unwrap();
        let service = StorageServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
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
}

#[tonic::async_trait]
impl Service for Host {
    async fn list(
        &self,
        request: Request<pb::StorageListArgs>,
    ) -> Result<Response<pb::StorageListReply>, Status> {
        let args = request.into_inner();
        self.called("list", &args.txn);
        Ok(Response::new(pb::StorageListReply {
            keys: self.listed(&args.prefix, &args.txn).await,
            err: String::new(),
        }))
    }

    async fn get(
        &self,
        request: Request<pb::StorageGetArgs>,
    ) -> Result<Response<pb::StorageGetReply>, Status> {
        let args = request.into_inner();
        self.called("get", &args.txn);
        let entry = match self.seen(&args.txn) {
            Some(seen) => seen.get(&args.key).await,
            None => self.0.storage.get(&args.key).await,
        };
        let entry = entry.unwrap().map(|entry| pb::StorageEntry {
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
        let args = request.into_inner();
        self.called("put", &args.txn);
        let entry = args.entry.unwrap();
        let mut err = refused(&entry.key);
        if err.is_empty() {
            let mut stored = StorageEntry::new(entry.key, entry.value);
            stored.seal_wrap = entry.seal_wrap;
            err = self.written(Ok(stored), &args.txn).await;
        }
        Ok(Response::new(pb::StoragePutReply { err }))
    }

    async fn delete(
        &self,
        request: Request<pb::StorageDeleteArgs>,
    ) -> Result<Response<pb::StorageDeleteReply>, Status> {
        let args = request.into_inner();
        self.called("delete", &args.txn);
        let mut err = refused(&args.key);
        if err.is_empty() {
            err = self.written(Err(args.key), &args.txn).await;
        }
        Ok(Response::new(pb::StorageDeleteReply { err }))
    }

    async fn list_page(
        &self,
        request: Request<pb::StorageListPageArgs>,
    ) -> Result<Response<pb::StorageListReply>, Status> {
        let args = request.into_inner();
        self.only_openbao("list_page")?;
        let mut keys = self.listed(&args.prefix, &args.txn).await;
        keys.retain(|key| args.after.is_empty() || *key > args.after);
        if let Ok(limit) = usize::try_from(args.limit)
            && limit > 0
        {
            keys.truncate(limit);
        }
        Ok(Response::new(pb::StorageListReply {
            keys,
            err: String::new(),
        }))
    }

    async fn is_transactional(
        &self,
        _: Request<pb::Empty>,
    ) -> Result<Response<pb::IsTransactionalReply>, Status> {
        self.only_openbao("is_transactional")?;
        Ok(Response::new(pb::IsTransactionalReply {
            transactional: true,
        }))
    }

    async fn begin_read_only_tx(
        &self,
        _: Request<pb::Empty>,
    ) -> Result<Response<pb::BeginTxReply>, Status> {
        self.only_openbao("begin_read_only_tx")?;
        Ok(Response::new(self.begun(true).await))
    }

    async fn begin_tx(&self, _: Request<pb::Empty>) -> Result<Response<pb::BeginTxReply>, Status> {
        self.only_openbao("begin_tx")?;
        Ok(Response::new(self.begun(false).await))
    }

    async fn commit(
        &self,
        request: Request<pb::EndTxArgs>,
    ) -> Result<Response<pb::EndTxReply>, Status> {
        let txn = request.into_inner().txn;
        self.called("commit", &txn);
        let open = self.0.transactions.lock().unwrap().remove(&txn).unwrap();
        let mut err = String::new();
        for change in open.writes {
            let key = match &change {
                Ok(entry) => entry.key.clone(),
                Err(key) => key.clone(),
            };
            if key.starts_with("conflict/") {
                err = "failed: transaction commit failed".to_owned();
                break;
            }
            self.written(change, "").await;
        }
        Ok(Response::new(pb::EndTxReply { err }))
    }

    async fn rollback(
        &self,
        request: Request<pb::EndTxArgs>,
    ) -> Result<Response<pb::EndTxReply>, Status> {
        let txn = request.into_inner().txn;
        self.called("rollback", &txn);
        self.0.transactions.lock().unwrap().remove(&txn).unwrap();
        Ok(Response::new(pb::EndTxReply { err: String::new() }))
    }
}
