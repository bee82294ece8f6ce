//! Goal: whatever an engine's code does, it fails its own call and nothing else.

use super::*;
use crate::Error;

fn mounted() -> BackendService {
    let backend = Backend::new(BackendKind::Secrets, ())
        .path(
            Path::new("exists")
                .operation(Operation::Update, |_, _| async { Ok(None) })
                .exists(|_, _| async { panic!("canary") }),
        )
        .path(Path::new("fine").operation(Operation::Read, |_, _| async {
            Ok(Some(Answer::data(Map::new())))
        }))
        .initialize(|_, _| async { panic!("canary") })
        .invalidate(|_, _| async { panic!("canary") })
        .auth_renew(|_, _| async { panic!("canary") })
        .rotate_credential(|_, _| async { panic!("canary") })
        .clean(|_| async { panic!("canary") });
    let service = service(false);
    let link = Link::new(Endpoint::from_static("http://localhost").connect_lazy());
    service
        .instances
        .insert("a".to_owned(), Instance::new(Arc::new(backend), link));
    service
}

fn is_plain_failure(error: Option<pb::ProtoError>) {
    let error = error.expect("a panic is an error");
    let panicked = Error::internal("the plugin failed on this request: see its log");
    assert_eq!(error, fault::message(&panicked));
}

async fn still_answers(service: &BackendService) {
    let reply = service.handle_request(call("a", read("fine"))).await;
    assert_eq!(reply.unwrap().into_inner().response.unwrap().data, "{}");
}

#[tokio::test]
async fn an_existence_check_fails_alone() {
    let service = mounted();
    let request = pb::Request {
        operation: "update".to_owned(),
        path: "exists".to_owned(),
        ..pb::Request::default()
    };
    let check = pb::HandleExistenceCheckArgs {
        storage_id: 0,
        request: Some(request),
    };
    let reply = service.handle_existence_check(call("a", check)).await;
    let reply = reply.unwrap().into_inner();
    assert!(!reply.check_found);
    is_plain_failure(reply.err);
    still_answers(&service).await;
}

#[tokio::test]
async fn a_hook_fails_alone() {
    let service = mounted();
    let started = service.initialize(call("a", pb::InitializeArgs {})).await;
    is_plain_failure(started.unwrap().into_inner().err);
    let key = pb::InvalidateKeyArgs {
        key: "k".to_owned(),
    };
    assert!(service.invalidate_key(call("a", key)).await.is_ok());
    still_answers(&service).await;
}

#[tokio::test]
async fn a_mount_goes_although_its_clean_up_panics() {
    let service = mounted();
    let instance = service.instances.find(call("a", ()).metadata()).unwrap();
    service.cleanup(call("a", pb::Empty {})).await.unwrap();
    let closed = instance.storage.get("x").await.unwrap_err();
    assert!(closed.to_string().contains("the mount is closed"));
}

#[tokio::test]
async fn one_mounts_panic_is_not_anothers() {
    let service = mounted();
    mount(&service, "b", "second");
    let reply = service.handle_request(call("b", read("panics"))).await;
    is_plain_failure(reply.unwrap().into_inner().err);
    still_answers(&service).await;
    let reply = service.handle_request(call("b", read("name"))).await;
    assert!(reply.unwrap().into_inner().err.is_none());
}
