//! Goal: what the wire promises, whatever an engine does. The service is called
//! without a socket; the mount's connection leads nowhere.

mod panics;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tonic::{Code, Request, transport::Endpoint};
use vault_plugin_proto::pb::{self, backend_server::Backend as _};

use super::*;
use crate::{Backend, HandlerResult, Map, Path, Response as Answer, stop::Stop, tasks::Tasks};

#[derive(Default)]
struct Engine {
    entered: Notify,
    go_on: Notify,
    finished: Notify,
    stopped: Notify,
    name: &'static str,
}

async fn panics(_: Arc<Engine>, _: crate::Request) -> HandlerResult {
    panic!("canary")
}

async fn slow(engine: Arc<Engine>, _: crate::Request) -> HandlerResult {
    engine.entered.notify_one();
    engine.go_on.notified().await;
    engine.finished.notify_one();
    Ok(None)
}

async fn name(engine: Arc<Engine>, _: crate::Request) -> HandlerResult {
    Ok(Some(Answer::data(Map::from_iter([(
        "name".to_owned(),
        engine.name.into(),
    )]))))
}

fn service(metadata_mode: bool) -> BackendService {
    BackendService {
        factory: Arc::new(|_| Err(Error::internal("no factory"))),
        broker: Broker::new(None, Stop::new(), Tasks::new()),
        instances: Instances::default(),
        metadata_mode,
    }
}

/// Adds a mount and gives its engine's state.
fn mount(service: &BackendService, id: &str, name_of: &'static str) -> Arc<Engine> {
    let backend = Backend::new(
        BackendKind::Secrets,
        Engine {
            name: name_of,
            ..Engine::default()
        },
    )
    .path(Path::new("panics").operation(Operation::Read, panics))
    .path(Path::new("slow").operation(Operation::Read, slow))
    .path(Path::new("name").operation(Operation::Read, name))
    .clean(|engine: Arc<Engine>| async move { engine.stopped.notify_one() });
    let state = backend.state.clone();
    let link = Link::new(Endpoint::from_static("http://localhost").connect_lazy());
    service
        .instances
        .insert(id.to_owned(), Instance::new(Arc::new(backend), link));
    state
}

fn call<T>(id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("multiplex_id", id.parse().unwrap());
    request
}

fn read(path: &str) -> pb::HandleRequestArgs {
    let request = pb::Request {
        operation: "read".to_owned(),
        path: path.to_owned(),
        ..pb::Request::default()
    };
    pb::HandleRequestArgs {
        storage_id: 0,
        request: Some(request),
    }
}

async fn patient<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), work)
        .await
        .expect("takes too long")
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_mount_lives_on() {
    let service = service(false);
    mount(&service, "a", "first");
    let reply = service
        .handle_request(call("a", read("panics")))
        .await
        .unwrap()
        .into_inner();
    let error = reply.err.unwrap();
    assert_eq!((error.err_type, reply.response), (2, None));
    assert!(!error.err_msg.contains("canary"));
    let reply = service
        .handle_request(call("a", read("name")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.response.unwrap().data, r#"{"name":"first"}"#);
}

#[tokio::test]
async fn a_dropped_call_never_cuts_its_handler() {
    let service = service(false);
    let engine = mount(&service, "a", "first");
    {
        let handled = service.handle_request(call("a", read("slow")));
        tokio::select! {
            _ = handled => unreachable!("the handler waits"),
            () = patient(engine.entered.notified()) => {}
        }
    }
    engine.go_on.notify_one();
    patient(engine.finished.notified()).await;
}

#[tokio::test]
async fn cleanup_waits_for_handlers_and_hangs_up() {
    let service = service(false);
    let engine = mount(&service, "a", "first");
    let instance = service.instances.find(call("a", ()).metadata()).unwrap();
    let cleaning = async {
        patient(engine.entered.notified()).await;
        let cleanup = service.cleanup(call("a", pb::Empty {}));
        engine.go_on.notify_one();
        cleanup.await.unwrap();
    };
    let (handled, ()) =
        patient(async { tokio::join!(service.handle_request(call("a", read("slow"))), cleaning) })
            .await;
    assert!(handled.unwrap().into_inner().err.is_none());
    patient(engine.stopped.notified()).await;
    let closed = instance.storage.get("x").await.unwrap_err();
    assert!(closed.to_string().contains("the mount is closed"));
    assert!(
        service
            .handle_request(call("a", read("name")))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn mounts_do_not_see_each_other() {
    let service = service(false);
    mount(&service, "a", "first");
    mount(&service, "b", "second");
    for (id, expected) in [("a", "first"), ("b", "second")] {
        let reply = service
            .handle_request(call(id, read("name")))
            .await
            .unwrap()
            .into_inner();
        assert!(reply.response.unwrap().data.contains(expected));
    }
    let unknown = service
        .handle_request(call("c", read("name")))
        .await
        .unwrap_err();
    assert_eq!(unknown.message(), "no backend instance found");
}

#[tokio::test]
async fn a_call_needs_exactly_one_id() {
    let service = service(false);
    mount(&service, "a", "first");
    let mut twice = call("a", read("name"));
    twice
        .metadata_mut()
        .append("multiplex_id", "a".parse().unwrap());
    for request in [Request::new(read("name")), call("", read("name")), twice] {
        let status = service.handle_request(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn metadata_mode_answers_questions_and_does_no_work() {
    let service = service(true);
    mount(&service, "a", "first");
    let check = pb::HandleExistenceCheckArgs::default();
    let refused = [
        service.handle_request(call("a", read("name"))).await.err(),
        service.handle_existence_check(call("a", check)).await.err(),
        service
            .initialize(call("a", pb::InitializeArgs {}))
            .await
            .err(),
        service
            .invalidate_key(call("a", pb::InvalidateKeyArgs::default()))
            .await
            .err(),
    ];
    for status in refused {
        assert_eq!(status.unwrap().code(), Code::FailedPrecondition);
    }
    let kind = service
        .r#type(call("a", pb::Empty {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(kind.r#type, 1);
    assert!(service.special_paths(call("a", pb::Empty {})).await.is_ok());
}
