use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    Backend, BackendKind, Error, Operation, ReplicationState, Request, Storage, SystemView, Value,
    WalOutcome, put_json,
    testing::{Fault, FaultStorage, MemoryStorage, RequestBuilder, StaticSystemView},
    wal,
};

#[derive(Default)]
struct State {
    periodic: Mutex<usize>,
    undone: Mutex<Vec<Value>>,
}

fn backend() -> Backend<State> {
    Backend::new(BackendKind::Secrets, State::default())
        .periodic(|state: Arc<State>, request: Request| async move {
            let runs = {
                let mut runs = state.periodic.lock().unwrap();
                *runs += 1;
                *runs
            };
            match request.data.get("periodic").and_then(Value::as_str) {
                Some("fails") => Err(Error::internal("periodic work failed")),
                Some("panics") if runs == 1 => panic!("canary"),
                _ => Ok(()),
            }
        })
        .wal_rollback(
            Duration::from_secs(60),
            |state: Arc<State>, _, kind, data, _| async move {
                match kind.as_str() {
                    "fails" => return Err(Error::internal("the gateway is down")),
                    "keeps" => return Ok(WalOutcome::Keep),
                    "panics" => panic!("canary"),
                    _ => {}
                }
                state.undone.lock().unwrap().push(data);
                Ok(WalOutcome::Done)
            },
        )
}

async fn old_entry(storage: &dyn Storage, id: &str, kind: &str) {
    let entry = serde_json::json!({"type": kind, "data": id, "created_at": 1_700_000_000});
    put_json(storage, &format!("wal/{id}"), &entry)
        .await
        .unwrap();
}

fn tick(storage: Arc<dyn Storage>, system: Arc<dyn SystemView>) -> RequestBuilder {
    RequestBuilder::new(Operation::Rollback, "")
        .storage(storage)
        .system(system)
}

fn active() -> Arc<StaticSystemView> {
    Arc::new(StaticSystemView::new())
}

#[tokio::test]
async fn old_entries_are_undone_and_young_ones_stay() {
    let (backend, storage) = (backend(), Arc::new(MemoryStorage::new()));
    old_entry(storage.as_ref(), "old", "key").await;
    let young = wal::put(storage.as_ref(), "key", &"young").await.unwrap();
    assert!(
        backend
            .handle(tick(storage.clone(), active()).build())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(*backend.state.undone.lock().unwrap(), [Value::from("old")]);
    assert_eq!(storage.keys(), [format!("wal/{}", young.as_str())]);
    assert_eq!(*backend.state.periodic.lock().unwrap(), 1);

    let now = tick(storage.clone(), active())
        .value("immediate", true)
        .build();
    backend.handle(now).await.unwrap();
    assert!(storage.keys().is_empty(), "immediate overrides the age");
}

#[tokio::test]
async fn a_failure_keeps_its_entry_and_spares_the_others() {
    let (backend, storage) = (backend(), Arc::new(MemoryStorage::new()));
    old_entry(storage.as_ref(), "a", "fails").await;
    old_entry(storage.as_ref(), "b", "key").await;
    old_entry(storage.as_ref(), "c", "keeps").await;
    put_json(storage.as_ref(), "wal/d", &"junk").await.unwrap();
    let answer = backend
        .handle(tick(storage.clone(), active()).build())
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer
            .error_text()
            .unwrap()
            .starts_with("2 write-ahead entries")
    );
    assert_eq!(storage.keys(), ["wal/a", "wal/c", "wal/d"]);
}

#[tokio::test]
async fn a_panic_keeps_its_entry_and_spares_the_others() {
    let (backend, storage) = (backend(), Arc::new(MemoryStorage::new()));
    old_entry(storage.as_ref(), "a", "panics").await;
    old_entry(storage.as_ref(), "b", "key").await;
    let request = tick(storage.clone(), active()).build();
    let answer = backend.handle(request).await.unwrap().unwrap();
    assert!(answer.error_text().unwrap().starts_with("1 write-ahead"));
    assert_eq!(storage.keys(), ["wal/a"]);
}

#[tokio::test]
async fn periodic_work_that_fails_does_not_stop_the_walk() {
    for how in ["fails", "panics"] {
        let (backend, storage) = (backend(), Arc::new(MemoryStorage::new()));
        old_entry(storage.as_ref(), "a", "key").await;
        let request = || tick(storage.clone(), active()).value("periodic", how);
        let error = backend.handle(request().build()).await.unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(storage.keys().is_empty(), "{how}");
        let again = tick(storage.clone(), active()).build();
        assert!(backend.handle(again).await.unwrap().is_none());
        assert_eq!(*backend.state.periodic.lock().unwrap(), 2);
    }
}

#[tokio::test]
async fn one_cluster_writes_what_is_replicated() {
    let secondary = ReplicationState::PERFORMANCE_SECONDARY;
    for (bits, local_mount, expected) in [
        (0, false, true),
        (32, false, true),
        (ReplicationState::STANDBY, false, false),
        (ReplicationState::STANDBY, true, false),
        (ReplicationState::DR_SECONDARY, true, false),
        (secondary, false, false),
        (secondary, true, true),
    ] {
        let mut system = StaticSystemView::new();
        system.local_mount = local_mount;
        system.set_replication_bits(bits);
        let writes = system.writes_here().await.unwrap();
        assert_eq!(writes, expected, "{bits}, local: {local_mount}");
    }
}

#[tokio::test]
async fn a_standby_does_nothing() {
    let (backend, storage) = (backend(), Arc::new(MemoryStorage::new()));
    old_entry(storage.as_ref(), "old", "key").await;
    let counted = Arc::new(FaultStorage::new(storage.clone()));
    let standby = Arc::new(StaticSystemView::standby());
    let request = tick(counted.clone(), standby)
        .value("immediate", true)
        .build();
    assert!(backend.handle(request).await.unwrap().is_none());
    assert_eq!(
        (counted.calls(), *backend.state.periodic.lock().unwrap()),
        (0, 0)
    );
    assert_eq!(storage.keys(), ["wal/old"]);
}

#[tokio::test]
async fn storage_that_fails_at_any_call_loses_no_entry() {
    let (storage, backend) = (Arc::new(MemoryStorage::new()), backend());
    let faulty = Arc::new(FaultStorage::new(storage.clone()));
    for call in 1..=3 {
        old_entry(storage.as_ref(), "old", "key").await;
        faulty.set(Some(Fault::At(call)));
        // How it fails depends on the call; that nothing is lost does not.
        drop(backend.handle(tick(faulty.clone(), active()).build()).await);
        assert_eq!(storage.keys(), ["wal/old"], "call {call}");
    }
    faulty.set(None);
    backend
        .handle(tick(faulty, active()).build())
        .await
        .unwrap();
    assert!(storage.keys().is_empty());
}

#[tokio::test]
async fn entries_have_the_stored_form_of_other_engines() {
    let storage = MemoryStorage::new();
    let id = wal::put(&storage, "key", &serde_json::json!({"alias": "x"}))
        .await
        .unwrap();
    let raw = storage
        .get(&format!("wal/{}", id.as_str()))
        .await
        .unwrap()
        .unwrap();
    let raw: Value = serde_json::from_slice(&raw.value).unwrap();
    assert_eq!(
        (&raw["type"], &raw["data"]["alias"]),
        (&"key".into(), &"x".into())
    );
    assert!(raw["created_at"].is_i64());
    assert_eq!(
        wal::list(&storage).await.unwrap(),
        std::slice::from_ref(&id)
    );
    wal::delete(&storage, &id).await.unwrap();
    assert!(wal::get(&storage, &id).await.unwrap().is_none());
}
